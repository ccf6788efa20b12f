//! `thrustmq bench producer` and `batch`: sends, as fast as they are answered or at a rate.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{bail, ensure};
use thrustmq_proto_compat::clock::Clock;
use tokio::task;
use tokio::time::Instant;

use super::arguments::{BenchArguments, ProducerArguments};
use super::check;
use super::connection::{self, Connection};
use super::measured::Measured;
use super::pace::{Closed, End, Open, Pace};
use super::report::{Facts, Took};
use super::requests::Requests;
use super::schedule::Schedule;
use super::send::{SendRequests, Shape};
use super::target::{self, Target};
use super::transaction::TransactionRequests;
use super::watch::{self, Times};

pub(super) const TRANSACTION: &str = "transaction";

/// The first message at a rate is due when the threads are there.
const START_DELAY: Duration = Duration::from_millis(50);

/// Runs the load and prints what it measured.
pub(super) async fn run(
    kind: &'static str,
    mut arguments: ProducerArguments,
    batch: u16,
) -> anyhow::Result<()> {
    let batch = *arguments.load.batch.get_or_insert(batch);
    ensure!(
        batch == 1 || (arguments.rate.is_none() && kind != TRANSACTION),
        "--batch: messages at a rate and transactions are sent one by one"
    );
    let load = &arguments.load;
    ensure!(
        load.topics == 1 || kind != TRANSACTION,
        "--topics: transactions are of one topic"
    );
    let targets = target::find(load).await?;
    if targets.is_empty() {
        bail!("topic '{}' has no queue that takes messages", load.topic);
    }
    let connections = connect(&targets, load)?;
    let plan = Plan::new(&arguments, connections.len(), Instant::now());
    let mut loads = Vec::new();
    for (number, (target, stream)) in connections.into_iter().enumerate() {
        let requests = requests(kind, &arguments, target, number)?;
        let address = target.address.clone();
        let connection = Connection::new(address, load.in_flight, requests, plan.pace(number));
        loads.push((connection, stream));
    }
    let ran = task::block_in_place(|| watch::run(loads, plan.times, load.pid))?;
    let sum = &ran.measured;
    let stored = check::stored_since(target::stored(&targets), load, sum.done).await?;
    let facts = Facts {
        rate: arguments.rate,
        acknowledged: Some(sum.done),
        stored: Some(stored),
        ..Facts::new(kind, load, &targets)
    };
    facts
        .measured(sum, ran.seconds, &ran.usage)
        .print(&took(kind, sum), load.json)?;
    check::sent(sum, stored)
}

/// The requests of connection `number`.
fn requests(
    kind: &str,
    arguments: &ProducerArguments,
    target: &Target,
    number: usize,
) -> anyhow::Result<Requests> {
    let load = &arguments.load;
    let shape = Shape {
        size_bytes: load.size,
        batch: load.batch.unwrap_or(1),
        keys: arguments.keys,
        body: arguments.body,
        encoding: load.encoding.into(),
        is_half: kind == TRANSACTION,
    };
    let mut queues = target.queues.clone();
    let first = number % queues.len().max(1);
    queues.rotate_left(first);
    let number = u32::try_from(number).unwrap_or_default();
    if kind == TRANSACTION {
        let transactions = TransactionRequests::new(&queues, &shape, number, load.in_flight)?;
        return Ok(Requests::Transaction(transactions));
    }
    let sends = SendRequests::new(&queues, &shape, number, Clock::system())?;
    Ok(Requests::Send(sends))
}

fn took<'a>(kind: &str, sum: &'a Measured) -> Vec<Took<'a>> {
    let mut took = vec![Took {
        until: "acknowledged",
        prefix: "",
        latencies: &sum.latencies,
    }];
    if kind == TRANSACTION {
        took.push(Took {
            until: "committed, from then on",
            prefix: "commit_",
            latencies: &sum.follow_ups,
        });
    }
    took
}

/// Connections to all brokers.
pub(super) fn connect<'a>(
    targets: &'a [Target],
    load: &BenchArguments,
) -> anyhow::Result<Vec<(&'a Target, TcpStream)>> {
    let mut connections = Vec::new();
    for target in targets {
        for _ in 0..load.connections {
            connections.push((target, connection::open(&target.address)?));
        }
    }
    Ok(connections)
}

/// When requests are sent, and when they count.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) times: Times,
    schedule: Option<Schedule>,
    /// Measured requests of all connections, where that is what ends the run.
    requests: Option<u64>,
    connections: u64,
}

impl Plan {
    /// A run that begins `now`.
    pub(super) fn new(arguments: &ProducerArguments, connections: usize, now: Instant) -> Self {
        let load = &arguments.load;
        let warm_up = Duration::from_secs(load.warm_up);
        let start = match arguments.rate {
            Some(_) => now + START_DELAY,
            None => now,
        };
        let batch = u64::from(load.batch.unwrap_or(1).max(1));
        let schedule = arguments.rate.map(|rate| match arguments.count {
            Some(count) => Schedule::counted(start, rate, load.warm_up, count),
            None => Schedule::new(start, rate, load.warm_up, load.seconds),
        });
        let measured_from = start + warm_up;
        let until = measured_from + Duration::from_secs(load.seconds);
        Self {
            times: Times {
                measured_from,
                until: arguments.count.is_none().then_some(until),
            },
            schedule,
            requests: arguments.count.map(|count| count.div_ceil(batch)),
            connections: connections.max(1) as u64,
        }
    }

    /// The pace of connection `number`.
    pub(super) fn pace(&self, number: usize) -> Pace {
        let number = number as u64;
        if let Some(schedule) = self.schedule {
            return Pace::Open(Open {
                schedule,
                next: number,
                step: self.connections,
            });
        }
        // The first connections take what can not be divided.
        let share = |requests: u64| {
            requests / self.connections + u64::from(number < requests % self.connections)
        };
        let end = match (self.requests, self.times.until) {
            (Some(requests), _) => End::Requests(share(requests)),
            (None, Some(until)) => End::At(until),
            (None, None) => End::Requests(0),
        };
        Pace::Closed(Closed {
            measured_from: self.times.measured_from,
            end,
        })
    }
}
