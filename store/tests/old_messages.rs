//! Messages that are read from the disk: the same answers as from memory, errors for what the disk
//! does not give, and never a message that the queue does not mean.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use support::*;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_proto_compat::message::tags_code::tags_code;
use thrustmq_store::{
    Disk, DiskAction, DiskOperation, DiskWatcher, QueryRequest, ReadError, ReadOutcome,
    ReadRequest, ReadStatus, RecordFilter, Store, StoreOptions,
};

const EIO: i32 = 5;

/// A disk whose reads can be counted, held back and made to fail.
#[derive(Default)]
struct Reads {
    /// Nothing is in memory.
    cold: AtomicBool,
    waiting: AtomicUsize,
    count: AtomicUsize,
    bad: Mutex<Option<BadBlock>>,
    held: Mutex<bool>,
    released: Condvar,
}

struct BadBlock {
    path: PathBuf,
    from: u64,
    to: u64,
}

impl Reads {
    fn cold() -> Arc<Self> {
        let reads = Self::default();
        reads.cold.store(true, Ordering::Relaxed);
        Arc::new(reads)
    }

    fn options(self: &Arc<Self>, root: &Path) -> StoreOptions {
        StoreOptions {
            disk: Disk::watched(Arc::clone(self) as Arc<dyn DiskWatcher>),
            ..options(root)
        }
    }

    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.released.notify_all();
    }

    fn wait_for_release(&self) {
        let mut held = self.held.lock().unwrap();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        while *held {
            held = self.released.wait(held).unwrap();
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_bad(&self, operation: &DiskOperation<'_>) -> bool {
        let bad = self.bad.lock().unwrap();
        bad.as_ref().is_some_and(|bad| {
            bad.path == operation.path && operation.from < bad.to && operation.to > bad.from
        })
    }
}

impl DiskWatcher for Reads {
    fn before(&self, operation: &DiskOperation<'_>) -> io::Result<()> {
        let action = operation.action;
        if action == DiskAction::ReadInMemory && self.cold.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if action == DiskAction::Read {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.wait_for_release();
            if self.is_bad(operation) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
        }
        Ok(())
    }

    fn after(&self, _operation: &DiskOperation<'_>) {}
}

/// A store with `count` messages of one queue, closed again.
fn filled(root: &Path, count: usize) {
    let store = open(options(root));
    for number in 0..count {
        append(&store, "t", 0, &format!("{number}-{}", "x".repeat(200)));
    }
    wait_dispatched(&store);
    store.shutdown();
}

fn request(offset: i64) -> ReadRequest<'static> {
    ReadRequest {
        topic: "t",
        queue_id: 0,
        offset,
        messages_max: 32,
        bytes_max: 1 << 20,
        filter: None,
    }
}

fn numbers(outcome: &ReadOutcome) -> Vec<i64> {
    let number = |bytes: &bytes::Bytes| record::check(bytes, CheckBody::Crc).unwrap().queue_offset;
    outcome.records.iter().map(number).collect()
}

struct Tagged(i64);

impl RecordFilter for Tagged {
    fn by_tags_code(&self, code: i64) -> bool {
        code == self.0
    }
}

const FILTER: &dyn RecordFilter = &Tagged(2101);

/// What a read says, to be compared.
#[derive(Debug, PartialEq)]
struct Answer {
    status: ReadStatus,
    next_offset: i64,
    range: (i64, i64),
    suggest_slave: bool,
    records: Vec<bytes::Bytes>,
}

impl Answer {
    fn of(outcome: ReadOutcome) -> Self {
        Self {
            status: outcome.status,
            next_offset: outcome.next_offset,
            range: (outcome.min_offset, outcome.max_offset),
            suggest_slave: outcome.suggest_slave,
            records: outcome.records,
        }
    }
}

fn random_request(random: &mut Random) -> ReadRequest<'static> {
    ReadRequest {
        topic: ["a", "b"][random.below(2) as usize],
        queue_id: random.below(3) as i32,
        offset: random.below(90) as i64,
        messages_max: random.below(40) as usize,
        bytes_max: random.below(20_000) as usize,
        filter: (random.below(3) == 0).then_some(FILTER),
    }
}

