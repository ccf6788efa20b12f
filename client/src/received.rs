//! What an application receives, read from the body of a pull answer.

use bytes::Bytes;
use thrustmq_proto_compat::message::message_ext::MessageExt;
use thrustmq_proto_compat::message::property_name;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use tracing::error;

/// A message as a consumer gets it: owned, with its body decompressed.
pub type ReceivedMessage = MessageExt;

/// Longest body that is decompressed: far above what brokers accept, far below what hurts.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads the records of a pull answer, one after the other.
///
/// One whose body is damaged is logged and left out, so that it does not stop the queue for ever.
pub(crate) fn decode_records(body: &Bytes) -> Vec<ReceivedMessage> {
    let mut rest = body.clone();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let record_bytes = match record::check(&rest, CheckBody::Skip) {
            Ok(view) => view.record_bytes,
            Err(cause) => {
                error!(%cause, bytes = rest.len(), "pull answer holds bytes that are no record");
                break;
            }
        };
        match MessageExt::decode(&rest, BODY_BYTES_MAX) {
            Ok(message) => messages.push(message),
            Err(cause) => error!(?cause, "message left out since its body is damaged"),
        }
        rest = rest.slice(record_bytes..);
    }
    messages
}

/// Gives a retried message the topic back that it was sent to.
pub(crate) fn restore_origin(message: &mut ReceivedMessage, retry_topic: &str) {
    if message.topic != retry_topic {
        return;
    }
    if let Some(origin) = message.properties.get(property_name::RETRY_TOPIC) {
        message.topic = origin.to_owned();
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
        record::encode(&message, &mut bytes).unwrap();
        let placement = Placement {
            queue_offset,
            physical_offset: queue_offset * 1_000,
            store_timestamp: 2,
        };
        record::patch(&mut bytes, placement);
        bytes
    }

    pub(crate) fn message_at(queue_offset: i64, body: &[u8]) -> ReceivedMessage {
        let bytes = Bytes::from(record_at(queue_offset, "t", body, ""));
        MessageExt::decode(&bytes, BODY_BYTES_MAX).unwrap()
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
        let messages = decode_records(&bytes.into());
        let offsets: Vec<_> = messages.iter().map(|m| m.queue_offset).collect();
        assert_eq!(offsets, [0, 2]);
    }

    #[test]
    fn bytes_that_are_no_record_end_the_list() {
        let mut bytes = record_at(0, "t", b"first", "");
        bytes.extend([7; 30]);
        assert_eq!(decode_records(&bytes.into()).len(), 1);
    }

    #[test]
    fn a_retried_message_shows_its_own_topic() {
        let bytes = Bytes::from(record_at(
            0,
            "%RETRY%g",
            b"x",
            "RETRY_TOPIC\u{1}orders\u{2}",
        ));
        let mut message = MessageExt::decode(&bytes, 10).unwrap();
        restore_origin(&mut message, "%RETRY%g");
        assert_eq!(message.topic, "orders");
    }
}
