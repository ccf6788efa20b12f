//! `thrustmq bench consumer`: pulls of what is stored, over and over, or of everything once.

use anyhow::bail;
use tokio::task;
use tokio::time::Instant;

use super::arguments::{BenchArguments, Body, ConsumerArguments, Keys, ProducerArguments};
use super::connection::Connection;
use super::producer::{Plan, connect};
use super::pull::{AtEnd, Cursor, PullRequests};
use super::report::{Facts, Took};
use super::requests::Requests;
use super::target::{self, Target};
use super::{check, watch};

const BATCH: u16 = 32;

/// Runs the load and prints what it measured.
pub(super) async fn run(arguments: ConsumerArguments) -> anyhow::Result<()> {
    let targets = targets(&arguments).await?;
    let ConsumerArguments { mut load, once, .. } = arguments;
    load.batch.get_or_insert(BATCH);
    if once {
        // Everything counts.
        load.warm_up = 0;
    }
    let connections = connect(&targets, &load)?;
    let arguments = ProducerArguments {
        load,
        rate: None,
        count: once.then_some(u64::MAX),
        keys: Keys::None,
        body: Body::Compressible,
    };
    let load = &arguments.load;
    let plan = Plan::new(&arguments, connections.len(), Instant::now());
    let mut loads = Vec::new();
    for (number, (target, stream)) in connections.into_iter().enumerate() {
        let cursors = cursors(target, number, load, once);
        let batch = load.batch.unwrap_or(BATCH);
        let pulls = PullRequests::new(&target.queues, cursors, batch, load.encoding.into())?;
        let (address, requests) = (target.address.clone(), Requests::Pull(pulls));
        let connection = Connection::new(address, load.in_flight, requests, plan.pace(number));
        loads.push((connection, stream));
    }
    let ran = task::block_in_place(|| watch::run(loads, plan.times, load.pid))?;
    let sum = &ran.measured;
    let stored = once.then(|| stored(&targets));
    let facts = Facts {
        received: Some(sum.done),
        stored,
        ..Facts::new("consumer", load, &targets)
    };
    let took = Took {
        until: "pulled",
        prefix: "",
        latencies: &sum.latencies,
    };
    facts
        .measured(sum, ran.seconds, &ran.usage)
        .print(&[took], load.json)?;
    check::pulled(sum, stored)
}

/// Queues with messages.
async fn targets(arguments: &ConsumerArguments) -> anyhow::Result<Vec<Target>> {
    let mut targets = target::find(&arguments.load).await?;
    for target in &mut targets {
        for queue in &mut target.queues {
            queue.offset_min = queue.offset_min.max(arguments.from.unwrap_or_default());
        }
        target
            .queues
            .retain(|queue| queue.offset_min < queue.offset_max);
    }
    targets.retain(|target| !target.queues.is_empty());
    if targets.is_empty() {
        bail!(
            "nothing to pull from '{}': run `thrustmq bench producer` first",
            arguments.load.topic
        );
    }
    Ok(targets)
}

/// What connection `number` of all pulls.
fn cursors(
    target: &Target,
    number: usize,
    load: &BenchArguments,
    once: bool,
) -> (Vec<Cursor>, AtEnd) {
    let queues = &target.queues;
    let in_flight = usize::from(load.in_flight);
    if !once {
        let numbers = number * in_flight..(number + 1) * in_flight;
        let cursors = numbers.filter_map(|number| Cursor::spread(queues, number));
        return (cursors.collect(), AtEnd::Again);
    }
    let connections = usize::from(load.connections);
    let number = number % connections.max(1);
    let parts = queues.iter();
    let mut parts = parts.filter_map(|queue| Cursor::part(queue, number, connections));
    let first = parts.by_ref().take(in_flight).collect();
    (first, AtEnd::Next(parts.collect()))
}

/// How many messages there are to pull.
fn stored(targets: &[Target]) -> u64 {
    let queues = targets.iter().flat_map(|target| &target.queues);
    let counts = queues.map(|queue| queue.offset_max - queue.offset_min);
    u64::try_from(counts.sum::<i64>()).unwrap_or_default()
}
