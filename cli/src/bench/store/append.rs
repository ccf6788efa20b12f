//! `thrustmq bench store append`.

use std::process;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::bail;
use thrustmq_store::{FlushOutcome, Store};
use tokio::time::Instant;

use super::arguments::{AppendArguments, Flush};
use super::filling::{Messages, wait_dispatched};
use super::{Directory, nanoseconds_each, open};
use crate::bench::histogram::Histogram;
use crate::bench::process::cpu_us;
use crate::output;

pub(super) fn run(arguments: &AppendArguments) -> anyhow::Result<()> {
    let directory = Directory::new(&arguments.fill.dir)?;
    let store = open(&directory.0, arguments.flush)?;
    let threads = u64::from(arguments.threads);
    let each = arguments.messages.div_ceil(threads);
    let cpu_before_us = cpu_us(process::id())?;
    let started = Instant::now();
    let results = thread::scope(|scope| -> anyhow::Result<Vec<_>> {
        let mut running = Vec::new();
        for number in 0..threads {
            let store = &store;
            let thread = thread::Builder::new().name(format!("append-{number}"));
            running
                .push(thread.spawn_scoped(scope, move || append(store, arguments, number, each))?);
        }
        let joined = running.into_iter().map(|thread| thread.join());
        Ok(joined
            .map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    wait_dispatched(&store);
    let dispatched_seconds = started.elapsed().as_secs_f64();
    let cpu_used_us = cpu_us(process::id())?.saturating_sub(cpu_before_us);
    let mut latencies = Histogram::new();
    for result in results {
        latencies.add(&result?);
    }
    let messages = each * threads;
    let (size, flush) = (arguments.fill.size, arguments.flush);
    let percentile = |share| latencies.at(share);
    output::print(&format!(
        "append {size} B, {threads} threads, {flush:?} flush, {messages} messages\n  \
         {:>12.0} msg/s\n  {:>12.0} msg/s until queues and index know them\n  \
         {:>12.0} ns of CPU a message, of all threads of the store\n  \
         {:>12} ns p50\n  {:>12} ns p99\n  {:>12} ns p99.9\n  {:>12} ns at most",
        messages as f64 / seconds,
        messages as f64 / dispatched_seconds,
        nanoseconds_each(cpu_used_us as f64 / 1e6, messages),
        percentile(0.5),
        percentile(0.99),
        percentile(0.999),
        percentile(1.0),
    ));
    store.shutdown();
    Ok(())
}

/// Appends one after the other; the latencies are nanoseconds.
fn append(
    store: &Store,
    arguments: &AppendArguments,
    source: u64,
    count: u64,
) -> anyhow::Result<Histogram> {
    let mut messages = Messages::new(arguments.fill.size, arguments.fill.queues, source);
    let mut latencies = Histogram::new();
    let (sender, flushed) = sync_channel(1);
    for _ in 0..count {
        let started = Instant::now();
        let appended = messages.append_to(store)?;
        if arguments.flush == Flush::Sync {
            let sender = sender.clone();
            let tell = move |outcome| {
                let _ = sender.send(outcome);
            };
            store.when_flushed(appended.end_offset, Box::new(tell));
            if flushed.recv()? != FlushOutcome::Flushed {
                bail!("a message did not get to the disk");
            }
        }
        let took_ns = started.elapsed().as_nanos();
        latencies.record(u64::try_from(took_ns).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}