#[test]
fn old_messages_are_answered_as_young_ones() {
    assert_eq!(tags_code("AB"), 2081);
    let mut random = Random::seeded("old_messages_are_answered_as_young_ones");
    let dir = tempfile::tempdir().unwrap();
    let young = open(options(dir.path()));
    for _ in 0..400 {
        let bytes_max = if random.below(9) == 0 { 3_000 } else { 300 };
        let body = vec![b'x'; random.below(bytes_max) as usize];
        let tag = ["Aa", "BB", "AB", ""][random.below(4) as usize];
        let properties = format!("TAGS\u{1}{tag}\u{2}");
        let (topic, queue_id) = (["a", "b"][random.below(2) as usize], random.below(3) as i32);
        young
            .append(&message(topic, queue_id, &body, &properties))
            .unwrap();
    }
    wait_dispatched(&young);
    let requests: Vec<_> = (0..1_000).map(|_| random_request(&mut random)).collect();
    let ask = |store: &Store| -> Vec<Answer> {
        let outcomes = requests.iter().map(|request| store.read(request).unwrap());
        outcomes.map(Answer::of).collect()
    };
    let expected = ask(&young);
    let found = |answer: &&Answer| answer.status == ReadStatus::Found;
    assert!(expected.iter().filter(found).count() > 300);
    young.shutdown();
    drop(young);
    for reads in [Arc::new(Reads::default()), Reads::cold()] {
        let old = open(reads.options(dir.path()));
        for ((request, answer), expected) in requests.iter().zip(ask(&old)).zip(&expected) {
            assert_eq!(&answer, expected, "{request:?}");
        }
        for (request, expected) in requests.iter().zip(&expected) {
            assert_in_memory(&old, request, expected);
        }
    }
}

/// What is in memory is all of it, or the front, or nothing.
fn assert_in_memory(store: &Store, request: &ReadRequest<'_>, expected: &Answer) {
    match store.read_in_memory(request) {
        Ok(outcome) => {
            let count = outcome.records.len();
            assert_eq!(outcome.records, expected.records[..count], "{request:?}");
            assert!(outcome.next_offset <= expected.next_offset);
            assert!(count > 0 || expected.records.is_empty(), "{request:?}");
        }
        Err(ReadError::NotInMemory) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn neighbours_are_read_together_and_only_by_those_who_may_wait() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 12);
    let reads = Reads::cold();
    let store = open(reads.options(dir.path()));
    let before = reads.count.load(Ordering::Relaxed);
    assert!(matches!(
        store.read_in_memory(&request(0)),
        Err(ReadError::NotInMemory)
    ));
    assert!(matches!(
        store.record_in_memory(0),
        Err(ReadError::NotInMemory)
    ));
    assert_eq!(reads.count.load(Ordering::Relaxed), before, "nobody waited");
    assert_eq!(numbers(&store.read(&request(0)).unwrap()).len(), 12);
    let count = reads.count.load(Ordering::Relaxed) - before;
    assert_eq!(count, 2, "the entries, and the records of one log file");
    // What this process appends needs no disk.
    append(&store, "t", 0, "young");
    wait_dispatched(&store);
    let young = store.read_in_memory(&request(12)).unwrap();
    assert_eq!(numbers(&young), [12]);
}

