//! One assigned queue as its consumer sees it: what is pulled, what is being consumed, and how far
//! the group may commit.
//!
//! Pure state behind one lock of its own: the pull task puts messages in, the dispatch task takes
//! them, listeners finish them in any order, the consumer commits. The offset to commit is always
//! the lowest that is not finished, so that a crash loses nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::received::PulledRecord;

/// How much of a queue a consumer holds unfinished before it stops pulling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldLimits {
    /// Messages.
    pub(crate) messages_max: usize,
    /// Bytes of their bodies.
    pub(crate) bytes_max: usize,
    /// Distance between the lowest and the highest unfinished offset, where messages are not consumed
    /// in order.
    pub(crate) span_max: i64,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self {
            messages_max: 1_000,
            bytes_max: 100 * 1024 * 1024,
            span_max: 2_000,
        }
    }
}

/// What a queue holds, for flow control and the running info.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// Messages not finished.
    pub(crate) messages: usize,
    /// Bytes of their bodies.
    pub(crate) bytes: usize,
    /// The lowest unfinished offset, 0 if there is none.
    pub(crate) offset_min: i64,
    /// The highest unfinished offset, 0 if there is none.
    pub(crate) offset_max: i64,
}

impl Held {
    pub(crate) fn within(&self, limits: &HoldLimits) -> bool {
        self.messages < limits.messages_max
            && self.bytes < limits.bytes_max
            && self.offset_max - self.offset_min <= limits.span_max
    }
}

/// A queue's messages between pull and commit.
#[derive(Debug)]
pub(crate) struct ProcessQueue {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Offset that the next pull begins with.
    next: i64,
    /// What the broker was told last.
    committed: Option<i64>,
    waiting: VecDeque<PulledRecord>,
    /// Body bytes of each unfinished message by offset, waiting or with a listener.
    unfinished: BTreeMap<i64, usize>,
    bytes: usize,
    /// Nothing of this queue counts any more: it belongs to another member.
    revoked: bool,
}

impl ProcessQueue {
    /// A queue that pulls from `offset`. That is committed too, be it only where the group begins:
    /// tools show a group only with what it committed.
    pub(crate) fn new(offset: i64) -> Self {
        Self {
            state: Mutex::new(State {
                next: offset,
                committed: None,
                waiting: VecDeque::new(),
                unfinished: BTreeMap::new(),
                bytes: 0,
                revoked: false,
            }),
        }
    }

    /// Adds what the pull that began at `began` brought, and where the next one begins.
    ///
    /// A pull that began elsewhere than where the queue now stands is dropped: the queue was reset
    /// while the pull was under way.
    pub(crate) fn put(&self, began: i64, messages: Vec<PulledRecord>, next: i64) {
        let mut state = self.lock();
        if state.next != began || state.revoked {
            return;
        }
        for message in messages {
            let bytes = message.body_bytes;
            if message.queue_offset >= began
                && state
                    .unfinished
                    .insert(message.queue_offset, bytes)
                    .is_none()
            {
                state.bytes += bytes;
                state.waiting.push_back(message);
            }
        }
        state.next = next.max(began);
    }

    /// Goes on at `next`, since a pull that began at `began` found nothing there: unless the queue stands
    /// elsewhere by now.
    pub(crate) fn redirect(&self, began: i64, next: i64) {
        let mut state = self.lock();
        if state.next == began {
            state.reset(next);
        }
    }

    /// Goes on at another offset, and forgets what was pulled before. Messages that listeners work
    /// on end without effect.
    pub(crate) fn reset(&self, offset: i64) {
        self.lock().reset(offset);
    }

    /// Where the next pull begins.
    pub(crate) fn next_offset(&self) -> i64 {
        self.lock().next
    }

    /// Whether a message waits for a listener.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// The next messages to consume; they stay unfinished until [`ProcessQueue::finish`].
    pub(crate) fn take(&self, messages_max: usize) -> Vec<PulledRecord> {
        let mut state = self.lock();
        if state.revoked {
            return Vec::new();
        }
        let count = messages_max.min(state.waiting.len());
        state.waiting.drain(..count).collect()
    }

    /// Marks a message as consumed, or as sent back. One that waits again, since the queue was reset, is
    /// not finished by who took it before.
    pub(crate) fn finish(&self, queue_offset: i64) {
        let mut state = self.lock();
        // Messages are taken in the order of their offsets.
        let first_waiting = state.waiting.front().map(|message| message.queue_offset);
        if first_waiting.is_some_and(|first| first <= queue_offset) {
            return;
        }
        if let Some(bytes) = state.unfinished.remove(&queue_offset) {
            state.bytes -= bytes;
        }
    }

    /// The offset from which another member would have to go on.
    pub(crate) fn commit_offset(&self) -> i64 {
        self.lock().commit_offset()
    }

    /// The offset to commit if the broker does not have it yet.
    pub(crate) fn uncommitted(&self) -> Option<i64> {
        let state = self.lock();
        let offset = state.commit_offset();
        (state.committed != Some(offset)).then_some(offset)
    }

    /// Notes what the broker was told.
    pub(crate) fn committed(&self, offset: i64) {
        self.lock().committed = Some(offset);
    }

    /// What is held.
    pub(crate) fn held(&self) -> Held {
        let state = self.lock();
        Held {
            messages: state.unfinished.len(),
            bytes: state.bytes,
            offset_min: state.unfinished.first_key_value().map_or(0, |(k, _)| *k),
            offset_max: state.unfinished.last_key_value().map_or(0, |(k, _)| *k),
        }
    }

    /// Drops what waits; listeners still at work end without effect on the offset.
    pub(crate) fn revoke(&self) {
        let mut state = self.lock();
        state.revoked = true;
        state.waiting.clear();
    }

    /// Whether [`ProcessQueue::revoke`] was called.
    pub(crate) fn is_revoked(&self) -> bool {
        self.lock().revoked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic, so a poisoned state is still sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reset(&mut self, offset: i64) {
        self.waiting.clear();
        self.unfinished.clear();
        self.bytes = 0;
        self.next = offset;
    }

    fn commit_offset(&self) -> i64 {
        self.unfinished
            .first_key_value()
            .map_or(self.next, |(offset, _)| *offset)
    }
}

#[cfg(test)]
mod tests;
