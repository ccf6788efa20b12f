//! What connections counted.

use std::time::Duration;

use super::histogram::Histogram;

/// Counts of a connection or of all. Failures are told even if all of them came early; the rest is
/// of the time of measuring.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) messages: u64,
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
    pub(super) latencies: Histogram,
}

impl Measured {
    pub(super) fn new() -> Self {
        Self {
            messages: 0,
            requests: 0,
            failures: 0,
            first_failure: None,
            latencies: Histogram::new(),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.requests += other.requests;
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.latencies.add(&other.latencies);
    }

    /// A request that was answered well.
    pub(super) fn count(&mut self, messages: u64, latency: Duration) {
        self.messages += messages;
        self.requests += 1;
        self.latencies
            .record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// A request that was refused, or a connection that broke.
    pub(super) fn fail(&mut self, why: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(why);
    }
}
