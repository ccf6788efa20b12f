//! Random schedules of everything that happens to transactions, against a model that remembers all of it.

use std::collections::{BTreeMap, BTreeSet};

use super::half::{Half, HalfPlace, Immunity, TransactionKey};
use super::open_halves::{Begin, DueRules, Moved, OpenHalves, Purpose, Step, Stretch};
use super::operations::{Batch, BatchRules, Operations};
use super::rebuild::{ReadTo, Rebuild};

const SEED_VARIABLE: &str = "THRUSTMQ_TRANSACTION_SEED";
const SCHEDULES: u64 = 120;
const STEPS: u64 = 300;
const RULES: BatchRules = BatchRules {
    bytes_max: 12,
    interval_ms: 10,
};

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What the disk holds: it survives a crash.
#[derive(Default)]
struct Log {
    end: i64,
    halves: Vec<Half>,
    operations: Vec<Batch>,
    /// Where messages of commits are, and whose.
    commits: Vec<(i64, TransactionKey)>,
    /// As in consumerOffset.json.
    half_done: i64,
    op_done: i64,
}

impl Log {
    fn append_half(&mut self, key: &TransactionKey, immunity: Immunity) -> Half {
        let half = Half {
            key: key.clone(),
            place: HalfPlace {
                queue_offset: self.halves.len() as i64,
                physical_offset: self.end,
            },
            immunity,
        };
        self.end += 100;
        self.halves.push(half.clone());
        half
    }

    fn append_operation(&mut self, batch: &Batch) -> i64 {
        self.end += 100;
        self.operations.push(batch.clone());
        self.operations.len() as i64 - 1
    }

