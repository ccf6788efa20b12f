//! What damaged files are put through: a small store directory in which one file holds the given
//! bytes is opened, and all of it is read and queried.
//!
//! Opening may be refused. What is served has been stored, at that place. What the damaged file has no
//! part in is served whole. `fuzz_targets/` and `tests/hostile_files.rs` both use these.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{
    Arrival, ArrivalListener, FlushMode, FlushOutcome, NewMessage, QueryRequest, ReadRequest,
    Store, StoreOptions,
};

const START_MS: i64 = 1_700_000_000_000;
const MESSAGES: i64 = 40;
const QUEUES: [(&str, i32); 3] = [("t", 0), ("t", 1), ("other", 0)];
/// A read that takes more steps than this does not end.
const STEPS_MAX: usize = 10_000;

/// The first byte says how the store was left and whether the rest keeps its length.
pub(crate) const CRASHED: u8 = 1;
pub(crate) const OTHER_LENGTH: u8 = 2;

pub(crate) const QUEUE: &str = "consumequeue/t/0/00000000000000000320";
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// A consume-queue file.
pub(crate) fn queue(bytes: &[u8]) {
    if let Some(served) = serve(QUEUE, bytes) {
        served.compare(Complete::Index);
    }
}

/// An index file.
pub(crate) fn index(bytes: &[u8]) {
    if let Some(served) = serve(&index_file(), bytes) {
        served.compare(Complete::Queues);
    }
}

/// The checkpoint.
pub(crate) fn checkpoint(bytes: &[u8]) {
    if let Some(served) = serve(CHECKPOINT, bytes) {
        served.compare(Complete::Both);
    }
}

/// Name of the index file that is damaged.
pub(crate) fn index_file() -> String {
    let mut names = sound()
        .closed
        .keys()
        .filter(|name| name.starts_with("index"));
    names.nth(1).unwrap().to_str().unwrap().to_owned()
}

/// What a file held before it was damaged.
pub(crate) fn sound_file(name: &str, crashed: bool) -> Vec<u8> {
    sound().files(crashed)[Path::new(name)].clone()
}

