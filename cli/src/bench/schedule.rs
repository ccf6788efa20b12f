//! When each message is due, and which are on their way. The time of a message counts from when it
//! was due: a broker, or a generator, that stalls makes all wait that would have been sent meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Requests in flight over all connections: as many as a request's number has values.
const SLOTS: u64 = 1 << 16;
const FREE: u64 = 0;

/// Messages at the same distance in time, numbered from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    started: Instant,
    interval: Duration,
    warm_up: u64,
    total: u64,
}

impl Schedule {
    /// `rate` messages a second; those of the first `warm_up_s` seconds are not measured.
    pub(super) fn new(started: Instant, rate: u32, warm_up_s: u64, seconds: u64) -> Self {
        let messages = |seconds: u64| seconds.saturating_mul(u64::from(rate));
        Self {
            started,
            interval: Duration::from_secs(1) / rate.max(1),
            warm_up: messages(warm_up_s),
            total: messages(warm_up_s.saturating_add(seconds)),
        }
    }

    /// The same, with `count` messages that are measured.
    pub(super) fn counted(started: Instant, rate: u32, warm_up_s: u64, count: u64) -> Self {
        let whole = Self::new(started, rate, warm_up_s, 0);
        Self {
            total: whole.warm_up.saturating_add(count),
            ..whole
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn is_measured(&self, number: u64) -> bool {
        number >= self.warm_up
    }

    /// How long after the start a message is due.
    fn due(&self, number: u64) -> Duration {
        let nanoseconds = self.interval.as_nanos().saturating_mul(u128::from(number));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// How long it is until a message is due; None when it is.
    pub(super) fn wait(&self, number: u64, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.started);
        let wait = self.due(number).checked_sub(passed)?;
        (!wait.is_zero()).then_some(wait)
    }

    /// How long ago a message was due.
    pub(super) fn since_due(&self, number: u64, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.started);
        passed.saturating_sub(self.due(number))
    }
}

/// The messages that were sent and not answered yet.
#[derive(Debug)]
pub(super) struct InFlight {
    slots: Vec<AtomicU64>,
}

impl InFlight {
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(FREE));
        Self {
            slots: slots.collect(),
        }
    }

    /// The slot of a message; None while the one that had it before is not answered.
    pub(super) fn put(&self, number: u64) -> Option<u16> {
        let slot = number % SLOTS;
        let place = self.slots.get(slot as usize)?;
        place
            .compare_exchange(FREE, number + 1, Ordering::AcqRel, Ordering::Acquire)
            .ok()?;
        u16::try_from(slot).ok()
    }

    /// The message of a slot, which is free again; None if it was free.
    pub(super) fn take(&self, slot: u16) -> Option<u64> {
        let taken = self.slots.get(usize::from(slot))?;
        taken.swap(FREE, Ordering::AcqRel).checked_sub(1)
    }

    pub(super) fn is_empty(&self) -> bool {
        let is_free = |slot: &AtomicU64| slot.load(Ordering::Acquire) == FREE;
        self.slots.iter().all(is_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_their_rate_and_late_ones_count_from_then() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 1_000, 1, 2);
        assert_eq!(schedule.total(), 3_000);
        assert_eq!(
            (schedule.is_measured(999), schedule.is_measured(1_000)),
            (false, true)
        );
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(schedule.wait(7, after(5)), Some(Duration::from_millis(2)));
        assert_eq!(schedule.wait(7, after(7)), None);
        // A stall of 50 ms: what was due meanwhile is late by what is left of it.
        assert_eq!(schedule.since_due(7, after(57)), Duration::from_millis(50));
        assert_eq!(schedule.since_due(37, after(57)), Duration::from_millis(20));
    }

    #[test]
    fn a_slot_is_taken_once() {
        let in_flight = InFlight::new();
        assert_eq!(in_flight.put(3), Some(3));
        assert_eq!(in_flight.put(3 + SLOTS), None);
        assert!(!in_flight.is_empty());
        assert_eq!(in_flight.take(3), Some(3));
        assert_eq!(in_flight.take(3), None);
        assert!(in_flight.is_empty());
        assert_eq!(in_flight.put(3 + SLOTS), Some(3));
        assert_eq!(in_flight.take(3), Some(3 + SLOTS));
    }
}