    fn append_commit(&mut self, key: &TransactionKey) {
        self.commits.push((self.end, key.clone()));
        self.end += 100;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    RolledBack,
    Discarded,
}

/// Something that is between two of its steps.
enum UnderWay {
    /// Began; its message is not stored.
    Commit {
        key: TransactionKey,
        begun_at: i64,
    },
    /// Its message is stored, but not more.
    Stored {
        key: TransactionKey,
        begun_at: i64,
    },
    /// Began; its op message is not stored.
    RollBack {
        key: TransactionKey,
    },
    Discard {
        key: TransactionKey,
    },
    /// The half message is stored again, but the table does not know.
    PutBack {
        from: HalfPlace,
        again: Half,
    },
    /// A half message that the table was not told of.
    Sent {
        half: Half,
    },
    /// An op message that the table was not told of.
    Written {
        op_offset: i64,
        batch: Batch,
    },
}

struct World {
    random: Random,
    log: Log,
    halves: OpenHalves,
    operations: Operations,
    under_way: Vec<UnderWay>,
    fates: BTreeMap<TransactionKey, Fate>,
    now_ms: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed | 1),
            log: Log::default(),
            halves: OpenHalves::default(),
            operations: Operations::default(),
            under_way: Vec::new(),
            fates: BTreeMap::new(),
            now_ms: 0,
        }
    }

    fn step(&mut self) {
        self.now_ms += self.random.below(20) as i64;
        match self.random.below(100) {
            0..25 => self.send(),
            25..50 => self.end(),
            50..62 => self.look(),
            62..92 => self.advance(),
            92..96 => _ = self.write_batch(),
            96..99 => self.persist(),
            _ => self.crash(),
        }
        self.check();
    }

    fn send(&mut self) {
        let number = self.fates.len();
        let key = TransactionKey::new(&format!("key-{number}"), self.now_ms);
        let immunity = match self.random.below(3) {
            0 => Immunity::Own(200),
            _ => Immunity::Usual,
        };
        let half = self.log.append_half(&key, immunity);
        self.fates.insert(key, Fate::Open);
        self.under_way.push(UnderWay::Sent { half });
    }

    /// A producer ends any transaction that it was told of, at any of its places, perhaps again.
    fn end(&mut self) {
        let told: BTreeSet<_> = self.under_way.iter().filter_map(untold).collect();
        let keys: Vec<_> = self
            .fates
            .keys()
            .filter(|key| !told.contains(key))
            .collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.random.below(keys.len())].clone();
        let begun_at = self.log.end;
        let begin = self.halves.begin(&key, Purpose::End);
        let fate = self.fates[&key];
        if fate != Fate::Open {
            assert_ne!(
                begin,
                Begin::Yours,
                "{key:?} is {fate:?} and is ended again"
            );
        }
        if begin != Begin::Yours {
            return;
        }
        if self.random.one_in(3) {
            self.under_way.push(UnderWay::RollBack { key });
        } else {
            self.operations.commit_begins(begun_at);
            self.under_way.push(UnderWay::Commit { key, begun_at });
        }
    }

    fn roll_back(&mut self, key: &TransactionKey) {
        if self.random.one_in(10) {
            return self.halves.give_up(key);
        }
        let offset = self.halves.place(key).unwrap().queue_offset;
        let batch = self.operations.alone(offset);
        let op_offset = self.log.append_operation(&batch);
        if self.random.one_in(3) {
            self.finish_put_backs();
        }
        let before = self.fates.insert(key.clone(), Fate::RolledBack);
        assert_eq!(before, Some(Fate::Open), "{key:?} is rolled back");
        if self.halves.finish(key) != Some(offset) {
            self.mark_moved(key);
        }
        self.under_way.push(UnderWay::Written { op_offset, batch });
    }

    /// The half message was stored again between the two.
    fn mark_moved(&mut self, key: &TransactionKey) {
        let last = self.log.halves.iter().rfind(|half| half.key == *key);
        let offset = last.unwrap().place.queue_offset;
        self.operations.mark(offset, self.now_ms);
    }

    /// A look of the check thread at one stretch; what it does takes effect in steps.
    fn look(&mut self) {
        let stretch = Stretch {
            from: self.halves.done_before(),
            end: self.halves.known_end(),
            looks_max: 5,
        };
        let rules = DueRules {
            now_ms: self.now_ms,
            usual_immunity_ms: 30,
            age_ms_max: 5_000,
        };
        for due in self.halves.due(stretch, &rules).due {
            let is_tired = due.step == Step::Discard || self.random.one_in(12);
            if is_tired {
                if self.halves.begin(&due.key, Purpose::Discard) == Begin::Yours {
                    let key = (*due.key).clone();
                    self.under_way.push(UnderWay::Discard { key });
                }
                continue;
            }
            let immunity = self.log.halves[due.place.queue_offset as usize].immunity;
            // The look was some time ago: its transaction may be ended by now, or be committed only.
            while self.random.one_in(2) {
                self.end();
                self.finish_ends();
            }
            let again = self.log.append_half(&due.key, immunity);
            let put_back = UnderWay::PutBack {
                from: due.place,
                again,
            };
            // The check thread does one thing after the other.
            self.under_way.push(put_back);
            while self.random.one_in(2) {
                self.end();
                self.finish_ends();
            }
            if self.random.one_in(40) {
                return self.crash();
            }
            self.finish_put_backs();
        }
    }

    /// Ends that take effect while the check thread is between two of its steps.
    fn finish_ends(&mut self) {
        for _ in 0..self.random.below(3) {
            let at = self.random.below(self.under_way.len());
            let is_put_back = matches!(self.under_way.get(at), Some(UnderWay::PutBack { .. }));
            if !is_put_back && at < self.under_way.len() {
                let step = self.under_way.swap_remove(at);
                self.take_effect(step);
            }
        }
    }

    fn finish_put_backs(&mut self) {
        let (put_backs, others) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|step| matches!(step, UnderWay::PutBack { .. }));
        self.under_way = others;
        let put_backs: Vec<UnderWay> = put_backs;
        put_backs
            .into_iter()
            .for_each(|step| self.take_effect(step));
    }

    fn advance(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let at = self.random.below(self.under_way.len());
        let step = self.under_way.swap_remove(at);
        self.take_effect(step);
    }

    fn take_effect(&mut self, step: UnderWay) {
        match step {
            UnderWay::Sent { half } => self.halves.stored(&half),
            UnderWay::Commit { key, begun_at } if self.random.one_in(10) => {
                self.halves.give_up(&key);
                self.operations.commit_ends(begun_at);
            }
            UnderWay::Commit { key, begun_at } => {
                self.log.append_commit(&key);
                let before = self.fates.insert(key.clone(), Fate::Committed);
                assert_eq!(before, Some(Fate::Open), "{key:?} is committed");
                self.under_way.push(UnderWay::Stored { key, begun_at });
            }
            UnderWay::Stored { key, begun_at } => {
                if let Some(offset) = self.halves.finish(&key) {
                    self.operations.mark(offset, self.now_ms);
                }
                self.operations.commit_ends(begun_at);
            }
            UnderWay::RollBack { key } => self.roll_back(&key),
            UnderWay::Discard { key } => {
                assert_eq!(self.halves.finish(&key), None);
                self.fates.insert(key, Fate::Discarded);
            }
            UnderWay::PutBack { from, again } => {
                if self.halves.moved(from, &again) == Moved::Ended {
                    self.operations.mark(again.place.queue_offset, self.now_ms);
                }
            }
            UnderWay::Written { op_offset, batch } => self.operations.written(op_offset, &batch),
        }
    }

    /// Whether there was a batch, and it was written.
    fn write_batch(&mut self) -> bool {
        let Some(batch) = self.operations.take(self.log.end, &RULES) else {
            return false;
        };
        if self.random.one_in(8) {
            self.operations.not_written(&batch, self.now_ms);
            return false;
        }
        let op_offset = self.log.append_operation(&batch);
        self.operations.written(op_offset, &batch);
        true
    }

    /// The check thread notes how far the queues are done once all marks are written: the op message of
    /// a half record may be what tells that a later record of the transaction is done.
    fn persist(&mut self) {
        let half_done = self.halves.done_before();
        let op_done = self.operations.done_before(half_done);
        self.finish_ends();
        while self.write_batch() {}
        if self.operations.due_ms(&RULES).is_some() {
            return;
        }
        self.finish_ends();
        (self.log.half_done, self.log.op_done) = (half_done, op_done);
    }

    /// The process dies between any two steps; the next one reads what there is.
    fn crash(&mut self) {
        let mut rebuild = Rebuild::default();
        let log = &self.log;
        for (op_offset, batch) in log.operations.iter().enumerate().skip(log.op_done as usize) {
            rebuild.operation(op_offset as i64, batch.clone());
        }
        for half in &log.halves[log.half_done as usize..] {
            rebuild.half(half.clone(), None);
        }
        if let Some(from) = rebuild.commits_from() {
            let commits = log.commits.iter().filter(|(offset, _)| *offset >= from);
            commits.for_each(|(_, key)| rebuild.commit(key));
        }
        self.halves = OpenHalves::default();
        self.operations = Operations::default();
        self.under_way.clear();
        let read_to = ReadTo {
            half_end: log.halves.len() as i64,
            op_end: log.operations.len() as i64,
        };
        rebuild.install(read_to, self.now_ms, &mut self.halves, &mut self.operations);
        // The log does not tell of discards: they may be done again, as in Java.
        for (key, fate) in &mut self.fates {
            if *fate == Fate::Discarded && self.halves.begin(key, Purpose::Discard) == Begin::Yours
            {
                self.halves.give_up(key);
                *fate = Fate::Open;
            }
        }
    }

    /// Every open transaction can be ended or is being ended, and its record will be read again.
    fn check(&mut self) {
        let told: BTreeSet<_> = self.under_way.iter().filter_map(untold).cloned().collect();
        let done_before = self.halves.done_before();
        for (key, fate) in &self.fates {
            if *fate != Fate::Open || told.contains(key) {
                continue;
            }
            let last = self
                .log
                .halves
                .iter()
                .rfind(|half| half.key == *key)
                .unwrap();
            let offset = last.place.queue_offset;
            assert!(offset >= done_before, "{key:?} at {offset} is passed");
            match self.halves.begin(key, Purpose::End) {
                Begin::Yours => self.halves.give_up(key),
                Begin::Ended => {
                    let is_ending = |step: &UnderWay| matches!(step, UnderWay::Commit { key: other, .. } | UnderWay::RollBack { key: other } if other == key);
                    assert!(self.under_way.iter().any(is_ending), "{key:?} is lost");
                }
                Begin::Unknown => {
                    let is_ending = |step: &UnderWay| matches!(step, UnderWay::Discard { key: other } if other == key);
                    assert!(self.under_way.iter().any(is_ending), "{key:?} is unknown");
                }
            }
        }
    }

    /// Once all is ended and marked, nothing is left to be read by the next start.
    fn settle(&mut self) {
        while !self.under_way.is_empty() {
            self.advance();
        }
        let keys: Vec<_> = self.fates.keys().cloned().collect();
        for key in keys {
            if self.halves.begin(&key, Purpose::End) == Begin::Yours {
                let offset = self.halves.finish(&key).unwrap();
                self.operations.mark(offset, self.now_ms);
            }
        }
        while self.operations.due_ms(&RULES).is_some() {
            self.persist();
        }
        // What the last marks end is noted after them.
        self.persist();
        assert_eq!(self.halves.len(), 0);
        assert_eq!(self.log.half_done, self.log.halves.len() as i64);
        assert_eq!(self.log.op_done, self.log.operations.len() as i64);
    }
}

