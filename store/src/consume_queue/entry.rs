//! The 20 bytes of a queue entry.

use crate::api::QueueEntry;

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 20;

/// Stands for entries that the log no longer knows, before the first entry of a file.
pub(crate) const BLANK_ENTRY: [u8; ENTRY_BYTES] = {
    let mut bytes = [0; ENTRY_BYTES];
    (bytes[8], bytes[9], bytes[10], bytes[11]) = (0x7F, 0xFF, 0xFF, 0xFF);
    bytes
};

pub(crate) fn encode(entry: &QueueEntry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&entry.physical_offset.to_be_bytes());
    bytes[8..12].copy_from_slice(&entry.record_bytes.to_be_bytes());
    bytes[12..].copy_from_slice(&entry.tags_code.to_be_bytes());
    bytes
}

#[inline]
pub(crate) fn decode(bytes: &[u8; ENTRY_BYTES]) -> QueueEntry {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    let [i, j, k, l, tags_code @ ..] = rest;
    QueueEntry {
        physical_offset: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        record_bytes: i32::from_be_bytes([i, j, k, l]),
        tags_code: i64::from_be_bytes(tags_code),
    }
}

/// Whether the bytes were ever written as an entry.
pub(crate) fn is_written(entry: &QueueEntry) -> bool {
    entry.physical_offset >= 0 && entry.record_bytes > 0
}

/// Whether the entry stands for a message that the log no longer knows.
pub(crate) fn is_blank(entry: &QueueEntry) -> bool {
    entry.record_bytes == i32::MAX && entry.physical_offset == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_a_round_trip() {
        let entry = QueueEntry {
            physical_offset: 0x0102_0304_0506_0708,
            record_bytes: 0x1122_3344,
            tags_code: -0x0102_0304_0506_0708,
        };
        let bytes = encode(&entry);
        assert_eq!(
            bytes[..12],
            [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44]
        );
        assert_eq!(decode(&bytes), entry);
        assert!(is_written(&entry) && !is_blank(&entry));
    }

    #[test]
    fn blank_and_unwritten_differ() {
        let blank = decode(&BLANK_ENTRY);
        assert!(is_written(&blank) && is_blank(&blank));
        assert!(!is_written(&decode(&[0; ENTRY_BYTES])));
    }
}
