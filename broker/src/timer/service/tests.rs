//! Random schedules against a model that remembers what was sent: real files, a clock by hand, no threads but the
//! store's. Processes end by a close, a kill or a power cut, and the next one goes on from what that leaves on the disk.
//! `THRUSTMQ_TIMER_SEED` repeats a run.

mod as_java;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::{
    Arrival, ArrivalListener, Disk, FlushMode, NewMessage, ReadRequest, StoreOptions,
    TimerCheckpoint, TimerOptions,
};

use super::*;
use crate::config::BrokerConfig;
use crate::timer::keeper::Keeper;
use crate::timer::placement::WheelShape;
use crate::timer::{ForTimer, Scheduled, schedule};

const SEED_VARIABLE: &str = "THRUSTMQ_TIMER_SEED";
const SCHEDULES: u64 = 120;
const CLEAN_SCHEDULES: u64 = 60;
const PROCESSES_MAX: usize = 5;
const STEPS_MAX: usize = 40;
const START_MS: i64 = 1_700_000_000_400;
const PRECISION_MS: i64 = 100;
/// Few enough to be copied often; a broker may be down for longer than the wheel knows.
const WHEEL_SLOTS: usize = 2_000;
const ROLL_WINDOW_SLOTS: i64 = 12;
/// The keeper flushes long before a message rolls.
const UNFLUSHED_MS_MAX: i64 = (ROLL_WINDOW_SLOTS / 2 - 1) * PRECISION_MS;
const TIMER_LOG_FILE_BYTES: usize = 4_096;
const SECTOR_BYTES: usize = 512;
const TOPIC: &str = "timed";
const QUEUES: i32 = 2;

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1).unsigned_abs()).cast_signed()
    }

    fn one_in(&mut self, count: i64) -> bool {
        self.below(count) == 0
    }
}

struct NoListener;

impl ArrivalListener for NoListener {
    fn arrived(&self, _: &Arrival<'_>) {}
}

/// What the model knows of a message.
struct Sent {
    due_ms: i64,
    is_recalled: bool,
}

/// How a process ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Close,
    Kill,
    PowerCut,
}

/// What outlives processes.
struct World {
    random: Random,
    clock: Clock,
    dir: TempDir,
    sent: Vec<Sent>,
    config: BrokerConfig,
    only_closes: bool,
    /// When the timer's files were last flushed.
    durable_ms: i64,
}

fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

#[test]
fn each_message_comes_once_and_not_early_whatever_ends_the_process() {
    run_schedules(SCHEDULES, false);
}

#[test]
fn a_java_broker_brings_once_what_a_close_left() {
    run_schedules(CLEAN_SCHEDULES, true);
}

fn run_schedules(count: u64, only_closes: bool) {
    let given = std::env::var(SEED_VARIABLE).ok();
    let first: u64 = given.as_ref().map_or(1, |seed| seed.parse().unwrap());
    let last = if given.is_some() { first } else { count };
    for seed in first..=last {
        // Seen if the schedule fails.
        eprintln!("{SEED_VARIABLE}={seed}");
        let mut world = World::new(seed);
        world.only_closes = only_closes;
        for _ in 0..=world.random.below(PROCESSES_MAX as i64 - 1) {
            world.run_process(false);
            // While it is down.
            let down_ms = [0, 30, 500, 6_000, 150_000, 420_000];
            let at = world.random.below(down_ms.len() as i64) as usize;
            world.clock.advance_ms(down_ms[at]);
        }
        world.run_process(true);
    }
}

#[test]
fn a_recall_counts_though_both_come_when_the_slot_is_over() {
    let mut world = World::new(1);
    let dir = memory_dir();
    world.in_process(dir.path(), |world, process| {
        // More than enter at a turn come before them.
        for number in 0..TURN_MESSAGES_MAX + 1 {
            world.send_for(process, START_MS + 1_000, number, false);
        }
        let recalled = world.sent.len();
        world.send_for(process, START_MS + 2 * PRECISION_MS, recalled, false);
        world.recall_one(process, recalled);
        world.clock.advance_ms(4 * PRECISION_MS);
        world.deliver_all(process);
        world.check(process.service.store);
    });
}

