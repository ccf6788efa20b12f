//! `thrustmq bench client`: the client library as an application uses it. `bench/run` runs Java's client
//! beside it, against the same broker.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use thrustmq_client::{Clock, ConsumeFrom, ConsumeResult, Message, Producer, PushConsumer};
use tokio::time::{Instant, sleep};

use super::arguments::{ClientArguments, ClientLoad};
use super::process::Usage;
use super::report::Facts;

const GROUP: &str = "thrustmq-bench-client";
/// Nothing fails for being slow.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
const FIRST_MESSAGE_POLL: Duration = Duration::from_millis(10);

/// Messages of the whole run.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

/// Runs the load and prints what it measured.
pub(super) async fn run(load: ClientLoad) -> anyhow::Result<()> {
    match load {
        ClientLoad::Send(arguments) => send(&arguments).await,
        ClientLoad::Receive(arguments) => receive(&arguments).await,
    }
}

/// One task for each message in flight.
async fn send(arguments: &ClientArguments) -> anyhow::Result<()> {
    let producer = Producer::builder(GROUP)
        .name_servers(arguments.name_servers.addresses())
        .send_timeout(SEND_TIMEOUT)
        .start()
        .await?;
    let counts = Arc::<Counts>::default();
    let body = Bytes::from(vec![b'x'; arguments.size as usize]);
    for _ in 0..arguments.in_flight {
        let (producer, topic, body) = (producer.clone(), arguments.topic.clone(), body.clone());
        let counts = counts.clone();
        // Ends with the process.
        tokio::spawn(async move {
            loop {
                let message = Message::new(topic.clone(), body.clone());
                let count = match producer.send(message).await {
                    Ok(_) => &counts.done,
                    Err(_) => &counts.failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    measure("client send", arguments, &counts)
        .await?
        .print(&[], arguments.json)
}

/// By a group of its own, from the oldest message on; it counts from the first that comes.
async fn receive(arguments: &ClientArguments) -> anyhow::Result<()> {
    let counts = Arc::<Counts>::default();
    let received = counts.clone();
    let now_ms = Clock::system().now_ms();
    let consumer = PushConsumer::builder(format!("{GROUP}-{}-{now_ms}", process::id()))
        .name_servers(arguments.name_servers.addresses())
        .consume_from(ConsumeFrom::FirstOffset)
        .subscribe(&arguments.topic, "*")
        .start(move |_| {
            received.done.fetch_add(1, Ordering::Relaxed);
            async { ConsumeResult::Success }
        })
        .await?;
    while counts.done.load(Ordering::Relaxed) == 0 {
        sleep(FIRST_MESSAGE_POLL).await;
    }
    let facts = measure("client receive", arguments, &counts).await?;
    consumer.shutdown().await;
    let facts = Facts {
        received: Some(counts.done.load(Ordering::Relaxed)),
        ..facts
    };
    facts.print(&[], arguments.json)
}

async fn measure(
    kind: &'static str,
    arguments: &ClientArguments,
    counts: &Counts,
) -> anyhow::Result<Facts> {
    sleep(Duration::from_secs(arguments.warm_up)).await;
    let mut usage = Usage::new(None)?;
    usage.begin()?;
    let (begun, before) = (Instant::now(), counts.done.load(Ordering::Relaxed));
    sleep(Duration::from_secs(arguments.seconds)).await;
    let messages = counts.done.load(Ordering::Relaxed) - before;
    let seconds = begun.elapsed().as_secs_f64();
    usage.end()?;
    let per_message = |cpu_us: u64| cpu_us as f64 / messages.max(1) as f64;
    Ok(Facts {
        kind,
        connections: 1,
        in_flight: arguments.in_flight,
        size_bytes: arguments.size,
        batch: 1,
        seconds,
        messages,
        messages_per_s: messages as f64 / seconds,
        requests: messages,
        failures: counts.failed.load(Ordering::Relaxed),
        generator_cpu_us_per_message: usage.generator_cpu_us.map(per_message),
        ..Facts::default()
    })
}
