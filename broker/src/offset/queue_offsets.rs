//! The offsets of one group in one topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, RwLock};

/// Queues that a group may have an offset of in one topic: above what any topic has.
const QUEUES_MAX: usize = 65_536;

/// Offset by queue id. Changing one that is there takes the read lock only.
#[derive(Debug, Default)]
pub(super) struct Offsets(RwLock<HashMap<i32, AtomicI64>>);

impl Offsets {
    pub(super) fn get(&self, queue_id: i32) -> Option<i64> {
        let offsets = self.0.read().expect("no holder of this lock panics");
        Some(offsets.get(&queue_id)?.load(Ordering::Relaxed))
    }

    /// Sets an offset and gives the one before; `None` if there was none.
    pub(super) fn set(&self, queue_id: i32, offset: i64) -> Option<i64> {
        {
            let offsets = self.0.read().expect("no holder of this lock panics");
            if let Some(known) = offsets.get(&queue_id) {
                return Some(known.swap(offset, Ordering::Relaxed));
            }
        }
        let mut offsets = self.0.write().expect("no holder of this lock panics");
        if offsets.len() < QUEUES_MAX || offsets.contains_key(&queue_id) {
            let before = offsets.insert(queue_id, AtomicI64::new(offset));
            return before.map(AtomicI64::into_inner);
        }
        tracing::warn!(
            queue_id,
            offset,
            QUEUES_MAX,
            "too many queues, offset is dropped"
        );
        None
    }

    /// Sets an offset that is higher than the one there is; whether it was.
    pub(super) fn raise(&self, queue_id: i32, offset: i64) -> bool {
        {
            let offsets = self.0.read().expect("no holder of this lock panics");
            if let Some(known) = offsets.get(&queue_id) {
                return known.fetch_max(offset, Ordering::Relaxed) < offset;
            }
        }
        self.set(queue_id, offset)
            .is_none_or(|before| before < offset)
    }

    pub(super) fn is_empty(&self) -> bool {
        let offsets = self.0.read().expect("no holder of this lock panics");
        offsets.is_empty()
    }

    pub(super) fn all(&self) -> BTreeMap<i32, i64> {
        let offsets = self.0.read().expect("no holder of this lock panics");
        let entries = offsets.iter();
        entries
            .map(|(queue_id, offset)| (*queue_id, offset.load(Ordering::Relaxed)))
            .collect()
    }

    pub(super) fn replace(&self, all: BTreeMap<i32, i64>) {
        let entries = all.into_iter().take(QUEUES_MAX);
        let offsets = entries.map(|(queue_id, offset)| (queue_id, AtomicI64::new(offset)));
        *self.0.write().expect("no holder of this lock panics") = offsets.collect();
    }
}

/// What is known of one group in one topic.
#[derive(Debug, Default)]
pub(super) struct GroupOffsets {
    /// What the group has consumed; the only part that is written to disk.
    pub(super) committed: Offsets,
    /// What the group has been given.
    pub(super) pulled: Offsets,
    /// Where the group must go on, not yet told to it.
    resets: Mutex<BTreeMap<i32, i64>>,
}

impl GroupOffsets {
    pub(super) fn reset(&self, queue_id: i32) -> Option<i64> {
        self.lock().get(&queue_id).copied()
    }

    pub(super) fn take_reset(&self, queue_id: i32) -> Option<i64> {
        self.lock().remove(&queue_id)
    }

    /// Whether the queue had no pending reset before.
    pub(super) fn put_reset(&self, queue_id: i32, offset: i64) -> bool {
        self.lock().insert(queue_id, offset).is_none()
    }

    pub(super) fn pending_resets(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, i64>> {
        self.resets.lock().expect("no holder of this lock panics")
    }
}
