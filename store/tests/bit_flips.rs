//! A bit that flipped on the disk: what it belongs to is refused, and never served as if it were
//! sound. Whatever is read is exactly what was stored.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::*;
use tempfile::TempDir;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{FlushMode, OpenError, QueryRequest, ReadRequest, Store, StoreOptions};

const MESSAGES: i64 = 20;
/// Stores are opened for every so many bits only, since that takes its time; prime, so that every
/// bit of a byte has its turn.
const STRIDE: usize = 11;
/// What each part of the checkpoint takes: Java's times, and our offsets.
const CHECKPOINT: [(u64, usize); 2] = [(0, 40), (2048, 96)];

/// A directory of messages in one queue, and what they are.
struct Filled {
    dir: TempDir,
    /// Each record as it was stored, with its place.
    records: Vec<Record>,
    /// End of what was flushed.
    flushed: i64,
}

#[derive(Clone)]
struct Record {
    place: i64,
    bytes: Vec<u8>,
    key: String,
}

impl Record {
    fn end(&self) -> i64 {
        self.place + self.bytes.len() as i64
    }
}

fn append_one(store: &Store, number: i64) -> Record {
    let key = format!("key-{number}");
    let appended = append(store, "t", 0, &key);
    wait_dispatched(store);
    Record {
        place: appended.physical_offset,
        bytes: store.record_at(appended.physical_offset).unwrap().to_vec(),
        key,
    }
}

impl Filled {
    /// Closed in order.
    fn closed(messages: i64) -> Self {
        let dir = memory_dir();
        let store = open(options(dir.path()));
        let records: Vec<_> = (0..messages)
            .map(|number| append_one(&store, number))
            .collect();
        drop(store);
        let flushed = records.last().unwrap().end();
        Self {
            dir,
            records,
            flushed,
        }
    }

    /// As a crash left it: a checkpoint vouches for the first half, and nothing for the second.
    fn crashed() -> Self {
        let dir = memory_dir();
        let clock = Clock::by_hand(START_MS);
        let store = open_at(options_of_crashed(dir.path()), &clock);
        let half = MESSAGES / 2;
        let mut records: Vec<_> = (0..half).map(|number| append_one(&store, number)).collect();
        wait_flushed(&store);
        let flushed = store.watermarks().flushed;
        wait_until("in the checkpoint", || {
            let checkpoint = fs::read(dir.path().join("checkpoint")).unwrap_or_default();
            holds_thrice(&checkpoint, flushed)
        });
        records.extend((half..MESSAGES).map(|number| append_one(&store, number)));
        let image = Image::of(dir.path());
        assert_eq!(
            store.watermarks().flushed,
            flushed,
            "the rest is not flushed"
        );
        Self {
            dir: image.dir,
            records,
            flushed,
        }
    }

    fn image(&self) -> Image {
        Image::of(self.dir.path())
    }

    fn open(&self, image: &Image) -> Result<Store, OpenError> {
        Store::open(
            options_of_crashed(image.path()),
            Clock::by_hand(START_MS),
            Arc::new(Arrivals::default()),
        )
    }

    /// The log file, and where in it something lies.
    fn log_place(&self, root: &Path, physical_offset: i64) -> Bits {
        Bits {
            path: root.join("commitlog").join(format!("{:020}", 0)),
            at: physical_offset as u64,
            bytes: 0,
        }
    }

    fn record_bits(&self, root: &Path, number: usize) -> Bits {
        let record = &self.records[number];
        Bits {
            bytes: record.bytes.len(),
            ..self.log_place(root, record.place)
        }
    }

    /// Whether the queue serves a message. However it is asked for, what is served was stored so.
    fn serves(&self, store: &Store, number: usize) -> bool {
        let record = &self.records[number];
        let outcome = store.read(&ReadRequest {
            topic: "t",
            queue_id: 0,
            offset: number as i64,
            messages_max: 1,
            bytes_max: 1 << 20,
            filter: None,
        });
        let found = outcome.map(|outcome| outcome.records).unwrap_or_default();
        let by_place = store.record_at(record.place);
        let by_key = store.query(&query(&record.key));
        let by_key = by_key.map(|outcome| outcome.records).unwrap_or_default();
        for bytes in found.iter().chain(&by_place).chain(&by_key) {
            assert_eq!(bytes, &record.bytes, "message {number}");
        }
        !found.is_empty()
    }

