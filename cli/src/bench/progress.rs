//! The line that tells how the last second was, on a terminal only.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::histogram::Histogram;

const INTERVAL: Duration = Duration::from_secs(1);

/// The line, and what it will say next.
pub(super) struct Progress {
    line: ProgressBar,
    shown: Option<Instant>,
    done: u64,
    latencies: Histogram,
}

impl Progress {
    pub(super) fn new() -> Self {
        let line = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {msg}") {
            line.set_style(style);
        }
        Self {
            line,
            shown: None,
            done: 0,
            latencies: Histogram::new(),
        }
    }

    /// So many messages more, and the latencies of those that are measured.
    pub(super) fn add(&mut self, done: u64, latencies: &Histogram) {
        self.done += done;
        self.latencies.add(latencies);
    }

    /// Once a second, what was added in it.
    pub(super) fn show(&mut self, now: Instant) {
        let shown = *self.shown.get_or_insert(now);
        let passed = now.saturating_duration_since(shown);
        if passed < INTERVAL {
            return;
        }
        let rate = self.done as f64 / passed.as_secs_f64();
        let p99 = match self.latencies.is_empty() {
            true => "warming up".to_owned(),
            false => format!("p99 {} µs", self.latencies.at(0.99)),
        };
        self.say(format!("{rate:.0} msg/s, {p99}"));
        self.shown = Some(now);
        self.done = 0;
        self.latencies = Histogram::new();
    }

    pub(super) fn say(&self, text: String) {
        self.line.set_message(text);
        self.line.tick();
    }

    pub(super) fn finish(&self) {
        self.line.finish_and_clear();
    }
}

/// Latencies that threads measured since somebody looked, in microseconds.
#[derive(Debug)]
pub(super) struct Recent(Mutex<Histogram>);

impl Recent {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Histogram::new()))
    }

    pub(super) fn record(&self, latency_us: u64) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.record(latency_us);
    }

    pub(super) fn take(&self) -> Histogram {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut recent, Histogram::new())
    }
}
