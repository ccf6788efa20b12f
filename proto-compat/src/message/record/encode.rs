//! Writing records: once before their place is known, then the place into them.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::checksum::Ending;
use super::{
    BLANK_BYTES, BORN_HOST_AT, FIXED_BYTES, MAGIC_BLANK, MAGIC_V1, MAGIC_V2, PHYSICAL_OFFSET_AT,
    QUEUE_OFFSET_AT, SYS_FLAG_AT, TOPIC_BYTES_MAX, TOPIC_BYTES_MAX_V1, body_crc, checksum, i32_at,
};
use crate::message::properties::{ENTRY_SEPARATOR, TEXT_BYTES_MAX};
use crate::message::sys_flag;

/// What a writer knows of a message before it has a place in the log.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    /// Topic, at most [`TOPIC_BYTES_MAX`] bytes.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// System flag; the two host bits are set by the encoder.
    pub sys_flag: i32,
    /// When the producer made it, milliseconds.
    pub born_timestamp: i64,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// This broker.
    pub store_host: SocketAddr,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message, for commit and rollback.
    pub prepared_transaction_offset: i64,
    /// Body as it is stored.
    pub body: &'a [u8],
    /// Properties in their text form.
    pub properties: &'a str,
}

/// Where and when a record is stored; known only under the append lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Entry number in the consume queue.
    pub queue_offset: i64,
    /// Byte position in the commit log.
    pub physical_offset: i64,
    /// Time of storing, milliseconds.
    pub store_timestamp: i64,
}

/// Whether a record is written with a checksum over all of it (Java: `enabledAppendPropCRC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// As its last property, `__CRC32#`, of 20 bytes.
    Append,
    /// Only the body's: nothing vouches for the other fields.
    Omit,
}

/// Why a message cannot become a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// No topic, or more bytes than a record holds.
    #[error("topic takes {bytes} bytes, allowed are 1 to {TOPIC_BYTES_MAX}")]
    TopicLength {
        /// Bytes of the topic.
        bytes: usize,
    },
    /// Properties do not fit the i16 that holds their length.
    #[error("properties take {bytes} bytes, allowed are {TEXT_BYTES_MAX}")]
    PropertiesTooLong {
        /// Bytes of the properties.
        bytes: usize,
    },
    /// The record would not fit the i32 that holds its length.
    #[error("body of {bytes} bytes does not fit a record")]
    BodyTooLong {
        /// Bytes of the body.
        bytes: usize,
    },
}

/// Parts of a record whose bytes are known before it is written.
struct Parts<'a> {
    /// Without checksum.
    properties: Cow<'a, str>,
    /// Between the properties and the checksum, where the text lacks it.
    separator: &'static [u8],
    checksum_bytes: usize,
}

impl<'a> Parts<'a> {
    fn of(message: &NewMessage<'a>, checksum: Checksum) -> Self {
        // A message that is stored again brings the checksum of its former record.
        let properties = checksum::strip(message.properties);
        // What a reader would take for a damaged checksum must not be the end.
        let is_ambiguous = || checksum::ending(properties.as_bytes()) != Ending::Other;
        if checksum == Checksum::Omit && !is_ambiguous() {
            return Self {
                properties,
                separator: &[],
                checksum_bytes: 0,
            };
        }
        let is_closed = properties.is_empty() || properties.ends_with(ENTRY_SEPARATOR);
        Self {
            properties,
            separator: if is_closed { &[] } else { &[2] },
            checksum_bytes: checksum::CHECKSUM_BYTES,
        }
    }

    fn properties_bytes(&self) -> usize {
        self.properties.len() + self.separator.len() + self.checksum_bytes
    }

    /// Bytes of the whole record.
    fn record_bytes(&self, message: &NewMessage<'_>) -> Result<usize, EncodeError> {
        let topic_bytes = message.topic.len();
        if topic_bytes == 0 || topic_bytes > TOPIC_BYTES_MAX {
            return Err(EncodeError::TopicLength { bytes: topic_bytes });
        }
        let properties_bytes = self.properties_bytes();
        if properties_bytes > TEXT_BYTES_MAX {
            return Err(EncodeError::PropertiesTooLong {
                bytes: properties_bytes,
            });
        }
        let flag = host_bits(message);
        let around = FIXED_BYTES
            + sys_flag::born_host_bytes(flag)
            + sys_flag::store_host_bytes(flag)
            + if is_long(message.topic) { 2 } else { 1 }
            + topic_bytes
            + properties_bytes;
        let total = around.saturating_add(message.body.len());
        if i32::try_from(total).is_err() {
            return Err(EncodeError::BodyTooLong {
                bytes: message.body.len(),
            });
        }
        Ok(total)
    }
}

