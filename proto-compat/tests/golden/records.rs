//! The records of a commit log.

use std::net::SocketAddr;

use serde_json::Value;
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::record::{
    CheckBody, Checksum, MAGIC_V1, MAGIC_V2, Placement, RecordError, RecordView, blank, check,
    encode, patch,
};

use crate::fixture::{bytes, number, path, read, text};

fn address(value: &Value) -> SocketAddr {
    let port = u16::try_from(number(&value["port"])).unwrap();
    SocketAddr::new(text(&value["ip"]).parse().unwrap(), port)
}

fn assert_meaning(record: &RecordView<'_>, expected: &Value) {
    let magic = if number(&expected["version"]) == 2 {
        MAGIC_V2
    } else {
        MAGIC_V1
    };
    assert_eq!(record.magic, magic, "{expected}");
    for (field, ours) in [
        ("bodyCrc", i64::from(record.body_crc)),
        ("queueId", i64::from(record.queue_id)),
        ("flag", i64::from(record.flag)),
        ("queueOffset", record.queue_offset),
        ("sysFlag", i64::from(record.sys_flag)),
        ("bornTimestamp", record.born_timestamp),
        ("storeTimestamp", record.store_timestamp),
        ("reconsumeTimes", i64::from(record.reconsume_times)),
        (
            "preparedTransactionOffset",
            record.prepared_transaction_offset,
        ),
    ] {
        assert_eq!(ours, number(&expected[field]), "{field} {expected}");
    }
    assert_eq!(record.born_host, address(&expected["bornHost"]));
    assert_eq!(record.store_host, address(&expected["storeHost"]));
    assert_eq!(record.topic, text(&expected["topic"]));
    assert_eq!(record.body, bytes(&expected["body"]));
    let id = OffsetId {
        store_host: record.store_host,
        physical_offset: record.physical_offset,
    };
    assert_eq!(id.encode(), text(&expected["offsetMsgId"]));
    let properties = Properties::parse(&record.properties_text());
    let expected = expected["properties"].as_object().unwrap();
    assert_eq!(properties.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(properties.get(name), Some(text(value)), "{name}");
    }
}

#[test]
fn records_are_what_java_means() {
    for fixture in read("records.json")
        .iter()
        .filter(|f| f["kind"] == "record")
    {
        let stored = bytes(&fixture["bytes"]);
        let record = check(&stored, CheckBody::Crc).unwrap();
        assert_eq!(record.physical_offset, number(&fixture["physicalOffset"]));
        assert_eq!(record.record_bytes as i64, number(&fixture["size"]));
        assert_meaning(&record, &fixture["meaning"]);
    }
}

#[test]
fn records_are_written_as_java_writes_them() {
    for fixture in read("records.json")
        .iter()
        .filter(|f| f["kind"] == "record")
    {
        let stored = bytes(&fixture["bytes"]);
        let record = check(&stored, CheckBody::Crc).unwrap();
        let properties = record.properties_text();
        let mut written = Vec::new();
        encode(&record.as_new(&properties), Checksum::Omit, &mut written).unwrap();
        let placement = Placement {
            queue_offset: record.queue_offset,
            physical_offset: record.physical_offset,
            store_timestamp: record.store_timestamp,
        };
        patch(&mut written, placement);
        assert_eq!(written, stored, "{}", fixture["meaning"]);
    }
}

/// The record of a fixture, written again from the properties that Java was given.
fn written_again(record: &RecordView<'_>, given: &str) -> Vec<u8> {
    let mut written = Vec::new();
    encode(&record.as_new(given), Checksum::Append, &mut written).unwrap();
    let placement = Placement {
        queue_offset: record.queue_offset,
        physical_offset: record.physical_offset,
        store_timestamp: record.store_timestamp,
    };
    patch(&mut written, placement);
    written
}

#[test]
fn checksums_over_records_are_those_of_java() {
    let mut odd = 0;
    for fixture in read("records-checksum.json") {
        let stored = bytes(&fixture["bytes"]);
        let record = check(&stored, CheckBody::CrcDemanded).unwrap();
        let written = written_again(&record, text(&fixture["given"]));
        // Java glues the checksum to a batch element's last property if that lacks its separator,
        // and keeps a checksum that the element brings.
        if fixture["kind"] == "odd batch element" {
            odd += 1;
            assert_ne!(written, stored);
            check(&written, CheckBody::CrcDemanded).unwrap();
            continue;
        }
        assert_meaning(&record, &fixture["meaning"]);
        assert_eq!(written, stored, "{}", fixture["given"]);
    }
    assert_eq!(odd, 2);
}

#[test]
fn records_without_checksum_are_sound_unless_one_is_demanded() {
    let fixture = &read("records.json")[0];
    let stored = bytes(&fixture["bytes"]);
    assert_eq!(
        check(&stored, CheckBody::CrcDemanded),
        Err(RecordError::NoRecordCrc)
    );
}

/// The files of the log are its records one after another, with a filler at the end of a full file.
#[test]
fn the_log_is_its_records() {
    let mut log = Vec::new();
    for file in ["00000000000000000000", "00000000000000008192"] {
        log.extend(std::fs::read(path("store/commitlog").join(file)).unwrap());
    }
    let mut at = 0;
    for fixture in read("records.json") {
        let rest = &log[at..];
        let size = usize::try_from(number(&fixture["size"])).unwrap();
        assert_eq!(at as i64, number(&fixture["physicalOffset"]));
        match check(rest, CheckBody::Crc) {
            Ok(record) => assert_eq!(record.record_bytes, size),
            Err(RecordError::Blank { bytes }) => {
                assert_eq!((bytes, &fixture["kind"]), (size, &Value::from("blank")));
                assert!(rest.starts_with(&blank(size as u32)));
            }
            Err(other) => panic!("at {at}: {other}"),
        }
        at += size;
    }
    assert!(matches!(
        check(&log[at..], CheckBody::Crc),
        Err(RecordError::Unwritten)
    ));
}
