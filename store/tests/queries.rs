//! Queries by key over many small index files, compared with a plain list of what was stored.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::fs;
use std::path::Path;

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::{QueryRequest, Store, StoreOptions};

const FOREVER: (i64, i64) = (0, i64::MAX);

/// Index files of 15 entries, flushed when the store is closed and at no other time.
fn settings(root: &Path) -> StoreOptions {
    StoreOptions {
        index_slots: 7,
        index_entries: 16,
        consume_queue_flush_interval_ms: 3_600_000,
        ..options(root)
    }
}

/// Stores a message whose body says which one it is.
fn put(store: &Store, topic: &str, keys: &str, body: &str) {
    let properties = format!("KEYS\u{1}{keys}\u{2}UNIQ_KEY\u{1}id-{body}\u{2}");
    let message = message(topic, 0, body.as_bytes(), &properties);
    store.append(&message).unwrap();
}

/// Bodies of the messages found, in the order given.
fn query(
    store: &Store,
    topic: &str,
    key: &str,
    messages_max: usize,
    span: (i64, i64),
) -> Vec<String> {
    let outcome = store.query(&QueryRequest {
        topic,
        key,
        messages_max,
        begin_ms: span.0,
        end_ms: span.1,
    });
    let body = |bytes: &bytes::Bytes| {
        let view = record::check(bytes, CheckBody::Crc).unwrap();
        String::from_utf8(view.body.to_vec()).unwrap()
    };
    outcome.unwrap().records.iter().map(body).collect()
}

fn index_files(root: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(root.join("index")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What was stored, as the list that queries are compared with.
struct Stored {
    topic: &'static str,
    keys: [&'static str; 2],
    timestamp: i64,
    body: String,
}

const TOPICS: [&str; 3] = ["t", "u", "Aa"];
/// "Aa" and "BB" have one hash, and so have "AaAa", "BBBB" and "AaBB". The last is never stored.
const KEYS: [&str; 7] = ["k", "Aa", "BB", "AaAa", "BBBB", "AaBB", "rare"];

fn fill(store: &Store, clock: &Clock, mut pick: impl FnMut(usize) -> usize) -> Vec<Stored> {
    let mut list = Vec::new();
    for number in 0..150 {
        let stored = Stored {
            topic: TOPICS[pick(3)],
            keys: [KEYS[pick(6)], KEYS[pick(6)]],
            timestamp: clock.now_ms(),
            body: number.to_string(),
        };
        put(store, stored.topic, &stored.keys.join("  "), &stored.body);
        list.push(stored);
        clock.advance_ms([0, 1, 250, 999, 1_000, 4_321][pick(6)]);
    }
    wait_dispatched(store);
    list
}

#[test]
fn answers_over_many_files_are_those_of_a_plain_list() {
    let mut random = Random::seeded("queries");
    let mut pick = |limit: usize| random.below(limit as u64) as usize;
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(settings(dir.path()), &clock);
    let list = fill(&store, &clock, &mut pick);
    let spent_ms = clock.now_ms() - START_MS;
    assert!(index_files(dir.path()).len() >= 10);
    let mut compare = |store: &Store| {
        for _ in 0..300 {
            let (topic, key) = (TOPICS[pick(3)], KEYS[pick(7)]);
            let begin = START_MS - 2_000 + pick(spent_ms as usize + 4_000) as i64;
            let spans = [
                FOREVER,
                (begin, i64::MAX),
                (begin, begin + pick(60_000) as i64),
            ];
            let span = spans[pick(3)];
            let messages_max = pick(12);
            let matches = list.iter().filter(|stored| {
                stored.topic == topic
                    && stored.keys.contains(&key)
                    && (span.0..=span.1).contains(&stored.timestamp)
            });
            let mut expected: Vec<_> = matches.map(|stored| stored.body.clone()).collect();
            expected.drain(..expected.len().saturating_sub(messages_max));
            let found = query(store, topic, key, messages_max, span);
            assert_eq!(found, expected, "{topic} {key} {messages_max} {span:?}");
        }
        for stored in &list {
            let key = format!("id-{}", stored.body);
            let found = query(store, stored.topic, &key, 1, FOREVER);
            assert_eq!(found, std::slice::from_ref(&stored.body));
        }
    };
    compare(&store);
    let crashed = Image::of(dir.path());
    store.shutdown();
    drop(store);
    compare(&open_at(settings(dir.path()), &clock));
    compare(&open_at(settings(crashed.path()), &clock));
    crashed.remove("index");
    fs::write(crashed.path().join("abort"), "1").unwrap();
    compare(&open_at(settings(crashed.path()), &clock));
}

#[test]
fn of_too_many_messages_the_newest_are_found_whatever_shares_their_hash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(settings(dir.path()));
    for number in 0..5 {
        put(&store, "t", "Aa", &format!("wanted-{number}"));
    }
    for number in 0..100 {
        put(&store, "t", "BB", &number.to_string());
    }
    wait_dispatched(&store);
    assert_eq!(
        query(&store, "t", "Aa", 2, FOREVER),
        ["wanted-3", "wanted-4"]
    );
    let newest: Vec<_> = (36..100).map(|number| number.to_string()).collect();
    assert_eq!(query(&store, "t", "BB", 999, FOREVER), newest);
    // The work is bounded: three messages are looked at for each that may be found.
    for number in 0..92 {
        put(&store, "t", "BB", &number.to_string());
    }
    wait_dispatched(&store);
    assert!(query(&store, "t", "Aa", 2, FOREVER).is_empty());
    put(&store, "t", "Aa BB Aa", "both");
    wait_dispatched(&store);
    assert_eq!(query(&store, "t", "Aa", 9, FOREVER), ["both"]);
}

#[test]
fn keys_that_a_crash_cut_off_are_found_again_and_once() {
    let keys: Vec<_> = (0..40).map(|number| format!("key-{number}")).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = open(settings(dir.path()));
    put(&store, "t", "before", "first");
    put(&store, "t", &keys.join(" "), "many");
    wait_dispatched(&store);
    let found = |store: &Store, key: &str| query(store, "t", key, 9, FOREVER);
    // The crash came when one file, or two, or three, had been begun.
    for files in 0..=index_files(dir.path()).len() {
        let image = Image::of(dir.path());
        for path in index_files(image.path()).split_off(files) {
            fs::remove_file(path).unwrap();
        }
        let store = open(settings(image.path()));
        assert_eq!(found(&store, "before"), ["first"], "{files} files");
        for key in &keys {
            assert_eq!(found(&store, key), ["many"], "{key}, {files} files");
        }
    }
}

#[test]
fn a_damaged_index_file_makes_the_whole_index_new() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(settings(dir.path()));
    for number in 0..60 {
        put(&store, "t", "k", &number.to_string());
    }
    wait_dispatched(&store);
    store.shutdown();
    drop(store);
    let files = index_files(dir.path());
    fs::write(&files[2], [0; 7]).unwrap();
    let store = open(settings(dir.path()));
    for number in 0..60 {
        let found = query(&store, "t", &format!("id-{number}"), 9, FOREVER);
        assert_eq!(found, [number.to_string()]);
    }
    assert_eq!(query(&store, "t", "k", 60, FOREVER).len(), 60);
}
