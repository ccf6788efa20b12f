//! The stored record: how a message lies in the commit log and in the body of a pull answer.
//!
//! The one encoder and the one parser of the format, for store, broker and client. A record is
//! encoded once, before its place is known, and [`patch`]ed when it is. [`check`] trusts nothing
//! that it reads.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::cursor::{Cursor, OutOfBytes};
use super::properties::TEXT_BYTES_MAX;
use super::sys_flag;

/// Magic of a record whose topic length takes one byte.
pub const MAGIC_V1: i32 = 0xDAA3_20A7_u32 as i32;
/// Magic of a record whose topic length takes two bytes.
pub const MAGIC_V2: i32 = 0xDAA3_20AB_u32 as i32;
/// Magic of the filler at the end of a commit-log file.
pub const MAGIC_BLANK: i32 = 0xCBD4_3194_u32 as i32;
/// Length and magic of the filler; so much always stays free behind the last record of a file.
pub const BLANK_BYTES: usize = 8;
/// Longest topic in a v1 record.
pub const TOPIC_BYTES_MAX_V1: usize = 127;
/// What a record may add to its body.
pub const OVERHEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest topic that a record takes: that of retry and dead-letter topics.
pub const TOPIC_BYTES_MAX: usize = 255;

const QUEUE_ID_AT: usize = 12;
const QUEUE_OFFSET_AT: usize = 20;
const PHYSICAL_OFFSET_AT: usize = 28;
const SYS_FLAG_AT: usize = 36;
const BORN_HOST_AT: usize = 48;
/// Everything but hosts, body, topic length, topic and properties.
const FIXED_BYTES: usize = BORN_HOST_AT + 8 + 4 + 8 + 4 + 2;
const CRC_MASK: u32 = 0x7FFF_FFFF;

const _: () = assert!(
    FIXED_BYTES + 8 + 8 + 1 == 91,
    "smallest v1 record over IPv4"
);

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

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Filler up to the end of a commit-log file.
    #[error("filler of {bytes} bytes at the end of the file")]
    Blank {
        /// Length that the filler names.
        bytes: usize,
    },
    /// Nothing was written here: length and magic are 0.
    #[error("nothing written here")]
    Unwritten,
    /// The record says it is longer than the bytes there are.
    #[error("record of {need} bytes, only {have} there")]
    Truncated {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// No magic that we know.
    #[error("unknown magic {0:#x}")]
    BadMagic(i32),
    /// The lengths of the parts do not add up to the record's.
    #[error("record of {total} bytes whose parts do not add up to it")]
    BadLength {
        /// Length that the record names.
        total: i32,
    },
    /// The body is not the one that was stored.
    #[error("body checksum is {found:#x}, stored was {stored:#x}")]
    BadCrc {
        /// As stored.
        stored: i32,
        /// As computed.
        found: i32,
    },
    /// The topic is not text.
    #[error("topic is not UTF-8")]
    BadTopic,
}

/// How much [`check`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckBody {
    /// Magic and lengths only.
    Skip,
    /// The body's checksum as well.
    Crc,
}

/// A record's fields, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// All bytes of the record.
    pub record_bytes: usize,
    /// Magic: v1 or v2.
    pub magic: i32,
    /// Checksum of the body as stored.
    pub body_crc: i32,
    /// Queue within the topic.
    pub queue_id: i32,
    /// The user's flag.
    pub flag: i32,
    /// Entry number in the consume queue.
    pub queue_offset: i64,
    /// Byte position in the commit log.
    pub physical_offset: i64,
    /// System flag.
    pub sys_flag: i32,
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
    /// Body as stored, perhaps compressed.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Properties as stored.
    pub properties: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The properties as text; foreign bytes become replacement characters, as Java does.
    pub fn properties_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.properties)
    }

    /// Whether topic or properties end in zero bytes: after a power cut that is a record whose last
    /// bytes did not reach the disk, for the checksum covers the body only.
    pub fn ends_in_zeros(&self) -> bool {
        let ends_in_zero = |bytes: &[u8]| bytes.last() == Some(&0);
        ends_in_zero(self.topic.as_bytes()) || ends_in_zero(self.properties)
    }

    /// The record as a new message, to store it again elsewhere.
    ///
    /// `properties` is given apart since it is mostly changed on the way.
    pub fn as_new<'b>(&self, properties: &'b str) -> NewMessage<'b>
    where
        'a: 'b,
    {
        NewMessage {
            topic: self.topic,
            queue_id: self.queue_id,
            flag: self.flag,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_host: self.store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.prepared_transaction_offset,
            body: self.body,
            properties,
        }
    }
}

