//! Queues that groups pop in order: which batch of each is in flight, and when those who wait for a
//! queue are to look at it again. `consumerOrderInfo.json` is Java's.
//!
//! What a batch is, `batch` decides. A pop begins with [`OrderTable::begin`], which keeps others out of
//! the queue until its [`Reading`] ends, with messages or without. Who finds a queue blocked or being
//! read is parked by its handler; [`OrderTable::take_free`] says whom to wake. That is also so for the pop
//! that repeats an attempt while the first is still being served: it is woken when the batch is
//! granted and reads it again. So a lost answer blocks a queue for no longer than its client takes to
//! ask again, and not for as long as a proxy renews what nobody has got.
//!
//! The file is written every 10 s and at the end. What a killed broker forgot of a queue is popped
//! again, in order; what it remembers too much of lies before the committed offset, and does not
//! block. For that the offsets are written after the snapshot is taken and before it is stored.

mod batch;
mod file;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use thrustmq_proto_compat::clock::Clock;

use crate::alarm::Alarm;
use crate::metadata_file::MetadataFile;
use crate::offset::GroupQueue;
use batch::Batch;
pub(crate) use batch::{Acked, Grant};
pub(crate) use reading::{Consumed, Reading};

/// Queues that are remembered at most; more are not popped until some are free.
const QUEUES_MAX: usize = 200_000;
/// A batch is forgotten so long after it was given.
const IDLE_MS_MAX: i64 = 24 * 3_600_000;
/// Longest sleep of the thread that waits for free queues: the wall clock may be set.
const SLEEP_MS_MAX: i64 = 10_000;

/// Where a handle has the number of its journal's queue: it is of an ordered pop, which has none.
pub(crate) const JOURNAL_QUEUE: i32 = 999;

/// A time to wake that is over.
const AT_ONCE: i64 = 0;

/// A queue of a topic as one group pops it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct OrderedQueue {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
}

impl OrderedQueue {
    /// The same, borrowed.
    pub(crate) fn as_group_queue(&self) -> GroupQueue<'_> {
        GroupQueue {
            group: &self.group,
            topic: &self.topic,
            queue_id: self.queue_id,
        }
    }
}

impl From<GroupQueue<'_>> for OrderedQueue {
    fn from(queue: GroupQueue<'_>) -> Self {
        Self {
            group: queue.group.into(),
            topic: queue.topic.into(),
            queue_id: queue.queue_id,
        }
    }
}

/// A queue that may be free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Freed {
    pub(crate) queue: OrderedQueue,
    /// Not just the first, but everyone who waits for the queue is to look: one of them may be allowed
    /// to read again what blocks the others.
    pub(crate) for_all: bool,
}

#[derive(Debug, Default)]
struct State {
    batch: Option<Batch>,
    is_being_read: bool,
    /// Somebody found the queue being read.
    is_waited_for: bool,
    /// When those who wait are to look again.
    wake_ms: Option<i64>,
    wakes_all: bool,
}

impl State {
    fn is_blank(&self) -> bool {
        self.batch.is_none() && !self.is_being_read && self.wake_ms.is_none()
    }

    fn wake_when_free(&mut self) {
        let free_ms = self.batch.as_ref().map(|batch| batch.free_ms(i64::MIN));
        self.wake_ms = Some(free_ms.unwrap_or(AT_ONCE).max(AT_ONCE));
    }
}

#[derive(Debug, Default)]
struct Table {
    queues: HashMap<OrderedQueue, State>,
    /// By the time to wake.
    wakes: BTreeSet<(i64, OrderedQueue)>,
    /// Something is not in the file.
    is_changed: bool,
}

impl Table {
    /// Changes the state of a queue, and keeps `wakes` and the blank states in line with it.
    fn change<R>(&mut self, queue: &OrderedQueue, change: impl FnOnce(&mut State) -> R) -> R {
        let state = self.queues.entry(queue.clone()).or_default();
        let before_ms = state.wake_ms;
        let result = change(state);
        self.is_changed = true;
        let (wake_ms, is_blank) = (state.wake_ms, state.is_blank());
        if wake_ms != before_ms {
            if let Some(before_ms) = before_ms {
                self.wakes.remove(&(before_ms, queue.clone()));
            }
            if let Some(wake_ms) = wake_ms {
                self.wakes.insert((wake_ms, queue.clone()));
            }
        }
        if is_blank {
            self.queues.remove(queue);
        }
        result
    }
}

/// All queues that are popped in order.
#[derive(Debug)]
pub(crate) struct OrderTable {
    table: Mutex<Table>,
    alarm: Alarm,
    file: MetadataFile,
    clock: Clock,
}