    fn served(&self, store: &Store) -> Vec<bool> {
        let numbers = 0..self.records.len();
        numbers.map(|number| self.serves(store, number)).collect()
    }

    /// Opens a copy with every so many bits of a file flipped, one at a time, and looks at it.
    fn with_each(
        &self,
        bits: impl Fn(&Path) -> Bits,
        look: impl Fn(Result<Store, OpenError>, String),
    ) {
        let count = bits(self.dir.path()).bytes * 8;
        for bit in (0..count).step_by(STRIDE) {
            let image = self.image();
            bits(image.path()).flip(bit);
            look(
                self.open(&image),
                format!("bit {} of byte {}", bit % 8, bit / 8),
            );
        }
    }
}

/// Nothing is flushed unless it is asked for.
fn options_of_crashed(root: &Path) -> StoreOptions {
    StoreOptions {
        flush: FlushMode::Async {
            interval_ms: 600_000,
        },
        ..options(root)
    }
}

/// As end of what is flushed, derived and confirmed: as that of what is derived it may have been there before.
fn holds_thrice(bytes: &[u8], value: i64) -> bool {
    let is_it = |window: &&[u8]| *window == value.to_be_bytes();
    bytes.windows(8).filter(is_it).count() >= 3
}

fn query(key: &str) -> QueryRequest<'_> {
    QueryRequest {
        topic: "t",
        key,
        messages_max: 10,
        begin_ms: 0,
        end_ms: i64::MAX,
    }
}

/// A piece of a file.
struct Bits {
    path: PathBuf,
    at: u64,
    bytes: usize,
}

impl Bits {
    fn flip(&self, bit: usize) {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap();
        let at = self.at + bit as u64 / 8;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << (bit % 8);
        file.write_all_at(&byte, at).unwrap();
    }

    /// Flips each bit in turn, and back.
    fn each(&self, mut look: impl FnMut(usize)) {
        for bit in 0..self.bytes * 8 {
            self.flip(bit);
            look(bit);
            self.flip(bit);
        }
    }
}

/// An entry of the queue; the files of this test take 16.
fn entry_bits(root: &Path, number: usize) -> Bits {
    let start = number / 16 * 16 * 20;
    Bits {
        path: root.join("consumequeue/t/0").join(format!("{start:020}")),
        at: number as u64 % 16 * 20,
        bytes: 20,
    }
}

fn index_bits(root: &Path) -> Bits {
    let mut files = fs::read_dir(root.join("index")).unwrap();
    let path = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    // Header, slots, and an entry for each message.
    let bytes = 40 + 50 * 4 + (MESSAGES as usize + 1) * 20;
    Bits { path, at: 0, bytes }
}

fn checkpoint_bits(root: &Path, (at, bytes): (u64, usize)) -> Bits {
    Bits {
        path: root.join("checkpoint"),
        at,
        bytes,
    }
}

fn all() -> Vec<bool> {
    vec![true; MESSAGES as usize]
}

fn all_but(number: usize) -> Vec<bool> {
    (0..MESSAGES as usize)
        .map(|other| other != number)
        .collect()
}

#[test]
fn no_bit_of_an_old_record_is_served_flipped() {
    let filled = Filled::closed(MESSAGES);
    let image = filled.image();
    let store = filled.open(&image).unwrap();
    assert!(filled.served(&store).iter().all(|served| *served));
    for number in [0, 10, 19] {
        filled.record_bits(image.path(), number).each(|bit| {
            assert!(!filled.serves(&store, number), "bit {bit} of {number}");
            let neighbour = if number == 0 { 1 } else { number - 1 };
            assert!(filled.serves(&store, neighbour), "bit {bit} of {number}");
        });
    }
    assert!(filled.served(&store).iter().all(|served| *served));
}

#[test]
fn no_bit_of_a_queue_entry_leads_to_another_message() {
    let filled = Filled::closed(MESSAGES);
    let image = filled.image();
    let store = filled.open(&image).unwrap();
    for number in [0, 10, 19] {
        entry_bits(image.path(), number).each(|bit| {
            let served = filled.serves(&store, number);
            // Tags only say whether a filter looks at the message.
            assert_eq!(served, bit >= 96, "bit {bit} of entry {number}");
        });
    }
}

