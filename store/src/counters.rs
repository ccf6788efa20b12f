//! What the store counts, for the broker's status.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::api::{PUT_LATENCY_LIMITS_MS, StoreCounters};

/// Counters that all threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    put_messages: AtomicU64,
    put_bytes: AtomicU64,
    put_failures: AtomicU64,
    put_latency: [AtomicU64; 13],
    put_time_ms_max: AtomicI64,
    get_time_ms_max: AtomicI64,
    get_found: AtomicU64,
    get_miss: AtomicU64,
    get_messages: AtomicU64,
    dispatch_behind_bytes_max: AtomicI64,
}

impl Counters {
    #[inline]
    pub(crate) fn put(&self, messages: u64, bytes: u64, took_ms: i64) {
        self.put_messages.fetch_add(messages, Ordering::Relaxed);
        self.put_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(class) = self.put_latency.get(latency_class(took_ms)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        raise(&self.put_time_ms_max, took_ms);
    }

    pub(crate) fn put_failed(&self) {
        self.put_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, messages: u64, took_ms: i64) {
        let outcome = if messages > 0 {
            &self.get_found
        } else {
            &self.get_miss
        };
        outcome.fetch_add(1, Ordering::Relaxed);
        self.get_messages.fetch_add(messages, Ordering::Relaxed);
        raise(&self.get_time_ms_max, took_ms);
    }

    pub(crate) fn dispatch_behind(&self, bytes: i64) {
        raise(&self.dispatch_behind_bytes_max, bytes);
    }

    /// All counters; the caller knows when the store was opened and how long its lock is held.
    pub(crate) fn read(&self, opened_ms: i64, lock_held_ms: i64) -> StoreCounters {
        let mut put_latency = [0; 13];
        for (class, count) in put_latency.iter_mut().zip(&self.put_latency) {
            *class = count.load(Ordering::Relaxed);
        }
        StoreCounters {
            opened_ms,
            put_messages: self.put_messages.load(Ordering::Relaxed),
            put_bytes: self.put_bytes.load(Ordering::Relaxed),
            put_failures: self.put_failures.load(Ordering::Relaxed),
            put_latency,
            put_time_ms_max: self.put_time_ms_max.load(Ordering::Relaxed),
            get_time_ms_max: self.get_time_ms_max.load(Ordering::Relaxed),
            get_found: self.get_found.load(Ordering::Relaxed),
            get_miss: self.get_miss.load(Ordering::Relaxed),
            get_messages: self.get_messages.load(Ordering::Relaxed),
            lock_held_ms,
            dispatch_behind_bytes_max: self.dispatch_behind_bytes_max.load(Ordering::Relaxed),
        }
    }
}

/// A load is cheaper than a `fetch_max`, and maxima seldom change.
#[inline]
fn raise(max: &AtomicI64, value: i64) {
    if value > max.load(Ordering::Relaxed) {
        max.fetch_max(value, Ordering::Relaxed);
    }
}

/// Class 0 is "no time at all"; the others hold what is below their limit.
fn latency_class(took_ms: i64) -> usize {
    if took_ms <= 0 {
        return 0;
    }
    PUT_LATENCY_LIMITS_MS.partition_point(|limit| took_ms >= *limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_classes_of_java() {
        let classes = [
            (0, 0),
            (1, 1),
            (9, 1),
            (10, 2),
            (999, 6),
            (1_000, 7),
            (9_999, 11),
            (10_000, 12),
        ];
        for (took_ms, class) in classes {
            assert_eq!(latency_class(took_ms), class, "{took_ms} ms");
        }
    }

    #[test]
    fn counters_add_up() {
        let counters = Counters::default();
        counters.put(3, 300, 12);
        counters.put(1, 100, 5);
        counters.put_failed();
        counters.get(2, 7);
        counters.get(0, 1);
        counters.dispatch_behind(50);
        let read = counters.read(1, 2);
        assert_eq!(
            (read.put_messages, read.put_bytes, read.put_failures),
            (4, 400, 1)
        );
        assert_eq!(
            (
                read.put_latency[2],
                read.put_latency[1],
                read.put_time_ms_max
            ),
            (1, 1, 12)
        );
        assert_eq!(
            (read.get_found, read.get_miss, read.get_messages),
            (1, 1, 2)
        );
        assert_eq!(
            (
                read.opened_ms,
                read.lock_held_ms,
                read.dispatch_behind_bytes_max
            ),
            (1, 2, 50)
        );
    }
}