/// A transaction whose half message is stored, but its producer has no answer yet.
fn untold(step: &UnderWay) -> Option<&TransactionKey> {
    if let UnderWay::Sent { half } = step {
        Some(&half.key)
    } else {
        None
    }
}

#[test]
fn random_schedules_end_every_transaction_once_and_lose_none() {
    let given = std::env::var(SEED_VARIABLE).ok();
    let given: Option<u64> = given.and_then(|seed| seed.parse().ok());
    let first = given.unwrap_or(u64::from(std::process::id()) << 16);
    eprintln!("{SEED_VARIABLE}={first}");
    let schedules = if given.is_some() { 1 } else { SCHEDULES };
    for seed in first..first + schedules {
        eprintln!("schedule {seed}");
        let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
    }
}

fn half(number: i64, born_ms: i64, immunity: Immunity) -> Half {
    Half {
        key: TransactionKey::new(&format!("key-{number}"), born_ms),
        place: HalfPlace {
            queue_offset: number,
            physical_offset: number * 100,
        },
        immunity,
    }
}

#[test]
fn one_that_may_not_be_checked_keeps_no_other_from_its_check() {
    let mut halves = OpenHalves::default();
    halves.stored(&half(0, 1_000, Immunity::Own(100_000)));
    halves.stored(&half(1, 1_000, Immunity::Usual));
    halves.stored(&half(2, 9_000, Immunity::Usual));
    halves.stored(&half(3, 20_000, Immunity::Usual));
    let rules = DueRules {
        now_ms: 10_000,
        usual_immunity_ms: 6_000,
        age_ms_max: 50_000,
    };
    let all = Stretch {
        from: 0,
        end: 4,
        looks_max: 10,
    };
    let due = |halves: &OpenHalves, rules| {
        let found = halves.due(all, &rules);
        let place = |due: &super::open_halves::Due| (due.place.queue_offset, due.step);
        found.due.iter().map(place).collect::<Vec<_>>()
    };
    // The second is due, and the last is born in its broker's future.
    assert_eq!(due(&halves, rules), [(1, Step::Check), (3, Step::Check)]);
    let later = DueRules {
        now_ms: 60_000,
        ..rules
    };
    let expected = [
        (0, Step::Discard),
        (1, Step::Discard),
        (2, Step::Discard),
        (3, Step::Check),
    ];
    assert_eq!(due(&halves, later), expected);
    halves.read_to(10_002);
    assert_eq!(
        due(&halves, rules),
        [(0, Step::PutBack), (1, Step::Check), (3, Step::Check)]
    );
    let first = Stretch {
        looks_max: 1,
        ..all
    };
    assert_eq!(halves.due(first, &rules).next, Some(1));
}