#[test]
fn a_bad_block_is_an_error_and_nothing_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 60);
    let reads = Reads::cold();
    let store = open(reads.options(dir.path()));
    let entry = store.queue_entry("t", 0, 10).unwrap();
    let log_file = dir.path().join("commitlog").join(format!("{:020}", 0));
    let at = entry.physical_offset as u64;
    *reads.bad.lock().unwrap() = Some(BadBlock {
        path: log_file.clone(),
        from: at + 50,
        to: at + 60,
    });
    for _ in 0..2 {
        let before = store.read(&request(3)).unwrap();
        assert_eq!(
            numbers(&before),
            [3, 4, 5, 6, 7, 8, 9],
            "up to the bad block"
        );
        assert_eq!(before.next_offset, 10);
        let error = store.read(&request(10)).unwrap_err();
        assert!(
            matches!(&error, ReadError::Disk { path, position, .. }
            if *path == log_file && *position == at),
            "{error}"
        );
        assert!(store.record_of("t", 0, 10).is_err());
        assert!(store.record_at(entry.physical_offset).is_err());
        assert_eq!(numbers(&store.read(&request(11)).unwrap())[0], 11);
    }
    let key = format!("10-{}", "x".repeat(200));
    let query = QueryRequest {
        topic: "t",
        key: &key,
        messages_max: 32,
        begin_ms: 0,
        end_ms: i64::MAX,
    };
    assert!(store.query(&query).is_err());
    let queue_file = dir
        .path()
        .join("consumequeue/t/0")
        .join(format!("{:020}", 0));
    *reads.bad.lock().unwrap() = Some(BadBlock {
        path: queue_file.clone(),
        from: 20 * 9,
        to: 20 * 10,
    });
    assert_eq!(numbers(&store.read(&request(10)).unwrap())[0], 10);
    let error = store.read(&request(9)).unwrap_err();
    assert!(
        matches!(&error, ReadError::Disk { path, .. } if *path == queue_file),
        "{error}"
    );
    *reads.bad.lock().unwrap() = None;
    assert_eq!(numbers(&store.read(&request(9)).unwrap())[..2], [9, 10]);
    assert_eq!(store.query(&query).unwrap().records.len(), 1);
}

/// Changes an entry of the closed store's queue.
fn change_entry(root: &Path, number: usize, change: impl FnOnce(&mut [u8])) {
    let start = number / 16 * 16;
    let name = format!("{:020}", start * 20);
    let path = root.join("consumequeue/t/0").join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes[(number - start) * 20..][..20]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_entry_that_means_another_record_serves_none() {
    type Change = fn(&mut [u8]);
    let changes: [(&str, Change); 9] = [
        ("the offset of the next", |entry| {
            entry[..8].copy_from_slice(&offset_of(4))
        }),
        ("the offset of the one before", |entry| {
            entry[..8].copy_from_slice(&offset_of(2))
        }),
        ("the middle of a record", |entry| entry[7] ^= 1),
        ("far behind the end", |entry| entry[1] ^= 1),
        ("before everything", |entry| entry[0] ^= 0x80),
        ("a shorter record", |entry| entry[11] ^= 1),
        ("a very long record", |entry| entry[8] ^= 0x40),
        ("no bytes", |entry| entry[8..12].fill(0)),
        ("nothing at all", |entry| entry.fill(0)),
    ];
    for (name, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 12);
        change_entry(dir.path(), 3, change);
        let store = open(options(dir.path()));
        let filtered = ReadRequest {
            filter: Some(&Tagged(tags_code("tag"))),
            ..request(3)
        };
        for _ in 0..2 {
            assert_eq!(
                numbers(&store.read(&request(0)).unwrap()),
                [0, 1, 2],
                "{name}"
            );
            for request in [request(3), filtered] {
                let error = store.read(&request).unwrap_err();
                assert!(
                    matches!(error, ReadError::Damaged { .. }),
                    "{name}: {error}"
                );
                assert!(
                    error.to_string().contains("store repair"),
                    "{name}: {error}"
                );
            }
            assert!(store.record_of("t", 0, 3).is_err(), "{name}");
            assert_eq!(numbers(&store.read(&request(4)).unwrap())[0], 4, "{name}");
        }
    }
}