/// Files of a store, by name.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A sound store, closed and crashed, and what it serves.
struct Sound {
    closed: Files,
    crashed: Files,
    /// Records by queue and queue offset.
    queues: BTreeMap<(&'static str, i32), Vec<Vec<u8>>>,
    /// Records by topic and key, oldest first.
    keys: BTreeMap<(&'static str, String), Vec<Vec<u8>>>,
}

/// What is served although a file is damaged.
struct Served {
    queues: BTreeMap<(&'static str, i32), BTreeMap<i64, Vec<u8>>>,
    keys: BTreeMap<(&'static str, String), Vec<Vec<u8>>>,
}

/// What the damaged file has no part in.
#[derive(PartialEq)]
enum Complete {
    Queues,
    Index,
    Both,
}

impl Served {
    fn compare(&self, complete: Complete) {
        for (queue, expected) in &sound().queues {
            let records = &self.queues[queue];
            for (offset, record) in records {
                let stored = usize::try_from(*offset)
                    .ok()
                    .and_then(|at| expected.get(at));
                assert!(
                    stored == Some(record),
                    "{queue:?} {offset} was never stored"
                );
            }
            if complete != Complete::Index {
                assert_eq!(records.len(), expected.len(), "{queue:?} lacks messages");
            }
        }
        for (key, expected) in &sound().keys {
            let mut left = expected.iter();
            for record in &self.keys[key] {
                assert!(
                    left.any(|stored| stored == record),
                    "{key:?} is answered wrong"
                );
            }
            if complete != Complete::Queues {
                assert_eq!(
                    self.keys[key].len(),
                    expected.len(),
                    "{key:?} lacks messages"
                );
            }
        }
    }
}

struct Nobody;

impl ArrivalListener for Nobody {
    fn arrived(&self, _arrival: &Arrival<'_>) {}
}

fn options(root: &Path) -> StoreOptions {
    StoreOptions {
        root: root.to_owned(),
        commit_log_file_bytes: 4096,
        consume_queue_file_bytes: 20 * 16,
        index_slots: 7,
        index_entries: 32,
        flush: FlushMode::Async { interval_ms: 1 },
        consume_queue_flush_interval_ms: 5,
        ..StoreOptions::default()
    }
}

fn open(root: &Path) -> Option<Store> {
    Store::open(options(root), Clock::by_hand(START_MS), Arc::new(Nobody)).ok()
}

/// In memory where that can be had: thousands of directories are made.
fn new_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    dir.unwrap()
}

fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(Sound::new)
}

impl Sound {
    fn new() -> Self {
        let dir = new_dir();
        let store = open(dir.path()).unwrap();
        for number in 0..MESSAGES {
            // More to the first queue, so that it has several files.
            let (topic, queue_id) = QUEUES[[0, 0, 1, 0, 2][number as usize % 5]];
            append(&store, topic, queue_id, number);
        }
        let (flushed, wait) = std::sync::mpsc::sync_channel(1);
        let end = store.watermarks().written;
        store.when_flushed(end, Box::new(move |outcome| flushed.send(outcome).unwrap()));
        assert_eq!(wait.recv().unwrap(), FlushOutcome::Flushed);
        while store.watermarks().dispatched < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        // A checkpoint or two after the last flush.
        std::thread::sleep(Duration::from_millis(50));
        let served = read_all(&store);
        let crashed = files(dir.path());
        store.shutdown();
        drop(store);
        Self {
            closed: files(dir.path()),
            crashed,
            queues: served
                .queues
                .into_iter()
                .map(|(queue, records)| (queue, records.into_values().collect()))
                .collect(),
            keys: served.keys,
        }
    }

    fn files(&self, crashed: bool) -> &Files {
        if crashed { &self.crashed } else { &self.closed }
    }
}

fn append(store: &Store, topic: &str, queue_id: i32, number: i64) {
    let body = number.to_string();
    let message = NewMessage {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: START_MS,
        born_host: "10.0.0.1:4000".parse().unwrap(),
        store_host: "10.0.0.2:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties: &format!(
            "UNIQ_KEY\u{1}id-{number}\u{2}KEYS\u{1}all k{}\u{2}",
            number % 7
        ),
    };
    store.append(&message).unwrap();
}

fn files(root: &Path) -> Files {
    let mut files = Files::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Opens the store with a damaged file and reads all of it; nothing if it is refused.
fn serve(name: &str, bytes: &[u8]) -> Option<Served> {
    let (&how, bytes) = bytes.split_first()?;
    let files = sound().files(how & CRASHED != 0);
    let dir = new_dir();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut damaged = bytes.to_vec();
    if how & OTHER_LENGTH == 0 {
        damaged.resize(files[Path::new(name)].len(), 0);
    }
    fs::write(dir.path().join(name), damaged).unwrap();
    let store = open(dir.path())?;
    Some(read_all(&store))
}

fn read_all(store: &Store) -> Served {
    let read = |queue: &(&'static str, i32)| (*queue, read_queue(store, queue.0, queue.1));
    let mut keys = BTreeMap::new();
    for topic in ["t", "other"] {
        let unique = (0..MESSAGES).map(|number| format!("id-{number}"));
        let common = (0..7).map(|number| format!("k{number}"));
        for key in unique.chain(common).chain(["all".to_owned()]) {
            let found = store.query(&QueryRequest {
                topic,
                key: &key,
                messages_max: 64,
                begin_ms: 0,
                end_ms: i64::MAX,
            });
            let records = found.map_or(Vec::new(), |found| found.records);
            let records = records.iter().map(|record| record.to_vec());
            keys.insert((topic, key), records.collect());
        }
    }
    Served {
        queues: QUEUES.iter().map(read).collect(),
        keys,
    }
}

fn read_queue(store: &Store, topic: &str, queue_id: i32) -> BTreeMap<i64, Vec<u8>> {
    let range = store.queue_range(topic, queue_id);
    let mut records = BTreeMap::new();
    let mut offset = range.min;
    for _ in 0..STEPS_MAX {
        if offset >= range.max {
            return records;
        }
        let outcome = store.read(&ReadRequest {
            topic,
            queue_id,
            offset,
            messages_max: 1,
            bytes_max: 1 << 20,
            filter: None,
        });
        let Ok(outcome) = outcome else {
            // Refused; what lies behind it can be read.
            offset += 1;
            continue;
        };
        for record in &outcome.records {
            records.insert(offset, record.to_vec());
        }
        assert!(outcome.next_offset > offset, "reading does not go on");
        offset = outcome.next_offset;
    }
    panic!("queue {queue_id} of {topic} has no end: {range:?}");
}
