//! A pop while it reads its queue.

use std::collections::BTreeMap;

use super::batch::{Batch, Grant};
use super::{AT_ONCE, OrderTable, OrderedQueue};
use crate::offset::GroupQueue;

/// A pop that reads a queue, alone. Dropped without [`Reading::grant`], it took nothing.
#[derive(Debug)]
pub(crate) struct Reading<'t> {
    pub(super) table: &'t OrderTable,
    pub(super) queue: OrderedQueue,
}

/// How often messages of a batch were given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consumed {
    /// By offset; new messages are not here.
    pub(crate) counts: BTreeMap<i64, i32>,
    /// How often all of them were, at least.
    pub(crate) min: i32,
}

impl Reading<'_> {
    /// The queue.
    pub(crate) fn queue(&self) -> GroupQueue<'_> {
        self.queue.as_group_queue()
    }

    /// Where to read from; `None` if the pop has to wait for the batch in flight. `committed` tells
    /// where the group goes on.
    pub(crate) fn start(
        &self,
        attempt_id: Option<&str>,
        committed: impl Fn() -> i64,
    ) -> Option<i64> {
        let now_ms = self.table.clock.now_ms();
        let known = committed();
        {
            let table = self.table.lock();
            let state = table.queues.get(&self.queue);
            if let Some(batch) = state.and_then(|state| state.batch.as_ref()) {
                let blocks = batch.blocks(attempt_id, known, now_ms);
                return (!blocks).then(|| known.max(batch.next_offset()));
            }
        }
        // Without a batch, everything that was acknowledged is committed by now.
        Some(committed())
    }

    /// The pop takes these messages.
    pub(crate) fn grant(self, grant: Grant<'_>) -> Consumed {
        let now_ms = self.table.clock.now_ms();
        let mut table = self.table.lock();
        let consumed = table.change(&self.queue, |state| {
            if let Some(batch) = Batch::granted(grant, state.batch.as_ref(), now_ms) {
                state.batch = Some(batch);
                state.wake_when_free();
            }
            let batch = state.batch.as_ref();
            Consumed {
                counts: batch
                    .map(|batch| batch.consumed().clone())
                    .unwrap_or_default(),
                min: batch.map_or(0, Batch::consumed_min),
            }
        });
        // What follows lets others in, and rings for the new time.
        drop(table);
        drop(self);
        consumed
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        table.change(&self.queue, |state| {
            state.is_being_read = false;
            if std::mem::take(&mut state.is_waited_for) {
                state.wake_ms = Some(AT_ONCE);
                state.wakes_all = true;
            }
        });
        self.table.unlock_and_ring(table);
    }
}