/// Checksum of a body as records hold it.
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & CRC_MASK) as i32
}

/// Bytes that the message takes as a record.
///
/// # Errors
/// The topic, the properties or the whole do not fit.
pub fn encoded_bytes(message: &NewMessage<'_>) -> Result<usize, EncodeError> {
    let topic_bytes = message.topic.len();
    if topic_bytes == 0 || topic_bytes > TOPIC_BYTES_MAX {
        return Err(EncodeError::TopicLength { bytes: topic_bytes });
    }
    let properties_bytes = message.properties.len();
    if properties_bytes > TEXT_BYTES_MAX {
        return Err(EncodeError::PropertiesTooLong {
            bytes: properties_bytes,
        });
    }
    let flag = host_bits(message);
    let topic_length_bytes = if topic_bytes > TOPIC_BYTES_MAX_V1 {
        2
    } else {
        1
    };
    let around = FIXED_BYTES
        + sys_flag::born_host_bytes(flag)
        + sys_flag::store_host_bytes(flag)
        + topic_length_bytes
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

/// Appends the record to `into`, with queue offset, physical offset and store time still 0, and
/// returns its length.
///
/// # Errors
/// Those of [`encoded_bytes`]; nothing is appended then.
pub fn encode(message: &NewMessage<'_>, into: &mut Vec<u8>) -> Result<usize, EncodeError> {
    let total = encoded_bytes(message)?;
    let long_topic = message.topic.len() > TOPIC_BYTES_MAX_V1;
    into.reserve(total);
    let start = into.len();
    put_i32(into, total as i32);
    put_i32(into, if long_topic { MAGIC_V2 } else { MAGIC_V1 });
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
    if long_topic {
        into.extend_from_slice(&(message.topic.len() as u16).to_be_bytes());
    } else {
        into.push(message.topic.len() as u8);
    }
    into.extend_from_slice(message.topic.as_bytes());
    into.extend_from_slice(&(message.properties.len() as i16).to_be_bytes());
    into.extend_from_slice(message.properties.as_bytes());
    debug_assert_eq!(into.len() - start, total);
    Ok(total)
}

/// Writes the placement into an encoded record.
///
/// Bytes too short to be a record are left alone.
pub fn patch(record: &mut [u8], placement: Placement) {
    let flag = i32_at(record, SYS_FLAG_AT);
    put_at(record, QUEUE_OFFSET_AT, placement.queue_offset);
    put_at(record, PHYSICAL_OFFSET_AT, placement.physical_offset);
    let store_timestamp_at = BORN_HOST_AT + sys_flag::born_host_bytes(flag);
    put_at(record, store_timestamp_at, placement.store_timestamp);
}

/// The filler that ends a commit-log file with `bytes_left` bytes to spare.
pub fn blank(bytes_left: u32) -> [u8; BLANK_BYTES] {
    let mut filler = [0; BLANK_BYTES];
    filler[..4].copy_from_slice(&bytes_left.to_be_bytes());
    filler[4..].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
    filler
}

/// Reads the record that `bytes` begins with; more bytes may follow it.
///
/// # Errors
/// The bytes are no whole, sound record; the error says what they are instead.
pub fn check(bytes: &[u8], body: CheckBody) -> Result<RecordView<'_>, RecordError> {
    let truncated = RecordError::Truncated {
        need: BLANK_BYTES,
        have: bytes.len(),
    };
    let mut head = Cursor::new(bytes);
    let total = head.i32().map_err(|_| truncated)?;
    let magic = head.i32().map_err(|_| truncated)?;
    let length = usize::try_from(total).map_err(|_| RecordError::BadLength { total });
    match magic {
        MAGIC_V1 | MAGIC_V2 => {}
        MAGIC_BLANK => return Err(RecordError::Blank { bytes: length? }),
        0 if total == 0 => return Err(RecordError::Unwritten),
        _ => return Err(RecordError::BadMagic(magic)),
    }
    let record = bytes.get(..length?).ok_or(RecordError::Truncated {
        need: length?,
        have: bytes.len(),
    })?;
    let view = fields(record).map_err(|error| match error {
        PartError::OutOfBytes => RecordError::BadLength { total },
        PartError::Topic => RecordError::BadTopic,
    })?;
    if body == CheckBody::Crc && !view.body.is_empty() {
        let found = body_crc(view.body);
        if found != view.body_crc {
            return Err(RecordError::BadCrc {
                stored: view.body_crc,
                found,
            });
        }
    }
    Ok(view)
}