fn is_long(topic: &str) -> bool {
    topic.len() > TOPIC_BYTES_MAX_V1
}

/// Appends the record to `into`, with queue offset, physical offset, store time and checksum still
/// 0, and returns its length. A checksum among the message's properties is left out.
///
/// # Errors
/// The topic, the properties or the whole do not fit; nothing is appended then.
pub fn encode(
    message: &NewMessage<'_>,
    checksum: Checksum,
    into: &mut Vec<u8>,
) -> Result<usize, EncodeError> {
    let parts = Parts::of(message, checksum);
    let total = parts.record_bytes(message)?;
    into.reserve(total);
    let start = into.len();
    let magic = if is_long(message.topic) {
        MAGIC_V2
    } else {
        MAGIC_V1
    };
    put_i32(into, total as i32);
    put_i32(into, magic);
    put_i32(into, body_crc(message.body));
    put_i32(into, message.queue_id);
    put_i32(into, message.flag);
    put_i64(into, 0);
    put_i64(into, 0);
    put_i32(into, host_bits(message));
    put_i64(into, message.born_timestamp);
    put_host(into, message.born_host);
    put_i64(into, 0);
    put_host(into, message.store_host);
    put_i32(into, message.reconsume_times);
    put_i64(into, message.prepared_transaction_offset);
    put_i32(into, message.body.len() as i32);
    into.extend_from_slice(message.body);
    put_text(into, message.topic, &parts);
    debug_assert_eq!(into.len() - start, total);
    Ok(total)
}

/// Topic and properties, with their lengths.
fn put_text(into: &mut Vec<u8>, topic: &str, parts: &Parts<'_>) {
    if is_long(topic) {
        into.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    } else {
        into.push(topic.len() as u8);
    }
    into.extend_from_slice(topic.as_bytes());
    into.extend_from_slice(&(parts.properties_bytes() as i16).to_be_bytes());
    into.extend_from_slice(parts.properties.as_bytes());
    into.extend_from_slice(parts.separator);
    if parts.checksum_bytes > 0 {
        checksum::reserve(into);
    }
}

/// Writes the placement into an encoded record, and the checksum that it then has.
///
/// Bytes too short to be a record are left alone.
pub fn patch(record: &mut [u8], placement: Placement) {
    let flag = i32_at(record, SYS_FLAG_AT);
    put_at(record, QUEUE_OFFSET_AT, placement.queue_offset);
    put_at(record, PHYSICAL_OFFSET_AT, placement.physical_offset);
    let store_timestamp_at = BORN_HOST_AT + sys_flag::born_host_bytes(flag);
    put_at(record, store_timestamp_at, placement.store_timestamp);
    checksum::renew(record);
}

/// The filler that ends a commit-log file with `bytes_left` bytes to spare.
pub fn blank(bytes_left: u32) -> [u8; BLANK_BYTES] {
    let mut filler = [0; BLANK_BYTES];
    filler[..4].copy_from_slice(&bytes_left.to_be_bytes());
    filler[4..].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
    filler
}

fn host_bits(message: &NewMessage<'_>) -> i32 {
    let both = sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6;
    let mut flag = message.sys_flag & !both;
    if is_v6(message.born_host) {
        flag |= sys_flag::BORN_HOST_V6;
    }
    if is_v6(message.store_host) {
        flag |= sys_flag::STORE_HOST_V6;
    }
    flag
}

/// An IPv4 peer of a dual-stack socket shows up as a mapped IPv6 address; it is stored as IPv4.
fn is_v6(host: SocketAddr) -> bool {
    host.ip().to_canonical().is_ipv6()
}

fn put_host(into: &mut Vec<u8>, host: SocketAddr) {
    match host.ip().to_canonical() {
        IpAddr::V4(ip) => into.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => into.extend_from_slice(&ip.octets()),
    }
    put_i32(into, i32::from(host.port()));
}

fn put_i32(into: &mut Vec<u8>, value: i32) {
    into.extend_from_slice(&value.to_be_bytes());
}

fn put_i64(into: &mut Vec<u8>, value: i64) {
    into.extend_from_slice(&value.to_be_bytes());
}

fn put_at(record: &mut [u8], at: usize, value: i64) {
    if let Some(place) = record
        .get_mut(at..)
        .and_then(|tail| tail.first_chunk_mut::<8>())
    {
        *place = value.to_be_bytes();
    }
}
