//! `thrustmq bench`: load with as little of our own in the way as possible. The client only finds the
//! queues; the load itself writes frames to sockets: no retries, requests in flight on each connection
//! at all times. `bench store` has no broker: it loads the store itself.

mod answer;
mod connection;
mod histogram;
mod measured;
mod process_cpu;
mod pull;
mod report;
mod requests;
mod send;
mod store;
mod target;
mod template;

use std::net::Ipv4Addr;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::bail;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::id::UniqueKeys;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::{BenchArguments, BenchCommand, Load};
use connection::Connection;
use measured::Measured;
use pull::{Cursor, PullRequests};
use report::Report;
use requests::Requests;
use send::SendRequests;
use target::Target;

pub(crate) use store::StoreLoad;

const PULL_BATCH: u16 = 32;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// Runs the load and prints what it measured.
pub(crate) async fn run(command: BenchCommand) -> anyhow::Result<()> {
    match command {
        BenchCommand::Send(arguments) => run_load(Load::Send, arguments).await,
        BenchCommand::Pull(arguments) => run_load(Load::Pull, arguments).await,
        BenchCommand::Store(load) => store::run(&load),
    }
}

async fn run_load(load: Load, arguments: BenchArguments) -> anyhow::Result<()> {
    let targets = target::find(&arguments).await?;
    if targets.is_empty() {
        bail!(
            "topic '{}' has no queue that takes messages",
            arguments.topic
        );
    }
    let is_empty = |target: &Target| target.queues.iter().all(|q| q.offset_max == q.offset_min);
    if load == Load::Pull && targets.iter().any(is_empty) {
        bail!(
            "nothing to pull from '{}': run `thrustmq bench send` first",
            arguments.topic
        );
    }
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut loops = start(load, &arguments, &targets, &phase).await?;
    tokio::time::sleep(Duration::from_secs(arguments.warm_up)).await;
    let cpu_before = CpuTimes::now(&arguments)?;
    let started = Instant::now();
    phase.store(MEASURING, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    phase.store(OVER, Ordering::Relaxed);
    let seconds = started.elapsed().as_secs_f64();
    let cpu = CpuTimes::now(&arguments)?.since(&cpu_before);
    let mut sum = Measured::new();
    while let Some(measured) = loops.join_next().await {
        sum.add(measured?);
    }
    let report = report(&arguments, &targets, sum, Run { load, seconds, cpu });
    report.print(arguments.json)
}

/// CPU time in microseconds, of those processes where it can be read.
struct CpuTimes {
    server: Option<u64>,
    generator: Option<u64>,
}

impl CpuTimes {
    fn now(arguments: &BenchArguments) -> anyhow::Result<Self> {
        Ok(Self {
            server: arguments.pid.map(process_cpu::cpu_us).transpose()?,
            generator: process_cpu::cpu_us(process::id()).ok(),
        })
    }

    fn since(&self, before: &Self) -> Self {
        let used = |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before?));
        Self {
            server: used(self.server, before.server),
            generator: used(self.generator, before.generator),
        }
    }
}

/// What was measured, for how long, and the CPU time used meanwhile.
struct Run {
    load: Load,
    seconds: f64,
    cpu: CpuTimes,
}

/// Connects, and loads every connection in a task of its own.
async fn start(
    load: Load,
    arguments: &BenchArguments,
    targets: &[Target],
    phase: &Arc<AtomicU8>,
) -> anyhow::Result<JoinSet<Measured>> {
    let mut connections = JoinSet::new();
    for target in targets {
        for _ in 0..arguments.connections {
            let requests = requests(load, arguments, target, connections.len())?;
            let address = target.address.clone();
            let stream = connection::open(&address).await?;
            let connection = Connection::new(address, arguments.in_flight, requests, phase.clone());
            connections.spawn(connection.run(stream));
        }
    }
    Ok(connections)
}

/// The requests of connection number `number`.
fn requests(
    load: Load,
    arguments: &BenchArguments,
    target: &Target,
    number: usize,
) -> anyhow::Result<Requests> {
    let in_flight = usize::from(arguments.in_flight);
    if load == Load::Pull {
        let numbers = number * in_flight..(number + 1) * in_flight;
        let cursors = numbers.filter_map(|number| Cursor::new(&target.queues, number));
        let batch = arguments.batch.unwrap_or(PULL_BATCH);
        let pulls = PullRequests::new(&target.queues, cursors.collect(), batch)?;
        return Ok(Requests::Pull(pulls));
    }
    let mut queues = target.queues.clone();
    queues.rotate_left(number % target.queues.len().max(1));
    let instance = u32::try_from(number).unwrap_or_default();
    let clock = Clock::system();
    let address = Ipv4Addr::LOCALHOST.into();
    let keys = UniqueKeys::new(address, process::id(), instance, clock.clone());
    let batch = arguments.batch.unwrap_or(1);
    let sends = SendRequests::new(&queues, arguments.size, batch, &keys, clock)?;
    Ok(Requests::Send(sends))
}

fn report(arguments: &BenchArguments, targets: &[Target], sum: Measured, run: Run) -> Report {
    let messages = sum.messages as f64;
    let per_message = |cpu_us: u64| cpu_us as f64 / messages.max(1.0);
    let is_pull = run.load == Load::Pull;
    let report = Report {
        load: if is_pull { "pull" } else { "send" },
        brokers: targets
            .iter()
            .map(|target| target.address.clone())
            .collect(),
        connections: usize::from(arguments.connections) * targets.len(),
        in_flight: arguments.in_flight,
        size_bytes: arguments.size,
        batch: arguments
            .batch
            .unwrap_or(if is_pull { PULL_BATCH } else { 1 }),
        seconds: run.seconds,
        messages: sum.messages,
        messages_per_s: messages / run.seconds,
        requests: sum.requests,
        failures: sum.failures,
        first_failure: sum.first_failure,
        p50_us: 0,
        p99_us: 0,
        p999_us: 0,
        server_cpu_us_per_message: run.cpu.server.map(per_message),
        generator_cpu_us_per_message: run.cpu.generator.map(per_message),
    };
    report.with_latencies(&sum.latencies)
}
