//! Pages of the log are made ready before they are written.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::path::Path;

use support::*;
use thrustmq_store::StoreOptions;

const FILE_BYTES: usize = 12 << 20;
/// What `store-touch` makes ready at a time, or less.
const AHEAD_BYTES: usize = 8 << 20;

/// Bytes of a file that this process has in its memory.
fn bytes_in_memory(path: &Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let of_file = maps.split_once(path.to_str().unwrap());
    let rss = of_file.and_then(|(_, rest)| rest.split_once("Rss:"));
    let kib = rss.map_or("0", |(_, rest)| rest.split_whitespace().next().unwrap());
    kib.parse::<usize>().unwrap() << 10
}

#[test]
fn pages_ahead_of_the_log_are_touched_from_the_first_append_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        commit_log_file_bytes: FILE_BYTES as u64,
        ..options(dir.path())
    };
    let log = dir.path().join("commitlog");
    let first = log.join(format!("{:020}", 0));
    let second = log.join(format!("{FILE_BYTES:020}"));

    let store = open(options.clone());
    assert!(!store.is_ready_to_append());
    append(&store, "t", 0, "first");
    wait_until("ready", || store.is_ready_to_append());
    wait_until("touched", || bytes_in_memory(&first) >= AHEAD_BYTES);
    store.shutdown();
    drop(store);

    // Nothing but a look at the last record is done for a store that is only opened.
    let store = open(options);
    assert!(bytes_in_memory(&first) < AHEAD_BYTES / 2);
    let mut count = 1;
    while append(&store, "t", 0, &"x".repeat(4_000)).physical_offset < FILE_BYTES as i64 {
        count += 1;
    }
    wait_until("touched", || bytes_in_memory(&second) >= AHEAD_BYTES);
    wait_dispatched(&store);
    let range = store.queue_range("t", 0);
    assert_eq!((range.min, range.max), (0, count + 1));
}
