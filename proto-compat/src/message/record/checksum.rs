//! The checksum over a whole record: its last property, always the last 20 bytes.
//!
//! `__CRC32#` 0x01, the CRC-32 of all bytes before it (31 bits) in ten digits with the lowest first,
//! 0x02. It is found by its place and form alone, whatever the lengths in the record say, so that a
//! flipped bit cannot hide it; with one byte amiss it counts as damaged, not as absent. So it does
//! with any number of zeros in it: after a power cut a sector before its last byte may be missing.

use std::borrow::Cow;

use super::CRC_MASK;
use crate::message::{properties, property_name};

/// The property, with the value 0.
const FORM: &[u8; CHECKSUM_BYTES] = b"__CRC32#\x010000000000\x02";
const DIGITS: std::ops::Range<usize> = 9..19;

/// Bytes of the property.
pub(super) const CHECKSUM_BYTES: usize = 20;

/// What the last bytes of a record are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// No checksum.
    Other,
    /// A checksum but for one byte, or for bytes that were never written.
    Damaged,
    /// A checksum with this value.
    Checksum(u64),
}

/// Looks at the last bytes of a record, or of its properties.
pub(super) fn ending(record: &[u8]) -> Ending {
    let Some(ending) = record.last_chunk::<CHECKSUM_BYTES>() else {
        return Ending::Other;
    };
    match misfits(ending) {
        0 => {
            let digits = ending[DIGITS].iter().rev();
            let add = |value, digit: &u8| value * 10 + u64::from(digit.wrapping_sub(b'0'));
            Ending::Checksum(digits.fold(0, add))
        }
        1 => Ending::Damaged,
        _ if has_hole(ending) => Ending::Damaged,
        _ => Ending::Other,
    }
}

/// How many bytes do not fit the form.
fn misfits(ending: &[u8; CHECKSUM_BYTES]) -> u8 {
    let misfit = |(byte, form): (&u8, &u8)| u8::from(!fits(*byte, *form));
    ending.iter().zip(FORM).map(misfit).sum()
}

fn fits(byte: u8, form: u8) -> bool {
    let is_digit = byte.wrapping_sub(b'0') < 10;
    (byte == form) | (is_digit & (form == b'0'))
}

/// Whether the last byte fits the form, and all others do that were written.
fn has_hole(ending: &[u8; CHECKSUM_BYTES]) -> bool {
    let mut places = ending.iter().zip(FORM).rev();
    let last_fits = places.next().is_some_and(|(byte, form)| byte == form);
    last_fits && places.all(|(byte, form)| *byte == 0 || fits(*byte, *form))
}

/// The checksum that a record should hold.
pub(super) fn compute(record: &[u8]) -> u32 {
    let covered = record.len().saturating_sub(CHECKSUM_BYTES);
    crc32fast::hash(record.get(..covered).unwrap_or_default()) & CRC_MASK
}

/// Appends a checksum whose value is still 0.
pub(super) fn reserve(into: &mut Vec<u8>) {
    into.extend_from_slice(FORM);
}

/// Computes the checksum anew, if the record ends with one.
pub(super) fn renew(record: &mut [u8]) {
    let Some(ending) = record.last_chunk::<CHECKSUM_BYTES>() else {
        return;
    };
    if misfits(ending) > 0 {
        return;
    }
    let mut value = compute(record);
    let Some(ending) = record.last_chunk_mut::<CHECKSUM_BYTES>() else {
        return;
    };
    for digit in &mut ending[DIGITS] {
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
