//! One counted thing: how often, how many messages, how many bytes, and what they were lately.
//!
//! Counting is three relaxed additions, for one call or for several; the history is written by the sampling thread alone, in
//! Java's rhythm (`StatsItem`): every 10 s for a minute, every 10 min for an hour, every hour for a
//! day.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

/// A span that is kept: time between two samples, and how many samples.
struct Span {
    period_ms: i64,
    samples_max: usize,
}

const MINUTE: Span = Span {
    period_ms: 10_000,
    samples_max: 7,
};
const HOUR: Span = Span {
    period_ms: 600_000,
    samples_max: 7,
};
const DAY: Span = Span {
    period_ms: 3_600_000,
    samples_max: 25,
};

/// What a number of [`Traffic`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Messages.
    Messages,
    /// Bytes.
    Bytes,
    /// Milliseconds that calls took, of those that were timed.
    Milliseconds,
}

/// Calls, added up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CallSum {
    pub(super) calls: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    timed_calls: u64,
    /// What the timed ones took.
    took_ms: u64,
}

impl CallSum {
    /// One call that is not timed.
    pub(super) fn of_one(messages: u64, bytes: u64) -> Self {
        Self {
            calls: 1,
            messages,
            bytes,
            ..Self::default()
        }
    }

    /// Says how long one of the calls took.
    pub(super) fn add_time(&mut self, took_ms: i64) {
        self.timed_calls += 1;
        self.took_ms += u64::try_from(took_ms).unwrap_or(0);
    }
}

impl AddAssign for CallSum {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.timed_calls += other.timed_calls;
        self.took_ms += other.took_ms;
    }
}

/// What happened in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SpanData {
    /// Messages, bytes or milliseconds.
    pub(crate) sum: i64,
    /// The same a second.
    pub(crate) per_second: f64,
    /// The same a call.
    pub(crate) per_call: f64,
}

/// What happened in the last minute, hour and day.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct TrafficData {
    pub(crate) minute: SpanData,
    pub(crate) hour: SpanData,
    pub(crate) day: SpanData,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: i64,
    calls: u64,
    messages: u64,
    bytes: u64,
    timed_calls: u64,
    took_ms: u64,
}

#[derive(Debug, Default)]
struct History {
    minute: VecDeque<Sample>,
    hour: VecDeque<Sample>,
    day: VecDeque<Sample>,
}

/// Counters of one topic, queue or group, and their recent past.
#[derive(Debug)]
pub(crate) struct Traffic {
    calls: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    timed_calls: AtomicU64,
    took_ms: AtomicU64,
    /// When the next sample is due: most calls of [`Traffic::sample`] look no further.
    due_ms: AtomicI64,
    history: Mutex<History>,
}

impl Traffic {
    /// Counters that begin at `now_ms`: the spans then hold what is counted from here on.
    pub(crate) fn new(now_ms: i64) -> Self {
        let traffic = Self {
            calls: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            timed_calls: AtomicU64::new(0),
            took_ms: AtomicU64::new(0),
            due_ms: AtomicI64::new(now_ms),
            history: Mutex::default(),
        };
        traffic.sample(now_ms);
        traffic
    }

    /// Counts one call.
    pub(crate) fn add(&self, messages: u64, bytes: u64) {
        self.add_calls(&CallSum::of_one(messages, bytes));
    }

    /// Counts calls, without how long they took.
    pub(super) fn add_calls(&self, sum: &CallSum) {
        self.calls.fetch_add(sum.calls, Ordering::Relaxed);
        self.messages.fetch_add(sum.messages, Ordering::Relaxed);
        self.bytes.fetch_add(sum.bytes, Ordering::Relaxed);
    }

    /// Counts how long a call took.
    pub(crate) fn add_time(&self, took_ms: i64) {
        let mut sum = CallSum::default();
        sum.add_time(took_ms);
        self.add_times(&sum);
    }

    /// Counts how long calls took, of those that were timed.
    pub(super) fn add_times(&self, sum: &CallSum) {
        if sum.timed_calls == 0 {
            return;
        }
        self.timed_calls
            .fetch_add(sum.timed_calls, Ordering::Relaxed);
        self.took_ms.fetch_add(sum.took_ms, Ordering::Relaxed);
    }

