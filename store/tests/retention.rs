//! Old files go, and everything that pointed into them follows.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{
    AppendError, Disk, DiskFull, DiskOperation, DiskPlace, DiskWatcher, NotWritable, QueryRequest,
    ReadStatus, RetentionOptions, Store, StoreOptions,
};

const HOUR_MS: i64 = 3_600_000;

fn settings(root: &Path) -> StoreOptions {
    StoreOptions {
        retention: RetentionOptions {
            reserved_hours: 10,
            delete_pause_ms: 0,
            ..RetentionOptions::default()
        },
        clean_delay_ms: 0,
        ..options(root)
    }
}

/// A disk as full as the test says: of the log, and of the rest.
#[derive(Default)]
struct Fullness {
    log_dir: PathBuf,
    log_percent: AtomicU32,
    queue_percent: AtomicU32,
}

impl Fullness {
    fn of(root: &Path) -> Arc<Self> {
        Arc::new(Self {
            log_dir: root.join("commitlog"),
            ..Self::default()
        })
    }

    fn set(&self, log_percent: u32, queue_percent: u32) {
        self.log_percent.store(log_percent, Ordering::Relaxed);
        self.queue_percent.store(queue_percent, Ordering::Relaxed);
    }
}

impl DiskWatcher for Fullness {
    fn before(&self, _: &DiskOperation<'_>) -> std::io::Result<()> {
        Ok(())
    }

    fn after(&self, _: &DiskOperation<'_>) {}

    fn used_percent(&self, dir: &Path) -> Option<u32> {
        let percent = if dir == self.log_dir {
            &self.log_percent
        } else {
            &self.queue_percent
        };
        Some(percent.load(Ordering::Relaxed))
    }
}

/// A store that looks at its disk all the time, at an hour at which nothing is deleted.
fn open_watched(root: &Path, clock: &Clock, full: &Arc<Fullness>) -> Store {
    let mut settings = settings(root);
    settings.disk = Disk::watched(Arc::clone(full) as Arc<dyn DiskWatcher>);
    settings.clean_interval_ms = 2;
    settings.retention.delete_at_hours = Vec::new();
    open_at(settings, clock)
}

/// Some log files, flushed and dispatched.
fn fill(store: &Store) {
    for number in 0..300 {
        append(store, "t", 0, &number.to_string());
    }
    wait_dispatched(store);
    wait_flushed(store);
}

/// Time for some looks of a thread that looks every 2 ms.
fn some_looks() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}

fn log_files(root: &Path) -> usize {
    std::fs::read_dir(root.join("commitlog")).unwrap().count()
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
            retention: RetentionOptions {
                delete_at_hours: (0..24).collect(),
                ..settings(dir.path()).retention
            },
            clean_interval_ms: 5,
            disk: Disk::watched(Fullness::of(dir.path())),
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
fn a_disk_beyond_the_limit_stops_appends_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let full = Fullness::of(dir.path());
    let store = open_watched(dir.path(), &clock, &full);
    append(&store, "t", 0, "room");
    for (log_percent, queue_percent, place) in [
        (91, 20, DiskPlace::CommitLog),
        (20, 91, DiskPlace::ConsumeQueues),
    ] {
        full.set(log_percent, queue_percent);
        wait_until("refusing", || store.not_writable().is_some());
        let refused = store.append(&message("t", 0, b"x", "")).unwrap_err();
        let AppendError::NotWritable(NotWritable::DiskFull(cause)) = refused else {
            panic!("{refused:?}");
        };
        let expected = DiskFull {
            used_percent: 91,
            limit_percent: 90,
            place,
        };
        assert_eq!(cause, expected);
        full.set(90, 90);
        wait_until("taking messages", || store.not_writable().is_none());
        append(&store, "t", 0, "room again");
    }
}

#[test]
fn a_disk_that_is_too_full_at_the_start_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let full = Fullness::of(dir.path());
    full.set(95, 0);
    let mut settings = settings(dir.path());
    settings.disk = Disk::watched(Arc::clone(&full) as Arc<dyn DiskWatcher>);
    settings.clean_interval_ms = 3_600_000;
    let store = open(settings);
    wait_until("refusing", || store.not_writable().is_some());
}