impl OrderTable {
    /// Begins a pop. `None` if another pop reads the queue: the caller parks, and is woken at its
    /// end.
    pub(crate) fn begin(&self, queue: GroupQueue<'_>) -> Option<Reading<'_>> {
        let queue = OrderedQueue::from(queue);
        let mut table = self.lock();
        if table.queues.len() >= QUEUES_MAX && !table.queues.contains_key(&queue) {
            return None;
        }
        let is_begun = table.change(&queue, |state| {
            state.is_waited_for |= state.is_being_read;
            !std::mem::replace(&mut state.is_being_read, true)
        });
        drop(table);
        is_begun.then(|| Reading { table: self, queue })
    }

    /// Whether a pop of this attempt need not wait. Otherwise those who wait are woken when it is
    /// over. `committed` is where the group goes on.
    pub(crate) fn is_free(
        &self,
        queue: GroupQueue<'_>,
        attempt_id: Option<&str>,
        committed: i64,
    ) -> bool {
        let queue = OrderedQueue::from(queue);
        if let Some(state) = self.lock().queues.get_mut(&queue)
            && state.is_being_read
        {
            state.is_waited_for = true;
            return false;
        }
        !self.is_blocked(&queue, attempt_id, committed)
    }

    /// A client is done with a message that it got from the pop at `pop_ms`. While the batch is not
    /// known, only the message at which the group goes on counts: others would be skipped.
    pub(crate) fn ack(
        &self,
        queue: GroupQueue<'_>,
        offset: i64,
        pop_ms: i64,
        committed: i64,
    ) -> Acked {
        let mut table = self.lock();
        let acked = table.change(&queue.into(), |state| {
            let Some(batch) = &mut state.batch else {
                let is_next = offset == committed;
                return if is_next {
                    Acked::Commit(offset.saturating_add(1))
                } else {
                    Acked::Stale
                };
            };
            batch.ack(offset, pop_ms)
        });
        drop(table);
        acked
    }

    /// To be called when what [`OrderTable::ack`] said is committed: only then may others look. Until
    /// then the batch says where to go on.
    pub(crate) fn settle(&self, queue: GroupQueue<'_>) {
        let mut table = self.lock();
        table.change(&queue.into(), |state| {
            if state.batch.as_ref().is_some_and(Batch::is_done) {
                state.batch = None;
            }
            state.wake_when_free();
        });
        self.unlock_and_ring(table);
    }

    /// A client wants a message of the pop at `pop_ms` to be visible again at another time.
    pub(crate) fn change_visible(
        &self,
        queue: GroupQueue<'_>,
        offset: i64,
        pop_ms: i64,
        visible_ms: i64,
    ) {
        let mut table = self.lock();
        table.change(&queue.into(), |state| {
            let batch = state.batch.as_mut();
            if batch.is_some_and(|batch| batch.change(offset, pop_ms, visible_ms)) {
                state.wake_when_free();
            }
        });
        self.unlock_and_ring(table);
    }

    /// Forgets the batch of a queue: the group was sent elsewhere.
    pub(crate) fn clear(&self, queue: GroupQueue<'_>) {
        let mut table = self.lock();
        table.change(&queue.into(), |state| {
            if state.batch.take().is_some() {
                state.wake_when_free();
            }
        });
        self.unlock_and_ring(table);
    }

    /// Waits until a queue may be free, and gives those that are. Empty if there is none, or at the
    /// end.
    pub(crate) fn take_free(&self) -> Vec<Freed> {
        self.alarm.wait(|| self.clock.now_ms(), SLEEP_MS_MAX);
        self.alarm.clear();
        let now_ms = self.clock.now_ms();
        let mut free = Vec::new();
        let mut table = self.lock();
        while let Some((wake_ms, queue)) = table.wakes.first().cloned() {
            if wake_ms > now_ms {
                break;
            }
            let for_all = table.change(&queue, |state| {
                let free_ms = state.batch.as_ref().map(|batch| batch.free_ms(i64::MIN));
                state.wake_ms = free_ms.filter(|free_ms| *free_ms > now_ms);
                std::mem::take(&mut state.wakes_all)
            });
            free.push(Freed { queue, for_all });
        }
        self.unlock_and_ring(table);
        free
    }

    /// Ends the waiting of [`OrderTable::take_free`] for good.
    pub(crate) fn stop(&self) {
        self.alarm.stop();
    }

    /// Whether it has ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.alarm.is_stopped()
    }

    /// Forgets queues that are gone, and batches that nobody has asked for since long ago.
    pub(crate) fn clean(&self, exists: impl Fn(&OrderedQueue) -> bool) {
        let now_ms = self.clock.now_ms();
        let is_idle = |state: &State| {
            let granted_ms = state.batch.as_ref().map(Batch::granted_ms);
            granted_ms.is_some_and(|granted_ms| now_ms.saturating_sub(granted_ms) > IDLE_MS_MAX)
        };
        let known: Vec<_> = {
            let table = self.lock();
            let known = table.queues.iter();
            known
                .map(|(queue, state)| (queue.clone(), is_idle(state)))
                .collect()
        };
        for (queue, is_idle) in known {
            if is_idle || !exists(&queue) {
                self.clear(queue.as_group_queue());
            }
        }
    }

    fn is_blocked(&self, queue: &OrderedQueue, attempt_id: Option<&str>, committed: i64) -> bool {
        let now_ms = self.clock.now_ms();
        let table = self.lock();
        let batch = table
            .queues
            .get(queue)
            .and_then(|state| state.batch.as_ref());
        batch.is_some_and(|batch| batch.blocks(attempt_id, committed, now_ms))
    }

    fn unlock_and_ring(&self, table: MutexGuard<'_, Table>) {
        let next_ms = table.wakes.first().map(|(wake_ms, _)| *wake_ms);
        drop(table);
        if let Some(next_ms) = next_ms {
            self.alarm.set_before(next_ms);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no holder of this lock panics")
    }
}
