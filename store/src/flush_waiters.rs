//! Those who wait until their bytes are on the disk.
//!
//! Filled by callers of the store, settled by the flush thread, and by the checkpoint thread in
//! case that a flush hangs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::{FlushCallback, FlushOutcome};

/// Those who wait for the disk.
#[derive(Debug)]
pub(crate) struct FlushWaiters {
    waiting: Mutex<Vec<Waiter>>,
    count: AtomicUsize,
    count_max: usize,
}

struct Waiter {
    end: i64,
    deadline_ms: i64,
    callback: FlushCallback,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl FlushWaiters {
    pub(crate) fn new(count_max: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            count: AtomicUsize::new(0),
            count_max,
        }
    }

    /// Parks a callback; with too many parked it is called at once.
    pub(crate) fn add(&self, end: i64, deadline_ms: i64, callback: FlushCallback) {
        if self.count.fetch_add(1, Ordering::AcqRel) >= self.count_max {
            self.count.fetch_sub(1, Ordering::AcqRel);
            callback(FlushOutcome::TimedOut);
            return;
        }
        let waiter = Waiter {
            end,
            deadline_ms,
            callback,
        };
        self.push([waiter]);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Calls back those whose bytes are flushed, and those who waited too long.
    pub(crate) fn complete(&self, flushed: i64, now_ms: i64) {
        self.settle(|waiter| {
            if waiter.end <= flushed {
                Some(FlushOutcome::Flushed)
            } else {
                (waiter.deadline_ms <= now_ms).then_some(FlushOutcome::TimedOut)
            }
        });
    }

    /// Calls back everybody.
    pub(crate) fn fail_all(&self) {
        self.settle(|_| Some(FlushOutcome::Failed));
    }

    fn settle(&self, outcome_of: impl Fn(&Waiter) -> Option<FlushOutcome>) {
        if self.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut *self.lock());
        let mut kept = Vec::new();
        // Without the lock: a callback may take its time, or wait for another flush.
        for waiter in waiting {
            match outcome_of(&waiter) {
                Some(outcome) => {
                    self.count.fetch_sub(1, Ordering::AcqRel);
                    (waiter.callback)(outcome);
                }
                None => kept.push(waiter),
            }
        }
        self.push(kept);
    }

    fn push(&self, waiters: impl IntoIterator<Item = Waiter>) {
        self.lock().extend(waiters);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    type Outcomes = Arc<Mutex<Vec<(i64, FlushOutcome)>>>;

    fn add(waiters: &FlushWaiters, end: i64, deadline_ms: i64, outcomes: &Outcomes) {
        let outcomes = outcomes.clone();
        let callback = move |outcome| outcomes.lock().unwrap().push((end, outcome));
        waiters.add(end, deadline_ms, Box::new(callback));
    }

    #[test]
    fn each_waiter_is_called_once_with_its_outcome() {
        let waiters = FlushWaiters::new(3);
        let outcomes = Outcomes::default();
        add(&waiters, 100, 50, &outcomes);
        add(&waiters, 200, 50, &outcomes);
        add(&waiters, 300, 90, &outcomes);
        add(&waiters, 400, 90, &outcomes);
        waiters.complete(100, 10);
        waiters.complete(100, 50);
        assert!(!waiters.is_empty());
        waiters.fail_all();
        waiters.complete(900, 900);
        assert!(waiters.is_empty());
        let expected = [
            (400, FlushOutcome::TimedOut),
            (100, FlushOutcome::Flushed),
            (200, FlushOutcome::TimedOut),
            (300, FlushOutcome::Failed),
        ];
        assert_eq!(*outcomes.lock().unwrap(), expected);
    }
}
