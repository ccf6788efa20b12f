//! The slot whose messages are being delivered: which of them is next, and which were cancelled.
//! Decisions only: no files, no clock.
//!
//! *Invariant.* A message is given out by [`CurrentSlot::due`] no sooner than it is due, in the order
//! of their times, and not again once [`CurrentSlot::done`] was called.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use thrustmq_store::TimerUnit;

use super::placement::WheelShape;

/// A message of the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    due_ms: i64,
    /// Messages of one time keep their order.
    number: usize,
    physical_offset: i64,
    record_bytes: i32,
    written_ms: i64,
    rolls: bool,
}

/// A message that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) physical_offset: i64,
    pub(super) record_bytes: i32,
    /// When it entered the timer, milliseconds.
    pub(super) written_ms: i64,
    /// It enters the timer anew.
    pub(super) rolls: bool,
}

/// The slot.
#[derive(Debug)]
pub(super) struct CurrentSlot {
    time_ms: i64,
    end_ms: i64,
    items: BinaryHeap<Reverse<Item>>,
    added: usize,
    /// What was seen, as the log of a broker that was killed may name a message twice.
    seen: HashSet<i64>,
    cancelled: HashSet<String>,
}

impl CurrentSlot {
    /// A slot without messages.
    pub(super) fn new(shape: &WheelShape, time_ms: i64) -> Self {
        Self {
            time_ms,
            end_ms: shape.end_of(time_ms),
            items: BinaryHeap::new(),
            added: 0,
            seen: HashSet::new(),
            cancelled: HashSet::new(),
        }
    }

    /// Its time, milliseconds.
    pub(super) fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Takes a message in; `false` if it is in already.
    pub(super) fn add(&mut self, unit: &TimerUnit) -> bool {
        if !self.seen.insert(unit.physical_offset) {
            return false;
        }
        // A time outside the slot is none: a power cut may have torn it.
        let is_exact = (self.time_ms..self.end_ms).contains(&unit.due_ms) && !unit.rolls;
        let due_ms = if is_exact { unit.due_ms } else { self.end_ms };
        self.items.push(Reverse(Item {
            due_ms,
            number: self.added,
            physical_offset: unit.physical_offset,
            record_bytes: unit.record_bytes,
            written_ms: unit.written_ms,
            rolls: unit.rolls,
        }));
        self.added += 1;
        true
    }

    /// The message of this key is not to be delivered. The key is a unique key, or topic, `+` and
    /// unique key (`appendTopicForTimerDeleteKey`).
    pub(super) fn cancel(&mut self, key: &str) {
        self.cancelled.insert(key.to_owned());
    }

    /// Whether a message was cancelled.
    pub(super) fn is_cancelled(&self, topic: &str, unique_key: &str) -> bool {
        if self.cancelled.is_empty() {
            return false;
        }
        let with_topic = || format!("{topic}+{unique_key}");
        self.cancelled.contains(unique_key) || self.cancelled.contains(&with_topic())
    }

    /// The next message, if it is due.
    pub(super) fn due(&self, now_ms: i64) -> Option<Due> {
        let Reverse(item) = self.items.peek()?;
        (item.due_ms <= now_ms).then_some(Due {
            physical_offset: item.physical_offset,
            record_bytes: item.record_bytes,
            written_ms: item.written_ms,
            rolls: item.rolls,
        })
    }

    /// The message that [`CurrentSlot::due`] gave is done with.
    pub(super) fn done(&mut self) {
        self.items.pop();
    }

    /// When there is something to do, milliseconds: a message is due, or the slot ends.
    pub(super) fn next_ms(&self) -> i64 {
        let next = self.items.peek();
        next.map_or(self.end_ms, |Reverse(item)| item.due_ms)
    }

    /// Whether nothing can come any more.
    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        self.items.is_empty() && now_ms >= self.end_ms
    }

    /// Records of the messages that are not delivered yet.
    pub(super) fn left(&self) -> HashSet<i64> {
        let items = self.items.iter();
        items.map(|Reverse(item)| item.physical_offset).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> CurrentSlot {
        CurrentSlot::new(&WheelShape::new(1_000, 100), 5_000)
    }

    fn unit(physical_offset: i64, due_ms: i64) -> TimerUnit {
        TimerUnit {
            slot_ms: 5_000,
            written_ms: 1_000,
            due_ms,
            physical_offset,
            record_bytes: 1,
            topic_hash: 0,
            rolls: false,
            deletes: false,
        }
    }

    fn take(slot: &mut CurrentSlot, now_ms: i64) -> Vec<i64> {
        let mut taken = vec![];
        while let Some(due) = slot.due(now_ms) {
            taken.push(due.physical_offset);
            slot.done();
        }
        taken
    }

    #[test]
    fn messages_come_when_they_are_due_and_in_order() {
        let mut slot = slot();
        for (offset, due_ms) in [
            (1, 5_700),
            (2, 0),
            (3, 5_200),
            (4, 5_200),
            (5, 9_999),
            (6, 1),
        ] {
            assert!(slot.add(&unit(offset, due_ms)));
        }
        assert!(!slot.add(&unit(3, 5_200)), "named twice");
        assert_eq!(slot.next_ms(), 5_200);
        assert!(take(&mut slot, 5_199).is_empty());
        assert_eq!(slot.next_ms(), 5_200);
        assert_eq!(take(&mut slot, 5_200), [3, 4]);
        assert_eq!(take(&mut slot, 5_999), [1]);
        assert_eq!(slot.left(), HashSet::from([2, 5, 6]));
        assert!(!slot.is_over(6_000));
        assert_eq!(take(&mut slot, 6_000), [2, 5, 6]);
        assert!(slot.is_over(6_000) && !slot.is_over(5_999));
    }

    #[test]
    fn rolled_messages_wait_for_the_end_of_the_slot() {
        let mut slot = slot();
        slot.add(&TimerUnit {
            rolls: true,
            ..unit(1, 5_100)
        });
        assert!(take(&mut slot, 5_999).is_empty());
        assert!(slot.due(6_000).unwrap().rolls);
    }

    #[test]
    fn keys_cancel_with_and_without_topic() {
        let mut slot = slot();
        assert!(!slot.is_cancelled("t", "K"));
        slot.cancel("K");
        slot.cancel("t+L");
        assert!(slot.is_cancelled("t", "K") && slot.is_cancelled("t", "L"));
        assert!(!slot.is_cancelled("u", "L"));
    }
}
