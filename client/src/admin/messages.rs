//! Messages: found by their place, or by a key.

use bytes::Bytes;
use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::header::{QueryMessageRequestHeader, ViewMessageRequestHeader};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::message_ext::MessageExt;
use thrustmq_proto_compat::request_code::{QueryMessage, ViewMessageById};
use thrustmq_proto_compat::response_code::ResponseCode;

use super::{Admin, failed, is_refused_with};
use crate::ReceivedMessage;
use crate::error::AdminError;
use crate::namespace::Namespace;
use crate::received::{BODY_BYTES_MAX, pulled_records};

/// What to look for.
///
/// ```no_run
/// use thrustmq_client::KeySearch;
///
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for message in admin.find(&KeySearch::of("orders", "order-4711")).await? {
///     println!("{}", message.message_id());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySearch<'a> {
    /// The topic.
    pub topic: &'a str,
    /// A key of the message, or the id that its producer gave.
    pub key: &'a str,
    /// Stored at this time or later, milliseconds since 1970.
    pub begin_ms: i64,
    /// Stored at this time or before.
    pub end_ms: i64,
    /// Messages that each broker gives at most.
    pub messages_max: u16,
}

impl<'a> KeySearch<'a> {
    /// Up to 64 messages of any time.
    pub fn of(topic: &'a str, key: &'a str) -> Self {
        Self {
            topic,
            key,
            begin_ms: 0,
            end_ms: i64::MAX,
            messages_max: 64,
        }
    }
}

impl Admin {
    /// The message at a place, which is what the id names that brokers give (`offset_msg_id`).
    ///
    /// # Errors
    /// The id is none, or the broker that it names does not answer or has no such message.
    pub async fn message(&self, offset_msg_id: &str) -> Result<ReceivedMessage, AdminError> {
        let place = place(offset_msg_id)?;
        let address = place.store_host.to_string();
        let header = ViewMessageRequestHeader {
            topic: None,
            offset: place.physical_offset,
        };
        let called = self
            .link
            .call::<ViewMessageById>(&address, &header, Bytes::new())
            .await;
        let reply = called.map_err(|cause| failed(&address, cause))?;
        MessageExt::decode(&reply.body.to_bytes(), BODY_BYTES_MAX).map_err(|cause| {
            AdminError::BadAnswer {
                address,
                cause: cause.to_string(),
            }
        })
    }

    /// The messages of a topic with a key, or with the id that a producer gave, in the order of their storing.
    ///
    /// # Errors
    /// There is no such topic, or one of its brokers does not answer.
    pub async fn find(&self, search: &KeySearch<'_>) -> Result<Vec<ReceivedMessage>, AdminError> {
        let header = QueryMessageRequestHeader {
            topic: search.topic.to_owned(),
            key: search.key.to_owned(),
            max_num: i32::from(search.messages_max),
            begin_timestamp_ms: search.begin_ms,
            end_timestamp_ms: search.end_ms,
            broker_name: None,
        };
        let mut messages = Vec::new();
        for address in self.brokers_of(search.topic).await? {
            let called = self
                .link
                .call::<QueryMessage>(&address, &header, Bytes::new())
                .await;
            let reply = match called.map_err(|cause| failed(&address, cause)) {
                Ok(reply) => reply,
                Err(error) if is_refused_with(&error, &[ResponseCode::QUERY_NOT_FOUND]) => continue,
                Err(error) => return Err(error),
            };
            let records = pulled_records(&reply.body.to_bytes(), |_| true);
            let decoded = records.iter().map(|r| r.decode("", &Namespace::default()));
            messages.extend(decoded.filter_map(Result::ok));
        }
        // Indexes go by hashes: another key may have the same.
        messages.retain(|message| {
            message.keys().any(|key| key == search.key) || message.unique_key() == Some(search.key)
        });
        messages.sort_by_key(|message| message.store_timestamp);
        Ok(messages)
    }

    /// The message with a number in a queue; nothing if the queue has none there.
    ///
    /// # Errors
    /// The queue's broker is not known, does not answer, or refuses.
    pub async fn message_at(
        &self,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<Option<ReceivedMessage>, AdminError> {
        let consumer = self.reader();
        let pull = consumer.pull(queue, offset).messages_max(1).await?;
        let mut messages = pull.messages.into_iter();
        Ok(messages.find(|message| message.queue_offset == offset))
    }
}

/// The place that an id of a broker names.
pub(super) fn place(offset_msg_id: &str) -> Result<OffsetId, AdminError> {
    OffsetId::decode(offset_msg_id).map_err(|cause| AdminError::NoPlace {
        id: offset_msg_id.to_owned(),
        cause: cause.to_string(),
    })
}
