//! Every single bit of a stored record, flipped.

use serde_json::Value;
use thrustmq_proto_compat::message::record::{CheckBody, RecordView, check};
use thrustmq_proto_compat::message::sys_flag;

use crate::fixture::{bytes, read};

/// Bits of the system flag that say how long the hosts are.
const HOST_BITS: i32 = sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6;

/// The records of a file.
fn records(name: &str) -> Vec<Vec<u8>> {
    let is_record = |fixture: &&Value| fixture["kind"] != "blank";
    let fixtures = read(name);
    let records: Vec<_> = fixtures.iter().filter(is_record).collect();
    assert!(records.len() > 20);
    records
        .iter()
        .map(|record| bytes(&record["bytes"]))
        .collect()
}

/// The bits whose flips go unseen, as byte and bit. Another record follows, as in a log: a length
/// that grew finds bytes there.
fn unseen(record: &[u8], level: CheckBody) -> Vec<(usize, u32)> {
    let mut log = [record, record].concat();
    assert!(check(&log, level).is_ok());
    let mut unseen = Vec::new();
    for at in 0..record.len() {
        for bit in 0..8 {
            log[at] ^= 1 << bit;
            if check(&log, level).is_ok() {
                unseen.push((at, bit));
            }
            log[at] ^= 1 << bit;
        }
    }
    unseen
}

/// Whether nothing but a checksum over the record could tell that the bit was flipped.
fn is_exposed(record: &RecordView<'_>, at: usize, bit: u32) -> bool {
    let hosts_bytes =
        sys_flag::born_host_bytes(record.sys_flag) + sys_flag::store_host_bytes(record.sys_flag);
    let body_length_at = 68 + hosts_bytes;
    let topic_length_at = body_length_at + 4 + record.body.len();
    let properties_at = record.record_bytes - record.properties.len();
    let topic_at = properties_at - 2 - record.topic.len();
    match at {
        // Length and magic.
        0..8 => false,
        8..12 => record.body.is_empty(),
        // Queue, flag, offsets.
        12..36 => true,
        36..40 => HOST_BITS & 1 << (8 * (39 - at) as u32 + bit) == 0,
        // Times, hosts, retries, transaction.
        _ if at < body_length_at => true,
        _ if at < topic_length_at => false,
        _ if at < topic_at => false,
        // A letter that is no longer ASCII is no text.
        _ if at < properties_at - 2 => bit < 7,
        _ => at >= properties_at,
    }
}

#[test]
fn no_flipped_bit_escapes_the_checksum_over_the_record() {
    for record in records("records-checksum.json") {
        for level in [CheckBody::Crc, CheckBody::CrcDemanded] {
            assert_eq!(unseen(&record, level), []);
        }
    }
}

#[test]
fn without_it_header_topic_and_properties_are_unprotected() {
    for record in records("records.json") {
        let view = check(&record, CheckBody::Crc).unwrap();
        let every_bit = (0..record.len()).flat_map(|at| (0..8).map(move |bit| (at, bit)));
        let expected: Vec<_> = every_bit
            .filter(|(at, bit)| is_exposed(&view, *at, *bit))
            .collect();
        assert_eq!(unseen(&record, CheckBody::Crc), expected, "{view:?}");
    }
}
