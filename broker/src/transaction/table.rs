//! The transactions of this broker, behind one lock: what handlers and the check thread tell each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;

use super::half::{Half, HalfPlace, TransactionKey};
use super::open_halves::{Begin, DueRules, Found, Moved, OpenHalves, Purpose, Stretch};
use super::operations::{Batch, BatchRules, Operations};
use super::rebuild::{ReadTo, Rebuild};

/// Open transactions; above that no half message is taken. Some 300 bytes each.
const OPEN_MAX: usize = 500_000;

#[derive(Debug, Default)]
struct State {
    halves: OpenHalves,
    operations: Operations,
    /// What the disk held at the start is known: until then nothing can be ended.
    is_loaded: bool,
    is_stopped: bool,
    /// The check thread should look whether there is something to write.
    is_rung: bool,
}

/// Open transactions and marks of ended ones.
#[derive(Debug)]
pub(super) struct Table {
    state: Mutex<State>,
    rung: Condvar,
    clock: Clock,
}

/// Somebody is ending this transaction: whoever has it finishes or gives up.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(super) key: TransactionKey,
    /// Where the log ended when a commit began.
    pub(super) commit_begun_at: Option<i64>,
}

/// What somebody who wants to end a transaction is told.
#[derive(Debug)]
pub(crate) enum BeginEnd {
    /// It is this one's to end.
    Yours(Ending),
    /// It is ended already, or is being ended.
    Ended,
    /// No such transaction is open, and none is remembered.
    Unknown,
    /// It is not known yet what is open.
    NotLoaded,
}

/// How far both queues are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DoneBefore {
    pub(super) half_offset: i64,
    pub(super) op_offset: i64,
}

impl Table {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            state: Mutex::default(),
            rung: Condvar::new(),
            clock,
        }
    }

    /// Whether as many transactions are open as may be.
    pub(super) fn is_full(&self) -> bool {
        self.lock().halves.len() >= OPEN_MAX
    }

    /// A half message was stored.
    pub(super) fn stored(&self, half: &Half) {
        self.lock().halves.stored(half);
    }

    /// `commit_begun_at` is the end of the log for a commit, and absent for a rollback.
    pub(super) fn begin_end(&self, key: TransactionKey, commit_begun_at: Option<i64>) -> BeginEnd {
        let mut state = self.lock();
        if !state.is_loaded {
            return BeginEnd::NotLoaded;
        }
        match state.halves.begin(&key, Purpose::End) {
            Begin::Yours => {
                if let Some(log_end) = commit_begun_at {
                    state.operations.commit_begins(log_end);
                }
                BeginEnd::Yours(Ending {
                    key,
                    commit_begun_at,
                })
            }
            Begin::Ended => BeginEnd::Ended,
            Begin::Unknown => BeginEnd::Unknown,
        }
    }

    /// The commit has stored its message; the half message is marked a little later.
    pub(super) fn finish_commit(&self, ending: &Ending, rules: &BatchRules) {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        let is_first = state.operations.due_ms(rules).is_none();
        if let Some(offset) = state.halves.finish(&ending.key) {
            state.operations.mark(offset, now_ms);
        }
        if let Some(log_end) = ending.commit_begun_at {
            state.operations.commit_ends(log_end);
        }
        // The check thread learns when to write it, or that it should at once.
        if is_first || state.operations.due_ms(rules) == Some(i64::MIN) {
            self.ring(state);
        }
    }

    /// The op message of a rollback; nothing if the transaction is gone.
    pub(super) fn rollback_batch(&self, ending: &Ending) -> Option<Batch> {
        let state = self.lock();
        let place = state.halves.place(&ending.key)?;
        Some(state.operations.alone(place.queue_offset))
    }

    /// That op message is stored.
    pub(super) fn finish_rollback(&self, ending: &Ending, op_offset: i64, batch: &Batch) {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        state.operations.written(op_offset, batch);
        let last = state.halves.finish(&ending.key);
        if let Some(moved) = last.filter(|offset| !batch.half_offsets.contains(offset)) {
            state.operations.mark(moved, now_ms);
        }
    }

    /// It could not be ended.
    pub(super) fn give_up(&self, ending: &Ending) {
        let mut state = self.lock();
        state.halves.give_up(&ending.key);
        if let Some(log_end) = ending.commit_begun_at {
            state.operations.commit_ends(log_end);
        }
    }

    /// Whether the check thread may discard it; it finishes or gives up then.
    pub(super) fn begin_discard(&self, key: &TransactionKey) -> bool {
        self.lock().halves.begin(key, Purpose::Discard) == Begin::Yours
    }

    pub(super) fn finish_discard(&self, key: &TransactionKey) {
        self.lock().halves.finish(key);
    }

    pub(super) fn give_up_discard(&self, key: &TransactionKey) {
        self.lock().halves.give_up(key);
    }

    /// The half message at `from` was stored again; what is no longer open is marked.
    pub(super) fn moved(&self, from: HalfPlace, half: &Half) -> Moved {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        let moved = state.halves.moved(from, half);
        if moved == Moved::Ended {
            state.operations.mark(half.place.queue_offset, now_ms);
        }
        moved
    }

    /// The record of a half message is gone.
    pub(super) fn gone(&self, key: &TransactionKey, place: HalfPlace) {
        self.lock().halves.gone(key, place);
    }

    /// The part of the half queue that one pass of checks looks at: what is stored again meanwhile
    /// lies behind it.
    pub(super) fn stretch(&self, looks_max: usize) -> Stretch {
        let state = self.lock();
        Stretch {
            from: state.halves.done_before(),
            end: state.halves.known_end(),
            looks_max,
        }
    }

    pub(super) fn due(&self, stretch: Stretch, rules: &DueRules) -> Found {
        self.lock().halves.due(stretch, rules)
    }

    /// When marks are to be written.
    pub(super) fn marks_due_ms(&self, rules: &BatchRules) -> Option<i64> {
        self.lock().operations.due_ms(rules)
    }

    /// The next marks to write, due or not. `log_end` was read before.
    pub(super) fn take_marks(&self, log_end: i64, rules: &BatchRules) -> Option<Batch> {
        self.lock().operations.take(log_end, rules)
    }

    pub(super) fn marks_written(&self, op_offset: i64, batch: &Batch) {
        self.lock().operations.written(op_offset, batch);
    }

    pub(super) fn marks_not_written(&self, batch: &Batch) {
        let now_ms = self.clock.now_ms();
        self.lock().operations.not_written(batch, now_ms);
    }

    pub(super) fn done_before(&self) -> DoneBefore {
        let mut state = self.lock();
        let half_offset = state.halves.done_before();
        DoneBefore {
            half_offset,
            op_offset: state.operations.done_before(half_offset),
        }
    }

    /// What was found at the start: from now on transactions can be ended. How many are open.
    pub(super) fn load(&self, rebuild: Rebuild, read_to: ReadTo) -> usize {
        let now_ms = self.clock.now_ms();
        let mut state = self.lock();
        let State {
            halves, operations, ..
        } = &mut *state;
        rebuild.install(read_to, now_ms, halves, operations);
        state.is_loaded = true;
        state.halves.len()
    }

    /// Waits until the bell rings, the stop, or `wait_ms` have passed.
    pub(super) fn wait(&self, wait_ms: i64) {
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        let is_quiet = |state: &mut State| !state.is_rung && !state.is_stopped;
        let waited = self.rung.wait_timeout_while(self.lock(), wait, is_quiet);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_rung = false;
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.rung.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    fn ring(&self, mut state: MutexGuard<'_, State>) {
        state.is_rung = true;
        drop(state);
        self.rung.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
