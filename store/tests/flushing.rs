//! Who waits for the disk, and what consumers see meanwhile.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use support::*;
use thrustmq_store::{FlushMode, FlushOutcome, StoreOptions};

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
        let outcome = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
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
    let outcome = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
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
        let outcome = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(outcome, FlushOutcome::Failed);
    }
}
