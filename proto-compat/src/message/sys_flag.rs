//! The bits of a message's system flag.

/// The body is compressed.
pub const COMPRESSED: i32 = 0x1;
/// The TAGS property holds several tags.
pub const MULTI_TAGS: i32 = 0x2;
/// Half message of a transaction, invisible until it is committed.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// The committed message of a transaction.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// Marks a rolled-back transaction.
pub const TRANSACTION_ROLLBACK: i32 = 0xC;
/// Both transaction bits.
pub const TRANSACTION_MASK: i32 = 0xC;
/// The born host is an IPv6 address.
pub const BORN_HOST_V6: i32 = 0x10;
/// The store host is an IPv6 address.
pub const STORE_HOST_V6: i32 = 0x20;
/// The body is a batch that the reader has to unwrap.
pub const NEED_UNWRAP: i32 = 0x40;
/// The record is an inner batch.
pub const INNER_BATCH: i32 = 0x80;
/// Compression type LZ4 frame.
pub const COMPRESSION_LZ4: i32 = 0x100;
/// Compression type Zstandard.
pub const COMPRESSION_ZSTD: i32 = 0x200;
/// Compression type zlib.
pub const COMPRESSION_ZLIB: i32 = 0x300;
/// All bits of the compression type; 0 with [`COMPRESSED`] is zlib too.
pub const COMPRESSION_MASK: i32 = 0x700;

/// The transaction bits of a flag: 0 for an ordinary message.
pub const fn transaction_type(sys_flag: i32) -> i32 {
    sys_flag & TRANSACTION_MASK
}

/// The flag with its transaction bits replaced.
pub const fn with_transaction_type(sys_flag: i32, transaction_type: i32) -> i32 {
    (sys_flag & !TRANSACTION_MASK) | (transaction_type & TRANSACTION_MASK)
}

/// Whether a record of this flag gets a place in its consume queue: prepared and rolled-back
/// transaction records do not.
pub const fn has_queue_entry(sys_flag: i32) -> bool {
    let kind = transaction_type(sys_flag);
    kind != TRANSACTION_PREPARED && kind != TRANSACTION_ROLLBACK
}

/// Whether the body is compressed.
pub const fn is_compressed(sys_flag: i32) -> bool {
    sys_flag & COMPRESSED != 0
}

/// The flag of a decompressed body; the type bits stay, as Java's clients keep them.
pub const fn without_compressed(sys_flag: i32) -> i32 {
    sys_flag & !COMPRESSED
}

/// Bytes that the born host takes in a record: address and port.
pub const fn born_host_bytes(sys_flag: i32) -> usize {
    if sys_flag & BORN_HOST_V6 == 0 { 8 } else { 20 }
}

/// Bytes that the store host takes in a record: address and port.
pub const fn store_host_bytes(sys_flag: i32) -> usize {
    if sys_flag & STORE_HOST_V6 == 0 { 8 } else { 20 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_bits_are_replaced_and_others_kept() {
        let flag = COMPRESSED | TRANSACTION_PREPARED | BORN_HOST_V6;
        let committed = with_transaction_type(flag, TRANSACTION_COMMIT);
        assert_eq!(committed, COMPRESSED | TRANSACTION_COMMIT | BORN_HOST_V6);
        assert_eq!(transaction_type(committed), TRANSACTION_COMMIT);
    }

    #[test]
    fn only_ordinary_and_committed_records_enter_a_queue() {
        assert!(has_queue_entry(COMPRESSED));
        assert!(has_queue_entry(TRANSACTION_COMMIT | COMPRESSED));
        assert!(!has_queue_entry(TRANSACTION_PREPARED | COMPRESSED));
        assert!(!has_queue_entry(TRANSACTION_ROLLBACK | COMPRESSED));
    }

    #[test]
    fn clearing_the_compressed_bit_keeps_the_type() {
        let flag = without_compressed(COMPRESSED | COMPRESSION_ZSTD);
        assert!(!is_compressed(flag));
        assert_eq!(flag & COMPRESSION_MASK, COMPRESSION_ZSTD);
    }

    #[test]
    fn hosts_take_eight_or_twenty_bytes() {
        assert_eq!(born_host_bytes(STORE_HOST_V6), 8);
        assert_eq!(born_host_bytes(BORN_HOST_V6), 20);
        assert_eq!(store_host_bytes(STORE_HOST_V6), 20);
        assert_eq!(store_host_bytes(BORN_HOST_V6), 8);
    }
}
