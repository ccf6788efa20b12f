//! What a run measured, for people or as one JSON object.

use serde::Serialize;

use super::histogram::Histogram;
use crate::output;

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) load: &'static str,
    pub(super) brokers: Vec<String>,
    pub(super) connections: usize,
    pub(super) in_flight: u16,
    pub(super) size_bytes: u32,
    pub(super) batch: u16,
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) messages_per_s: f64,
    pub(super) requests: u64,
    pub(super) failures: u64,
    /// Why the first request failed that did.
    pub(super) first_failure: Option<String>,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    /// CPU time of the process of `--pid` for each message.
    pub(super) server_cpu_us_per_message: Option<f64>,
    /// CPU time of this process for each message.
    pub(super) generator_cpu_us_per_message: Option<f64>,
}

impl Report {
    pub(super) fn with_latencies(mut self, latencies: &Histogram) -> Self {
        self.p50_us = latencies.at(0.5);
        self.p99_us = latencies.at(0.99);
        self.p999_us = latencies.at(0.999);
        self
    }

    pub(super) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            output::print(&serde_json::to_string(self)?);
        } else {
            output::print(&self.text());
        }
        Ok(())
    }

    fn text(&self) -> String {
        let Self {
            load,
            size_bytes,
            connections,
            in_flight,
            ..
        } = self;
        let mut lines = vec![
            format!(
                "{load} {size_bytes} B, {connections} connections, {in_flight} in flight on each"
            ),
            format!("  {:>12.0} msg/s", self.messages_per_s),
            format!("  {:>12} µs p50", self.p50_us),
            format!("  {:>12} µs p99", self.p99_us),
            format!("  {:>12} µs p99.9", self.p999_us),
        ];
        if let Some(cpu_us) = self.server_cpu_us_per_message {
            lines.push(format!("  {cpu_us:>12.2} µs of server CPU a message"));
        }
        if let Some(cpu_us) = self.generator_cpu_us_per_message {
            lines.push(format!("  {cpu_us:>12.2} µs of generator CPU a message"));
        }
        if self.failures > 0 {
            let first = self.first_failure.as_deref().unwrap_or_default();
            lines.push(format!(
                "  {:>12} requests failed, the first: {first}",
                self.failures
            ));
        }
        lines.join("\n")
    }
}
