//! A message as applications see it: owned, with its body decompressed.

use std::net::SocketAddr;

use bytes::Bytes;

use super::compress::{DecompressError, decompress};
use super::id::OffsetId;
use super::properties::Properties;
use super::record::{self, CheckBody, RecordError, RecordView};
use super::{property_name, sys_flag};

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageExt {
    /// Topic.
    pub topic: String,
    /// Body, decompressed.
    pub body: Bytes,
    /// Properties.
    pub properties: Properties,
    /// The user's flag.
    pub flag: i32,
    /// System flag; the compressed bit is cleared, the type bits are kept.
    pub sys_flag: i32,
    /// Queue within the topic.
    pub queue_id: i32,
    /// Entry number in the queue.
    pub queue_offset: i64,
    /// Byte position in the broker's commit log.
    pub physical_offset: i64,
    /// When the producer made it, milliseconds.
    pub born_timestamp: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// When it was stored, milliseconds.
    pub store_timestamp: i64,
    /// The broker that stored it.
    pub store_host: SocketAddr,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message.
    pub prepared_transaction_offset: i64,
    /// Checksum of the body as stored.
    pub body_crc: i32,
    /// Bytes of its record in the commit log.
    pub store_bytes: usize,
}

/// Why a stored message cannot be given to an application.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no record.
    #[error("unreadable record")]
    Record(#[from] RecordError),
    /// The body does not decompress.
    #[error("unreadable body")]
    Body(#[from] DecompressError),
}

/// What a pull body holds.
#[derive(Debug, Default)]
pub struct DecodedMessages {
    /// Messages up to the first unreadable one.
    pub messages: Vec<MessageExt>,
    /// Why decoding ended early.
    pub error: Option<DecodeError>,
}

impl MessageExt {
    /// Reads the record that `bytes` begins with; an uncompressed body shares them.
    ///
    /// # Errors
    /// The bytes are no sound record, or the body does not decompress within `body_bytes_max`.
    pub fn decode(bytes: &Bytes, body_bytes_max: usize) -> Result<Self, DecodeError> {
        let view = record::check(bytes, CheckBody::BodyCrc)?;
        let (body, flag) = if sys_flag::is_compressed(view.sys_flag) && !view.body.is_empty() {
            let body = decompress(view.body, view.sys_flag, body_bytes_max)?;
            (
                Bytes::from(body),
                sys_flag::without_compressed(view.sys_flag),
            )
        } else {
            (bytes.slice_ref(view.body), view.sys_flag)
        };
        Ok(Self::of_view(&view, body, flag))
    }

    fn of_view(view: &RecordView<'_>, body: Bytes, sys_flag: i32) -> Self {
        Self {
            topic: view.topic.to_owned(),
            body,
            properties: Properties::parse(&view.properties_text()),
            flag: view.flag,
            sys_flag,
            queue_id: view.queue_id,
            queue_offset: view.queue_offset,
            physical_offset: view.physical_offset,
            born_timestamp: view.born_timestamp,
            born_host: view.born_host,
            store_timestamp: view.store_timestamp,
            store_host: view.store_host,
            reconsume_times: view.reconsume_times,
            prepared_transaction_offset: view.prepared_transaction_offset,
            body_crc: view.body_crc,
            store_bytes: view.record_bytes,
        }
    }

    /// The id by place.
    pub fn offset_id(&self) -> OffsetId {
        OffsetId {
            store_host: self.store_host,
            physical_offset: self.physical_offset,
        }
    }

    /// The id to show: the producer's unique key, else the id by place.
    pub fn message_id(&self) -> String {
        match self.unique_key() {
            Some(key) => key.to_owned(),
            None => self.offset_id().encode(),
        }
    }

    /// The id that the producer gave.
    pub fn unique_key(&self) -> Option<&str> {
        self.properties.get(property_name::UNIQUE_KEY)
    }

    /// The tag.
    pub fn tags(&self) -> Option<&str> {
        self.properties.get(property_name::TAGS)
    }

    /// The keys, one by one.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.properties.get(property_name::KEYS).unwrap_or_default();
        keys.split(property_name::KEY_SEPARATOR)
            .filter(|key| !key.is_empty())
    }
}

/// Reads a pull body: records one after the other.
pub fn decode_all(body: &Bytes, body_bytes_max: usize) -> DecodedMessages {
    let mut decoded = DecodedMessages::default();
    let mut rest = body.clone();
    while !rest.is_empty() {
        match MessageExt::decode(&rest, body_bytes_max) {
            Ok(message) => {
                rest = rest.slice(message.store_bytes..);
                decoded.messages.push(message);
            }
            Err(error) => {
                decoded.error = Some(error);
                break;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::compress::{CompressionType, compress};
    use crate::message::record::{Checksum, NewMessage, Placement};

    fn append(into: &mut Vec<u8>, body: &[u8], flag: i32) {
        let message = NewMessage {
            topic: "t",
            queue_id: 1,
            flag: 0,
            sys_flag: flag,
            born_timestamp: 5,
            born_host: "1.2.3.4:5".parse().unwrap(),
            store_host: "1.2.3.4:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: "UNIQ_KEY\u{1}U\u{2}KEYS\u{1}a  b\u{2}TAGS\u{1}x\u{2}",
        };
        let start = into.len();
        record::encode(&message, Checksum::Omit, into).unwrap();
        let placement = Placement {
            queue_offset: 1,
            physical_offset: 2,
            store_timestamp: 3,
        };
        record::patch(&mut into[start..], placement);
    }

    fn two() -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, b"plain", 0);
        let packed = compress(b"packed", CompressionType::Zlib, 5).unwrap();
        append(&mut bytes, &packed, CompressionType::Zlib.sys_flag_bits());
        bytes
    }

    #[test]
    fn a_pull_body_gives_its_messages() {
        let decoded = decode_all(&two().into(), 100);
        assert!(decoded.error.is_none());
        let [plain, packed] = &decoded.messages[..] else {
            panic!("{decoded:?}");
        };
        assert_eq!(plain.body, "plain");
        assert_eq!(packed.body, "packed");
        assert_eq!(packed.sys_flag, sys_flag::COMPRESSION_ZLIB);
        assert_eq!(plain.message_id(), "U");
        assert_eq!(
            plain.offset_id().encode(),
            "0102030400002A9F0000000000000002"
        );
        assert_eq!(plain.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(plain.tags(), Some("x"));
        assert_eq!(
            (plain.queue_id, plain.queue_offset, plain.store_timestamp),
            (1, 1, 3)
        );
    }

    #[test]
    fn decoding_keeps_what_stands_before_the_damage() {
        let mut bytes = two();
        bytes.truncate(bytes.len() - 1);
        let decoded = decode_all(&bytes.into(), 100);
        assert_eq!(decoded.messages.len(), 1);
        assert!(matches!(decoded.error, Some(DecodeError::Record(_))));
    }

    #[test]
    fn a_body_too_large_once_unpacked_is_an_error() {
        let decoded = decode_all(&two().into(), 5);
        assert_eq!(decoded.messages.len(), 1);
        assert!(matches!(decoded.error, Some(DecodeError::Body(_))));
    }
}