#[test]
fn no_bit_of_the_index_leads_to_another_message() {
    let filled = Filled::closed(MESSAGES);
    let image = filled.image();
    let store = filled.open(&image).unwrap();
    index_bits(image.path()).each(|bit| {
        // The index only says where to look: a message may not be found, but no other is.
        assert!(filled.serves(&store, bit % MESSAGES as usize), "bit {bit}");
    });
}

#[test]
fn a_start_after_a_close_loses_nothing_to_a_flipped_bit_of_a_record() {
    let filled = Filled::closed(MESSAGES);
    for number in [10, 19] {
        filled.with_each(
            |root| filled.record_bits(root, number),
            |opened, bit| {
                if let Ok(store) = opened {
                    assert_eq!(filled.served(&store), all_but(number), "{bit} of {number}");
                    assert_eq!(store.queue_range("t", 0).max, MESSAGES, "{bit}");
                }
            },
        );
    }
}

#[test]
fn a_start_after_a_close_loses_nothing_to_a_flipped_bit_of_what_is_derived() {
    let filled = Filled::closed(MESSAGES);
    let whole = |opened: Result<Store, OpenError>, bit: String| {
        if let Ok(store) = opened {
            assert_eq!(filled.served(&store), all(), "{bit}");
            assert_eq!(store.queue_range("t", 0).max, MESSAGES, "{bit}");
        }
    };
    for part in CHECKPOINT {
        filled.with_each(|root| checkpoint_bits(root, part), whole);
    }
    filled.with_each(index_bits, whole);
}

#[test]
fn a_start_after_a_crash_keeps_what_is_before_a_flipped_bit() {
    let filled = Filled::crashed();
    let half = MESSAGES as usize / 2;
    assert_eq!(filled.flushed, filled.records[half - 1].end());
    for number in [half, half + 5, MESSAGES as usize - 1] {
        filled.with_each(
            |root| filled.record_bits(root, number),
            |opened, bit| {
                let store = opened.unwrap();
                let served = filled.served(&store);
                let expected: Vec<_> = (0..MESSAGES as usize).map(|other| other < number).collect();
                assert_eq!(served, expected, "{bit} of {number}");
                assert_eq!(append(&store, "t", 0, "next").queue_offset, number as i64);
            },
        );
    }
}

#[test]
fn a_start_after_a_crash_cuts_nothing_that_was_flushed() {
    let filled = Filled::crashed();
    let half = MESSAGES as usize / 2;
    for number in [5, half - 1] {
        filled.with_each(
            |root| filled.record_bits(root, number),
            |opened, bit| {
                if let Ok(store) = opened {
                    assert_eq!(filled.served(&store), all_but(number), "{bit} of {number}");
                }
            },
        );
    }
}

/// The filler is all that says that the log goes on in the next file.
#[test]
fn a_flipped_bit_of_the_filler_loses_nothing() {
    let filled = Filled::closed(60);
    let last_of_file = filled
        .records
        .windows(2)
        .find(|pair| pair[0].end() != pair[1].place);
    let filler = last_of_file.unwrap()[0].end();
    filled.with_each(
        |root| Bits {
            bytes: 8,
            ..filled.log_place(root, filler)
        },
        |opened, bit| {
            if let Ok(store) = opened {
                assert_eq!(filled.served(&store), vec![true; 60], "{bit}");
                assert_eq!(store.queue_range("t", 0).max, 60, "{bit}");
            }
        },
    );
}

#[test]
fn a_start_after_a_crash_may_demand_checksums() {
    for record_checksum in [true, false] {
        let dir = memory_dir();
        let store = open(StoreOptions {
            record_checksum,
            ..options_of_crashed(dir.path())
        });
        append_one(&store, 0);
        append_one(&store, 1);
        let image = Image::of(dir.path());
        for (force_record_checksum, expected) in
            [(false, 2), (true, 2 * i64::from(record_checksum))]
        {
            let image = Image::of(image.path());
            let store = open(StoreOptions {
                force_record_checksum,
                ..options_of_crashed(image.path())
            });
            assert_eq!(store.queue_range("t", 0).max, expected);
        }
    }
}
