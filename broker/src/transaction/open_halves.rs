//! Which half messages are open: the state machine of transactions, without store, sockets or clock.
//!
//! A transaction is open from its half message on until it is ended, by commit or rollback, or
//! discarded. Whoever ends it begins first, and then finishes or gives up: of several who try, one
//! begins. A check stores the half message again and moves the transaction to its new place, whatever
//! happens to the transaction meanwhile. While it is being committed it counts at its old place as well:
//! the commit's message may lie between both, and a start looks for that from the first place on.
//!
//! Every offset of the half queue is either known or has not been told yet; known ones that belong to
//! no open transaction are done. So what is remembered is what is open.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::half::{Half, HalfPlace, Immunity, TransactionKey};
use super::known_offsets::KnownOffsets;

/// Ended transactions that are remembered, so that who repeats an end is told that it is done and not
/// that nothing is known of it. Some 200 bytes each.
const ENDED_MAX: usize = 20_000;
/// A half message that may not be checked yet is stored again, as Java does, when it keeps more
/// offsets than this from being done: a start reads all of those.
const HELD_BACK_MAX: i64 = 10_000;

/// All open transactions.
#[derive(Debug, Default)]
pub(super) struct OpenHalves {
    by_key: HashMap<Arc<TransactionKey>, Open>,
    by_offset: BTreeMap<i64, Arc<TransactionKey>>,
    known: KnownOffsets,
    ended: Ended,
}

#[derive(Debug)]
struct Open {
    place: HalfPlace,
    /// Where it will be, if it was stored again while somebody was ending it.
    moved_to: Option<HalfPlace>,
    immunity: Immunity,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For an end.
    Waiting,
    /// Somebody commits it or rolls it back.
    Ending,
    /// It was checked too often.
    Discarding,
}

/// What somebody who wants to end a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// End it, and finish or give up.
    Yours,
    /// Nothing: it is ended, or is being ended by another.
    Ended,
    /// Nothing: no such transaction is open, and none is remembered.
    Unknown,
}

/// Why somebody begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    End,
    Discard,
}

/// What became of a transaction whose half message was stored again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It is open at the new place.
    Open,
    /// Somebody is about to end it, and will have to do so at the new place.
    Ending,
    /// It is no longer open: the new record has to be marked as done.
    Ended,
}

/// What a look at a half message should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) key: Arc<TransactionKey>,
    pub(crate) place: HalfPlace,
    pub(crate) step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the producer, or discard it if that was done too often.
    Check,
    /// It is too old for another check.
    Discard,
    /// Store it again: it is not due, but holds others back.
    PutBack,
}

/// When half messages are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DueRules {
    pub(crate) now_ms: i64,
    /// `transactionTimeOut`.
    pub(crate) usual_immunity_ms: i64,
    /// `fileReservedTime`: what is older is discarded.
    pub(crate) age_ms_max: i64,
}

/// A part of the half queue to look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    /// The first offset.
    pub(crate) from: i64,
    /// Behind the last one.
    pub(crate) end: i64,
    /// Open transactions to look at, at most.
    pub(crate) looks_max: usize,
}

/// What a look at a stretch found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) due: Vec<Due>,
    /// Where to go on, if the stretch has more.
    pub(crate) next: Option<i64>,
}

impl OpenHalves {
    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// All offsets of the half queue before this one are known.
    pub(super) fn known_end(&self) -> i64 {
        self.known.end()
    }

    /// Everything of the half queue before this offset is done.
    pub(super) fn done_before(&self) -> i64 {
        let first_open = self.by_offset.first_key_value();
        first_open.map_or(self.known.end(), |(offset, _)| {
            self.known.end().min(*offset)
        })
    }

    /// A half message was stored. One of a transaction that is open already, at an earlier place,
    /// replaces it.
    pub(super) fn stored(&mut self, half: &Half) {
        let place = half.place;
        self.known.add(place.queue_offset);
        match self.by_key.get(&half.key).map(|open| open.place) {
            Some(before) if before >= place => {}
            Some(before) => self.move_to(&half.key, before, place),
            None => {
                let key = Arc::new(half.key.clone());
                let open = Open {
                    place,
                    moved_to: None,
                    immunity: half.immunity,
                    stage: Stage::Waiting,
                };
                self.by_offset.insert(place.queue_offset, Arc::clone(&key));
                self.by_key.insert(key, open);
            }
        }
    }

    /// Everything before `end` that was not told is done: the queue was read so far.
    pub(super) fn read_to(&mut self, end: i64) {
        self.known.raise_to(end);
    }

    /// A transaction that is known to be ended.
    pub(super) fn remember_ended(&mut self, key: TransactionKey) {
        self.ended.add(Arc::new(key));
    }

