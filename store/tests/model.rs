//! Random use against a plain vector of messages.
//!
//! Many short runs, each with a seed of its own that also chooses the settings. A run that fails
//! prints the command that repeats it. `SEED` is the first run's seed, `MODEL_RUNS` and
//! `MODEL_STEPS` say how much is done.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // the helpers of tests are tests

mod support;

use std::sync::Arc;

use support::*;
use tempfile::TempDir;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::message::tags_code::tags_code;
use thrustmq_store::{
    Boundary, FlushMode, NewBatchItem, NewMessage, QueryRequest, ReadRequest, ReadStatus,
    RecordFilter, RetentionOptions, Store, StoreOptions,
};

const HOUR_MS: i64 = 3_600_000;
/// So many messages share a key.
const KEYS: u64 = 30;
/// Times of index entries are whole seconds after their file's first.
const INDEX_TIME_MS: i64 = 1_000;

/// A message that was stored.
#[derive(Debug, Clone)]
struct Stored {
    topic: String,
    queue_id: i32,
    /// None for prepared transaction messages.
    queue_offset: Option<i64>,
    body: String,
    key: String,
    tag: &'static str,
    physical_offset: i64,
    end: i64,
    stored_ms: i64,
    /// Its topic was deleted later.
    is_deleted: bool,
}

struct Model {
    options: StoreOptions,
    dir: TempDir,
    clock: Clock,
    store: Option<Store>,
    /// Everything in the log, and what expired.
    log: Vec<Stored>,
    /// Begin of the log.
    min: i64,
    random: Random,
    count: u64,
}

/// A message to be stored.
struct Draft {
    topic: String,
    queue_id: i32,
    body: String,
    key: String,
    tag: &'static str,
    properties: String,
}