/// Why a part of a record cannot be read.
enum PartError {
    OutOfBytes,
    Topic,
}

impl From<OutOfBytes> for PartError {
    fn from(_: OutOfBytes) -> Self {
        Self::OutOfBytes
    }
}

/// Reads all fields of a record that takes exactly these bytes.
fn fields(record: &[u8]) -> Result<RecordView<'_>, PartError> {
    let mut at = Cursor::new(record);
    at.i32()?;
    let magic = at.i32()?;
    let body_crc = at.i32()?;
    let queue_id = at.i32()?;
    let flag = at.i32()?;
    let queue_offset = at.i64()?;
    let physical_offset = at.i64()?;
    let sys_flag = at.i32()?;
    let born_timestamp = at.i64()?;
    let born_host = host(&mut at, sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
    let store_timestamp = at.i64()?;
    let store_host = host(&mut at, sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
    let reconsume_times = at.i32()?;
    let prepared_transaction_offset = at.i64()?;
    let body_bytes = usize::try_from(at.i32()?).map_err(|_| OutOfBytes)?;
    let body = at.bytes(body_bytes)?;
    let topic_bytes = if magic == MAGIC_V2 {
        usize::try_from(at.i16()?).map_err(|_| OutOfBytes)?
    } else {
        usize::from(at.u8()?)
    };
    let topic = std::str::from_utf8(at.bytes(topic_bytes)?).map_err(|_| PartError::Topic)?;
    let properties_bytes = usize::try_from(at.i16()?).map_err(|_| OutOfBytes)?;
    let properties = at.bytes(properties_bytes)?;
    if !at.is_empty() {
        return Err(PartError::OutOfBytes);
    }
    Ok(RecordView {
        record_bytes: record.len(),
        magic,
        body_crc,
        queue_id,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        born_timestamp,
        born_host,
        store_timestamp,
        store_host,
        reconsume_times,
        prepared_transaction_offset,
        body,
        topic,
        properties,
    })
}

/// The queue id of an encoded record, for those who hold only its bytes.
pub fn queue_id(record: &[u8]) -> i32 {
    i32_at(record, QUEUE_ID_AT)
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

fn host(at: &mut Cursor<'_>, v6: bool) -> Result<SocketAddr, OutOfBytes> {
    let ip = if v6 {
        IpAddr::V6(Ipv6Addr::from(at.array::<16>()?))
    } else {
        IpAddr::V4(Ipv4Addr::from(at.array::<4>()?))
    };
    // Java keeps ports as i32; one that is no port cannot be answered to, so it reads as 0.
    let port = u16::try_from(at.i32()?).unwrap_or(0);
    Ok(SocketAddr::new(ip, port))
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

fn i32_at(record: &[u8], at: usize) -> i32 {
    let place = record.get(at..).and_then(|tail| tail.first_chunk::<4>());
    place.map_or(0, |bytes| i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