#[test]
fn a_filling_disk_costs_old_files_first_and_young_ones_only_when_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let full = Fullness::of(dir.path());
    let store = open_watched(dir.path(), &clock, &full);
    fill(&store);
    let files = log_files(dir.path());
    assert!(files > 4, "{files}");
    full.set(84, 0);
    some_looks();
    assert_eq!(store.watermarks().min, 0, "nothing has expired");
    clock.advance_ms(11 * HOUR_MS);
    wait_until("expired files go at any hour", || {
        store.watermarks().min > 0
    });
    // Now only young files are there.
    fill(&store);
    let mut gentle = settings(dir.path()).retention;
    gentle.clean_forcibly = false;
    store.set_retention(gentle.clone());
    some_looks();
    let young = store.watermarks().min;
    full.set(0, 86);
    some_looks();
    assert_eq!(store.watermarks().min, young, "it may not be forced");
    gentle.clean_forcibly = true;
    gentle.delete_at_hours = Vec::new();
    store.set_retention(gentle);
    wait_until("only the last file is left", || {
        let left = store.watermarks().written - store.watermarks().min;
        left <= LOG_FILE_BYTES as i64
    });
    wait_until("the queue begins where the log does", || {
        let range = store.queue_range("t", 0);
        let first = store.queue_entry("t", 0, range.min);
        first.is_some_and(|first| first.physical_offset >= store.watermarks().min)
    });
    // What is left is there to be read, and the next message follows it.
    let range = store.queue_range("t", 0);
    assert_eq!(range.max, 600);
    assert_eq!(bodies(&store, "t", 0).len() as i64, range.max - range.min);
    assert_eq!(append(&store, "t", 0, "next").queue_offset, 600);
}

#[test]
fn a_file_that_a_reader_holds_stays_until_it_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(settings(dir.path()), &clock);
    fill(&store);
    let held = read(&store, "t", 0, 0);
    assert!(!held.records.is_empty());
    clock.advance_ms(11 * HOUR_MS);
    assert_eq!(store.delete_expired(), 0, "the first file is held");
    assert_eq!(read(&store, "t", 0, 0).records, held.records);
    drop(held);
    assert!(store.delete_expired() > 2);
    assert_eq!(read(&store, "t", 0, 0).status, ReadStatus::OffsetTooSmall);
}

#[test]
fn an_almost_full_disk_waits_for_a_reader_only_so_long() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let full = Fullness::of(dir.path());
    let store = open_watched(dir.path(), &clock, &full);
    fill(&store);
    let held = read(&store, "t", 0, 0);
    full.set(86, 0);
    some_looks();
    clock.advance_ms(119_000);
    some_looks();
    assert_eq!(store.watermarks().min, 0, "two minutes have not passed");
    // The two minutes began with the first look, which may have come late.
    wait_until("the held file is gone", || {
        clock.advance_ms(1_000);
        store.watermarks().min > 0
    });
    let bytes = &held.records[0];
    let view = thrustmq_proto_compat::message::record::check(
        bytes,
        thrustmq_proto_compat::message::record::CheckBody::Crc,
    );
    assert_eq!(view.unwrap().body, b"0", "what is held stays readable");
}

#[test]
fn a_pass_deletes_so_many_files_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let full = Fullness::of(dir.path());
    let store = open_watched(dir.path(), &clock, &full);
    fill(&store);
    let mut slow = settings(dir.path()).retention;
    slow.delete_at_hours = Vec::new();
    slow.delete_files_max = 2;
    slow.delete_pause_ms = 3_600_000;
    store.set_retention(slow);
    full.set(86, 0);
    wait_until("one file is gone", || store.watermarks().min > 0);
    some_looks();
    assert_eq!(
        store.watermarks().min,
        LOG_FILE_BYTES as i64,
        "the pause between two files"
    );
    // Closing does not wait for the pause.
    store.shutdown();
}

#[test]
fn nothing_is_deleted_right_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let mut settings = settings(dir.path());
    settings.clean_interval_ms = 2;
    settings.clean_delay_ms = 3_600_000;
    settings.retention.delete_at_hours = (0..24).collect();
    let store = open_at(settings, &clock);
    fill(&store);
    clock.advance_ms(11 * HOUR_MS);
    some_looks();
    assert_eq!(store.watermarks().min, 0);
    assert!(store.delete_expired() > 0, "unless somebody asks for it");
}

#[test]
fn what_a_cut_deletion_left_of_a_topic_goes_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(settings(dir.path()));
    append(&store, "kept", 0, "here");
    wait_dispatched(&store);
    drop(store);
    let queues = dir.path().join("consumequeue");
    std::fs::create_dir_all(queues.join("gone/0")).unwrap();
    std::fs::create_dir_all(queues.join("kept/1")).unwrap();
    let store = open(settings(dir.path()));
    assert!(!queues.join("gone").exists() && !queues.join("kept/1").exists());
    assert_eq!(store.topics(), ["kept"]);
    assert_eq!(bodies(&store, "kept", 0), ["here"]);
}