struct ByTag(&'static str);

impl RecordFilter for ByTag {
    fn by_tags_code(&self, code: i64) -> bool {
        tags_code(self.0) == code
    }
}

impl Model {
    fn new(mut random: Random) -> Self {
        let dir = memory_dir();
        let options = settings(&dir, &mut random);
        let clock = Clock::by_hand(START_MS);
        let store = open_at(options.clone(), &clock);
        Self {
            options,
            dir,
            clock,
            store: Some(store),
            log: Vec::new(),
            min: 0,
            random,
            count: 0,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..50 => self.append(0),
            50..53 => self.append(sys_flag::TRANSACTION_PREPARED),
            53..61 => self.append_batch(),
            61..70 => self.read(),
            70..76 => self.query(),
            76..80 => self.find_by_time(),
            80..83 => self.read_by_place(),
            83..86 => self.compare(),
            86..89 => self.pass_time(5_000),
            89..91 => self.pass_time(3 * HOUR_MS as u64),
            91..93 => self.expire(),
            93..94 => self.delete_topic(),
            94..97 => self.reopen(),
            _ => self.crash(),
        }
        self.check_watermarks();
    }

    fn pass_time(&mut self, most_ms: u64) {
        self.clock.advance_ms(self.random.below(most_ms) as i64);
    }

    fn pick_queue(&mut self) -> (String, i32) {
        let topic = format!("t{}", self.random.below(2));
        (topic, self.random.below(3) as i32)
    }

    fn pick_stored(&mut self) -> Option<Stored> {
        let live: Vec<_> = self.log.iter().filter(|m| self.is_live(m)).collect();
        let count = live.len() as u64;
        (count > 0).then(|| live[self.random.below(count) as usize].clone())
    }

    fn draft(&mut self) -> Draft {
        self.count += 1;
        let (topic, queue_id) = self.pick_queue();
        let number = self.count;
        let key = format!("k{}", number % KEYS);
        let tag = if self.random.below(2) == 0 { "a" } else { "b" };
        let padding = "x".repeat(self.random.below(700) as usize);
        Draft {
            properties: format!(
                "UNIQ_KEY\u{1}u{number}\u{2}KEYS\u{1}{key}\u{2}TAGS\u{1}{tag}\u{2}"
            ),
            body: format!("{number}-{padding}"),
            topic,
            queue_id,
            key,
            tag,
        }
    }

    fn is_live(&self, message: &Stored) -> bool {
        !message.is_deleted && message.physical_offset >= self.min
    }

    /// All that the queue ever held in this life, with its number there.
    fn entries<'a>(
        &'a self,
        topic: &'a str,
        queue_id: i32,
    ) -> impl Iterator<Item = (i64, &'a Stored)> {
        self.log
            .iter()
            .filter(move |m| !m.is_deleted && m.topic == topic && m.queue_id == queue_id)
            .filter_map(|m| Some((m.queue_offset?, m)))
    }

    fn next_offset(&self, topic: &str, queue_id: i32) -> i64 {
        let last = self.entries(topic, queue_id).last();
        last.map_or(0, |(number, _)| number + 1)
    }

    fn live_entries<'a>(&'a self, topic: &'a str, queue_id: i32) -> Vec<(i64, &'a Stored)> {
        let entries = self.entries(topic, queue_id);
        entries.filter(|(_, m)| self.is_live(m)).collect()
    }

    fn append(&mut self, flag: i32) {
        let draft = self.draft();
        self.append_draft(draft, flag);
    }

    fn append_draft(&mut self, draft: Draft, flag: i32) {
        let next = self.next_offset(&draft.topic, draft.queue_id);
        let new = message(
            &draft.topic,
            draft.queue_id,
            draft.body.as_bytes(),
            &draft.properties,
        );
        let new = NewMessage {
            sys_flag: flag,
            ..new
        };
        let appended = self.store().append(&new).unwrap();
        let is_queued = sys_flag::has_queue_entry(flag);
        assert_eq!(appended.queue_offset, if is_queued { next } else { 0 });
        assert_eq!(
            appended.end_offset,
            appended.physical_offset + i64::from(appended.record_bytes)
        );
        self.log.push(Stored {
            queue_offset: is_queued.then_some(next),
            physical_offset: appended.physical_offset,
            end: appended.end_offset,
            stored_ms: appended.store_timestamp,
            ..Stored::of(draft)
        });
    }

    fn append_batch(&mut self) {
        let count = 1 + self.random.below(4);
        let mut drafts: Vec<_> = (0..count).map(|_| self.draft()).collect();
        let (topic, queue_id) = self.pick_queue();
        for draft in &mut drafts {
            (draft.topic, draft.queue_id) = (topic.clone(), queue_id);
        }
        let item = |draft: &'_ Draft| (draft.body.clone().into_bytes(), draft.properties.clone());
        let owned: Vec<_> = drafts.iter().map(item).collect();
        let items: Vec<_> = owned
            .iter()
            .map(|(body, properties)| NewBatchItem {
                flag: 0,
                body,
                properties,
            })
            .collect();
        let common = message(&topic, queue_id, b"", "");
        let batch = self.store().append_batch(&common, &items).unwrap();
        assert_eq!(batch.queue_offset, self.next_offset(&topic, queue_id));
        let begins = batch.physical_offsets;
        let ends = begins[1..].iter().chain([&batch.end_offset]);
        let numbers = batch.queue_offset..;
        for (((draft, begin), end), number) in
            drafts.into_iter().zip(&begins).zip(ends).zip(numbers)
        {
            self.log.push(Stored {
                queue_offset: Some(number),
                physical_offset: *begin,
                end: *end,
                stored_ms: batch.store_timestamp,
                ..Stored::of(draft)
            });
        }
    }

    /// A read within limits, perhaps with a filter, from anywhere.
    fn read(&mut self) {
        let (topic, queue_id) = self.pick_queue();
        let offset = self
            .random
            .below(self.next_offset(&topic, queue_id) as u64 + 2) as i64;
        let filter = (self.random.below(2) == 0).then_some(ByTag("a"));
        let request = ReadRequest {
            topic: &topic,
            queue_id,
            offset,
            messages_max: 1 + self.random.below(10) as usize,
            bytes_max: 100 + self.random.below(3_000) as usize,
            filter: filter.as_ref().map(|filter| filter as _),
        };
        wait_dispatched(self.store());
        let outcome = self.store().read(&request).unwrap();
        let (found, next) = (outcome.records, outcome.next_offset);
        let min = self.range(&topic, queue_id).0;
        let max = self.next_offset(&topic, queue_id);
        match outcome.status {
            ReadStatus::NoMatchedLogicQueue | ReadStatus::NoMessageInQueue => {
                return assert_eq!(max, 0);
            }
            ReadStatus::OffsetTooSmall => return assert!(offset < min && next == min),
            ReadStatus::OffsetOverflowOne => return assert_eq!((offset, next), (max, max)),
            ReadStatus::OffsetOverflowBadly => return assert!(offset > max && next == max),
            ReadStatus::Found => assert!(!found.is_empty()),
            ReadStatus::NoMatchedMessage => assert!(found.is_empty() && filter.is_some()),
            ReadStatus::MessageWasRemoving
            | ReadStatus::OffsetFoundNull
            | ReadStatus::OffsetReset => panic!("{:?} for {request:?}", outcome.status),
        }
        assert!(min <= offset && offset < next && next <= max, "{next}");
        let bytes: usize = found.iter().map(|record| record.len()).sum();
        assert!(found.len() <= request.messages_max);
        assert!(found.len() == 1 || bytes <= request.bytes_max);
        let expected = self.live_entries(&topic, queue_id);
        let expected = expected.iter().filter(|(number, m)| {
            (offset..next).contains(number) && filter.as_ref().is_none_or(|f| f.0 == m.tag)
        });
        assert_same(&found, expected.map(|(_, m)| *m));
    }

    fn query(&mut self) {
        let Some(wanted) = self.pick_stored() else {
            return;
        };
        let (begin_ms, end_ms) = match self.random.below(2) {
            0 => (0, i64::MAX - INDEX_TIME_MS),
            _ => (wanted.stored_ms - 2_000, wanted.stored_ms + 2_000),
        };
        wait_dispatched(self.store());
        let outcome = self.store().query(&QueryRequest {
            topic: &wanted.topic,
            key: &wanted.key,
            messages_max: 64,
            begin_ms,
            end_ms,
        });
        let outcome = outcome.unwrap();
        let (topic, key) = (&wanted.topic, &wanted.key);
        let matching = |slack_ms: i64| {
            let times = begin_ms - slack_ms..=end_ms + slack_ms;
            let matching = self.log.iter().filter(move |m| {
                m.topic == *topic && m.key == *key && times.contains(&m.stored_ms)
            });
            matching.filter(|m| m.physical_offset >= self.min)
        };
        let place = |record| {
            record::check(record, CheckBody::Crc)
                .unwrap()
                .physical_offset
        };
        let found: Vec<_> = outcome.records.iter().map(|r| place(r)).collect();
        assert!(found.is_sorted_by(|one, next| one < next), "{found:?}");
        let allowed: Vec<_> = matching(INDEX_TIME_MS).map(|m| m.physical_offset).collect();
        assert!(
            found.iter().all(|at| allowed.contains(at)),
            "{found:?} of {allowed:?}"
        );
        let mut needed = matching(-INDEX_TIME_MS).filter(|m| !m.is_deleted);
        let missing = needed.find(|m| !found.contains(&m.physical_offset));
        assert!(missing.is_none(), "{missing:?} in {found:?}");
    }

    fn find_by_time(&mut self) {
        let Some(near) = self.pick_stored() else {
            return;
        };
        let (topic, queue_id) = (&near.topic, near.queue_id);
        let time_ms = near.stored_ms + self.random.below(3) as i64 - 1;
        wait_dispatched(self.store());
        let entries = self.live_entries(topic, queue_id);
        let find = |boundary| {
            self.store()
                .offset_by_time(topic, queue_id, time_ms, boundary)
                .unwrap()
        };
        let lower = entries.iter().find(|(_, m)| m.stored_ms >= time_ms);
        let lower = lower.map_or(self.next_offset(topic, queue_id), |(number, _)| *number);
        assert_eq!(find(Boundary::Lower), lower, "{topic} {queue_id} {time_ms}");
        let upper = entries.iter().rfind(|(_, m)| m.stored_ms <= time_ms);
        let upper = upper.map_or(0, |(number, _)| *number);
        assert_eq!(find(Boundary::Upper), upper, "{topic} {queue_id} {time_ms}");
        if let Some((number, first)) = entries.first() {
            let (number, stored) = (*number, Some(first.stored_ms));
            assert_eq!(self.store().store_time_at(topic, queue_id, number), stored);
            assert_eq!(self.store().earliest_store_time(topic, queue_id), stored);
        }
    }

    fn read_by_place(&mut self) {
        let Some(wanted) = self.pick_stored() else {
            return;
        };
        let record = self.store().record_at(wanted.physical_offset).unwrap();
        assert_same(&[record], [&wanted]);
        assert!(self.store().record_at(wanted.physical_offset + 1).is_err());
    }

    /// First live number, and end.
    fn range(&self, topic: &str, queue_id: i32) -> (i64, i64) {
        let next = self.next_offset(topic, queue_id);
        let live = self.live_entries(topic, queue_id);
        (live.first().map_or(next, |(number, _)| *number), next)
    }

    fn compare(&self) {
        let store = self.store();
        wait_dispatched(store);
        for (topic, queue_id) in (0..6).map(|number| (format!("t{}", number % 2), number / 2)) {
            let range = store.queue_range(&topic, queue_id);
            let expected = self.range(&topic, queue_id);
            assert_eq!((range.min, range.max), expected, "{topic} {queue_id}");
            let live = self.live_entries(&topic, queue_id);
            let expected: Vec<_> = live.iter().map(|(_, m)| m.body.as_str()).collect();
            assert_eq!(bodies(store, &topic, queue_id), expected);
        }
        let marks = store.watermarks();
        assert_eq!((marks.min, marks.dispatched), (self.min, marks.written));
        assert!(self.log.last().is_none_or(|last| last.end <= marks.written));
    }

    fn check_watermarks(&self) {
        let marks = self.store().watermarks();
        assert!(marks.min <= marks.flushed, "{marks:?}");
        assert!(marks.flushed <= marks.written, "{marks:?}");
        assert!(marks.dispatched <= marks.written, "{marks:?}");
    }

    fn expire(&mut self) {
        wait_dispatched(self.store());
        wait_flushed(self.store());
        self.store().delete_expired();
        self.min = self.store().watermarks().min;
        self.compare();
    }

    /// What of the topic was still on its way to the queues must not get there.
    fn delete_topic(&mut self) {
        let (topic, _) = self.pick_queue();
        self.store().delete_topic(&topic);
        let old = self.log.iter_mut().filter(|m| m.topic == topic);
        old.for_each(|m| m.is_deleted = true);
        self.compare();
    }

    fn reopen(&mut self) {
        wait_dispatched(self.store());
        let before = self.store().watermarks();
        drop(self.store.take());
        self.store = Some(open_at(self.options.clone(), &self.clock));
        let after = self.store().watermarks();
        assert_eq!((after.min, after.written), (before.min, before.written));
        self.compare();
    }

    /// Opens a copy made while the store runs: closed it was not. Mostly the power is cut, too: of
    /// what was not flushed the log has any part.
    fn crash(&mut self) {
        wait_dispatched(self.store());
        let image = Image::of(self.dir.path());
        let marks = self.store().watermarks();
        if self.random.below(3) > 0 {
            let unflushed = (marks.written - marks.flushed) as u64;
            let end = marks.flushed + self.random.below(unflushed + 1) as i64;
            image.cut_log(end);
            self.log.retain(|m| m.end <= end);
        }
        drop(self.store.take());
        self.dir = image.dir;
        self.options.root = self.dir.path().to_owned();
        self.store = Some(open_at(self.options.clone(), &self.clock));
        self.compare();
    }
}

