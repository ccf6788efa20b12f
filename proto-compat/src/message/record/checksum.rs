//! The checksum over a whole record: its last property, always the last 20 bytes.
//!
//! `__CRC32#` 0x01, the CRC-32 of all bytes before it (31 bits) in ten digits with the lowest first,
//! 0x02. It is found by its place and form alone, whatever the lengths in the record say, so that a
//! flipped bit cannot hide it; with one byte amiss it counts as damaged, not as absent.

use std::borrow::Cow;

use super::CRC_MASK;
use crate::message::{properties, property_name};

/// Bytes of the property.
pub(super) const CHECKSUM_BYTES: usize = NAME.len() + 1 + DIGITS + 1;

const NAME: &[u8] = property_name::CRC32.as_bytes();
const DIGITS: usize = 10;

/// What the last bytes of a record are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// No checksum.
    Other,
    /// A checksum but for one byte.
    Damaged,
    /// A checksum with this value.
    Checksum(u64),
}

/// Looks at the last bytes of a record, or of its properties.
pub(super) fn ending(record: &[u8]) -> Ending {
    let Some(ending) = record.last_chunk::<CHECKSUM_BYTES>() else {
        return Ending::Other;
    };
    let (name, rest) = ending.split_at(NAME.len());
    let strangers = name.iter().zip(NAME).filter(|(is, be)| is != be).count();
    let mut strangers = strangers + usize::from(rest.first() != Some(&1));
    strangers += usize::from(rest.last() != Some(&2));
    let mut value = 0;
    for digit in rest.iter().skip(1).take(DIGITS).rev() {
        strangers += usize::from(!digit.is_ascii_digit());
        value = value * 10 + u64::from(digit.wrapping_sub(b'0'));
    }
    match strangers {
        0 => Ending::Checksum(value),
        1 => Ending::Damaged,
        _ => Ending::Other,
    }
}

/// The checksum that a record should hold.
pub(super) fn compute(record: &[u8]) -> u64 {
    let covered = record.len().saturating_sub(CHECKSUM_BYTES);
    u64::from(crc32fast::hash(record.get(..covered).unwrap_or_default()) & CRC_MASK)
}

/// Appends a checksum whose value is still 0.
pub(super) fn reserve(into: &mut Vec<u8>) {
    into.extend_from_slice(NAME);
    into.push(1);
    into.extend_from_slice(&[b'0'; DIGITS]);
    into.push(2);
}

/// Computes the checksum anew, if the record ends with one.
pub(super) fn renew(record: &mut [u8]) {
    if !matches!(ending(record), Ending::Checksum(_)) {
        return;
    }
    let mut value = compute(record);
    let digits = record.iter_mut().rev().skip(1).take(DIGITS).rev();
    for digit in digits {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Properties without the checksum of a record that they were taken from.
pub(super) fn strip(text: &str) -> Cow<'_, str> {
    // Hardly any text holds this letter of the name, and to look for one byte is cheapest.
    match memchr::memchr(b'#', text.as_bytes()) {
        Some(_) => properties::without(text, property_name::CRC32),
        None => Cow::Borrowed(text),
    }
}
