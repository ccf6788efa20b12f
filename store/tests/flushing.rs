//! Who waits for the disk, and what consumers see meanwhile.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{
    Disk, DiskAction, DiskOperation, DiskWatcher, FlushMode, FlushOutcome, Store, StoreOptions,
};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn a_synchronous_store_shows_flushed_messages_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreOptions {
        flush: FlushMode::Sync,
        ..options(dir.path())
    });
    let (sender, receiver) = sync_channel(100);
    for number in 0..100 {
        let end = append(&store, "t", 0, &number.to_string()).end_offset;
        let sender = sender.clone();
        store.when_flushed(end, Box::new(move |outcome| sender.send(outcome).unwrap()));
        let marks = store.watermarks();
        assert!(marks.dispatched <= marks.written, "{marks:?}");
    }
    for _ in 0..100 {
        let outcome = receiver.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(outcome, FlushOutcome::Flushed);
    }
    wait_dispatched(&store);
    let marks = store.watermarks();
    assert_eq!(
        (marks.flushed, marks.dispatched),
        (marks.written, marks.written)
    );
    assert_eq!(bodies(&store, "t", 0).len(), 100);
}

#[test]
fn a_few_bytes_are_flushed_when_they_are_enough_or_old_enough() {
    for (flush_bytes_min, flush_delay_ms_max) in [(1, 600_000), (1 << 30, 100)] {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(START_MS);
        let options = StoreOptions {
            flush: FlushMode::Async { interval_ms: 5 },
            flush_bytes_min,
            flush_delay_ms_max,
            ..options(dir.path())
        };
        let store = open_at(options, &clock);
        append(&store, "t", 0, "x");
        wait_until("flushed", || {
            // Bit by bit: the thread counts from when it first looked, and Java's 10 s are not to be reached.
            clock.advance_ms(1);
            let marks = store.watermarks();
            marks.flushed == marks.written
        });
    }
}

#[test]
fn waiting_speeds_up_an_asynchronous_flush() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreOptions {
        flush: FlushMode::Async {
            interval_ms: 60_000,
        },
        ..options(dir.path())
    });
    append(&store, "t", 0, "x");
    assert_eq!(store.watermarks().flushed, 0);
    wait_flushed(&store);
    let marks = store.watermarks();
    assert_eq!(marks.flushed, marks.written);
}

#[test]
fn an_end_beyond_the_log_times_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreOptions {
        flush_wait_ms_max: 0,
        ..options(dir.path())
    });
    let (sender, receiver) = sync_channel(1);
    store.when_flushed(
        1 << 40,
        Box::new(move |outcome| sender.send(outcome).unwrap()),
    );
    let outcome = receiver.recv_timeout(TIMEOUT).unwrap();
    assert_eq!(outcome, FlushOutcome::TimedOut);
}

#[test]
fn closing_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let (sender, receiver) = sync_channel(2);
    let waiting = sender.clone();
    store.when_flushed(
        1 << 40,
        Box::new(move |outcome| waiting.send(outcome).unwrap()),
    );
    store.shutdown();
    store.when_flushed(
        1 << 40,
        Box::new(move |outcome| sender.send(outcome).unwrap()),
    );
    for _ in 0..2 {
        let outcome = receiver.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(outcome, FlushOutcome::Failed);
    }
}

/// Counts what forces the log to the disk; one of these takes until it is let on.
struct LogFlushes {
    count: AtomicUsize,
    held: usize,
    begun: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl LogFlushes {
    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl DiskWatcher for LogFlushes {
    fn before(&self, operation: &DiskOperation<'_>) -> io::Result<()> {
        let forces = matches!(
            operation.action,
            DiskAction::FlushMap | DiskAction::Sync | DiskAction::SyncFileSystem
        );
        let of_log = operation.path.iter().any(|part| part == "commitlog");
        if forces && of_log && self.count.fetch_add(1, Ordering::SeqCst) == self.held {
            self.begun.send(()).unwrap();
            self.go_on.lock().unwrap().recv_timeout(TIMEOUT).unwrap();
        }
        Ok(())
    }

    fn after(&self, _operation: &DiskOperation<'_>) {}
}

/// Opened with one log file that has room for all.
fn open_counted(root: &Path, log: &Arc<LogFlushes>) -> Store {
    open(StoreOptions {
        flush: FlushMode::Sync,
        commit_log_file_bytes: 1 << 20,
        disk: Disk::watched(Arc::clone(log) as Arc<dyn DiskWatcher>),
        ..options(root)
    })
}

#[test]
fn one_in_flight_costs_one_flush_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(LogFlushes {
        count: AtomicUsize::new(0),
        held: usize::MAX,
        begun: sync_channel(1).0,
        go_on: Mutex::new(sync_channel(1).1),
    });
    let store = open_counted(dir.path(), &log);
    append(&store, "t", 0, "makes the file");
    wait_flushed(&store);
    let before = log.count();
    for number in 0..50 {
        append(&store, "t", 0, &number.to_string());
        wait_flushed(&store);
    }
    assert_eq!(log.count() - before, 50);
}

#[test]
fn what_comes_during_a_flush_shares_the_next_one() {
    const HELD: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    let (begun, has_begun) = sync_channel(1);
    let (let_on, go_on) = sync_channel(1);
    let log = Arc::new(LogFlushes {
        count: AtomicUsize::new(0),
        held: HELD,
        begun,
        go_on: Mutex::new(go_on),
    });
    let store = open_counted(dir.path(), &log);
    while log.count() < HELD {
        append(&store, "t", 0, "before");
        wait_flushed(&store);
    }
    let (sender, receiver) = sync_channel(100);
    let send = |number: usize| {
        let end = append(&store, "t", 0, &number.to_string()).end_offset;
        let sender = sender.clone();
        store.when_flushed(end, Box::new(move |outcome| sender.send(outcome).unwrap()));
    };
    send(0);
    has_begun.recv_timeout(TIMEOUT).unwrap();
    (1..64).for_each(send);
    let_on.send(()).unwrap();
    for _ in 0..64 {
        let outcome = receiver.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(outcome, FlushOutcome::Flushed);
    }
    // The one that was held, and one for the 63 others.
    assert_eq!(log.count() - HELD, 2);
}
