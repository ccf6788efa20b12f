//! What the whole broker does: totals, rates over 10 s, 1 min and 10 min, how long calls take, and
//! the totals at midnight.
//!
//! The figures of `brokerStatus`, as Java's `StoreStatsService` and `BrokerStats` give them.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use thrustmq_proto_compat::local_time::LocalTime;

/// Seconds of the three rates.
const RATE_SECONDS: [usize; 3] = [10, 60, 600];
/// A sample a second, and the one before the oldest rate.
const SAMPLES_MAX: usize = 601;
const SAMPLE_PERIOD_MS: i64 = 1_000;

/// Upper ends of the ranges that put times are counted in, milliseconds; the last has none.
const PUT_TIME_ENDS_MS: [i64; 12] = [
    1, 10, 50, 100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000,
];
const PUT_TIME_NAMES: [&str; 13] = [
    "[<=0ms]",
    "[0~10ms]",
    "[10~50ms]",
    "[50~100ms]",
    "[100~200ms]",
    "[200~500ms]",
    "[500ms~1s]",
    "[1~2s]",
    "[2~3s]",
    "[3~4s]",
    "[4~5s]",
    "[5~10s]",
    "[10s~]",
];

/// What is counted a second.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rate {
    /// Messages put.
    Put,
    /// Pulls that found messages.
    Found,
    /// Pulls that found none.
    Miss,
    /// Messages given out.
    Transferred,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at_ms: i64,
    put: u64,
    found: u64,
    miss: u64,
    transferred: u64,
}

/// Messages put and given out, at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MessageCounts {
    pub(crate) put: u64,
    pub(crate) got: u64,
}

/// Message counts at the last two midnights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mornings {
    pub(crate) yesterday: MessageCounts,
    pub(crate) today: MessageCounts,
}

/// How long puts took.
#[derive(Debug)]
pub(super) struct PutTimes {
    /// By range.
    counts: [u64; PUT_TIME_NAMES.len()],
    ms_max: i64,
}

impl PutTimes {
    pub(super) const fn none() -> Self {
        Self {
            counts: [0; PUT_TIME_NAMES.len()],
            ms_max: 0,
        }
    }

    pub(super) fn add(&mut self, took_ms: i64) {
        let range = PUT_TIME_ENDS_MS.partition_point(|end_ms| *end_ms <= took_ms);
        if let Some(count) = self.counts.get_mut(range) {
            *count += 1;
        }
        self.ms_max = self.ms_max.max(took_ms);
    }
}

#[derive(Debug)]
struct Past {
    seconds: VecDeque<Sample>,
    day_start_ms: i64,
    mornings: Mornings,
}

/// Totals of the broker.
#[derive(Debug)]
pub(crate) struct Totals {
    put_calls: AtomicU64,
    put_failures: AtomicU64,
    put_bytes: AtomicU64,
    found: AtomicU64,
    miss: AtomicU64,
    transferred: AtomicU64,
    put_times: [AtomicU64; PUT_TIME_NAMES.len()],
    put_time_ms_max: AtomicU64,
    get_time_ms_max: AtomicU64,
    past: Mutex<Past>,
}