#[test]
fn of_two_ends_the_first_counts_whatever_the_second_wants() {
    let mut halves = OpenHalves::default();
    let half = half(0, 5, Immunity::Usual);
    halves.stored(&half);
    assert_eq!(halves.begin(&half.key, Purpose::End), Begin::Yours);
    assert_eq!(halves.begin(&half.key, Purpose::End), Begin::Ended);
    assert_eq!(halves.finish(&half.key), Some(0));
    assert_eq!(halves.begin(&half.key, Purpose::End), Begin::Ended);
    let other = TransactionKey::new("key-0", 6);
    assert_eq!(halves.begin(&other, Purpose::End), Begin::Unknown);
}

#[test]
fn a_start_knows_a_half_message_that_java_stored_again_by_the_offset_it_had() {
    let mut rebuild = Rebuild::default();
    let batch = Batch {
        half_offsets: vec![3],
        vouched: 0,
    };
    rebuild.operation(0, batch);
    rebuild.half(half(8, 5, Immunity::Own(60_000)), Some(3));
    rebuild.half(half(9, 5, Immunity::Own(60_000)), Some(4));
    assert_eq!(rebuild.commits_from(), Some(900));
    let (mut halves, mut operations) = (OpenHalves::default(), Operations::default());
    let read_to = ReadTo {
        half_end: 10,
        op_end: 1,
    };
    rebuild.install(read_to, 0, &mut halves, &mut operations);
    assert_eq!((halves.len(), halves.done_before()), (1, 9));
}
