//! Old files go, and everything that pointed into them follows.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{QueryRequest, ReadStatus, StoreOptions};

const HOUR_MS: i64 = 3_600_000;

fn settings(root: &std::path::Path) -> StoreOptions {
    StoreOptions {
        reserved_hours: 10,
        ..options(root)
    }
}

#[test]
fn expired_files_go_and_offsets_stay() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(settings(dir.path()), &clock);
    for number in 0..100 {
        append(&store, "t", 0, &format!("old-{number}-{}", "x".repeat(300)));
    }
    append(&store, "idle", 0, "never again");
    clock.advance_ms(9 * HOUR_MS);
    for number in 0..100 {
        append(&store, "t", 0, &format!("new-{number}-{}", "x".repeat(300)));
    }
    wait_dispatched(&store);
    wait_flushed(&store);
    assert_eq!(store.delete_expired(), 0, "nothing is older than ten hours");

    let held = read(&store, "t", 0, 0);
    clock.advance_ms(2 * HOUR_MS);
    let deleted = store.delete_expired();
    assert!(deleted > 2, "{deleted}");

    let marks = store.watermarks();
    assert_eq!(marks.min, deleted as i64 * LOG_FILE_BYTES as i64);
    let range = store.queue_range("t", 0);
    assert!(range.min > 50 && range.min <= 100, "{range:?}");
    assert_eq!(range.max, 200);
    let first = store.queue_entry("t", 0, range.min).unwrap();
    assert!(first.physical_offset >= marks.min);
    assert_eq!(store.queue_entry("t", 0, range.min - 1), None);
    let old = read(&store, "t", 0, 0);
    assert_eq!(
        (old.status, old.next_offset),
        (ReadStatus::OffsetTooSmall, range.min)
    );
    assert_eq!(store.queue_range("idle", 0).max, 1);
    assert!(store.record_at(0).is_err());

    // What a reader holds stays readable.
    let view = thrustmq_proto_compat::message::record::check(
        &held.records[0],
        thrustmq_proto_compat::message::record::CheckBody::Crc,
    );
    assert!(view.unwrap().body.starts_with(b"old-0-"));

    // And the same after opening again, even with everything built anew.
    let expected = bodies(&store, "t", 0);
    let crashed = Image::of(dir.path());
    drop(store);
    for image in [Image::of(dir.path()), crashed] {
        let store = open_at(settings(image.path()), &clock);
        assert_eq!(store.watermarks().min, marks.min);
        assert_eq!(store.queue_range("t", 0), range);
        assert_eq!(bodies(&store, "t", 0), expected);
        assert_eq!(append(&store, "t", 0, "next").queue_offset, 200);
        assert_eq!(append(&store, "idle", 0, "again").queue_offset, 1);
    }
    let image = Image::of(dir.path());
    image.remove("consumequeue");
    image.remove("index");
    let store = open_at(settings(image.path()), &clock);
    assert_eq!(store.queue_range("t", 0), range);
    assert_eq!(bodies(&store, "t", 0), expected);
}

#[test]
fn queue_and_index_files_follow_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(settings(dir.path()), &clock);
    for number in 0..300 {
        append(&store, "t", 0, &number.to_string());
    }
    wait_dispatched(&store);
    wait_flushed(&store);
    clock.advance_ms(11 * HOUR_MS);
    let count = |name: &str| std::fs::read_dir(dir.path().join(name)).unwrap().count();
    let (queue_files, index_files) = (count("consumequeue/t/0"), count("index"));
    assert!(store.delete_expired() > 0);
    assert!(count("consumequeue/t/0") < queue_files);
    assert!(count("index") < index_files);
    assert!(count("commitlog") > 0);
    let query = |key: &str| {
        let request = QueryRequest {
            topic: "t",
            key,
            messages_max: 10,
            begin_ms: 0,
            end_ms: i64::MAX,
        };
        store.query(&request).unwrap().records.len()
    };
    assert_eq!(query("0"), 0);
    assert_eq!(query("299"), 1);
}

#[test]
fn the_thread_deletes_at_its_hour() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(
        StoreOptions {
            delete_at_hours: (0..24).collect(),
            clean_interval_ms: 5,
            ..settings(dir.path())
        },
        &clock,
    );
    for number in 0..300 {
        append(&store, "t", 0, &number.to_string());
    }
    wait_dispatched(&store);
    wait_flushed(&store);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(store.watermarks().min, 0);
    clock.advance_ms(11 * HOUR_MS);
    wait_until("deleted", || store.watermarks().min > 0);
}

#[test]
fn a_disk_beyond_the_limit_stops_appends() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(
        StoreOptions {
            disk_warning_percent: 0,
            clean_interval_ms: 5,
            ..settings(dir.path())
        },
        &clock,
    );
    assert!(store.disk_used_percent() > 0);
    wait_until("refusing", || store.not_writable().is_some());
    assert!(store.append(&message("t", 0, b"x", "")).is_err());
}