impl Totals {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            put_calls: AtomicU64::new(0),
            put_failures: AtomicU64::new(0),
            put_bytes: AtomicU64::new(0),
            found: AtomicU64::new(0),
            miss: AtomicU64::new(0),
            transferred: AtomicU64::new(0),
            put_times: std::array::from_fn(|_| AtomicU64::new(0)),
            put_time_ms_max: AtomicU64::new(0),
            get_time_ms_max: AtomicU64::new(0),
            past: Mutex::new(Past {
                seconds: VecDeque::from([Sample {
                    at_ms: now_ms,
                    ..Sample::default()
                }]),
                day_start_ms: LocalTime::at(now_ms).day_start_ms(),
                mornings: Mornings::default(),
            }),
        }
    }

    pub(crate) fn add_put(&self, messages: u64, bytes: u64) {
        self.put_calls.fetch_add(messages, Ordering::Relaxed);
        self.put_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_put_failure(&self) {
        self.put_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_put_times(&self, times: &PutTimes) {
        for (all, count) in self.put_times.iter().zip(times.counts) {
            if count > 0 {
                all.fetch_add(count, Ordering::Relaxed);
            }
        }
        raise(&self.put_time_ms_max, times.ms_max);
    }

    pub(crate) fn add_found(&self, messages: u64) {
        self.found.fetch_add(1, Ordering::Relaxed);
        self.transferred.fetch_add(messages, Ordering::Relaxed);
    }

    pub(crate) fn add_miss(&self) {
        self.miss.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_get_time(&self, took_ms: i64) {
        raise(&self.get_time_ms_max, took_ms);
    }

    /// Takes the samples that are due; `counts` is what the midnight before keeps.
    pub(crate) fn sample(&self, now_ms: i64, counts: MessageCounts) {
        let mut past = self.lock();
        let due = past
            .seconds
            .back()
            .is_none_or(|last| now_ms - last.at_ms >= SAMPLE_PERIOD_MS);
        if due {
            past.seconds.push_back(self.now(now_ms));
            if past.seconds.len() > SAMPLES_MAX {
                past.seconds.pop_front();
            }
        }
        let day_start_ms = LocalTime::at(now_ms).day_start_ms();
        if day_start_ms > past.day_start_ms {
            past.day_start_ms = day_start_ms;
            past.mornings.yesterday = past.mornings.today;
            past.mornings.today = counts;
        }
    }

    /// Three rates a second with a blank between them: over 10 s, 1 min and 10 min, as far as the
    /// broker has run that long.
    pub(crate) fn rates(&self, kinds: &[Rate]) -> String {
        let past = self.lock();
        let shown = RATE_SECONDS.map(|seconds| rate_text(&past.seconds, seconds, kinds));
        shown.join(" ")
    }

    pub(crate) fn mornings(&self) -> Mornings {
        self.lock().mornings
    }

    pub(crate) fn put_messages(&self) -> u64 {
        self.put_calls.load(Ordering::Relaxed)
    }

    pub(crate) fn put_failures(&self) -> u64 {
        self.put_failures.load(Ordering::Relaxed)
    }

    pub(crate) fn put_bytes(&self) -> u64 {
        self.put_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn put_time_ms_max(&self) -> u64 {
        self.put_time_ms_max.load(Ordering::Relaxed)
    }

    pub(crate) fn get_time_ms_max(&self) -> u64 {
        self.get_time_ms_max.load(Ordering::Relaxed)
    }

    /// How long the fastest `share` of all puts took at most, milliseconds, as far as the ranges
    /// tell: the end of the range that holds the slowest of them.
    pub(crate) fn put_time_ms_of(&self, share: f64) -> i64 {
        let counts = self
            .put_times
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let all: u64 = counts.iter().sum();
        #[allow(clippy::cast_precision_loss)] // shown to people
        let wanted = all as f64 * share;
        let mut seen = 0;
        for (count, end_ms) in counts.iter().zip(PUT_TIME_ENDS_MS) {
            seen += count;
            #[allow(clippy::cast_precision_loss)]
            if seen as f64 >= wanted {
                return end_ms - 1;
            }
        }
        PUT_TIME_ENDS_MS[PUT_TIME_ENDS_MS.len() - 1]
    }

    /// How many puts took how long: `[<=0ms]:12 [0~10ms]:3 …`.
    pub(crate) fn put_times_text(&self) -> String {
        let mut text = String::new();
        for (name, count) in PUT_TIME_NAMES.iter().zip(&self.put_times) {
            let count = count.load(Ordering::Relaxed);
            write!(text, "{name}:{count} ").expect("a string takes everything");
        }
        text
    }

    fn now(&self, now_ms: i64) -> Sample {
        Sample {
            at_ms: now_ms,
            put: self.put_calls.load(Ordering::Relaxed),
            found: self.found.load(Ordering::Relaxed),
            miss: self.miss.load(Ordering::Relaxed),
            transferred: self.transferred.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Past> {
        self.past.lock().expect("no holder of this lock panics")
    }
}

fn raise(max: &AtomicU64, took_ms: i64) {
    let took_ms = u64::try_from(took_ms).unwrap_or(0);
    if took_ms > max.load(Ordering::Relaxed) {
        max.fetch_max(took_ms, Ordering::Relaxed);
    }
}

#[allow(clippy::cast_precision_loss)] // shown to people
fn rate_text(samples: &VecDeque<Sample>, seconds: usize, kinds: &[Rate]) -> String {
    let before = samples
        .len()
        .checked_sub(seconds + 1)
        .and_then(|index| samples.get(index));
    let (Some(before), Some(last)) = (before, samples.back()) else {
        // Java's sum of found and missed starts with a zero, its single rates with nothing.
        return if kinds.len() > 1 { "0.0" } else { "" }.to_owned();
    };
    let elapsed_ms = (last.at_ms - before.at_ms).max(1);
    let count: u64 = kinds
        .iter()
        .map(|kind| kind.of(last).saturating_sub(kind.of(before)))
        .sum();
    format!("{:?}", count as f64 * 1000.0 / elapsed_ms as f64)
}

impl Rate {
    fn of(self, sample: &Sample) -> u64 {
        match self {
            Self::Put => sample.put,
            Self::Found => sample.found,
            Self::Miss => sample.miss,
            Self::Transferred => sample.transferred,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_appear_as_the_broker_gets_older() {
        let totals = Totals::new(0);
        for second in 1..=70 {
            totals.add_put(50, 500);
            totals.add_miss();
            totals.sample(second * 1_000, MessageCounts::default());
        }
        assert_eq!(totals.rates(&[Rate::Put]), "50.0 50.0 ");
        assert_eq!(totals.rates(&[Rate::Found, Rate::Miss]), "1.0 1.0 0.0");
        assert_eq!(totals.put_bytes(), 35_000);
    }

    #[test]
    fn put_times_fall_into_their_ranges() {
        let totals = Totals::new(0);
        for some in [[0, 9, 10], [99_999, 10_000, 9_999]] {
            let mut times = PutTimes::none();
            some.into_iter().for_each(|took_ms| times.add(took_ms));
            totals.add_put_times(&times);
        }
        let text = totals.put_times_text();
        assert!(
            text.starts_with("[<=0ms]:1 [0~10ms]:1 [10~50ms]:1 "),
            "{text}"
        );
        assert!(text.ends_with("[5~10s]:1 [10s~]:2 "), "{text}");
        assert_eq!(totals.put_time_ms_max(), 99_999);
        assert_eq!(totals.put_time_ms_of(0.1), 0);
        assert_eq!(totals.put_time_ms_of(0.5), 49);
        assert_eq!(totals.put_time_ms_of(0.99), 10_000);
        assert_eq!(Totals::new(0).put_time_ms_of(0.99), 0);
    }

    #[test]
    fn midnight_keeps_the_counts() {
        let noon_ms = LocalTime::at(1_700_000_000_000).day_start_ms() + 12 * 3_600_000;
        let totals = Totals::new(noon_ms);
        let day_ms = 24 * 3_600_000;
        totals.sample(noon_ms + 1_000, MessageCounts { put: 1, got: 1 });
        assert_eq!(totals.mornings(), Mornings::default());
        let first = MessageCounts { put: 5, got: 4 };
        totals.sample(noon_ms + day_ms, first);
        let second = MessageCounts { put: 9, got: 8 };
        totals.sample(noon_ms + 2 * day_ms, second);
        let mornings = totals.mornings();
        assert_eq!((mornings.yesterday, mornings.today), (first, second));
    }
}
