//! Which transactions are open after a start: decided from what the half queue, the op queue and the end
//! of the log hold, without reading them itself.
//!
//! A transaction is ended if the op queue marks one of its half records, or if its commit has stored its
//! message, though that was not marked yet. Of those that are open the last record counts.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::half::{Half, HalfPlace, Immunity, TransactionKey};
use super::open_halves::OpenHalves;
use super::operations::{Batch, Operations};

/// What was found so far. Op messages are told first, then half messages, then commits.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    batches: BTreeMap<i64, Batch>,
    marked: HashSet<i64>,
    transactions: HashMap<TransactionKey, Found>,
}

#[derive(Debug)]
struct Found {
    /// Where the first of its records lies: its commit lies behind it.
    first_physical_offset: i64,
    /// The last of them.
    place: HalfPlace,
    immunity: Immunity,
    /// One of its records is marked, not always the last: it may have been ended while it was checked.
    is_marked: bool,
    is_last_marked: bool,
    is_committed: bool,
}

impl Found {
    fn is_open(&self) -> bool {
        !self.is_marked && !self.is_committed
    }
}

/// Where both queues were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadTo {
    pub(super) half_end: i64,
    pub(super) op_end: i64,
}

impl Rebuild {
    /// An op message.
    pub(super) fn operation(&mut self, op_offset: i64, batch: Batch) {
        self.marked.extend(&batch.half_offsets);
        self.batches.insert(op_offset, batch);
    }

    /// A half message, in the order of the queue. `told` is the offset that its producer knows, if it
    /// is another one.
    pub(super) fn half(&mut self, half: Half, told: Option<i64>) {
        let offset = half.place.queue_offset;
        let is_marked = |offset: i64| self.marked.contains(&offset);
        let is_marked = is_marked(offset) || told.is_some_and(is_marked);
        let found = self.transactions.entry(half.key).or_insert(Found {
            first_physical_offset: half.place.physical_offset,
            place: half.place,
            immunity: half.immunity,
            is_marked: false,
            is_last_marked: false,
            is_committed: false,
        });
        found.place = half.place;
        found.is_marked |= is_marked;
        found.is_last_marked = is_marked;
    }

    /// Whether a transaction is open, as far as was told.
    pub(super) fn is_open(&self, key: &TransactionKey) -> bool {
        self.transactions.get(key).is_some_and(Found::is_open)
    }

    /// Where commits that are not marked may begin; `None` if there can be none.
    pub(super) fn commits_from(&self) -> Option<i64> {
        let open = self.transactions.values().filter(|found| found.is_open());
        let first_open = open.map(|found| found.first_physical_offset).min()?;
        let vouched = self.batches.values().map(|batch| batch.vouched).max();
        Some(first_open.max(vouched.unwrap_or(0)))
    }

    /// A message that a commit stored.
    pub(super) fn commit(&mut self, key: &TransactionKey) {
        if let Some(found) = self.transactions.get_mut(key) {
            found.is_committed = true;
        }
    }

    /// Puts what was found into the tables, which may have learned of younger half messages meanwhile.
    pub(super) fn install(
        self,
        read_to: ReadTo,
        now_ms: i64,
        halves: &mut OpenHalves,
        operations: &mut Operations,
    ) {
        for (key, found) in self.transactions {
            if found.is_open() {
                halves.stored(&Half {
                    key,
                    place: found.place,
                    immunity: found.immunity,
                });
                continue;
            }
            // The mark of an earlier record may be passed before this one is.
            if !found.is_last_marked {
                operations.mark(found.place.queue_offset, now_ms);
            }
            halves.remember_ended(key);
        }
        halves.read_to(read_to.half_end);
        for (op_offset, batch) in &self.batches {
            operations.written(*op_offset, batch);
        }
        operations.read_to(read_to.op_end);
    }
}
