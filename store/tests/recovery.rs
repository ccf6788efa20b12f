//! Closing, crashing and opening again: the same messages, the same offsets.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::sync::Arc;

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{OpenError, QueryRequest, Store, StoreOptions};

const QUEUES: i32 = 3;

/// Enough messages for several files of everything.
fn fill(store: &Store) {
    for number in 0..200 {
        append(
            store,
            &format!("topic-{}", number % 2),
            number % QUEUES,
            &format!("body-{number}"),
        );
    }
    wait_dispatched(store);
}

/// Everything that can be asked, in text.
fn answers(store: &Store) -> Vec<String> {
    let mut answers = Vec::new();
    for topic in ["topic-0", "topic-1"] {
        for queue_id in 0..QUEUES {
            let range = store.queue_range(topic, queue_id);
            answers.push(format!(
                "{topic} {queue_id} {range:?} {:?}",
                bodies(store, topic, queue_id)
            ));
        }
        for number in 0..200 {
            let outcome = store
                .query(&QueryRequest {
                    topic,
                    key: &format!("body-{number}"),
                    messages_max: 10,
                    begin_ms: 0,
                    end_ms: i64::MAX,
                })
                .unwrap();
            let sizes: Vec<_> = outcome.records.iter().map(|record| record.len()).collect();
            answers.push(format!("{topic} {number} {sizes:?}"));
        }
    }
    answers.push(format!("{:?}", store.watermarks()));
    answers
}

#[test]
fn a_closed_store_opens_with_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    assert!(dir.path().join("abort").exists());
    let expected = answers(&store);
    store.shutdown();
    drop(store);
    assert!(!dir.path().join("abort").exists());
    let store = open(options(dir.path()));
    assert_eq!(answers(&store), expected);
    assert_eq!(append(&store, "topic-0", 0, "next").queue_offset, 34);
}

#[test]
fn a_crashed_store_opens_with_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    let image = Image::of(dir.path());
    let expected = answers(&store);
    assert_eq!(answers(&open(options(image.path()))), expected);
}

#[test]
fn what_is_derived_may_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    let expected = answers(&store);
    let crashed = Image::of(dir.path());
    store.shutdown();
    drop(store);
    let everything = ["consumequeue", "index", "checkpoint"];
    let one_queue = ["consumequeue/topic-1/2"];
    let deletions: [&[&str]; 5] = [
        &everything,
        &["index"],
        &["consumequeue"],
        &["checkpoint"],
        &one_queue,
    ];
    for root in [dir.path(), crashed.path()] {
        for deletion in deletions {
            let image = Image::of(root);
            deletion.iter().for_each(|name| image.remove(name));
            let store = open(options(image.path()));
            assert_eq!(answers(&store), expected, "without {deletion:?}");
        }
    }
}

#[test]
fn after_a_checkpoint_only_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(options(dir.path()), &clock);
    let checkpoint = dir.path().join("checkpoint");
    for round in 1..=3 {
        fill(&store);
        wait_flushed(&store);
        clock.advance_ms(3_600_000);
        // Log, queues and index, eight bytes each: on the disk up to this round.
        let last_ms = START_MS + (round - 1) * 3_600_000;
        wait_until("checkpoint", || {
            let bytes = std::fs::read(&checkpoint).unwrap();
            let field = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
            [0, 8, 16].iter().all(|at| field(*at) == last_ms)
        });
    }
    fill(&store);
    wait_flushed(&store);
    let expected = answers(&store);
    // A crash: what the checkpoint vouches for is not walked through again, so that damage there
    // is not even seen.
    let image = Image::of(dir.path());
    let (_, path) = image.log_files().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[95] ^= 0xFF;
    std::fs::write(&path, bytes).unwrap();
    let store = open_at(options(image.path()), &clock);
    assert_eq!(
        &format!("{:?}", store.watermarks()),
        expected.last().unwrap()
    );
    let image = Image::of(dir.path());
    let store = open_at(options(image.path()), &clock);
    assert_eq!(answers(&store), expected);
}

#[test]
fn a_deleted_topic_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    store.delete_topic("topic-0");
    wait_flushed(&store);
    let expected = bodies(&store, "topic-1", 0);
    drop(store);
    let store = open(options(dir.path()));
    assert_eq!(store.topics(), ["topic-1"]);
    assert_eq!(bodies(&store, "topic-1", 0), expected);
    assert_eq!(append(&store, "topic-0", 0, "new").queue_offset, 0);
    wait_dispatched(&store);
    assert_eq!(bodies(&store, "topic-0", 0), ["new"]);
}

#[test]
fn other_sizes_of_derived_files_are_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    let expected = answers(&store);
    drop(store);
    let store = open(StoreOptions {
        consume_queue_file_bytes: 20 * 7,
        index_slots: 30,
        ..options(dir.path())
    });
    assert_eq!(answers(&store), expected);
}

#[test]
fn a_log_of_another_file_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    append(&store, "t", 0, "x");
    drop(store);
    let result = Store::open(
        StoreOptions {
            commit_log_file_bytes: 2 * LOG_FILE_BYTES,
            ..options(dir.path())
        },
        Clock::system(),
        Arc::new(Arrivals::default()),
    );
    assert!(
        matches!(result, Err(OpenError::WrongLength { .. })),
        "{result:?}"
    );
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let open_again = || {
        Store::open(
            options(dir.path()),
            Clock::system(),
            Arc::new(Arrivals::default()),
        )
    };
    assert!(matches!(open_again(), Err(OpenError::InUse { .. })));
    drop(store);
    open_again().unwrap();
}

#[test]
fn stale_bytes_behind_a_cut_never_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let appended: Vec<_> = (0..9)
        .map(|number| append(&store, "t", 0, &format!("old-{number}")))
        .collect();
    wait_dispatched(&store);
    wait_flushed(&store);
    // The fourth record is damaged, those behind it are whole.
    let image = Image::of(dir.path());
    let (_, path) = image.log_files().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[appended[3].physical_offset as usize + 90] ^= 0xFF;
    std::fs::write(&path, bytes).unwrap();
    let store = open(options(image.path()));
    assert_eq!(bodies(&store, "t", 0), ["old-0", "old-1", "old-2"]);
    // Of the same size as the damaged one: the record behind would fit exactly.
    append(&store, "t", 0, "new-3");
    wait_dispatched(&store);
    wait_flushed(&store);
    let image = Image::of(image.path());
    let store = open(options(image.path()));
    assert_eq!(bodies(&store, "t", 0), ["old-0", "old-1", "old-2", "new-3"]);
}