impl Stored {
    /// Without its place.
    fn of(draft: Draft) -> Self {
        Self {
            topic: draft.topic,
            queue_id: draft.queue_id,
            queue_offset: None,
            body: draft.body,
            key: draft.key,
            tag: draft.tag,
            physical_offset: 0,
            end: 0,
            stored_ms: 0,
            is_deleted: false,
        }
    }
}

/// The records are exactly these messages.
fn assert_same<'a>(records: &[bytes::Bytes], expected: impl IntoIterator<Item = &'a Stored>) {
    let mut expected = expected.into_iter();
    for record in records {
        let view = record::check(record, CheckBody::Crc).unwrap();
        let wanted = expected.next().expect("a record too many");
        assert_eq!(view.body, wanted.body.as_bytes());
        assert_eq!(view.physical_offset, wanted.physical_offset);
        assert_eq!(view.store_timestamp, wanted.stored_ms);
        assert_eq!(view.queue_offset, wanted.queue_offset.unwrap_or(0));
    }
    assert!(expected.next().is_none(), "a record is missing");
}

fn settings(dir: &TempDir, random: &mut Random) -> StoreOptions {
    StoreOptions {
        retention: RetentionOptions {
            reserved_hours: 2,
            ..RetentionOptions::default()
        },
        unmap_idle_ms: 1_000 * random.below(2) as i64,
        flush: match random.below(3) {
            0 => FlushMode::Sync,
            1 => FlushMode::Async { interval_ms: 20 },
            // Nothing is flushed unless it is asked for.
            _ => FlushMode::Async {
                interval_ms: 60_000,
            },
        },
        record_checksum: random.below(2) == 0,
        ..options(dir.path())
    }
}