    /// Messages since the start.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Takes the samples that are due.
    pub(crate) fn sample(&self, now_ms: i64) {
        if now_ms < self.due_ms.load(Ordering::Relaxed) {
            return;
        }
        self.due_ms
            .store(now_ms + MINUTE.period_ms, Ordering::Relaxed);
        let now = Sample {
            at_ms: now_ms,
            calls: self.calls.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            timed_calls: self.timed_calls.load(Ordering::Relaxed),
            took_ms: self.took_ms.load(Ordering::Relaxed),
        };
        let mut history = self.lock();
        take(&mut history.minute, &MINUTE, now);
        take(&mut history.hour, &HOUR, now);
        take(&mut history.day, &DAY, now);
    }

    /// What the samples say.
    pub(crate) fn data(&self, measure: Measure) -> TrafficData {
        let history = self.lock();
        TrafficData {
            minute: span_data(&history.minute, measure),
            hour: span_data(&history.hour, measure),
            day: span_data(&history.day, measure),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().expect("no holder of this lock panics")
    }
}

/// What few topics and groups have: it takes room from the first time on that it is counted.
#[derive(Debug, Default)]
pub(crate) struct Occasional {
    traffic: OnceLock<Box<Traffic>>,
}

impl Occasional {
    /// Counts one call.
    pub(crate) fn add(&self, messages: u64, now_ms: i64) {
        let traffic = self.traffic.get_or_init(|| Box::new(Traffic::new(now_ms)));
        traffic.add(messages, 0);
    }

    /// Takes the samples that are due.
    pub(crate) fn sample(&self, now_ms: i64) {
        if let Some(traffic) = self.traffic.get() {
            traffic.sample(now_ms);
        }
    }

    /// What the samples say; `None` if nothing was counted.
    pub(crate) fn data(&self) -> Option<TrafficData> {
        Some(self.traffic.get()?.data(Measure::Messages))
    }
}

fn take(samples: &mut VecDeque<Sample>, span: &Span, now: Sample) {
    match samples.back() {
        // As `StatsItem.samplingInSeconds`: the first sample follows one of nothing, a period ago.
        None => samples.push_back(Sample {
            at_ms: now.at_ms - span.period_ms,
            calls: 0,
            messages: 0,
            bytes: 0,
            timed_calls: 0,
            took_ms: 0,
        }),
        Some(last) if now.at_ms - last.at_ms < span.period_ms => return,
        Some(_) => {}
    }
    samples.push_back(now);
    if samples.len() > span.samples_max {
        samples.pop_front();
    }
}

#[allow(clippy::cast_precision_loss)] // shown to people
fn span_data(samples: &VecDeque<Sample>, measure: Measure) -> SpanData {
    let (Some(first), Some(last)) = (samples.front(), samples.back()) else {
        return SpanData::default();
    };
    let grown = |count: fn(&Sample) -> u64| count(last).saturating_sub(count(first));
    let (sum, calls) = match measure {
        Measure::Messages => (grown(|at| at.messages), grown(|at| at.calls)),
        Measure::Bytes => (grown(|at| at.bytes), grown(|at| at.calls)),
        Measure::Milliseconds => (grown(|at| at.took_ms), grown(|at| at.timed_calls)),
    };
    let elapsed_ms = last.at_ms - first.at_ms;
    SpanData {
        sum: i64::try_from(sum).unwrap_or(i64::MAX),
        per_second: if elapsed_ms > 0 {
            sum as f64 * 1000.0 / elapsed_ms as f64
        } else {
            0.0
        },
        per_call: if calls > 0 {
            sum as f64 / calls as f64
        } else {
            0.0
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_the_last_six_samples() {
        let traffic = Traffic::new(0);
        for ten_seconds in 1..=20 {
            traffic.add(2, 100);
            traffic.sample(ten_seconds * 10_000);
        }
        let messages = traffic.data(Measure::Messages);
        assert_eq!(messages.minute.sum, 12);
        assert!((messages.minute.per_second - 0.2).abs() < 1e-9);
        assert!((messages.minute.per_call - 2.0).abs() < 1e-9);
        assert_eq!(traffic.data(Measure::Bytes).minute.sum, 600);
    }

    #[test]
    fn samples_come_no_faster_than_their_period() {
        let traffic = Traffic::new(0);
        traffic.add(5, 5);
        traffic.sample(9_999);
        assert_eq!(traffic.data(Measure::Messages).minute.sum, 0);
        traffic.sample(10_000);
        assert_eq!(traffic.data(Measure::Messages).minute.sum, 5);
        assert_eq!(traffic.data(Measure::Messages).hour.sum, 0);
        traffic.sample(600_000);
        assert_eq!(traffic.data(Measure::Messages).hour.sum, 5);
    }
}
