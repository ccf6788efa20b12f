//! The directory of a whole Java broker (5.5.0, by `proto-compat/fixtures/capture`) with messages of
//! every kind, opened by ours: as a kill left it, closed in order, and with what is derived deleted.
//! Every answer is the one that the Java broker itself gave.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::{Boundary, QueryRequest, Store, StoreOptions};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto-compat/fixtures")
}

fn facts() -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures().join("broker-store.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn opened(image: &Image, facts: &[Value]) -> Store {
    let options = StoreOptions {
        commit_log_file_bytes: 65_536,
        consume_queue_file_bytes: 1_000,
        index_slots: 50,
        index_entries: 200,
        ..options(image.path())
    };
    let last = facts.iter().filter(|fact| fact["kind"] == "times");
    let last = last.flat_map(|fact| fact["timeLowerUpper"].as_array().unwrap());
    let now_ms = last.map(|times| number(&times[0])).max().unwrap();
    open_at(options, &Clock::by_hand(now_ms))
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn assert_answers(store: &Store, facts: &[Value]) {
    let mut messages = 0;
    for fact in facts {
        match fact["kind"].as_str().unwrap() {
            "queue" => assert_queue(store, fact),
            "message" => {
                messages += 1;
                assert_message(store, fact);
            }
            "key" | "unique" => assert_key(store, fact),
            "times" => assert_times(store, fact),
            kind => panic!("a fact of a kind unknown here: {kind}"),
        }
    }
    assert!(messages > 150, "{messages}");
}

fn queue(fact: &Value) -> (&str, i32) {
    let queue_id = number(&fact["queueId"]);
    (
        fact["topic"].as_str().unwrap(),
        queue_id.try_into().unwrap(),
    )
}

fn assert_queue(store: &Store, fact: &Value) {
    let (topic, queue_id) = queue(fact);
    let range = store.queue_range(topic, queue_id);
    let wanted = (number(&fact["min"]), number(&fact["max"]));
    assert_eq!((range.min, range.max), wanted, "{fact}");
    let earliest = store.earliest_store_time(topic, queue_id).unwrap_or(-1);
    assert_eq!(earliest, number(&fact["earliestStoreTimestamp"]), "{fact}");
}

/// By its number in the queue, and by its place in the log.
fn assert_message(store: &Store, fact: &Value) {
    let (topic, queue_id) = queue(fact);
    let queue_offset = number(&fact["queueOffset"]);
    let pulled = &read(store, topic, queue_id, queue_offset).records[0];
    let crc = i64::from(crc32fast::hash(pulled));
    let size = i64::try_from(pulled.len()).unwrap();
    let wanted = (number(&fact["size"]), number(&fact["crc32"]));
    assert_eq!((size, crc), wanted, "{fact}");
    let view = record::check(pulled, CheckBody::Crc).unwrap();
    assert_eq!(
        (view.topic, view.queue_id, view.queue_offset),
        (topic, queue_id, queue_offset)
    );
    let viewed = store.record_at(number(&fact["physicalOffset"])).unwrap();
    assert_eq!(&viewed, pulled, "{fact}");
}

fn assert_key(store: &Store, fact: &Value) {
    let outcome = store.query(&QueryRequest {
        topic: fact["topic"].as_str().unwrap(),
        key: fact["key"].as_str().unwrap(),
        messages_max: 64,
        begin_ms: 0,
        end_ms: i64::MAX,
    });
    let offset = |bytes: &bytes::Bytes| {
        let view = record::check(bytes, CheckBody::Crc).unwrap();
        Value::from(view.physical_offset)
    };
    let found: Vec<Value> = outcome.unwrap().records.iter().map(offset).collect();
    assert_eq!(Value::from(found), fact["physicalOffsets"], "{fact}");
}

fn assert_times(store: &Store, fact: &Value) {
    let (topic, queue_id) = queue(fact);
    for times in fact["timeLowerUpper"].as_array().unwrap() {
        let at = |boundary| store.offset_by_time(topic, queue_id, number(&times[0]), boundary);
        let found = (at(Boundary::Lower).unwrap(), at(Boundary::Upper).unwrap());
        let wanted = (number(&times[1]), number(&times[2]));
        assert_eq!(found, wanted, "{topic} {queue_id}: {times}");
    }
}

/// Opens the image, compares, appends, and opens it again.
fn assert_opens(image: &Image) {
    let facts = facts();
    let store = opened(image, &facts);
    assert_answers(&store, &facts);
    append(&store, "Ours", 0, "ours");
    drop(store);
    let store = opened(image, &facts);
    assert_answers(&store, &facts);
    assert_eq!(bodies(&store, "Ours", 0), ["ours"]);
    let next = store.queue_range("One", 0).max;
    assert_eq!(append(&store, "One", 0, "ours").queue_offset, next);
}

#[test]
fn a_closed_directory_opens() {
    assert_opens(&Image::of(&fixtures().join("broker-store/closed")));
}

#[test]
fn a_killed_directory_opens() {
    let image = Image::of(&fixtures().join("broker-store/killed"));
    assert!(image.path().join("abort").exists());
    assert_opens(&image);
}

#[test]
fn queues_and_index_are_built_from_its_log() {
    let image = Image::of(&fixtures().join("broker-store/closed"));
    for name in ["consumequeue", "index", "checkpoint"] {
        image.remove(name);
    }
    assert_opens(&image);
}
