//! `thrustmq bench latency`: messages that leave when they are due, however fast the broker answers,
//! and their way to a consumer that waits for them in a long poll. Who sends, who takes answers and who
//! receives is a thread of its own that blocks.
//!
//! It is an error if what was acknowledged, stored and received is not the same.

mod frames;
mod receiving;
mod sending;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use thrustmq_proto_compat::clock::Clock;
use tokio::task;
use tokio::time::Instant;

use super::arguments::LatencyArguments;
use super::histogram::Histogram;
use super::measured::Measured;
use super::process::Usage;
use super::progress::{Progress, Recent};
use super::report::{Facts, Took};
use super::schedule::{InFlight, Schedule};
use super::send::{STAMP_DIGITS, SendRequests, Shape};
use super::target::{self, Target};
use frames::Frames;
use receiving::{Polls, Received};

/// After the last message was sent, answers and messages may take so long.
const GRACE: Duration = Duration::from_secs(10);
const GRACE_STEP: Duration = Duration::from_millis(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The first message is due when the threads are there.
const START_DELAY: Duration = Duration::from_millis(50);

/// What the threads of a run share.
#[derive(Debug)]
struct Shared {
    schedule: Schedule,
    in_flight: InFlight,
    acknowledged: AtomicU64,
    received: AtomicU64,
    over: AtomicBool,
    receives: bool,
    /// Of messages received, or if nobody receives, acknowledged.
    recent: Recent,
}

impl Shared {
    fn new(schedule: Schedule, receives: bool) -> Self {
        Self {
            schedule,
            in_flight: InFlight::new(),
            acknowledged: AtomicU64::new(0),
            received: AtomicU64::new(0),
            over: AtomicBool::new(false),
            receives,
            recent: Recent::new(),
        }
    }

    fn acknowledge(&self, latency_us: u64) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        if !self.receives {
            self.recent.record(latency_us);
        }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn receive(&self, latency_us: u64) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.recent.record(latency_us);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether everything sent was answered, and what was acknowledged has come.
    fn is_settled(&self) -> bool {
        let received = self.received.load(Ordering::Relaxed);
        self.in_flight.is_empty() && (!self.receives || received >= self.acknowledged())
    }
}

/// What all threads measured.
struct Outcome {
    sent: Measured,
    lateness: Histogram,
    received: Option<Received>,
    acknowledged: u64,
    usage: Usage,
}

/// Runs the load and prints what it measured.
pub(super) async fn run(arguments: LatencyArguments) -> anyhow::Result<()> {
    let load = &arguments.load;
    ensure!(load.batch.is_none(), "--batch: latency sends one by one");
    ensure!(load.topics == 1, "--topics: latency is of one topic");
    ensure!(
        load.size as usize >= STAMP_DIGITS,
        "--size: a message bears {STAMP_DIGITS} digits to know it by"
    );
    let target = only_target(target::find(load).await?)?;
    let outcome = task::block_in_place(|| measure(&arguments, &target))?;
    let after = only_target(target::find(load).await?)?;
    let stored = stored(&after).saturating_sub(stored(&target));
    print(&arguments, target, &outcome, stored)?;
    check(&outcome, stored)
}

fn print(
    arguments: &LatencyArguments,
    target: Target,
    outcome: &Outcome,
    stored: u64,
) -> anyhow::Result<()> {
    let load = &arguments.load;
    let received = outcome.received.as_ref();
    let facts = Facts {
        rate: Some(arguments.rate),
        acknowledged: Some(outcome.acknowledged),
        stored: Some(stored),
        received: received.map(|received| received.messages),
        ..Facts::new("latency", load, &[target])
    };
    let mut took = vec![Took {
        until: "acknowledged",
        prefix: "",
        latencies: &outcome.sent.latencies,
    }];
    took.extend(received.map(|received| Took {
        until: "received",
        prefix: "received_",
        latencies: &received.latencies,
    }));
    took.push(Took {
        until: "sent, which is in the others",
        prefix: "late_",
        latencies: &outcome.lateness,
    });
    facts
        .measured(&outcome.sent, load.seconds as f64, &outcome.usage)
        .print(&took, load.json)
}

fn only_target(mut targets: Vec<Target>) -> anyhow::Result<Target> {
    let target = targets.pop().context("the topic has no queues")?;
    ensure!(
        targets.is_empty(),
        "the topic has several brokers: latency is measured of one"
    );
    Ok(target)
}

fn stored(target: &Target) -> u64 {
    let ends = target.queues.iter().map(|queue| queue.offset_max);
    u64::try_from(ends.sum::<i64>()).unwrap_or_default()
}

fn check(outcome: &Outcome, stored: u64) -> anyhow::Result<()> {
    let acknowledged = outcome.acknowledged;
    ensure!(
        stored >= acknowledged,
        "{acknowledged} messages were acknowledged, but {stored} are stored"
    );
    let Some(received) = &outcome.received else {
        return Ok(());
    };
    let came = received.messages - received.repeated;
    ensure!(
        came == stored,
        "{stored} messages are stored, but {came} were received"
    );
    ensure!(
        received.repeated == 0,
        "{} messages were received more than once",
        received.repeated
    );
    Ok(())
}

/// The threads of a run.
struct Threads {
    sender: JoinHandle<anyhow::Result<Histogram>>,
    takers: Vec<JoinHandle<anyhow::Result<Measured>>>,
    receiver: Option<JoinHandle<anyhow::Result<Received>>>,
    /// To end the threads that read.
    streams: Vec<TcpStream>,
}

fn measure(arguments: &LatencyArguments, target: &Target) -> anyhow::Result<Outcome> {
    let load = &arguments.load;
    let schedule = Schedule::new(
        Instant::now() + START_DELAY,
        arguments.rate,
        load.warm_up,
        load.seconds,
    );
    let shared = Arc::new(Shared::new(schedule, !arguments.send_only));
    let threads = start(arguments, target, &shared)?;
    let mut progress = Progress::new();
    look_on(&shared, &mut progress, load.warm_up);
    let mut usage = Usage::new(load.pid)?;
    usage.begin()?;
    look_on(&shared, &mut progress, load.seconds);
    usage.end()?;
    progress.finish();
    let mut waited = Duration::ZERO;
    while waited < GRACE {
        if threads.sender.is_finished() && shared.is_settled() {
            break;
        }
        thread::sleep(GRACE_STEP);
        waited += GRACE_STEP;
    }
    shared.over.store(true, Ordering::Relaxed);
    threads.join(&shared, usage)
}

/// Shows for so many seconds how it goes.
fn look_on(shared: &Shared, progress: &mut Progress, seconds: u64) {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        let now = Instant::now();
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            return;
        }
        let recent = shared.recent.take();
        progress.add(recent.total(), &recent);
        progress.show(now);
        thread::sleep(left.min(LOOK_INTERVAL));
    }
}

