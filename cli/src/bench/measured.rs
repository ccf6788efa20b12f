//! What connections counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::histogram::Histogram;
use super::requests::Counted;

/// Kinds of failures that are told apart; the codes of brokers are fewer.
const KINDS_MAX: usize = 100;

/// Counts of a connection or of all. Failures and what is checked in the end are of the whole run; the
/// rest is of the requests that were sent in the time of measuring.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) messages: u64,
    pub(super) requests: u64,
    pub(super) latencies: Histogram,
    /// Of the request that follows an answer: the end of a transaction.
    pub(super) follow_ups: Histogram,
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
    pub(super) failures_by_kind: BTreeMap<String, u64>,
    /// Messages of the whole run that were acknowledged, or pulled.
    pub(super) done: u64,
    /// Messages that may be stored although nobody said so.
    pub(super) uncertain: u64,
    /// What was not as it should be, the first.
    pub(super) mismatch: Option<String>,
}

impl Measured {
    pub(super) fn new() -> Self {
        Self {
            messages: 0,
            requests: 0,
            latencies: Histogram::new(),
            follow_ups: Histogram::new(),
            failures: 0,
            first_failure: None,
            failures_by_kind: BTreeMap::new(),
            done: 0,
            uncertain: 0,
            mismatch: None,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.requests += other.requests;
        self.latencies.add(&other.latencies);
        self.follow_ups.add(&other.follow_ups);
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        for (kind, count) in other.failures_by_kind {
            *self.failures_by_kind.entry(kind).or_default() += count;
        }
        self.done += other.done;
        self.uncertain += other.uncertain;
        self.mismatch = self.mismatch.take().or(other.mismatch);
    }

    /// A request that was answered well.
    pub(super) fn count(&mut self, messages: u64, latency: Duration) {
        self.messages += messages;
        self.requests += 1;
        self.latencies.record(micros(latency));
    }

    /// An answer in the time of measuring.
    pub(super) fn note(&mut self, counted: &Counted, latency: Duration) {
        match *counted {
            Counted::Messages(messages) => self.count(messages, latency),
            Counted::First => self.count(0, latency),
            Counted::FollowUp(messages) => {
                self.messages += messages;
                self.requests += 1;
                self.follow_ups.record(micros(latency));
            }
            Counted::Failure => {}
        }
    }

    /// A request that was refused, or a connection that broke.
    pub(super) fn fail(&mut self, kind: &str, why: String) {
        self.fail_times(1, kind, why);
    }

    /// So many at once.
    pub(super) fn fail_times(&mut self, times: u64, kind: &str, why: String) {
        self.failures += times;
        self.first_failure.get_or_insert(why);
        if self.failures_by_kind.len() < KINDS_MAX || self.failures_by_kind.contains_key(kind) {
            *self.failures_by_kind.entry(kind.to_owned()).or_default() += times;
        }
    }
}

/// Whole microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
