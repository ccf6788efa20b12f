//! What fails comes again when it should or goes to the dead letters, hooks see it, and what is suspended waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    Admin, ConsumeEnd, ConsumeFrom, ConsumeHook, ConsumeResult, ConsumedBatch, Message, NewTopic,
    Producer, PushConsumer, SendHook, TimeRange, at_random,
};

use super::TIMEOUT;

const TOPIC: &str = "RustFailing";
const GROUP: &str = "rust-failing";
/// Nothing comes: this long a test looks.
const NOTHING: Duration = Duration::from_millis(500);

/// How often each body came.
type Deliveries = Arc<Mutex<BTreeMap<String, u32>>>;

#[derive(Debug, Default)]
struct Failures(AtomicUsize);

impl ConsumeHook for Failures {
    fn after(&self, batch: &ConsumedBatch<'_>, end: ConsumeEnd, _: Duration) {
        let is_ours = batch.queue.topic == TOPIC || batch.queue.topic.ends_with(GROUP);
        if end == ConsumeEnd::Failed && is_ours {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Mark;

impl SendHook for Mark {
    fn before(&self, message: &mut Message) -> Result<(), String> {
        message.set_property("hooked", "yes");
        Ok(())
    }
}

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let topic = NewTopic::named(TOPIC).queues(2);
    admin.create_topic("DefaultCluster", &topic).await?;
    let producer = Producer::builder("rust-failed")
        .name_servers(namesrv)
        .send_timeout(TIMEOUT)
        .hook(Mark)
        .start()
        .await?;
    let send = async |body: &str| {
        let message = Message::new(TOPIC, body.to_owned());
        producer.send_selected(message, at_random()).await
    };
    for body in ["well", "soon", "dead"] {
        send(body).await?;
    }
    let failures = Arc::<Failures>::default();
    let deliveries = Deliveries::default();
    let consumer = consumer(namesrv, &failures, &deliveries).await?;
    let count = |body: &str| {
        let deliveries = deliveries.lock().expect("no listener panics");
        deliveries.get(body).copied().unwrap_or_default()
    };
    wait_for("each of them", || {
        count("well") == 1 && count("soon") == 2 && count("dead") == 1
    })
    .await?;
    let mut dead = admin.dead_letters(GROUP, TimeRange::all()).await?;
    let letter = dead.next().await?.context("a dead letter")?;
    anyhow::ensure!(letter.message.body == "dead", "{letter:?}");
    anyhow::ensure!(
        letter.message.properties.get("hooked") == Some("yes"),
        "{letter:?}"
    );
    anyhow::ensure!(dead.next().await?.is_none(), "another dead letter");
    anyhow::ensure!(failures.0.load(Ordering::Relaxed) == 2, "{failures:?}");

    consumer.suspend();
    send("waits").await?;
    tokio::time::sleep(NOTHING).await;
    anyhow::ensure!(count("waits") == 0, "it came to who is suspended");
    consumer.resume();
    wait_for("what waited", || count("waits") == 1).await?;
    consumer.shutdown().await;
    producer.shutdown().await;
    admin.close().await;
    Ok(())
}

async fn consumer(
    namesrv: &str,
    failures: &Arc<Failures>,
    deliveries: &Deliveries,
) -> anyhow::Result<PushConsumer> {
    let deliveries = deliveries.clone();
    let builder = PushConsumer::builder(GROUP)
        .name_servers(namesrv)
        .subscribe(TOPIC, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .hook(failures.clone());
    let consumer = builder.start(move |message| {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let mut deliveries = deliveries.lock().expect("no listener panics");
        *deliveries.entry(body.clone()).or_default() += 1;
        let result = match (body.as_str(), message.reconsume_times) {
            // The first of the delay levels: one second.
            ("soon", 0) => ConsumeResult::LaterAt(1),
            ("dead", _) => ConsumeResult::DeadLetter,
            _ => ConsumeResult::Success,
        };
        async move { result }
    });
    Ok(consumer.await?)
}

async fn wait_for(what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, waiting).await;
    waited.with_context(|| format!("waited in vain for {what}"))
}
