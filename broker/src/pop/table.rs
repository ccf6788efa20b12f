//! All queues with leases, behind one lock, and when the next lease is due.
//!
//! Handlers and the thread `pop-revive` call it; nothing is read, written or waited for under the
//! lock. A queue without leases takes no room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::queue_state::{GivenBack, Grant, Handle, NotNow, QueueState, Taken};

/// Messages on lease at a time, of all queues: some 150 bytes each.
const LEASES_MAX: usize = 1_000_000;

/// A queue as one group pops it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueKey {
    pub(crate) group: String,
    /// The topic that holds the messages, which may be a retry topic.
    pub(crate) topic: String,
    pub(crate) queue_id: i32,
}

/// How a pop begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin {
    pub(crate) start_offset: i64,
    pub(crate) pop_time_ms: i64,
    /// Messages of the queue on lease at most.
    pub(crate) leases_max: usize,
}

/// Leases of one queue that are due.
#[derive(Debug)]
pub(crate) struct DueLeases {
    pub(crate) key: Arc<QueueKey>,
    pub(crate) leases: Vec<Taken>,
}

struct Entry {
    state: QueueState,
    /// The queue of the journal that holds its records.
    journal_queue: i32,
}

#[derive(Default)]
struct Tables {
    queues: HashMap<Arc<QueueKey>, Entry>,
    /// Queues by the time at which their first lease is due.
    due: BTreeSet<(i64, Arc<QueueKey>)>,
    /// Queues by the queue of the journal and its oldest record that they need.
    needed: BTreeMap<i32, BTreeSet<(i64, Arc<QueueKey>)>>,
    lease_count: usize,
    /// Records of the journal that are being written, by the queue and its end before: they count
    /// as needed until their leases are in the table.
    being_written: BTreeMap<(i32, i64), usize>,
}

/// All leases.
#[derive(Default)]
pub(crate) struct PopTable {
    tables: Mutex<Tables>,
}

