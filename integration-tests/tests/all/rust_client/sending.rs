//! What a producer may decide of its messages: queue, order, time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    ConsumeFrom, ConsumeResult, Message, Producer, PushConsumer, RecallError, ReceivedMessage,
    SendReceipt,
};

use super::TIMEOUT;

/// The topics are created by the first message, with 4 queues.
const ORDERED: &str = "RustOrdered";
const DELAYED: &str = "RustDelayed";
const GATHERED: &str = "RustGathered";
const TRACES: &str = "RMQ_SYS_TRACE_TOPIC";
const DELAY: Duration = Duration::from_secs(5);

type Received = Arc<Mutex<Vec<ReceivedMessage>>>;

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    tokio::try_join!(ordered(namesrv), delayed(namesrv), gathered(namesrv))?;
    Ok(())
}

async fn producer(namesrv: &str, group: &str) -> anyhow::Result<Producer> {
    let builder = Producer::builder(group).name_servers(namesrv);
    Ok(builder.send_timeout(TIMEOUT).start().await?)
}

async fn consumer(namesrv: &str, topic: &str) -> anyhow::Result<(PushConsumer, Received)> {
    let received = Received::default();
    let sink = received.clone();
    let consumer = PushConsumer::builder(format!("rust-of-{topic}"))
        .name_servers(namesrv)
        .subscribe(topic, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            sink.lock().expect("no listener panics").push(message);
            async { ConsumeResult::Success }
        })
        .await?;
    Ok((consumer, received))
}

/// Waits for so many messages; they come out by queue and offset.
async fn take(received: &Received, count: usize) -> anyhow::Result<Vec<ReceivedMessage>> {
    let all_there = async {
        while received.lock().expect("no listener panics").len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, all_there).await;
    let mut messages = received.lock().expect("no listener panics").clone();
    waited.with_context(|| format!("{} of {count} arrived", messages.len()))?;
    messages.sort_by_key(|message| (message.queue_id, message.queue_offset));
    Ok(messages)
}

async fn ordered(namesrv: &str) -> anyhow::Result<()> {
    let producer = producer(namesrv, "rust-ordered").await?;
    let queues = producer.publish_queues(ORDERED).await?;
    anyhow::ensure!(queues.len() == 4, "{queues:?}");
    for queue in &queues {
        let receipt = producer.send_to(queue, Message::new(ORDERED, "-")).await?;
        anyhow::ensure!(receipt.queue == *queue, "{receipt:?}");
    }
    for n in 0..5 {
        for key in ["order-1", "order-2"] {
            let message = Message::new(ORDERED, n.to_string());
            producer.send_ordered(message, key).await?;
        }
    }
    let (consumer, received) = consumer(namesrv, ORDERED).await?;
    let messages = take(&received, 14).await?;
    for key in ["order-1", "order-2"] {
        let of_key = messages
            .iter()
            .filter(|message| message.properties.get("__SHARDINGKEY") == Some(key));
        let bodies: Vec<_> = of_key.clone().map(|message| &message.body[..]).collect();
        anyhow::ensure!(
            bodies == [b"0", b"1", b"2", b"3", b"4"],
            "{key}: {bodies:?}"
        );
        let queues: BTreeSet<_> = of_key.map(|message| message.queue_id).collect();
        anyhow::ensure!(queues.len() == 1, "{key} is in {queues:?}");
    }
    consumer.shutdown().await;
    producer.shutdown().await;
    Ok(())
}

async fn delayed(namesrv: &str) -> anyhow::Result<()> {
    let producer = producer(namesrv, "rust-delayed").await?;
    let message = |body: &'static str| Message::new(DELAYED, body).key(body).tag("t");
    let delayed = producer.send(message("after").deliver_after(DELAY)).await?;
    producer.send(message("level").delay_level(2)).await?;
    producer.send(message("now")).await?;
    let handle = delayed.recall_handle.context("a handle")?;
    let refused = producer.recall(&handle).await;
    anyhow::ensure!(
        matches!(refused, Err(RecallError::Call { .. })),
        "recallMessageEnable is off: {refused:?}"
    );
    let (consumer, received) = consumer(namesrv, DELAYED).await?;
    for message in take(&received, 3).await? {
        let delay_ms = message.store_timestamp - message.born_timestamp;
        let (from_ms, to_ms) = match &message.body[..] {
            b"after" => (3_000, 60_000),
            b"level" => (4_000, 60_000),
            _ => (0, 3_000),
        };
        anyhow::ensure!(
            (from_ms..to_ms).contains(&delay_ms) && message.tags() == Some("t"),
            "{message:?}"
        );
    }
    consumer.shutdown().await;
    producer.shutdown().await;
    Ok(())
}

/// Messages that wait for each other and travel together, each traced by itself.
async fn gathered(namesrv: &str) -> anyhow::Result<()> {
    let builder = Producer::builder("rust-gathered").name_servers(namesrv);
    let builder = builder.send_timeout(TIMEOUT).trace(true);
    let producer = builder.linger(Duration::from_millis(100)).start().await?;
    let mut sends = tokio::task::JoinSet::new();
    for n in 0..20 {
        let producer = producer.clone();
        let message = Message::new(GATHERED, n.to_string()).key(format!("gathered-{n}"));
        sends.spawn(async move { producer.send(message).await });
    }
    let mut sent = Vec::new();
    while let Some(receipt) = sends.join_next().await {
        sent.push(receipt??);
    }
    producer.shutdown().await;
    let (consumer, received) = consumer(namesrv, GATHERED).await?;
    let messages = take(&received, 20).await?;
    consumer.shutdown().await;
    for receipt in &sent {
        let mut same = messages.iter().filter(|m| m.message_id() == receipt.msg_id);
        let message = same.next().context("every id arrives")?;
        anyhow::ensure!(
            (message.queue_id, message.queue_offset)
                == (receipt.queue.queue_id, receipt.queue_offset),
            "{receipt:?} is {message:?}"
        );
    }
    traced(namesrv, &sent).await
}

async fn traced(namesrv: &str, sent: &[SendReceipt]) -> anyhow::Result<()> {
    let (consumer, received) = consumer(namesrv, TRACES).await?;
    let is_traced = |receipt: &SendReceipt| {
        let traces = received.lock().expect("no listener panics");
        traces
            .iter()
            .any(|trace| trace.keys().any(|key| key == receipt.msg_id))
    };
    let all_traced = async {
        while !sent.iter().all(is_traced) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, all_traced).await;
    waited.context("every message is traced")?;
    let traces = received.lock().expect("no listener panics").clone();
    for trace in traces {
        let text = std::str::from_utf8(&trace.body)?;
        for record in text.split_terminator('\u{2}') {
            let fields: Vec<_> = record.split('\u{1}').collect();
            // Other tests trace as well.
            if fields.get(4) != Some(&GATHERED) {
                continue;
            }
            anyhow::ensure!(
                fields.len() == 14 && fields.starts_with(&["Pub"]) && fields.ends_with(&["true"]),
                "{fields:?}"
            );
        }
    }
    consumer.shutdown().await;
    Ok(())
}
