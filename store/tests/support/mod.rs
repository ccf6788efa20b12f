//! A small store, messages to put into it, and copies of its directory as a crash leaves them.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout)] // each test binary uses its part; a failure here fails a test

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::{
    Appended, Arrival, ArrivalListener, FlushMode, NewMessage, OpenError, ReadOutcome, ReadRequest,
    Store, StoreOptions,
};

pub(crate) mod durable;
pub(crate) mod ledger;

pub(crate) const LOG_FILE_BYTES: u64 = 8192;
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// Settings with files so small that every test crosses their borders.
pub(crate) fn options(root: &Path) -> StoreOptions {
    StoreOptions {
        root: root.to_owned(),
        commit_log_file_bytes: LOG_FILE_BYTES,
        consume_queue_file_bytes: 20 * 16,
        index_slots: 50,
        index_entries: 100,
        flush: FlushMode::Async { interval_ms: 5 },
        consume_queue_flush_interval_ms: 5,
        message_bytes_max: 4096,
        ..StoreOptions::default()
    }
}

/// Remembers who arrived: topic, queue id, queue offset.
#[derive(Default)]
pub(crate) struct Arrivals(pub(crate) Mutex<Vec<(String, i32, i64)>>);

impl ArrivalListener for Arrivals {
    fn arrived(&self, arrival: &Arrival<'_>) {
        let arrived = (
            arrival.topic.to_owned(),
            arrival.queue_id,
            arrival.queue_offset,
        );
        self.0.lock().unwrap().push(arrived);
    }
}

pub(crate) fn open(options: StoreOptions) -> Store {
    open_at(options, &Clock::by_hand(START_MS))
}

pub(crate) fn open_at(options: StoreOptions, clock: &Clock) -> Store {
    let open = || {
        Store::open(
            options.clone(),
            clock.clone(),
            Arc::new(Arrivals::default()),
        )
    };
    for _ in 0..1_000 {
        match open() {
            // A program that another test is about to start has a copy of the lock until it runs.
            Err(OpenError::InUse { .. }) => thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    open().unwrap()
}

pub(crate) fn message<'a>(
    topic: &'a str,
    queue_id: i32,
    body: &'a [u8],
    properties: &'a str,
) -> NewMessage<'a> {
    NewMessage {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: START_MS,
        born_host: "10.0.0.1:4000".parse().unwrap(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties,
    }
}

pub(crate) fn append(store: &Store, topic: &str, queue_id: i32, body: &str) -> Appended {
    let properties = format!("KEYS\u{1}{body}\u{2}TAGS\u{1}tag\u{2}");
    store
        .append(&message(topic, queue_id, body.as_bytes(), &properties))
        .unwrap()
}

/// Waits until queues and index know everything.
pub(crate) fn wait_dispatched(store: &Store) {
    wait_until("dispatched", || {
        let marks = store.watermarks();
        marks.dispatched == marks.written
    });
}

/// Waits until everything is on the disk.
pub(crate) fn wait_flushed(store: &Store) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let written = store.watermarks().written;
    store.when_flushed(
        written,
        Box::new(move |outcome| sender.send(outcome).unwrap()),
    );
    let outcome = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(outcome, thrustmq_store::FlushOutcome::Flushed);
}

pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("not {what} within a minute");
}

/// Reads from an offset, without any limit that matters.
pub(crate) fn read(store: &Store, topic: &str, queue_id: i32, offset: i64) -> ReadOutcome {
    let request = ReadRequest {
        topic,
        queue_id,
        offset,
        messages_max: 32,
        bytes_max: 1 << 20,
        filter: None,
    };
    store.read(&request).unwrap()
}

/// Bodies of a whole queue, each checked to have the number under which it was read.
pub(crate) fn bodies(store: &Store, topic: &str, queue_id: i32) -> Vec<String> {
    let range = store.queue_range(topic, queue_id);
    let mut bodies = Vec::new();
    let mut offset = range.min;
    while offset < range.max {
        let outcome = read(store, topic, queue_id, offset);
        assert!(
            !outcome.records.is_empty(),
            "{outcome:?} at {offset} of {range:?}"
        );
        for (number, bytes) in (offset..).zip(&outcome.records) {
            let view = record::check(bytes, CheckBody::Crc).unwrap();
            assert_eq!(
                (view.topic, view.queue_id, view.queue_offset),
                (topic, queue_id, number)
            );
            bodies.push(String::from_utf8(view.body.to_vec()).unwrap());
        }
        offset = outcome.next_offset;
    }
    bodies
}

/// A copy of a store's directory, to be changed and opened.
pub(crate) struct Image {
    pub(crate) dir: TempDir,
}

impl Image {
    pub(crate) fn empty() -> Self {
        Self { dir: memory_dir() }
    }

    pub(crate) fn of(root: &Path) -> Self {
        let image = Self::empty();
        copy(root, image.path());
        image
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// Log files, oldest first, with the offset at which each begins.
    pub(crate) fn log_files(&self) -> Vec<(u64, PathBuf)> {
        let entries = fs::read_dir(self.path().join("commitlog")).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().parse().unwrap(),
                    path,
                )
            })
            .collect();
        files.sort();
        files
    }

    /// Changes one byte of the log.
    pub(crate) fn damage(&self, physical_offset: i64) {
        let at = physical_offset as u64;
        let files = self.log_files();
        let (start, path) = files.iter().rev().find(|(start, _)| *start <= at).unwrap();
        let mut bytes = fs::read(path).unwrap();
        bytes[(at - start) as usize] ^= 0xFF;
        fs::write(path, bytes).unwrap();
    }

    /// Takes our part of the checkpoint away, as if the directory were Java's.
    pub(crate) fn forget_offsets(&self) {
        let path = self.path().join("checkpoint");
        let mut bytes = fs::read(&path).unwrap();
        bytes[2048..].fill(0);
        fs::write(&path, bytes).unwrap();
    }

    /// Makes the log end at an offset: behind it only zeros, as if nothing else had reached the disk.
    pub(crate) fn cut_log(&self, end: i64) {
        for (start, path) in self.log_files() {
            let mut bytes = fs::read(&path).unwrap();
            let kept = (end as u64).saturating_sub(start).min(LOG_FILE_BYTES) as usize;
            bytes[kept..].fill(0);
            fs::write(&path, bytes).unwrap();
        }
    }
}

/// A directory in memory, where flushing costs nothing; on the disk if there is none in memory.
pub(crate) fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A seed from the environment (`SEED=…`) or the time; prints it.
#[allow(clippy::disallowed_methods)] // a seed may come from the real clock
pub(crate) fn seed(test: &str) -> u64 {
    let given = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = given.unwrap_or_else(|| since.unwrap().as_nanos() as u64);
    println!("{test}: SEED={seed}");
    seed
}

/// A small random generator, so that a printed seed gives the same test again.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded as [`seed`] says.
    pub(crate) fn seeded(test: &str) -> Self {
        Self::of(seed(test))
    }

    pub(crate) fn of(seed: u64) -> Self {
        // Neighbouring seeds must not give similar numbers (splitmix64).
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
