//! Which messages a subscription takes: all, those with one of some tags, or those that an SQL92
//! expression takes.
//!
//! Pulls, POP and parked requests hold a [`MessageFilter`]; it is cheap to clone. Tags are decided by
//! the hash in the queue entry, SQL by the properties in the record; consumers compare tags once more.

mod bloom;
mod registry;
mod sql;
mod tag;

use std::sync::Arc;

use thrustmq_proto_compat::body::SubscriptionData;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::RecordFilter;

pub(crate) use bloom::Bloom;
pub(crate) use registry::{FilterRegistry, Said};
use sql::{Sql, SqlError};
use tag::TagFilter;

/// Type of an expression of tags.
pub(crate) const TAG: &str = "TAG";
/// Type of an expression over properties.
pub(crate) const SQL92: &str = "SQL92";

/// Which messages are wanted.
#[derive(Debug, Clone)]
pub(crate) enum MessageFilter {
    /// By tags; also without any, for all.
    Tags(TagFilter),
    /// By properties.
    Sql(Arc<Sql>),
}

/// Why a subscription says nothing that can be filtered by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// An expression of another type than `TAG` has to say something.
    #[error("the expression is empty")]
    Empty,
    /// Neither `TAG` nor `SQL92`.
    #[error("expressions of the type {0} are unknown")]
    UnknownType(String),
    /// The expression is no SQL92.
    #[error("{0}")]
    Sql(#[from] SqlError),
}

/// Whether this is the type of tags, which is also meant where none is named.
pub(crate) fn is_tag_type(expression_type: Option<&str>) -> bool {
    matches!(expression_type, None | Some("" | TAG))
}

impl MessageFilter {
    /// Compiles what a request or a heartbeat says: type (none is `TAG`) and expression.
    ///
    /// # Errors
    /// Nothing can be filtered by it.
    pub(crate) fn parse(
        expression_type: Option<&str>,
        expression: &str,
    ) -> Result<Self, FilterError> {
        match expression_type {
            _ if is_tag_type(expression_type) => Ok(Self::Tags(TagFilter::parse(expression))),
            _ if expression.is_empty() => Err(FilterError::Empty),
            Some(SQL92) => Ok(Self::Sql(Arc::new(Sql::parse(expression)?))),
            other => Err(FilterError::UnknownType(
                other.unwrap_or_default().to_owned(),
            )),
        }
    }

    /// Compiles what a heartbeat says: of tags the hashes that the client worked out count.
    ///
    /// # Errors
    /// Nothing can be filtered by it.
    pub(crate) fn of_subscription(subscription: &SubscriptionData) -> Result<Self, FilterError> {
        let expression_type = subscription.expression_type.as_deref();
        let expression = subscription.sub_string.as_str();
        if is_tag_type(expression_type) && expression != tag::ALL {
            let codes = subscription.code_set.iter().copied();
            return Ok(Self::Tags(TagFilter::of_codes(codes)));
        }
        Self::parse(expression_type, expression)
    }

    /// Whether it takes every message.
    pub(crate) fn takes_all(&self) -> bool {
        match self {
            Self::Tags(tags) => tags.takes_all(),
            Self::Sql(_) => false,
        }
    }

    /// Whether it takes a message that has just arrived, by its tags code and its properties in text
    /// form.
    pub(crate) fn takes_arrival(&self, tags_code: i64, properties: &str) -> bool {
        match self {
            Self::Tags(tags) => tags.by_tags_code(tags_code),
            Self::Sql(sql) => sql.takes(properties),
        }
    }
}

impl Default for MessageFilter {
    /// Takes every message.
    fn default() -> Self {
        Self::Tags(TagFilter::default())
    }
}

impl RecordFilter for MessageFilter {
    fn by_tags_code(&self, tags_code: i64) -> bool {
        match self {
            Self::Tags(tags) => tags.by_tags_code(tags_code),
            Self::Sql(_) => true,
        }
    }

    fn by_record(&self, record: &[u8]) -> bool {
        match self {
            Self::Tags(_) => true,
            Self::Sql(sql) => {
                let view = record::check(record, CheckBody::Skip);
                view.is_ok_and(|view| sql.takes(&view.properties_text()))
            }
        }
    }
}