    pub(super) fn begin(&mut self, key: &TransactionKey, purpose: Purpose) -> Begin {
        let Some(open) = self.by_key.get_mut(key) else {
            let is_ended = self.ended.contains(key);
            return if is_ended {
                Begin::Ended
            } else {
                Begin::Unknown
            };
        };
        match open.stage {
            Stage::Waiting => {
                open.stage = match purpose {
                    Purpose::End => Stage::Ending,
                    Purpose::Discard => Stage::Discarding,
                };
                Begin::Yours
            }
            Stage::Ending => Begin::Ended,
            Stage::Discarding => Begin::Unknown,
        }
    }

    /// Where the half message of an open transaction is.
    pub(super) fn place(&self, key: &TransactionKey) -> Option<HalfPlace> {
        Some(self.by_key.get(key)?.place)
    }

    /// Whoever began is done; the offset to mark, if it was ended. What was discarded is not marked, as
    /// in Java: it may be resumed.
    pub(super) fn finish(&mut self, key: &TransactionKey) -> Option<i64> {
        let (key, open) = self.by_key.remove_entry(key)?;
        let queue_offset = open.place.queue_offset;
        self.by_offset.remove(&queue_offset);
        if open.stage != Stage::Ending {
            return None;
        }
        self.ended.add(key);
        Some(open.moved_to.map_or(queue_offset, |to| to.queue_offset))
    }

    /// Whoever began could not end it.
    pub(super) fn give_up(&mut self, key: &TransactionKey) {
        let Some(open) = self.by_key.get_mut(key) else {
            return;
        };
        open.stage = Stage::Waiting;
        if let Some(to) = open.moved_to.take() {
            let from = open.place;
            self.move_to(key, from, to);
        }
    }

    /// The half message at `from` was stored again.
    pub(super) fn moved(&mut self, from: HalfPlace, half: &Half) -> Moved {
        self.known.add(half.place.queue_offset);
        match self.by_key.get(&half.key) {
            Some(open) if open.place == from => {
                let is_waiting = open.stage == Stage::Waiting;
                self.move_to(&half.key, from, half.place);
                if is_waiting {
                    Moved::Open
                } else {
                    Moved::Ending
                }
            }
            _ => Moved::Ended,
        }
    }

    /// The record of an open half message is gone, with its file.
    pub(super) fn gone(&mut self, key: &TransactionKey, place: HalfPlace) {
        if self
            .by_key
            .get(key)
            .is_some_and(|open| open.place == place && open.stage == Stage::Waiting)
        {
            self.by_key.remove(key);
            self.by_offset.remove(&place.queue_offset);
        }
    }

    /// What is due in a stretch of the half queue, in order.
    pub(super) fn due(&self, stretch: Stretch, rules: &DueRules) -> Found {
        let mut found = Found::default();
        if stretch.from >= stretch.end {
            return found;
        }
        let range = (Bound::Included(stretch.from), Bound::Excluded(stretch.end));
        for (looked, (offset, key)) in self.by_offset.range(range).enumerate() {
            if looked == stretch.looks_max {
                found.next = Some(*offset);
                break;
            }
            let Some(open) = self.by_key.get(key).filter(|o| o.stage == Stage::Waiting) else {
                continue;
            };
            if let Some(step) = self.step(key, open, rules) {
                found.due.push(Due {
                    key: Arc::clone(key),
                    place: open.place,
                    step,
                });
            }
        }
        found
    }

    fn step(&self, key: &TransactionKey, open: &Open, rules: &DueRules) -> Option<Step> {
        let age_ms = rules.now_ms.saturating_sub(key.born_ms());
        if age_ms > rules.age_ms_max {
            return Some(Step::Discard);
        }
        // One that was born in the future, by its producer's clock, is checked, as in Java.
        let is_immune = (0..=open.immunity.ms(rules.usual_immunity_ms)).contains(&age_ms);
        if !is_immune {
            return Some(Step::Check);
        }
        let held_back = self.known.end().saturating_sub(open.place.queue_offset);
        (held_back > HELD_BACK_MAX).then_some(Step::PutBack)
    }

    fn move_to(&mut self, key: &TransactionKey, from: HalfPlace, to: HalfPlace) {
        if let Some(open) = self.by_key.get_mut(key) {
            if open.stage == Stage::Ending {
                open.moved_to = Some(to);
                return;
            }
            open.place = to;
        }
        if let Some(key) = self.by_offset.remove(&from.queue_offset) {
            self.by_offset.insert(to.queue_offset, key);
        }
    }
}

/// The transactions that ended last.
#[derive(Debug, Default)]
struct Ended {
    order: VecDeque<Arc<TransactionKey>>,
    keys: HashSet<Arc<TransactionKey>>,
}

impl Ended {
    fn add(&mut self, key: Arc<TransactionKey>) {
        if !self.keys.insert(Arc::clone(&key)) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    fn contains(&self, key: &TransactionKey) -> bool {
        self.keys.contains(key)
    }
}
