//! `thrustmq bench`: load with as little of our own in the way as possible. It stands on remoting
//! directly: no client, no retries, requests in flight on each connection at all times.

mod histogram;
mod process_cpu;
mod report;
mod requests;
mod target;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_remoting::{Client, ClientOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::{BenchArguments, Load};
use histogram::Histogram;
use report::Report;
use requests::{Counted, PullRequests, Requests, SendRequests};
use target::Target;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A loop whose request failed waits so long, lest failures be the load.
const FAILURE_DELAY: Duration = Duration::from_millis(10);
const PULL_BATCH: u16 = 32;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// Runs the load and prints what it measured.
pub(crate) async fn run(arguments: BenchArguments) -> anyhow::Result<()> {
    let targets = target::find(&arguments).await?;
    if targets.is_empty() {
        bail!(
            "topic '{}' has no queue that takes messages",
            arguments.topic
        );
    }
    let is_empty = |target: &Target| target.queues.iter().all(|q| q.offset_max == q.offset_min);
    if arguments.load == Load::Pull && targets.iter().any(is_empty) {
        bail!(
            "nothing to pull from '{}': run `thrustmq bench send` first",
            arguments.topic
        );
    }
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut loops = start(&arguments, &targets, &phase).await?;
    tokio::time::sleep(Duration::from_secs(arguments.warm_up)).await;
    let cpu_before = cpu_us(&arguments)?;
    let started = Instant::now();
    phase.store(MEASURING, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    phase.store(OVER, Ordering::Relaxed);
    let seconds = started.elapsed().as_secs_f64();
    let cpu_after = cpu_us(&arguments)?;
    let mut sum = Measured::new();
    while let Some(measured) = loops.join_next().await {
        sum.add(measured?);
    }
    let cpu = cpu_after
        .zip(cpu_before)
        .map(|(after, before)| after.saturating_sub(before));
    let report = report(&arguments, &targets, sum, Run { seconds, cpu });
    report.print(arguments.json)
}

fn cpu_us(arguments: &BenchArguments) -> anyhow::Result<Option<u64>> {
    arguments.pid.map(process_cpu::cpu_us).transpose()
}

/// How long it was measured, and what the server used meanwhile, in microseconds.
struct Run {
    seconds: f64,
    cpu: Option<u64>,
}

/// What loops counted while it was measured.
struct Measured {
    messages: u64,
    requests: u64,
    failures: u64,
    first_failure: Option<String>,
    latencies: Histogram,
}

impl Measured {
    fn new() -> Self {
        Self {
            messages: 0,
            requests: 0,
            failures: 0,
            first_failure: None,
            latencies: Histogram::new(),
        }
    }

    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.requests += other.requests;
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.latencies.add(&other.latencies);
    }

    fn count(&mut self, counted: Counted, latency: Duration) {
        match counted {
            Counted::Messages(messages) => {
                self.messages += messages;
                self.requests += 1;
                self.latencies
                    .record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
            Counted::Failure(why) => {
                self.failures += 1;
                self.first_failure.get_or_insert(why);
            }
        }
    }
}

/// Connects, and keeps `in_flight` loops going on each connection.
async fn start(
    arguments: &BenchArguments,
    targets: &[Target],
    phase: &Arc<AtomicU8>,
) -> anyhow::Result<JoinSet<Measured>> {
    let clock = Clock::system();
    let mut loops = JoinSet::new();
    for target in targets {
        for _ in 0..arguments.connections {
            // A client has one connection to an address.
            let client = Client::new(ClientOptions::default(), None, None, clock.clone());
            client.connect(&target.address).await?;
            for _ in 0..arguments.in_flight {
                let requests = requests(arguments, target, loops.len(), &clock);
                let one = Loop {
                    client: client.clone(),
                    address: target.address.clone(),
                    requests,
                    phase: phase.clone(),
                };
                loops.spawn(one.run());
            }
        }
    }
    Ok(loops)
}

/// The requests of loop number `number`.
fn requests(arguments: &BenchArguments, target: &Target, number: usize, clock: &Clock) -> Requests {
    let queue = target.queues.get(number % target.queues.len().max(1));
    match (arguments.load, queue) {
        (Load::Pull, Some(queue)) => {
            // Loops on one queue spread over it.
            let span = (queue.offset_max - queue.offset_min).max(1);
            let offset = queue.offset_min + (number as i64).wrapping_mul(7_919) % span;
            let batch = arguments.batch.unwrap_or(PULL_BATCH);
            Requests::Pull(PullRequests::new(queue.clone(), offset, batch))
        }
        _ => {
            let mut queues = target.queues.clone();
            let start = number % queues.len().max(1);
            queues.rotate_left(start);
            let body = Bytes::from(vec![b'x'; arguments.size as usize]);
            let instance = u32::try_from(number).unwrap_or_default();
            let address = Ipv4Addr::LOCALHOST.into();
            let keys = UniqueKeys::new(address, std::process::id(), instance, clock.clone());
            let batch = arguments.batch.unwrap_or(1);
            Requests::Send(SendRequests::new(&queues, body, batch, keys, clock.clone()))
        }
    }
}

/// One request after the other.
struct Loop {
    client: Client,
    address: String,
    requests: Requests,
    phase: Arc<AtomicU8>,
}

impl Loop {
    async fn run(mut self) -> Measured {
        let mut measured = Measured::new();
        loop {
            let phase = self.phase.load(Ordering::Relaxed);
            if phase == OVER {
                return measured;
            }
            let began = Instant::now();
            let counted = self.once().await;
            let latency = began.elapsed();
            let has_failed = matches!(counted, Counted::Failure(_));
            // A failure is told even if all of them came early.
            if has_failed || (phase == MEASURING && self.phase.load(Ordering::Relaxed) == MEASURING)
            {
                measured.count(counted, latency);
            }
            if has_failed {
                tokio::time::sleep(FAILURE_DELAY).await;
            }
        }
    }

    async fn once(&mut self) -> Counted {
        let request = match self.requests.next() {
            Ok(request) => request,
            Err(why) => return Counted::Failure(why),
        };
        match self.client.call(&self.address, request, CALL_TIMEOUT).await {
            Ok(answer) => self.requests.count(&answer),
            Err(cause) => Counted::Failure(cause.to_string()),
        }
    }
}

fn report(arguments: &BenchArguments, targets: &[Target], sum: Measured, run: Run) -> Report {
    let messages = sum.messages as f64;
    let is_pull = arguments.load == Load::Pull;
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
        server_cpu_us_per_message: run.cpu.map(|cpu_us| cpu_us as f64 / messages.max(1.0)),
    };
    report.with_latencies(&sum.latencies)
}
