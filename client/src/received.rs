//! What an application receives, read from the body of a pull answer.

use bytes::Bytes;
use thrustmq_proto_compat::message::message_ext::{DecodeError, MessageExt};
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_proto_compat::message::{properties, property_name};
use tracing::error;

use crate::namespace::Namespace;

/// A message as a consumer gets it: owned, with its body decompressed.
///
/// ```
/// use thrustmq_client::ReceivedMessage;
/// fn line(message: &ReceivedMessage) -> String {
///     let shop = message.properties.get("shop").unwrap_or("nowhere");
///     format!("{} from {shop}: {:?}", message.message_id(), message.body)
/// }
/// ```
pub type ReceivedMessage = MessageExt;

/// Longest body that is decompressed: far above what brokers accept, far below what hurts.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A record of a pull answer, before it is decoded: that is left to whoever consumes it, so that
/// what waits takes no more memory than its bytes.
#[derive(Debug, Clone)]
pub(crate) struct PulledRecord {
    record: Bytes,
    /// Its number in the queue.
    pub(crate) queue_offset: i64,
    /// Bytes of its body, as it travelled.
    pub(crate) body_bytes: usize,
}

/// The records of a pull answer whose tag is wanted.
pub(crate) fn pulled_records(
    body: &Bytes,
    wants: impl Fn(Option<&str>) -> bool,
) -> Vec<PulledRecord> {
    let mut rest = body.clone();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let view = match record::check(&rest, CheckBody::Skip) {
            Ok(view) => view,
            Err(cause) => {
                error!(%cause, bytes = rest.len(), "pull answer holds bytes that are no record");
                break;
            }
        };
        let record_bytes = view.record_bytes;
        if wants(properties::get(
            &view.properties_text(),
            property_name::TAGS,
        )) {
            records.push(PulledRecord {
                queue_offset: view.queue_offset,
                body_bytes: view.body.len(),
                record: rest.slice(..record_bytes),
            });
        }
        rest = rest.slice(record_bytes..);
    }
    records
}

impl PulledRecord {
    /// The message as the application sees it: one that was retried has the topic back that it was
    /// sent to, and no topic has its namespace.
    ///
    /// # Errors
    /// The body is damaged.
    pub(crate) fn decode(
        &self,
        retry_topic: &str,
        namespace: &Namespace,
    ) -> Result<ReceivedMessage, DecodeError> {
        let mut message = MessageExt::decode(&self.record, BODY_BYTES_MAX)?;
        let origin = message.properties.get(property_name::RETRY_TOPIC);
        if message.topic == retry_topic
            && let Some(origin) = origin
        {
            message.topic = origin.to_owned();
        }
        namespace.unwrap(&mut message.topic);
        Ok(message)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use thrustmq_proto_compat::message::record::{NewMessage, Placement};

    use super::*;

    fn record_at(queue_offset: i64, topic: &str, body: &[u8], properties: &str) -> Vec<u8> {
        let host = "127.0.0.1:10911".parse().unwrap();
        let message = NewMessage {
            topic,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties,
        };
        let mut bytes = Vec::new();
        record::encode(&message, record::Checksum::Omit, &mut bytes).unwrap();
        let placement = Placement {
            queue_offset,
            physical_offset: queue_offset * 1_000,
            store_timestamp: 2,
        };
        record::patch(&mut bytes, placement);
        bytes
    }

    fn pulled(bytes: Vec<u8>) -> Vec<PulledRecord> {
        pulled_records(&bytes.into(), |_| true)
    }

    pub(crate) fn pulled_at(queue_offset: i64, body: &[u8]) -> PulledRecord {
        pulled(record_at(queue_offset, "t", body, "")).remove(0)
    }

    pub(crate) fn message_at(queue_offset: i64, body: &[u8]) -> ReceivedMessage {
        pulled_at(queue_offset, body)
            .decode("", &Namespace::default())
            .unwrap()
    }

    #[test]
    fn a_damaged_body_costs_only_its_own_message() {
        let mut bytes = record_at(0, "t", b"first", "");
        let damaged = bytes.len();
        bytes.extend(record_at(1, "t", b"second", ""));
        bytes.extend(record_at(2, "t", b"third", ""));
        let body_at = bytes[damaged..]
            .windows(6)
            .position(|w| w == b"second")
            .unwrap();
        bytes[damaged + body_at] ^= 1;
        let decoded: Vec<_> = pulled(bytes)
            .iter()
            .map(|r| r.decode("", &Namespace::default()).ok())
            .collect();
        let bodies: Vec<_> = decoded
            .iter()
            .map(|m| m.as_ref().map(|m| &m.body[..]))
            .collect();
        assert_eq!(bodies, [Some(&b"first"[..]), None, Some(b"third")]);
    }

    #[test]
    fn bytes_that_are_no_record_end_the_list() {
        let mut bytes = record_at(0, "t", b"first", "");
        bytes.extend([7; 30]);
        assert_eq!(pulled(bytes).len(), 1);
    }

    #[test]
    fn only_wanted_tags_are_kept() {
        let mut bytes = record_at(0, "t", b"x", "TAGS\u{1}a\u{2}");
        bytes.extend(record_at(1, "t", b"x", "TAGS\u{1}b\u{2}"));
        bytes.extend(record_at(2, "t", b"x", ""));
        let kept = pulled_records(&bytes.into(), |tag| tag == Some("b"));
        assert_eq!(kept.iter().map(|r| r.queue_offset).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_retried_message_shows_its_own_topic() {
        let properties = "RETRY_TOPIC\u{1}orders\u{2}";
        let retried = pulled(record_at(0, "%RETRY%g", b"x", properties)).remove(0);
        let topic = |retry_topic: &str| {
            let decoded = retried.decode(retry_topic, &Namespace::default());
            decoded.unwrap().topic
        };
        assert_eq!(topic("%RETRY%g"), "orders");
        assert_eq!(topic("%RETRY%other"), "%RETRY%g");
    }
}
