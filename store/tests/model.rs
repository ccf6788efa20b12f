//! Random use against a plain vector of messages.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::*;
use tempfile::TempDir;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{FlushMode, NewBatchItem, Store, StoreOptions};

const HOUR_MS: i64 = 3_600_000;

/// A queue as it should be.
#[derive(Default)]
struct Expected {
    /// Number of the first body.
    first: i64,
    bodies: Vec<String>,
    /// Physical offset of each body's record.
    offsets: Vec<i64>,
}

struct Model {
    dir: TempDir,
    clock: Clock,
    store: Option<Store>,
    queues: BTreeMap<(String, i32), Expected>,
    random: Random,
    count: u64,
}

impl Model {
    fn new(random: Random) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(START_MS);
        let store = open_at(settings(&dir), &clock);
        Self {
            dir,
            clock,
            store: Some(store),
            queues: BTreeMap::new(),
            random,
            count: 0,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..70 => self.append(),
            70..80 => self.append_batch(),
            80..90 => self.compare(),
            90..93 => self.clock.advance_ms(HOUR_MS),
            93..95 => self.expire(),
            95..96 => self.delete_topic(),
            96..98 => self.reopen(),
            _ => self.crash(),
        }
    }

    fn pick(&mut self) -> (String, i32) {
        (
            format!("t{}", self.random.below(2)),
            self.random.below(3) as i32,
        )
    }

    fn body(&mut self) -> String {
        self.count += 1;
        format!(
            "{}-{}",
            self.count,
            "x".repeat(self.random.below(700) as usize)
        )
    }

    fn append(&mut self) {
        let (topic, queue_id) = self.pick();
        let body = self.body();
        let appended = support::append(self.store(), &topic, queue_id, &body);
        let queue = self.queues.entry((topic, queue_id)).or_default();
        assert_eq!(
            appended.queue_offset,
            queue.first + queue.bodies.len() as i64
        );
        queue.bodies.push(body);
        queue.offsets.push(appended.physical_offset);
    }

    fn append_batch(&mut self) {
        let (topic, queue_id) = self.pick();
        let bodies: Vec<_> = (0..1 + self.random.below(4)).map(|_| self.body()).collect();
        let item = |body: &'_ String| body.clone().into_bytes();
        let owned: Vec<_> = bodies.iter().map(item).collect();
        let items: Vec<_> = owned
            .iter()
            .map(|body| NewBatchItem {
                flag: 0,
                body,
                properties: "",
            })
            .collect();
        let common = message(&topic, queue_id, b"", "");
        let batch = self.store().append_batch(&common, &items).unwrap();
        let queue = self.queues.entry((topic, queue_id)).or_default();
        assert_eq!(batch.queue_offset, queue.first + queue.bodies.len() as i64);
        queue.bodies.extend(bodies);
        queue.offsets.extend(batch.physical_offsets);
    }

    fn compare(&self) {
        let store = self.store();
        wait_dispatched(store);
        for ((topic, queue_id), queue) in &self.queues {
            let range = store.queue_range(topic, *queue_id);
            let next = queue.first + queue.bodies.len() as i64;
            assert_eq!(
                (range.min, range.max),
                (queue.first, next),
                "{topic} {queue_id}"
            );
            assert_eq!(bodies(store, topic, *queue_id), queue.bodies);
        }
        let marks = store.watermarks();
        assert!(
            marks.min <= marks.flushed && marks.flushed <= marks.written,
            "{marks:?}"
        );
    }

    fn expire(&mut self) {
        wait_dispatched(self.store());
        wait_flushed(self.store());
        self.store().delete_expired();
        let min = self.store().watermarks().min;
        for queue in self.queues.values_mut() {
            let gone = queue.offsets.partition_point(|offset| *offset < min);
            queue.bodies.drain(..gone);
            queue.offsets.drain(..gone);
            queue.first += gone as i64;
        }
        self.compare();
    }

    fn delete_topic(&mut self) {
        let (topic, _) = self.pick();
        self.store().delete_topic(&topic);
        self.queues.retain(|(name, _), _| *name != topic);
        // What was still on its way to the queues must not stay in them: the new life begins now.
        for queue_id in 0..3 {
            let body = self.body();
            let appended = support::append(self.store(), &topic, queue_id, &body);
            assert_eq!(appended.queue_offset, 0);
            let queue = self.queues.entry((topic.clone(), queue_id)).or_default();
            queue.bodies.push(body);
            queue.offsets.push(appended.physical_offset);
        }
        // Until the new life is on the disk, a power cut brings the old one back.
        wait_flushed(self.store());
        self.compare();
    }

    fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some(open_at(settings(&self.dir), &self.clock));
        self.compare();
    }

    /// Opens a copy made while the store runs: closed it was not. Every second time the power is
    /// cut, too: of the log only what was flushed is there.
    fn crash(&mut self) {
        wait_dispatched(self.store());
        let flushed = self.store().watermarks().flushed;
        let image = Image::of(self.dir.path());
        if self.random.below(2) == 0 {
            image.cut_log(flushed);
            self.forget_from(flushed);
        }
        drop(self.store.take());
        self.dir = image.dir;
        self.store = Some(open_at(settings(&self.dir), &self.clock));
        self.compare();
    }

    fn forget_from(&mut self, end: i64) {
        for queue in self.queues.values_mut() {
            let kept = queue.offsets.partition_point(|offset| *offset < end);
            queue.bodies.truncate(kept);
            queue.offsets.truncate(kept);
        }
    }
}

fn settings(dir: &TempDir) -> StoreOptions {
    StoreOptions {
        reserved_hours: 2,
        unmap_idle_ms: 0,
        flush: FlushMode::Async { interval_ms: 20 },
        ..options(dir.path())
    }
}

#[test]
fn random_use_gives_what_a_vector_gives() {
    let mut model = Model::new(Random::seeded("random_use_gives_what_a_vector_gives"));
    for _ in 0..1_000 {
        model.step();
    }
    model.compare();
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
