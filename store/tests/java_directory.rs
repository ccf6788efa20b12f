//! A directory that RocketMQ's own store wrote (5.5.0, by `java_directory/WriteStore.java`), opened
//! by ours: closed cleanly, killed, and with what is derived deleted.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::path::Path;

use support::*;
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::{QueryRequest, Store};

/// One message, as Java described it.
struct Expected<'a> {
    topic: &'a str,
    queue_id: i32,
    queue_offset: i64,
    physical_offset: i64,
    flag: i32,
    tags_code: i64,
    born_host: &'a str,
    offset_id: &'a str,
    body: &'a str,
}

fn expected(text: &str) -> Vec<Expected<'_>> {
    let line = |line| {
        let fields: Vec<&str> = str::split(line, ' ').collect();
        Expected {
            topic: fields[0],
            queue_id: fields[1].parse().unwrap(),
            queue_offset: fields[2].parse().unwrap(),
            physical_offset: fields[3].parse().unwrap(),
            flag: fields[4].parse().unwrap(),
            tags_code: fields[5].parse().unwrap(),
            born_host: fields[6].strip_prefix('/').unwrap(),
            offset_id: fields[7],
            body: fields[8],
        }
    };
    text.lines().map(line).collect()
}

fn image() -> Image {
    Image::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java_directory/files"))
}

fn assert_holds_all(store: &Store) {
    let expected = expected(include_str!("java_directory/expected.txt"));
    assert_eq!(expected.len(), 90);
    for message in &expected {
        assert_holds(store, message);
    }
    let all = store
        .query(&QueryRequest {
            topic: "topic-0",
            key: "all",
            messages_max: 99,
            begin_ms: 0,
            end_ms: i64::MAX,
        })
        .unwrap();
    assert_eq!(all.records.len(), 45);
}

fn assert_holds(store: &Store, expected: &Expected<'_>) {
    let Expected {
        topic, queue_id, ..
    } = *expected;
    let entry = store
        .queue_entry(topic, queue_id, expected.queue_offset)
        .unwrap();
    assert_eq!(entry.physical_offset, expected.physical_offset);
    assert_eq!(entry.tags_code, expected.tags_code);
    let outcome = read(store, topic, queue_id, expected.queue_offset);
    let view = record::check(&outcome.records[0], CheckBody::Crc).unwrap();
    assert_eq!(view.body, expected.body.as_bytes());
    assert_eq!(
        (view.flag, view.physical_offset),
        (expected.flag, expected.physical_offset)
    );
    let born_host = view.born_host.to_string();
    assert_eq!(born_host, expected.born_host.replace("0:0:0:0:0:1", ":1"));
    let id = OffsetId {
        store_host: view.store_host,
        physical_offset: view.physical_offset,
    };
    assert_eq!(id.encode(), expected.offset_id);
    let by_key = store
        .query(&QueryRequest {
            topic,
            key: &format!("k{}", expected.flag),
            messages_max: 9,
            begin_ms: 0,
            end_ms: i64::MAX,
        })
        .unwrap();
    assert_eq!(by_key.records, outcome.records[..1], "{}", expected.body);
}

/// Opens the image, compares, appends, and opens it again.
fn assert_opens(image: &Image) {
    let store = open(options(image.path()));
    assert_holds_all(&store);
    let next = store.queue_range("topic-0", 0).max;
    assert_eq!(append(&store, "topic-0", 0, "ours").queue_offset, next);
    drop(store);
    let store = open(options(image.path()));
    assert_holds_all(&store);
    assert_eq!(bodies(&store, "topic-0", 0).last().unwrap(), "ours");
}

#[test]
fn a_closed_directory_opens() {
    assert_opens(&image());
}

#[test]
fn a_killed_directory_opens() {
    let image = image();
    std::fs::write(image.path().join("abort"), "1").unwrap();
    assert_opens(&image);
}

#[test]
fn queues_and_index_are_built_from_its_log() {
    let image = image();
    for name in ["consumequeue", "index", "checkpoint"] {
        image.remove(name);
    }
    assert_opens(&image);
}
