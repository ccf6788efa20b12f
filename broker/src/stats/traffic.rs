//! One counted thing: how often, how many messages, how many bytes, and what they were lately.
//!
//! Counting is three relaxed additions; the history is written by the sampling thread alone, in
//! Java's rhythm (`StatsItem`): every 10 s for a minute, every 10 min for an hour, every hour for a
//! day.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
}

/// What happened in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SpanData {
    /// Messages or bytes.
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
            due_ms: AtomicI64::new(now_ms),
            history: Mutex::default(),
        };
        traffic.sample(now_ms);
        traffic
    }

    /// Counts one call.
    pub(crate) fn add(&self, messages: u64, bytes: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
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

fn take(samples: &mut VecDeque<Sample>, span: &Span, now: Sample) {
    match samples.back() {
        // As `StatsItem.samplingInSeconds`: the first sample follows one of nothing, a period ago.
        None => samples.push_back(Sample {
            at_ms: now.at_ms - span.period_ms,
            calls: 0,
            messages: 0,
            bytes: 0,
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
    let sum = match measure {
        Measure::Messages => last.messages.saturating_sub(first.messages),
        Measure::Bytes => last.bytes.saturating_sub(first.bytes),
    };
    let calls = last.calls.saturating_sub(first.calls);
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