fn start(
    arguments: &LatencyArguments,
    target: &Target,
    shared: &Arc<Shared>,
) -> anyhow::Result<Threads> {
    let mut streams = Vec::new();
    let mut takers = Vec::new();
    for _ in 0..arguments.load.connections {
        let stream = frames::open(&target.address)?;
        let (frames, shared) = (Frames::new(&stream)?, shared.clone());
        takers.push(spawn("answers", move || {
            sending::take_answers(&shared, frames)
        })?);
        streams.push(stream);
    }
    let sending: Result<Vec<_>, _> = streams.iter().map(TcpStream::try_clone).collect();
    let (sending, requests) = (sending?, requests(arguments, target)?);
    let mut receiver = None;
    if !arguments.send_only {
        let mut stream = frames::open(&target.address)?;
        streams.push(stream.try_clone()?);
        let mut polls = Polls::new(&target.queues)?;
        polls.begin(&mut stream)?;
        let shared = shared.clone();
        receiver = Some(spawn("receive", move || {
            receiving::receive(&shared, stream, polls)
        })?);
    }
    let shared = shared.clone();
    let sender = spawn("send", move || sending::send(&shared, &sending, requests))?;
    Ok(Threads {
        sender,
        takers,
        receiver,
        streams,
    })
}

fn requests(arguments: &LatencyArguments, target: &Target) -> anyhow::Result<SendRequests> {
    let shape = Shape {
        size_bytes: arguments.load.size,
        encoding: arguments.load.encoding.into(),
        ..Shape::default()
    };
    SendRequests::new(&target.queues, &shape, 0, Clock::system())
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

impl Threads {
    fn join(self, shared: &Shared, usage: Usage) -> anyhow::Result<Outcome> {
        self.streams.iter().for_each(frames::close);
        let mut sent = Measured::new();
        for taker in self.takers {
            sent.add(joined(taker)?);
        }
        if !shared.in_flight.is_empty() {
            sent.fail(
                "unanswered",
                format!("no answer in {GRACE:?}, or a broken connection"),
            );
        }
        Ok(Outcome {
            sent,
            lateness: joined(self.sender)?,
            received: self.receiver.map(joined).transpose()?,
            acknowledged: shared.acknowledged(),
            usage,
        })
    }
}

fn joined<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    match thread.join() {
        Ok(result) => result,
        Err(_) => bail!("a thread of the generator panicked"),
    }
}