/// Tells how to repeat a run that fails.
struct Run {
    seed: u64,
    steps: u64,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, steps } = self;
            println!(
                "again: SEED={seed} MODEL_RUNS=1 MODEL_STEPS={steps} \
                 cargo test -p thrustmq-store --test model random_use"
            );
        }
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn random_use_gives_what_a_vector_gives() {
    let first = seed("random_use_gives_what_a_vector_gives");
    let steps = from_environment("MODEL_STEPS", 150);
    for seed in (0..from_environment("MODEL_RUNS", 100)).map(|run| first.wrapping_add(run)) {
        let _run = Run { seed, steps };
        let mut model = Model::new(Random::of(seed));
        for _ in 0..steps {
            model.step();
        }
        model.compare();
    }
}

#[test]
fn many_threads_append_without_gap_or_loss() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(options(dir.path())));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for number in 0..EACH {
                    append(
                        store,
                        "t",
                        (number % 2) as i32,
                        &format!("{thread}-{number}"),
                    );
                    if number % 50 == 0 {
                        let range = store.queue_range("t", 0);
                        assert!(read(store, "t", 0, range.min).message_count > 0 || range.max == 0);
                    }
                }
            });
        }
    });
    wait_dispatched(&store);
    let mut all: Vec<String> = bodies(&store, "t", 0);
    all.extend(bodies(&store, "t", 1));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), THREADS * EACH);
}
