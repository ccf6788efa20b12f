//! The push consumer's ways: in order, in batches, as a stream, broadcasting, with conditions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::rebalance::ConsistentHash;
use thrustmq_client::{
    Admin, BatchResult, ConsumeFrom, ConsumeResult, Message, NewTopic, OrderedResult, Producer,
    PushConsumer, PushConsumerBuilder, ReceivedMessage, StartError, Subscription,
};

use super::TIMEOUT;

const TOPIC: &str = "RustPush";
const QUEUES: u16 = 4;
const COUNT: usize = 40;

/// What a listener got, in order.
#[derive(Clone, Default)]
struct Seen {
    messages: Arc<Mutex<Vec<ReceivedMessage>>>,
}

impl Seen {
    fn push(&self, message: ReceivedMessage) {
        self.messages
            .lock()
            .expect("no listener panics")
            .push(message);
    }

    fn all(&self) -> Vec<ReceivedMessage> {
        self.messages.lock().expect("no listener panics").clone()
    }

    async fn wait_for(&self, count: usize, what: &str) -> anyhow::Result<Vec<ReceivedMessage>> {
        let arrived = async {
            while self.all().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(TIMEOUT, arrived).await;
        waited.with_context(|| format!("{what}: {} of {count} arrived", self.all().len()))?;
        Ok(self.all())
    }
}

fn builder(namesrv: &str, group: &str) -> PushConsumerBuilder {
    PushConsumer::builder(group)
        .name_servers(namesrv)
        .consume_from(ConsumeFrom::FirstOffset)
}

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let topic = NewTopic::named(TOPIC).queues(QUEUES);
    admin.create_topic("DefaultCluster", &topic).await?;
    let known = async {
        while admin.route(TOPIC).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, known).await;
    waited.context("the topic has a route")?;
    admin.close().await;
    let producer = Producer::builder("rust-pushed")
        .name_servers(namesrv)
        .start()
        .await?;
    for n in 0..COUNT {
        let message = Message::new(TOPIC, format!("{n:02}")).property("n", n.to_string());
        producer.send(message).await?;
    }
    producer.shutdown().await;
    tokio::try_join!(
        in_order(namesrv),
        dead_in_order(namesrv),
        batches(namesrv),
        stream(namesrv),
        broadcasting(namesrv),
        conditions(namesrv),
    )?;
    Ok(())
}

/// Two members, of which one leaves in the midst of it: every queue stays in order, nothing twice.
async fn in_order(namesrv: &str) -> anyhow::Result<()> {
    let seen = Seen::default();
    let start = async || {
        let seen = seen.clone();
        let listener = move |message| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                seen.push(message);
                OrderedResult::Success
            }
        };
        let builder = builder(namesrv, "rust-in-order").subscribe(TOPIC, "*");
        builder
            .rebalance(ConsistentHash::default())
            .start_orderly(listener)
            .await
    };
    let (one, two) = (start().await?, start().await?);
    seen.wait_for(COUNT / 4, "a first part in order").await?;
    one.shutdown().await;
    let all = seen.wait_for(COUNT, "all in order").await?;
    two.shutdown().await;
    let mut queues: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for message in all {
        let offsets = queues.entry(message.queue_id).or_default();
        offsets.push(message.queue_offset);
    }
    for (queue, offsets) in queues {
        let expected: Vec<i64> = (0..).take(offsets.len()).collect();
        anyhow::ensure!(offsets == expected, "queue {queue}: {offsets:?}");
    }
    Ok(())
}