impl PopTable {
    /// Begins a pop; it ends when what is returned is dropped.
    ///
    /// # Errors
    /// Another pop of the queue is under way, or too many messages are on lease.
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: &Arc<QueueKey>,
        journal_queue: i32,
        begin: Begin,
    ) -> Result<Popping, NotNow> {
        let mut tables = self.lock();
        if tables.lease_count >= LEASES_MAX {
            return Err(NotNow::Full);
        }
        let Begin {
            start_offset,
            pop_time_ms,
            leases_max,
        } = begin;
        let begun = |state: &mut QueueState| state.begin(start_offset, pop_time_ms, leases_max);
        tables.create(key, journal_queue, begun)?;
        Ok(Popping {
            table: Arc::clone(self),
            key: Arc::clone(key),
        })
    }

    /// Puts messages on lease.
    pub(crate) fn grant(&self, key: &Arc<QueueKey>, journal_queue: i32, grant: &Grant) {
        let mut tables = self.lock();
        tables.create(key, journal_queue, |state| state.grant(grant));
    }

    /// Puts messages on lease, as the journal tells it.
    pub(crate) fn grant_recorded(&self, key: &Arc<QueueKey>, journal_queue: i32, grant: Grant) {
        let mut tables = self.lock();
        tables.create(key, journal_queue, |state| state.grant_recorded(grant));
    }

    /// Takes a lease, to change it.
    pub(crate) fn take(&self, key: &QueueKey, handle: Handle) -> Option<Taken> {
        self.lock().with(key, |state| state.take(handle))?
    }

    /// Takes the leases that handles name, to acknowledge them.
    pub(crate) fn take_acknowledged(
        &self,
        key: &QueueKey,
        handles: impl IntoIterator<Item = Handle>,
    ) -> Vec<Taken> {
        let mut tables = self.lock();
        let taken = tables.with(key, |state| {
            let handles = handles.into_iter();
            handles
                .filter_map(|handle| state.take_acknowledged(handle))
                .collect()
        });
        taken.unwrap_or_default()
    }

    /// Messages whose leases were taken are done.
    pub(crate) fn finish(&self, key: &QueueKey, offsets: impl IntoIterator<Item = i64>) {
        let mut tables = self.lock();
        tables.with(key, |state| {
            offsets.into_iter().for_each(|offset| state.finish(offset));
        });
    }

    /// Gives a taken lease back, as it was or as it is now.
    pub(crate) fn give_back(&self, key: &QueueKey, taken: Taken, due_ms: i64) -> GivenBack {
        let Taken { offset, lease } = taken;
        let mut tables = self.lock();
        let back = tables.with(key, |state| state.give_back(offset, lease, due_ms));
        back.unwrap_or(GivenBack::OnLease)
    }

    /// Takes leases of the queue that has waited longest, if one is due.
    pub(crate) fn take_due(&self, now_ms: i64, leases_max: usize) -> Option<DueLeases> {
        let mut tables = self.lock();
        let (due_ms, key) = tables.due.first()?;
        if *due_ms > now_ms {
            return None;
        }
        let key = Arc::clone(key);
        let leases = tables.with(&key, |state| state.take_due(now_ms, leases_max))?;
        Some(DueLeases { key, leases })
    }

    /// When the next lease is due.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.lock().due.first().map(|(due_ms, _)| *due_ms)
    }

    /// From now on, what a queue of the journal holds from `end` on counts as needed, until what is
    /// returned is dropped.
    pub(crate) fn begin_writing(self: &Arc<Self>, journal_queue: i32, end: i64) -> Writing {
        let mut tables = self.lock();
        *tables
            .being_written
            .entry((journal_queue, end))
            .or_default() += 1;
        Writing {
            table: Arc::clone(self),
            at: (journal_queue, end),
        }
    }

    /// The oldest record of a queue of the journal that is still needed; `end` if none is.
    pub(crate) fn oldest_needed(&self, journal_queue: i32, end: i64) -> i64 {
        let tables = self.lock();
        let needed = tables.needed.get(&journal_queue);
        let leased = needed.and_then(|needed| needed.first());
        let leased = leased.map(|(offset, _)| *offset);
        let written = tables.being_written.keys();
        let written = written.filter(|(queue, _)| *queue == journal_queue);
        let written = written.map(|(_, offset)| *offset);
        leased.into_iter().chain(written).fold(end, i64::min)
    }

    /// Takes the leases that a record of the journal holds, to write them again: it has to be the
    /// oldest one that is needed.
    pub(crate) fn take_of_journal(
        &self,
        journal_queue: i32,
        journal_offset: i64,
    ) -> Option<DueLeases> {
        let mut tables = self.lock();
        let (oldest, key) = tables.needed.get(&journal_queue)?.first()?;
        if *oldest != journal_offset {
            return None;
        }
        let key = Arc::clone(key);
        let leases = tables.with(&key, |state| state.take_of_journal(journal_offset))?;
        Some(DueLeases { key, leases })
    }

    /// How many messages are on lease, of all queues.
    pub(crate) fn lease_total(&self) -> usize {
        self.lock().lease_count
    }

    fn end(&self, key: &QueueKey) {
        self.lock().with(key, QueueState::end);
    }

    fn end_writing(&self, at: (i32, i64)) {
        let mut tables = self.lock();
        if let Some(count) = tables.being_written.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                tables.being_written.remove(&at);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PopTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PopTable").finish_non_exhaustive()
    }
}

impl Tables {
    /// As [`Tables::with`], for a queue that may be new.
    fn create<T>(
        &mut self,
        key: &Arc<QueueKey>,
        journal_queue: i32,
        change: impl FnOnce(&mut QueueState) -> T,
    ) -> T {
        self.queues.entry(Arc::clone(key)).or_insert_with(|| Entry {
            state: QueueState::default(),
            journal_queue,
        });
        self.with(key, change).expect("it was put there just now")
    }

    /// Changes the state of a queue, and with it everything that is known of all queues.
    fn with<T>(&mut self, key: &QueueKey, change: impl FnOnce(&mut QueueState) -> T) -> Option<T> {
        let (shared, _) = self.queues.get_key_value(key)?;
        let shared = Arc::clone(shared);
        let Entry {
            state,
            journal_queue,
        } = self.queues.get_mut(key)?;
        let (count_before, due_before) = (state.lease_count(), state.next_due_ms());
        let needed_before = state.oldest_journal_offset();
        let result = change(state);
        let (count, due, is_idle) = (state.lease_count(), state.next_due_ms(), state.is_idle());
        let needed_now = state.oldest_journal_offset();
        self.lease_count = (self.lease_count + count).saturating_sub(count_before);
        if needed_now != needed_before {
            let needed = self.needed.entry(*journal_queue).or_default();
            if let Some(offset) = needed_before {
                needed.remove(&(offset, Arc::clone(&shared)));
            }
            if let Some(offset) = needed_now {
                needed.insert((offset, Arc::clone(&shared)));
            }
        }
        if due != due_before {
            if let Some(due_ms) = due_before {
                self.due.remove(&(due_ms, Arc::clone(&shared)));
            }
            if let Some(due_ms) = due {
                self.due.insert((due_ms, shared));
            }
        }
        if is_idle {
            self.queues.remove(key);
        }
        Some(result)
    }
}

