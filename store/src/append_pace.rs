//! How long appends take at the moment: what the admission of sends judges by.
//!
//! Written by whoever appends, without a lock: of two threads that note at once one may be lost, which
//! an average does not mind. Times come in whole milliseconds; as the moments at which appends begin
//! are spread evenly, their average tells microseconds all the same.

use std::sync::atomic::{AtomicI64, Ordering};

const NANOS_PER_MS: i64 = 1_000_000;
/// The average moves by this part of what an append differs from it.
const PART: i64 = 32;
/// An append of so many milliseconds is no chance of where the clock's milliseconds begin: as few such
/// come in a time, each moves the average more.
const SLOW_MS: i64 = 4;
const PART_OF_SLOW: i64 = 4;
/// A clock that was set while an append ran must not look like a disk that stands still.
const TOOK_MS_MAX: i64 = 60_000;
/// Without an append the average halves in this time: what nobody measures is taken to get better.
const HALF_LIFE_MS: i64 = 1_000;

/// A running average of what appends take.
#[derive(Debug, Default)]
pub(crate) struct AppendPace {
    average_ns: AtomicI64,
    noted_ms: AtomicI64,
}

impl AppendPace {
    /// Notes an append that held the log from one time to another.
    #[inline]
    pub(crate) fn note(&self, began_ms: i64, ended_ms: i64) {
        // A clock that was set back says nothing about the append.
        let took_ms = ended_ms.saturating_sub(began_ms).clamp(0, TOOK_MS_MAX);
        let average_ns = self.average_ns.load(Ordering::Relaxed);
        let part = if took_ms >= SLOW_MS {
            PART_OF_SLOW
        } else {
            PART
        };
        let change_ns = (took_ms * NANOS_PER_MS - average_ns) / part;
        if change_ns != 0 {
            self.average_ns
                .store(average_ns + change_ns, Ordering::Relaxed);
        }
        self.noted_ms.store(ended_ms, Ordering::Relaxed);
    }

    /// The average now, microseconds.
    pub(crate) fn average_us(&self, now_ms: i64) -> i64 {
        let average_ns = self.average_ns.load(Ordering::Relaxed);
        let age_ms = now_ms.saturating_sub(self.noted_ms.load(Ordering::Relaxed));
        let halvings = (age_ms / HALF_LIFE_MS).clamp(0, 62);
        (average_ns >> halvings) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times_ms: impl IntoIterator<Item = i64>) -> AppendPace {
        let pace = AppendPace::default();
        for took_ms in times_ms {
            pace.note(1_000, 1_000 + took_ms);
        }
        pace
    }

    #[test]
    fn the_average_follows_what_appends_take() {
        assert_eq!(of([]).average_us(1_000), 0);
        assert_eq!(of(vec![0; 1_000]).average_us(1_000), 0);
        let slow = of([20; 5]).average_us(1_020);
        assert!((15_000..=20_000).contains(&slow), "{slow} us");
        // One in twenty shows a millisecond: they take about 50 us.
        let steady = of((0..2_000).map(|number| i64::from(number % 20 == 0)));
        let average_us = steady.average_us(1_000);
        assert!((30..80).contains(&average_us), "{average_us} us");
    }

    #[test]
    fn one_slow_append_is_soon_forgotten() {
        let pace = of([300]);
        assert!(pace.average_us(1_300) > 70_000);
        for _ in 0..300 {
            pace.note(1_300, 1_300);
        }
        assert!(pace.average_us(1_300) < 10);
    }

    #[test]
    fn a_pause_is_taken_for_rest() {
        let pace = of(vec![64; 500]);
        let before_us = pace.average_us(1_064);
        assert_eq!(pace.average_us(1_064 + 3 * HALF_LIFE_MS), before_us / 8);
        assert_eq!(pace.average_us(i64::MAX), 0);
    }

    #[test]
    fn a_clock_that_was_set_says_little() {
        assert_eq!(of([-3_600_000]).average_us(0), 0);
        assert!(of([3_600_000]).average_us(3_601_000) <= TOOK_MS_MAX * 1_000 / PART_OF_SLOW);
    }
}
