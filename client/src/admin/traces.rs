//! What clients noted of a message, read from the trace topic.

use std::net::SocketAddr;

use thrustmq_proto_compat::message::names;

use super::{Admin, KeySearch};
use crate::error::AdminError;
use crate::trace_record::TraceRecord;

/// A record of the trace topic, and who wrote it.
///
/// ```no_run
/// use thrustmq_client::KeySearch;
///
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for traced in admin.traces(&KeySearch::traces("order-4711")).await? {
///     println!("{} says {:?}", traced.client, traced.record);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// What was noted.
    pub record: TraceRecord,
    /// The client that noted it.
    pub client: SocketAddr,
}

impl<'a> KeySearch<'a> {
    /// What is traced of a message, by its id or one of its keys.
    pub fn traces(key: &'a str) -> Self {
        Self::of(names::TRACE_TOPIC, key)
    }
}

impl Admin {
    /// What producers and consumers noted of the messages with an id or key, in the order of time. They
    /// do if they are told to ([`trace`](crate::ProducerBuilder::trace)), and gather for some seconds
    /// before they send it.
    ///
    /// ```no_run
    /// # async fn example(admin: &thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
    /// use thrustmq_client::KeySearch;
    /// for traced in admin.traces(&KeySearch::traces("order-4711")).await? {
    ///     println!("{} {:?}", traced.client, traced.record);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no trace topic, or one of its brokers does not answer.
    pub async fn traces(&self, search: &KeySearch<'_>) -> Result<Vec<Traced>, AdminError> {
        let key = search.key;
        let mut traces = Vec::new();
        for message in self.find(search).await? {
            let records = TraceRecord::decode_all(&message.body);
            let wanted = records
                .into_iter()
                .filter(|record| record.message_id() == key || record.keys().any(|one| one == key));
            traces.extend(wanted.map(|record| Traced {
                record,
                client: message.born_host,
            }));
        }
        traces.sort_by_key(|traced| traced.record.time_ms());
        Ok(traces)
    }
}