/// A pop under way: nobody else pops its queue until this is dropped.
#[derive(Debug)]
pub(crate) struct Popping {
    table: Arc<PopTable>,
    pub(crate) key: Arc<QueueKey>,
}

impl Drop for Popping {
    fn drop(&mut self) {
        self.table.end(&self.key);
    }
}

/// A record of the journal that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    table: Arc<PopTable>,
    at: (i32, i64),
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.table.end_writing(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue_state::Lease;
    use super::*;

    fn key(queue_id: i32) -> Arc<QueueKey> {
        Arc::new(QueueKey {
            group: "G".to_owned(),
            topic: "T".to_owned(),
            queue_id,
        })
    }

    fn grant(offset: i64, due_ms: i64, journal_offset: i64) -> Grant {
        Grant {
            lease: Lease {
                start_offset: offset,
                pop_time_ms: 1,
                invisible_ms: due_ms - 1,
                journal_offset,
                attempts: 0,
            },
            due_ms,
            offsets: vec![offset],
        }
    }

    #[test]
    fn the_queue_that_is_due_first_comes_first() {
        let table = Arc::new(PopTable::default());
        table.grant(&key(0), 3, &grant(7, 50, 4));
        table.grant(&key(1), 3, &grant(8, 40, 5));
        assert_eq!(table.next_due_ms(), Some(40));
        assert!(table.take_due(39, 10).is_none());
        let due = table.take_due(60, 10).unwrap();
        assert_eq!((due.key.queue_id, due.leases[0].offset), (1, 8));
        let back = table.give_back(&due.key, due.leases[0], 45);
        assert_eq!(back, GivenBack::OnLease);
        assert_eq!(table.next_due_ms(), Some(45));
        table.take_due(60, 10).unwrap();
        table.finish(&key(1), [8]);
        assert_eq!(table.next_due_ms(), Some(50));
        assert_eq!(table.lease_total(), 1);
    }

    #[test]
    fn the_journal_is_needed_from_the_oldest_lease_or_record_under_way_on() {
        let table = Arc::new(PopTable::default());
        assert_eq!(table.oldest_needed(3, 10), 10);
        table.grant(&key(0), 3, &grant(7, 50, 4));
        let writing = table.begin_writing(3, 2);
        assert_eq!(table.oldest_needed(3, 10), 2);
        assert_eq!(table.oldest_needed(2, 10), 10);
        drop(writing);
        assert_eq!(table.oldest_needed(3, 10), 4);
        let taken = table.take_of_journal(3, 4).unwrap();
        assert_eq!(taken.leases.len(), 1);
        table.grant(&key(1), 3, &grant(9, 50, 6));
        table.grant(&key(2), 2, &grant(9, 50, 1));
        assert_eq!(table.oldest_needed(3, 10), 4);
        table.finish(&taken.key, [7]);
        assert_eq!(table.oldest_needed(3, 10), 6);
        assert_eq!(table.oldest_needed(2, 10), 1);
        assert!(table.take_of_journal(3, 7).is_none());
        table.take_due(60, 10).unwrap();
        table.take_due(60, 10).unwrap();
        table.finish(&key(1), [9]);
        assert_eq!(table.oldest_needed(3, 10), 10);
    }

    #[test]
    fn a_pop_that_ends_leaves_its_queue_to_others() {
        let table = Arc::new(PopTable::default());
        let begin = Begin {
            start_offset: 0,
            pop_time_ms: 1,
            leases_max: 10,
        };
        let popping = table.begin(&key(0), 0, begin).unwrap();
        assert_eq!(table.begin(&key(0), 0, begin).unwrap_err(), NotNow::Busy);
        drop(popping);
        drop(table.begin(&key(0), 0, begin).unwrap());
    }
}