#[test]
fn a_java_broker_brings_nothing_again_though_a_close_came_between_overdue_messages() {
    let mut world = World::new(1);
    let dir = memory_dir();
    // More than leave at a turn come before it.
    let late = 2 * TURN_MESSAGES_MAX;
    world.in_process(dir.path(), |world, process| {
        world.send_for(process, START_MS + 1_000, 0, false);
        world.clock.advance_ms(1_000 + 2 * PRECISION_MS);
        process.settle();
        let due_ms = world.clock.now_ms() + 2 * PRECISION_MS;
        for number in 1..late {
            world.send_for(process, due_ms, number, false);
        }
        process.settle();
        // Stored when its slot is over, and not read before the close.
        let late_ms = world.clock.now_ms() - world.clock.now_ms() % PRECISION_MS + PRECISION_MS;
        world.send_for(process, late_ms, late, true);
    });
    world.clock.advance_ms(WHEEL_SLOTS as i64 * PRECISION_MS);
    let (store, checkpoint) = world.in_process(dir.path(), |_, process| {
        process.service.turn();
    });
    let came: Vec<usize> = (0..QUEUES)
        .flat_map(|queue_id| delivered(&store, queue_id))
        .map(|(number, _)| number)
        .collect();
    assert!(came.contains(&late) && came.len() < late);
    let again = as_java::would_bring(dir.path(), &store, &checkpoint);
    assert!(!again.contains(&late));
}

