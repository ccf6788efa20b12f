//! What a run measured, for people or as one JSON object. The names in JSON stay as they are: scripts
//! read them.

use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::BenchArguments;
use super::histogram::Histogram;
use super::measured::Measured;
use super::process::Usage;
use super::target::Target;
use crate::output;

/// The shares of requests whose longest time is told.
const SHARES: [(&str, &str, f64); 5] = [
    ("p50", "p50_us", 0.5),
    ("p90", "p90_us", 0.9),
    ("p99", "p99_us", 0.99),
    ("p99.9", "p999_us", 0.999),
    ("p99.99", "p9999_us", 0.9999),
];

/// What every run tells.
#[derive(Debug, Default, Serialize)]
pub(super) struct Facts {
    pub(super) kind: &'static str,
    pub(super) brokers: Vec<String>,
    /// To all brokers.
    pub(super) connections: usize,
    pub(super) in_flight: u16,
    pub(super) size_bytes: u32,
    /// Messages in a request, or at most in an answer.
    pub(super) batch: u16,
    /// Messages a second that were due; absent in a closed loop.
    pub(super) rate: Option<u32>,
    pub(super) seconds: f64,
    /// Sent in the time of measuring and answered well.
    pub(super) messages: u64,
    pub(super) messages_per_s: f64,
    pub(super) requests: u64,
    /// Of the whole run.
    pub(super) failures: u64,
    /// Why the first request failed that did.
    pub(super) first_failure: Option<String>,
    pub(super) failures_by_kind: std::collections::BTreeMap<String, u64>,
    /// Messages of the whole run, warm-up included.
    pub(super) acknowledged: Option<u64>,
    pub(super) stored: Option<u64>,
    pub(super) received: Option<u64>,
    /// CPU time of the process of `--pid` for each message.
    pub(super) server_cpu_us_per_message: Option<f64>,
    /// CPU time of this process for each message.
    pub(super) generator_cpu_us_per_message: Option<f64>,
    /// Memory of the process of `--pid` that no file is behind: before, in the end, and at most.
    pub(super) server_anonymous_before_bytes: Option<u64>,
    pub(super) server_anonymous_bytes: Option<u64>,
    pub(super) server_anonymous_peak_bytes: Option<u64>,
    /// All of its memory: in the end, and the most since it started.
    pub(super) server_resident_bytes: Option<u64>,
    pub(super) server_resident_peak_bytes: Option<u64>,
}

/// What took time, by the words for people and the beginning of the names in JSON.
#[derive(Debug)]
pub(super) struct Took<'a> {
    pub(super) until: &'static str,
    pub(super) prefix: &'static str,
    pub(super) latencies: &'a Histogram,
}

impl Facts {
    pub(super) fn new(kind: &'static str, arguments: &BenchArguments, targets: &[Target]) -> Self {
        Self {
            kind,
            brokers: targets
                .iter()
                .map(|target| target.address.clone())
                .collect(),
            connections: usize::from(arguments.connections) * targets.len(),
            in_flight: arguments.in_flight,
            size_bytes: arguments.size,
            batch: arguments.batch.unwrap_or(1),
            ..Self::default()
        }
    }

    /// With what was measured.
    pub(super) fn measured(mut self, sum: &Measured, seconds: f64, usage: &Usage) -> Self {
        let messages = sum.messages as f64;
        let per_message = |cpu_us: u64| cpu_us as f64 / messages.max(1.0);
        self.seconds = seconds;
        self.messages = sum.messages;
        self.messages_per_s = messages / seconds.max(f64::MIN_POSITIVE);
        self.requests = sum.requests;
        self.failures = sum.failures;
        self.first_failure.clone_from(&sum.first_failure);
        self.failures_by_kind.clone_from(&sum.failures_by_kind);
        self.server_cpu_us_per_message = usage.server_cpu_us.map(per_message);
        self.generator_cpu_us_per_message = usage.generator_cpu_us.map(per_message);
        self.with_memory(usage)
    }

    /// With what the server holds.
    pub(super) fn with_memory(mut self, usage: &Usage) -> Self {
        self.server_anonymous_bytes = usage.memory.map(|memory| memory.anonymous);
        self.server_anonymous_before_bytes = usage.anonymous_before;
        self.server_anonymous_peak_bytes = usage.anonymous_peak;
        self.server_resident_bytes = usage.memory.map(|memory| memory.resident);
        self.server_resident_peak_bytes = usage.memory.map(|memory| memory.resident_peak);
        self
    }

    pub(super) fn print(&self, took: &[Took<'_>], as_json: bool) -> anyhow::Result<()> {
        let text = match as_json {
            true => self.json(took)?,
            false => self.text(took),
        };
        output::print(&text);
        Ok(())
    }

    fn json(&self, took: &[Took<'_>]) -> anyhow::Result<String> {
        let mut object: Map<String, Value> = serde_json::from_value(serde_json::to_value(self)?)?;
        for Took {
            prefix, latencies, ..
        } in took
        {
            for (_, name, share) in SHARES {
                object.insert(format!("{prefix}{name}"), latencies.at(share).into());
            }
            object.insert(format!("{prefix}max_us"), latencies.max().into());
        }
        Ok(serde_json::to_string(&object)?)
    }

    fn text(&self, took: &[Took<'_>]) -> String {
        let Self {
            kind,
            size_bytes,
            connections,
            in_flight,
            ..
        } = self;
        let pace = match self.rate {
            Some(rate) => format!("{rate} msg/s wanted"),
            None => format!("{in_flight} in flight on each"),
        };
        let mut lines = vec![
            format!("{kind} {size_bytes} B, {connections} connections, {pace}"),
            format!("  {:>12.0} msg/s", self.messages_per_s),
        ];
        lines.extend(took.iter().map(took_line));
        lines.extend(self.usage_lines());
        if self.failures > 0 {
            let first = self.first_failure.as_deref().unwrap_or_default();
            let failures = self.failures;
            lines.push(format!(
                "  {failures:>12} requests failed, the first: {first}"
            ));
        }
        let checked = [
            ("acknowledged", self.acknowledged),
            ("stored", self.stored),
            ("received", self.received),
        ];
        for (what, count) in checked {
            lines.extend(count.map(|count| format!("  {count:>12} messages {what}")));
        }
        lines.join("\n")
    }

    fn usage_lines(&self) -> Vec<String> {
        let cpu =
            |whose: &str, cpu_us: f64| format!("  {cpu_us:>12.2} µs of {whose} CPU a message");
        let memory = |bytes: u64, what: &str| {
            format!("  {:>12.1} MiB of {what}", bytes as f64 / 1_048_576.0)
        };
        let lines = [
            self.server_cpu_us_per_message.map(|us| cpu("server", us)),
            self.generator_cpu_us_per_message
                .map(|us| cpu("generator", us)),
            self.server_anonymous_bytes
                .map(|bytes| memory(bytes, "the server's anonymous memory")),
            self.server_anonymous_peak_bytes
                .map(|bytes| memory(bytes, "it at most")),
        ];
        lines.into_iter().flatten().collect()
    }
}

fn took_line(took: &Took<'_>) -> String {
    let Took {
        until, latencies, ..
    } = took;
    let shares = SHARES.map(|(name, _, share)| format!("{} {name}", latencies.at(share)));
    format!(
        "  {} µs, {} at most, until {until}",
        shares.join(", "),
        latencies.max()
    )
}