async fn dead_in_order(namesrv: &str) -> anyhow::Result<()> {
    let group = "rust-dead-in-order";
    let tries = Seen::default();
    let seen = tries.clone();
    let consumer = builder(namesrv, group)
        .subscribe(TOPIC, "*")
        .reconsume_times_max(1)
        .start_orderly(move |message| {
            let is_bad = message.body == "07";
            if is_bad {
                seen.push(message);
            }
            async move {
                if is_bad {
                    OrderedResult::SuspendQueue(Duration::from_millis(50))
                } else {
                    OrderedResult::Success
                }
            }
        })
        .await?;
    let tries = tries.wait_for(2, "two tries").await?;
    let times: Vec<_> = tries.iter().map(|m| m.reconsume_times).collect();
    anyhow::ensure!(times == [0, 1], "{times:?}");
    let dead = Seen::default();
    let seen = dead.clone();
    let undertaker = builder(namesrv, "rust-undertaker")
        .subscribe(format!("%DLQ%{group}"), "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await?;
    let dead = dead.wait_for(1, "the dead letter").await?;
    anyhow::ensure!(dead[0].body == "07", "{:?}", dead[0]);
    consumer.shutdown().await;
    undertaker.shutdown().await;
    Ok(())
}

/// Of each batch the last message fails once; the broker brings it again.
async fn batches(namesrv: &str) -> anyhow::Result<()> {
    let seen = Seen::default();
    let done = seen.clone();
    let consumer = builder(namesrv, "rust-batches")
        .subscribe(TOPIC, "*")
        .consume_batch(5)
        .start_batch(move |mut messages: Vec<ReceivedMessage>| {
            let again = messages.iter().any(|m| m.reconsume_times > 0);
            if !again {
                messages.pop();
            }
            let result = if again {
                BatchResult::All(ConsumeResult::Success)
            } else {
                BatchResult::First(messages.len())
            };
            messages.into_iter().for_each(|message| done.push(message));
            async move { result }
        })
        .await?;
    let all = seen.wait_for(COUNT, "all, the failed ones later").await?;
    consumer.shutdown().await;
    anyhow::ensure!(all.iter().any(|m| m.reconsume_times == 1));
    anyhow::ensure!(all.iter().all(|m| m.topic == TOPIC));
    all_bodies(&all)
}

fn all_bodies(messages: &[ReceivedMessage]) -> anyhow::Result<()> {
    let mut bodies: Vec<_> = messages.iter().map(|m| m.body.clone()).collect();
    bodies.sort();
    let expected: Vec<_> = (0..COUNT).map(|n| format!("{n:02}")).collect();
    anyhow::ensure!(bodies == expected, "{bodies:?}");
    Ok(())
}

/// A stream that ends early goes on where it was.
async fn stream(namesrv: &str) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for part in [COUNT / 2, COUNT - COUNT / 2] {
        // One at a time: nothing is done out of its turn, so nothing comes twice.
        let builder = builder(namesrv, "rust-stream").concurrency(1);
        let builder = builder.subscribe(TOPIC, "*");
        let mut stream = builder.stream().await?;
        for _ in 0..part {
            let next = tokio::time::timeout(TIMEOUT, stream.next()).await;
            let delivery = next.context("a delivery in time")?.context("no end")?;
            all.push((*delivery).clone());
            delivery.ack();
        }
        stream.shutdown().await;
    }
    all_bodies(&all)
}

async fn broadcasting(namesrv: &str) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let seen = Seen::default();
    for _ in 0..2 {
        let sink = seen.clone();
        let consumer = builder(namesrv, "rust-broadcasting")
            .broadcasting()
            .offset_directory(directory.path())
            .subscribe(TOPIC, "*")
            .start(move |message| {
                sink.push(message);
                async { ConsumeResult::Success }
            })
            .await?;
        seen.wait_for(COUNT, "broadcast messages").await?;
        consumer.shutdown().await;
    }
    all_bodies(&seen.all())
}

async fn conditions(namesrv: &str) -> anyhow::Result<()> {
    let wrong = builder(namesrv, "rust-condition").subscribe(TOPIC, Subscription::sql("n > > 5"));
    let refused = wrong.stream().await.err();
    anyhow::ensure!(
        matches!(refused, Some(StartError::Filter { .. })),
        "{refused:?}"
    );
    let seen = Seen::default();
    let sink = seen.clone();
    let consumer = builder(namesrv, "rust-condition")
        .subscribe(TOPIC, Subscription::sql("n >= 30 AND n <> 35"))
        .start(move |message| {
            sink.push(message);
            async { ConsumeResult::Success }
        })
        .await?;
    let some = seen.wait_for(9, "what the condition is true of").await?;
    consumer.shutdown().await;
    let mut bodies: Vec<_> = some.iter().map(|m| m.body.clone()).collect();
    bodies.sort();
    let expected = ["30", "31", "32", "33", "34", "36", "37", "38", "39"];
    anyhow::ensure!(bodies == expected, "{bodies:?}");
    Ok(())
}