impl World {
    /// A process from its start to its close.
    fn in_process(
        &mut self,
        root: &Path,
        act: impl FnOnce(&mut Self, &mut Process<'_>),
    ) -> (Store, TimerCheckpoint) {
        let clock = self.clock.clone();
        let store = open_store(root, &clock);
        let timer = open_timer(root, &store, &clock);
        let stats = Arc::new(BrokerStats::new("c", false, clock.clone()));
        let config = LiveConfig::new(self.config.clone(), None, clock.clone());
        let mut process = Process {
            service: Service::over(&timer, &store, &stats, &clock, config),
            keeper: Keeper::new(&timer, &store),
            root,
            durable: memory_dir(),
            durable_ms: clock.now_ms(),
        };
        act(self, &mut process);
        wait_dispatched(&store);
        process.service.leave().unwrap();
        store.shutdown();
        timer.close(&store, clock.now_ms());
        let checkpoint = timer.checkpoint();
        (store, checkpoint)
    }

    fn send_for(&mut self, process: &mut Process<'_>, due_ms: i64, number: usize, is_slow: bool) {
        let mut text = String::new();
        properties::push(&mut text, name::UNIQUE_KEY, &format!("m{number}"));
        properties::push(&mut text, name::TIMER_DELIVER_MS, &due_ms.to_string());
        self.put(process, text, &number.to_string(), is_slow);
        self.sent.push(Sent {
            due_ms,
            is_recalled: false,
        });
    }

    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            clock: Clock::by_hand(START_MS),
            dir: memory_dir(),
            sent: Vec::new(),
            config: BrokerConfig::default(),
            only_closes: false,
            durable_ms: START_MS,
        }
    }

    /// One process, from its start to its end; the last one delivers all there is.
    fn run_process(&mut self, is_last: bool) {
        let dir = std::mem::replace(&mut self.dir, memory_dir());
        let clock = self.clock.clone();
        let store = open_store(dir.path(), &clock);
        let timer = open_timer(dir.path(), &store, &clock);
        check_wheel(dir.path());
        let stats = Arc::new(BrokerStats::new("c", false, clock.clone()));
        let config = LiveConfig::new(self.config.clone(), None, clock.clone());
        eprintln!("{}: opened, {:?}", clock.now_ms(), timer.state().recovered);
        let mut process = Process {
            service: Service::over(&timer, &store, &stats, &clock, config),
            keeper: Keeper::new(&timer, &store),
            root: dir.path(),
            durable: memory_dir(),
            durable_ms: self.durable_ms,
        };
        process.save_durable();
        for _ in 0..self.random.below(STEPS_MAX as i64) {
            self.step(&mut process);
        }
        if is_last {
            self.deliver_all(&mut process);
            self.check(&store);
            assert_eq!(
                timer.metrics.total(),
                0,
                "messages counted that do not wait"
            );
        }
        check_wheel(dir.path());
        wait_dispatched(&store);
        self.durable_ms = process.durable_ms;
        let unflushed_ms = clock.now_ms() - self.durable_ms;
        let ending = match self.random.below(3) {
            _ if self.only_closes => Ending::Close,
            0 => Ending::Close,
            1 if unflushed_ms <= UNFLUSHED_MS_MAX => Ending::PowerCut,
            _ => Ending::Kill,
        };
        eprintln!("{}: {ending:?}, {:?}", clock.now_ms(), timer.checkpoint());
        match ending {
            Ending::Close => {
                process.service.leave().unwrap();
                drop(process);
                store.shutdown();
                timer.close(&store, clock.now_ms());
                self.durable_ms = clock.now_ms();
                if self.only_closes {
                    self.check_as_java(dir.path(), &store, &timer.checkpoint());
                }
                copy(dir.path(), self.dir.path());
            }
            Ending::Kill => copy(dir.path(), self.dir.path()),
            Ending::PowerCut => {
                copy(dir.path(), self.dir.path());
                self.tear(process.durable.path());
            }
        }
    }

    /// What a power cut leaves of the timer's files.
    fn tear(&mut self, durable: &Path) {
        self.mix(&durable.join("timerwheel"), "timerwheel");
        let files = fs::read_dir(self.dir.path().join("timerlog"));
        let mut names: Vec<String> = files
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        // The same schedule for the same seed.
        names.sort();
        for name in names {
            let durable = durable.join("timerlog").join(&name);
            self.mix(&durable, &format!("timerlog/{name}"));
        }
    }

    /// Of what was written since the last flush any sector may have reached the disk.
    fn mix(&mut self, durable: &Path, name: &str) {
        let path = self.dir.path().join(name);
        let Ok(mut bytes) = fs::read(&path) else {
            return;
        };
        let mut old = fs::read(durable).unwrap_or_default();
        old.resize(bytes.len(), 0);
        for (new, old) in bytes.chunks_mut(SECTOR_BYTES).zip(old.chunks(SECTOR_BYTES)) {
            if new != old && self.random.one_in(2) {
                new.copy_from_slice(old);
            }
        }
        fs::write(path, bytes).unwrap();
    }

    fn step(&mut self, process: &mut Process<'_>) {
        match self.random.below(10) {
            0..=2 => {
                for _ in 0..=self.random.below(6) {
                    self.send(process);
                }
            }
            3 => self.recall(process),
            4 | 5 => {
                process.service.turn();
            }
            6 => {
                process.note(self.clock.now_ms());
                process.save_durable();
            }
            _ => {
                let steps_ms = [1, 37, 100, 250, 1_300];
                let at = self.random.below(steps_ms.len() as i64) as usize;
                self.clock.advance_ms(steps_ms[at]);
                process.service.turn();
            }
        }
    }

    fn send(&mut self, process: &mut Process<'_>) {
        let now_ms = self.clock.now_ms();
        let ahead_ms = match self.random.below(6) {
            0 => -self.random.below(300),
            1 => self.random.below(PRECISION_MS),
            2 => self.random.below(20) * PRECISION_MS - now_ms.rem_euclid(PRECISION_MS),
            // Many of one slot.
            3 => 700 - now_ms.rem_euclid(PRECISION_MS) + 50,
            4 => self.random.below(ROLL_WINDOW_SLOTS * PRECISION_MS),
            _ => self.random.below(5 * ROLL_WINDOW_SLOTS * PRECISION_MS),
        };
        let number = self.sent.len();
        let due_ms = now_ms + ahead_ms;
        eprintln!("{now_ms}: {number} is sent, due at {due_ms}");
        let is_slow = self.random.one_in(8);
        self.send_for(process, due_ms, number, is_slow);
    }

    fn recall(&mut self, process: &mut Process<'_>) {
        let number = self.random.below(self.sent.len() as i64) as usize;
        self.recall_one(process, number);
    }

    fn recall_one(&mut self, process: &mut Process<'_>, number: usize) {
        let now_ms = self.clock.now_ms();
        let Some(sent) = self
            .sent
            .get_mut(number)
            .filter(|sent| sent.due_ms > now_ms)
        else {
            return;
        };
        sent.is_recalled = true;
        eprintln!("{now_ms}: {number} is recalled");
        let mut text = String::new();
        let key = format!("m{number}");
        properties::push(&mut text, name::TIMER_DEL_UNIQUE_KEY, &key);
        properties::push(&mut text, name::UNIQUE_KEY, &key);
        properties::push(&mut text, name::TIMER_DELIVER_MS, &sent.due_ms.to_string());
        self.put(process, text, "recall", false);
    }

    /// As a send does it; one that is slow comes when its slot may be over.
    fn put(&self, process: &mut Process<'_>, mut text: String, body: &str, is_slow: bool) {
        let now_ms = self.clock.now_ms();
        let queue_id = (now_ms % i64::from(QUEUES)) as i32;
        let for_timer = ForTimer {
            topic: TOPIC,
            queue_id,
            now_ms,
        };
        let timer = process.service.timer;
        let scheduled = schedule(Some(timer), &self.config, for_timer, &mut text).unwrap();
        let (topic, queue_id) = match scheduled {
            Scheduled::AtOnce => (TOPIC, queue_id),
            Scheduled::Waits { .. } => WAITING_IN,
        };
        if is_slow {
            self.clock.advance_ms(PRECISION_MS);
            process.service.turn();
        }
        let message = NewMessage {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: now_ms,
            born_host: "10.0.0.1:4000".parse().unwrap(),
            store_host: "10.0.0.2:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: body.as_bytes(),
            properties: &text,
        };
        process.service.store.append(&message).unwrap();
        wait_dispatched(process.service.store);
    }

    fn deliver_all(&mut self, process: &mut Process<'_>) {
        let last_ms = self.sent.iter().map(|sent| sent.due_ms).max().unwrap_or(0);
        while self.clock.now_ms() <= last_ms + PRECISION_MS {
            process.settle();
            self.clock.advance_ms(PRECISION_MS / 2);
        }
        process.settle();
    }

    fn check(&self, store: &Store) {
        let mut copies: HashMap<usize, u32> = HashMap::new();
        for queue_id in 0..QUEUES {
            for (number, store_ms) in delivered(store, queue_id) {
                let sent = &self.sent[number];
                assert!(
                    store_ms >= sent.due_ms,
                    "{number} came early: {store_ms} < {}",
                    sent.due_ms
                );
                *copies.entry(number).or_default() += 1;
            }
        }
        for (number, sent) in self.sent.iter().enumerate() {
            let copies = copies.get(&number).copied().unwrap_or(0);
            let expected = u32::from(!sent.is_recalled);
            assert_eq!(
                copies, expected,
                "{number}, due at {}, recalled: {}",
                sent.due_ms, sent.is_recalled
            );
        }
    }
}

