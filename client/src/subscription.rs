//! What a consumer wants of a topic: all messages, those with one of several tags, or those whose
//! properties an SQL92 condition is true of. Push, pull and POP consumers share it.

use thrustmq_proto_compat::body::SubscriptionData;
use thrustmq_proto_compat::message::tags_code::string_hash;

/// Matches every message.
const ALL: &str = "*";

const TAG_TYPE: &str = "TAG";
const SQL_TYPE: &str = "SQL92";
const SEPARATOR: &str = "||";

/// Which messages of a topic a consumer wants.
///
/// Text alone stands for tags, so that most programs need not name this type:
/// `.subscribe("orders", "paid || shipped")`. All members of a group must want the same.
///
/// ```
/// use thrustmq_client::{PushConsumer, Subscription};
/// let builder = PushConsumer::builder("billing")
///     .subscribe("payments", Subscription::all())
///     .subscribe("orders", Subscription::tags("paid || shipped"))
///     .subscribe("parcels", Subscription::sql("weight > 5 AND country IN ('NL', 'BE')"));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// As brokers get it.
    expression: String,
    filter: Filter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    All,
    Tags(Vec<String>),
    /// Only the broker reads it.
    Sql,
}

impl Subscription {
    /// Every message.
    pub fn all() -> Self {
        Self {
            expression: ALL.to_owned(),
            filter: Filter::All,
        }
    }

    /// Messages with one of these tags, with `||` between. Empty text and `*` are all messages.
    pub fn tags(expression: &str) -> Self {
        let expression = expression.trim();
        let tags: Vec<_> = expression
            .split(SEPARATOR)
            .map(str::trim)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect();
        if expression == ALL || tags.is_empty() {
            return Self::all();
        }
        Self {
            expression: expression.to_owned(),
            filter: Filter::Tags(tags),
        }
    }

    /// Messages whose properties fulfil an SQL92 condition, such as `a > 5 AND b IS NOT NULL`.
    ///
    /// Brokers evaluate it only with `enablePropertyFilter=true` in their configuration; they and their
    /// complaints about the condition are asked for when a consumer starts.
    pub fn sql(condition: impl Into<String>) -> Self {
        Self {
            expression: condition.into(),
            filter: Filter::Sql,
        }
    }

    /// The text that brokers get: `*`, the tags, or the condition.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether only the broker can tell what is wanted.
    pub(crate) fn is_sql(&self) -> bool {
        self.filter == Filter::Sql
    }

    /// Whether a message with this tag is wanted. Brokers compare hashes only, so that a message
    /// with another tag of the same hash has to be sorted out here.
    pub(crate) fn matches(&self, tag: Option<&str>) -> bool {
        match &self.filter {
            Filter::All | Filter::Sql => true,
            Filter::Tags(tags) => tag.is_some_and(|tag| tags.iter().any(|want| want == tag)),
        }
    }

    /// The name of the kind of expression, as requests carry it.
    pub(crate) fn expression_type(&self) -> &'static str {
        if self.is_sql() { SQL_TYPE } else { TAG_TYPE }
    }

    /// The form that heartbeats carry; `version` is when the subscription was made, milliseconds.
    pub(crate) fn to_data(&self, topic: &str, version: i64) -> SubscriptionData {
        let tags: &[String] = match &self.filter {
            Filter::Tags(tags) => tags,
            Filter::All | Filter::Sql => &[],
        };
        SubscriptionData {
            topic: topic.to_owned(),
            sub_string: self.expression.clone(),
            tags_set: tags.iter().cloned().collect(),
            code_set: tags.iter().map(|tag| string_hash(tag)).collect(),
            sub_version: version,
            expression_type: Some(self.expression_type().to_owned()),
            ..SubscriptionData::default()
        }
    }
}

/// Tags, as [`Subscription::tags`] reads them.
impl From<&str> for Subscription {
    fn from(tags: &str) -> Self {
        Self::tags(tags)
    }
}

/// Tags, as [`Subscription::tags`] reads them.
impl From<&String> for Subscription {
    fn from(tags: &String) -> Self {
        Self::tags(tags)
    }
}

/// Tags, as [`Subscription::tags`] reads them.
impl From<String> for Subscription {
    fn from(tags: String) -> Self {
        Self::tags(&tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_split_and_trimmed() {
        let filter = Subscription::from(" paid||shipped || ");
        assert!(filter.matches(Some("paid")) && filter.matches(Some("shipped")));
        assert!(!filter.matches(Some("open")) && !filter.matches(None));
        for all in ["", "*", " * ", "||"] {
            let filter = Subscription::tags(all);
            assert!(filter.matches(None) && filter.matches(Some("x")));
            assert_eq!(filter.to_data("t", 0).sub_string, "*");
        }
    }

    #[test]
    fn tags_of_one_hash_are_told_apart() {
        assert_eq!(string_hash("Aa"), string_hash("BB"));
        let filter = Subscription::tags("Aa");
        assert!(filter.matches(Some("Aa")) && !filter.matches(Some("BB")));
    }

    #[test]
    fn heartbeats_carry_tags_and_hashes() {
        let data = Subscription::tags("a || b").to_data("t", 7);
        assert_eq!((data.topic.as_str(), data.sub_version), ("t", 7));
        assert!(data.code_set.contains(&97) && data.code_set.contains(&98));
        assert_eq!(data.tags_set.len(), 2);
    }

    #[test]
    fn conditions_are_left_to_the_broker() {
        let condition = Subscription::sql("a > 5 || b");
        assert!(condition.is_sql() && condition.matches(None) && condition.matches(Some("x")));
        let data = condition.to_data("t", 7);
        assert_eq!(data.expression_type.as_deref(), Some("SQL92"));
        assert_eq!(data.sub_string, "a > 5 || b");
        assert!(data.tags_set.is_empty() && data.code_set.is_empty());
    }
}