#[test]
fn an_entry_before_the_log_is_gone_only_if_those_before_it_are() {
    let dir = tempfile::tempdir().unwrap();
    let clock = thrustmq_proto_compat::clock::Clock::by_hand(START_MS);
    let store = open_at(options(dir.path()), &clock);
    for number in 0..100 {
        clock.advance_ms(3_600_000);
        append(&store, "t", 0, &format!("{number}-{}", "x".repeat(200)));
    }
    wait_dispatched(&store);
    wait_flushed(&store);
    assert!(store.delete_expired() > 0);
    let min = store.queue_range("t", 0).min;
    store.shutdown();
    drop(store);
    change_entry(dir.path(), min as usize + 2, |entry| entry[..8].fill(0));
    let store = open_at(options(dir.path()), &clock);
    let before = store.read(&request(min)).unwrap();
    assert_eq!(numbers(&before), [min, min + 1]);
    let error = store.read(&request(min + 2)).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    assert_eq!(numbers(&store.read(&request(min + 3)).unwrap())[0], min + 3);
}

/// Where the record of a message lies: all of the same queue have one size.
fn offset_of(number: i64) -> [u8; 8] {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 12);
    let store = open(options(dir.path()));
    let entry = store.queue_entry("t", 0, number).unwrap();
    entry.physical_offset.to_be_bytes()
}

#[test]
fn a_changed_record_is_never_given() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 12);
    let log_file = dir.path().join("commitlog").join(format!("{:020}", 0));
    let sound = fs::read(&log_file).unwrap();
    let at = i64::from_be_bytes(offset_of(5)) as usize;
    let end = i64::from_be_bytes(offset_of(6)) as usize;
    let store = open(options(dir.path()));
    for position in at..end {
        let mut bytes = sound.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&log_file, bytes).unwrap();
        let before = store.read(&request(0)).unwrap();
        assert_eq!(numbers(&before), [0, 1, 2, 3, 4], "byte {}", position - at);
        let error = store.read(&request(5)).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        assert!(store.record_of("t", 0, 5).is_err());
    }
    fs::write(&log_file, sound).unwrap();
    assert_eq!(numbers(&store.read(&request(5)).unwrap())[0], 5);
}

#[test]
fn a_blank_entry_leaves_out_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 12);
    change_entry(dir.path(), 3, |entry| {
        entry.fill(0);
        entry[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    });
    let store = open(options(dir.path()));
    assert_eq!(numbers(&store.read(&request(0)).unwrap()), [0, 1, 2]);
    let rest = store.read(&request(3)).unwrap();
    assert_eq!(numbers(&rest), [4, 5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(store.record_of("t", 0, 3).unwrap(), None);
    let only = ReadRequest {
        messages_max: 1,
        filter: Some(&Tagged(0)),
        ..request(3)
    };
    let nothing = store.read(&only).unwrap();
    assert_eq!(nothing.records.len(), 0);
    assert_eq!(nothing.next_offset, 12);
    assert_eq!(store.store_time_at("t", 0, 3), None);
}

#[test]
fn a_slow_disk_holds_up_neither_appends_nor_young_reads() {
    const READERS: usize = 4;
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 60);
    let reads = Reads::cold();
    let store = open(reads.options(dir.path()));
    reads.hold(true);
    std::thread::scope(|scope| {
        let slow: Vec<_> = (0..READERS as i64)
            .map(|number| {
                let store = &store;
                scope.spawn(move || numbers(&store.read(&request(number * 10)).unwrap()))
            })
            .collect();
        wait_until("all wait for the disk", || {
            reads.waiting.load(Ordering::Relaxed) == READERS
        });
        // None of the following would end if it waited for the disk, too.
        for number in 60..160 {
            assert_eq!(append(&store, "t", 0, "young").queue_offset, number);
            wait_dispatched(&store);
            let young = store.read_in_memory(&request(number)).unwrap();
            assert_eq!(numbers(&young), [number]);
        }
        for number in 0..60 {
            let old = store.read_in_memory(&request(number));
            assert!(matches!(old, Err(ReadError::NotInMemory)));
        }
        wait_flushed(&store);
        assert_eq!(reads.waiting.load(Ordering::Relaxed), READERS);
        reads.hold(false);
        for (first, numbers) in (0..).step_by(10).zip(slow) {
            assert_eq!(numbers.join().unwrap()[0], first);
        }
    });
}