impl World {
    /// Each message has come, or a Java broker that opens the directory brings it.
    fn check_as_java(&self, root: &Path, store: &Store, checkpoint: &TimerCheckpoint) {
        let mut copies = as_java::would_bring(root, store, checkpoint);
        for queue_id in 0..QUEUES {
            copies.extend(
                delivered(store, queue_id)
                    .into_iter()
                    .map(|(number, _)| number),
            );
        }
        for (number, sent) in self
            .sent
            .iter()
            .enumerate()
            .filter(|(_, sent)| !sent.is_recalled)
        {
            let copies = copies.iter().filter(|copy| **copy == number).count();
            assert_eq!(
                copies, 1,
                "{number}, due at {}, as Java has it",
                sent.due_ms
            );
        }
    }
}

/// A process that runs, driven by hand.
struct Process<'a> {
    service: Service<'a>,
    keeper: Keeper<'a>,
    root: &'a Path,
    /// The timer's files as they were flushed.
    durable: TempDir,
    /// When they were.
    durable_ms: i64,
}

impl Process<'_> {
    /// Turns until nothing is to be done at this time.
    fn settle(&mut self) {
        let clock = self.service.clock;
        for _ in 0..1_000 {
            wait_dispatched(self.service.store);
            let wait_ms = self.service.turn().saturating_sub(clock.now_ms());
            if wait_ms > DISPATCH_WAIT_MS {
                wait_dispatched(self.service.store);
                return;
            }
            // It waits for what is done by now.
            clock.advance_ms(wait_ms.clamp(0, 1));
        }
        panic!("the timer does not come to rest");
    }

    fn note(&mut self, now_ms: i64) {
        let store = self.service.store;
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let flushed = move |_| sender.send(()).unwrap();
        store.when_flushed(store.watermarks().written, Box::new(flushed));
        receiver.recv_timeout(Duration::from_secs(30)).unwrap();
        self.keeper.note(now_ms);
    }

    fn save_durable(&mut self) {
        // What was noted was flushed just now.
        let marks = self.service.timer.state().marks;
        let noted = self.service.timer.checkpoint();
        if (noted.read_ms, noted.queue_offset) != (marks.read_ms, marks.queue_offset) {
            return;
        }
        self.durable_ms = self.service.clock.now_ms();
        let durable = self.durable.path();
        let _ = fs::remove_dir_all(durable.join("timerlog"));
        if self.root.join("timerlog").exists() {
            fs::create_dir_all(durable.join("timerlog")).unwrap();
            copy(&self.root.join("timerlog"), &durable.join("timerlog"));
            fs::copy(self.root.join("timerwheel"), durable.join("timerwheel")).unwrap();
        }
    }
}

