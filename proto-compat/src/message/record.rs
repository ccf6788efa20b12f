//! The stored record: how a message lies in the commit log and in the body of a pull answer.
//!
//! The one encoder and the one parser of the format, for store, broker and client. A record is
//! encoded once, before its place is known, and [`patch`]ed when it is. [`check`] trusts nothing
//! that it reads.

mod check;
mod checksum;
mod encode;

pub use check::{CheckBody, RecordError, RecordView, check};
pub use encode::{Checksum, EncodeError, NewMessage, Placement, blank, encode, patch};

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

/// Checksum of a body as records hold it.
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & CRC_MASK) as i32
}

/// The queue id of an encoded record, for those who hold only its bytes.
pub fn queue_id(record: &[u8]) -> i32 {
    i32_at(record, QUEUE_ID_AT)
}

/// The queue offset of an encoded record, for those who hold only its front; -1 if even that is not
/// there.
pub fn queue_offset(record: &[u8]) -> i64 {
    let place = record.get(QUEUE_OFFSET_AT..);
    let place = place.and_then(|tail| tail.first_chunk::<8>());
    place.map_or(-1, |bytes| i64::from_be_bytes(*bytes))
}

/// The physical offset of an encoded record, for those who hold only its front; 0 if even that is
/// not there.
pub fn physical_offset(record: &[u8]) -> i64 {
    let place = record.get(PHYSICAL_OFFSET_AT..);
    let place = place.and_then(|tail| tail.first_chunk::<8>());
    place.map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

fn i32_at(record: &[u8], at: usize) -> i32 {
    let place = record.get(at..).and_then(|tail| tail.first_chunk::<4>());
    place.map_or(0, |bytes| i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