fn open_store(root: &Path, clock: &Clock) -> Store {
    let options = StoreOptions {
        root: root.to_owned(),
        commit_log_file_bytes: 1 << 16,
        consume_queue_file_bytes: 20 * 100,
        index_enabled: false,
        flush: FlushMode::Async { interval_ms: 1 },
        ..StoreOptions::default()
    };
    Store::open(options, clock.clone(), Arc::new(NoListener)).unwrap()
}

fn open_timer(root: &Path, store: &Store, clock: &Clock) -> Timer {
    let options = TimerOptions {
        root: root.to_owned(),
        disk: Disk::default(),
        log_file_bytes: TIMER_LOG_FILE_BYTES,
        wheel_slots: WHEEL_SLOTS,
        precision_ms: PRECISION_MS,
    };
    let shape = WheelShape::new(PRECISION_MS, ROLL_WINDOW_SLOTS);
    let timer = Timer::open_files(options, shape, store, clock).unwrap();
    wait_dispatched(store);
    timer
}

fn wait_dispatched(store: &Store) {
    for _ in 0..300_000 {
        let marks = store.watermarks();
        if marks.dispatched == marks.written {
            return;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!("not dispatched");
}

/// Numbers of the messages that came, and when.
fn delivered(store: &Store, queue_id: i32) -> Vec<(usize, i64)> {
    let range = store.queue_range(TOPIC, queue_id);
    let mut offset = range.min;
    let mut found = Vec::new();
    while offset < range.max {
        let outcome = store
            .read(&ReadRequest {
                topic: TOPIC,
                queue_id,
                offset,
                messages_max: 32,
                bytes_max: 1 << 20,
                filter: None,
            })
            .unwrap();
        assert!(outcome.next_offset > offset);
        for record in &outcome.records {
            let view = record::check(record, CheckBody::Skip).unwrap();
            let number = std::str::from_utf8(view.body).unwrap().parse().unwrap();
            found.push((number, view.store_timestamp));
        }
        offset = outcome.next_offset;
    }
    found
}

/// No count of the file is below 0.
fn check_wheel(root: &Path) {
    let bytes = fs::read(root.join("timerwheel")).unwrap_or_default();
    for slot in bytes.chunks_exact(32) {
        let count = i32::from_be_bytes(slot[24..28].try_into().unwrap());
        assert!((0..10_000).contains(&count), "{count} messages of a slot");
    }
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
