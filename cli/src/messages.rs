//! `thrustmq produce` and `thrustmq consume`: a first message from a shell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thrustmq_client::{
    ConsumeFrom, ConsumeResult, Message, Producer, PushConsumer, ReceivedMessage, SendStatus,
};
use tokio::sync::Notify;

use crate::args::{Beginning, ConsumeArguments, ProduceArguments};
use crate::output;
use crate::signals::StopSignals;

/// A listener that holds a message beyond the count is not waited for.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(200);

/// Sends messages, one after the other, and prints where each one went.
pub(crate) async fn produce(arguments: ProduceArguments) -> anyhow::Result<()> {
    let addresses = arguments.name_servers.addresses();
    let producer = Producer::builder(&arguments.group)
        .name_servers(addresses)
        .start()
        .await?;
    let sent = send_all(&producer, &arguments).await;
    producer.shutdown().await;
    sent
}

async fn send_all(producer: &Producer, arguments: &ProduceArguments) -> anyhow::Result<()> {
    for _ in 0..arguments.count {
        let receipt = producer.send(message(arguments)).await?;
        let note = match receipt.status {
            SendStatus::Stored => "",
            SendStatus::FlushTimedOut => " (not yet on disk)",
            SendStatus::ReplicaTimedOut => " (not yet on a replica)",
            SendStatus::NoReplica => " (there is no replica)",
        };
        let (queue, offset) = (&receipt.queue, receipt.queue_offset);
        output::print(&format!("{} {queue} offset {offset}{note}", receipt.msg_id));
    }
    Ok(())
}

fn message(arguments: &ProduceArguments) -> Message {
    let body = match (&arguments.body, arguments.size) {
        (Some(body), _) => body.clone().into_bytes(),
        (None, size) => vec![b'x'; size.unwrap_or_default()],
    };
    let mut message = Message::new(&arguments.topic, body);
    if let Some(tag) = &arguments.tag {
        message = message.tag(tag);
    }
    if let Some(key) = &arguments.key {
        message = message.key(key);
    }
    message
}

/// Prints messages until there were enough, or the process is interrupted.
pub(crate) async fn consume(arguments: ConsumeArguments) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    let left = Arc::new(Left::new(arguments.count));
    let counting = left.clone();
    let consumer = PushConsumer::builder(&arguments.group)
        .name_servers(arguments.name_servers.addresses())
        .subscribe(&arguments.topic, &arguments.tag)
        .consume_from(match arguments.from {
            Beginning::First => ConsumeFrom::FirstOffset,
            Beginning::Last => ConsumeFrom::LastOffset,
        })
        .concurrency(1)
        .shutdown_wait(SHUTDOWN_WAIT)
        .start(move |message| {
            let left = counting.clone();
            async move { left.show(&message).await }
        })
        .await?;
    let timeout = arguments.timeout.map_or(Duration::MAX, Duration::from_secs);
    let ended = tokio::select! {
        () = left.none() => Ok(()),
        () = stop.received() => Ok(()),
        () = tokio::time::sleep(timeout) => Err(anyhow::anyhow!("not enough messages within {} s", timeout.as_secs())),
    };
    consumer.shutdown().await;
    ended
}

/// How many messages are still to be shown.
struct Left {
    count: AtomicU64,
    shown: AtomicU64,
    wanted: u64,
    none: Notify,
}

impl Left {
    fn new(count: Option<u64>) -> Self {
        let wanted = count.unwrap_or(u64::MAX);
        Self {
            count: AtomicU64::new(wanted),
            shown: AtomicU64::new(0),
            wanted,
            none: Notify::new(),
        }
    }

    /// Shows a message. One beyond the count is held until the end, so that it stays unconsumed.
    async fn show(&self, message: &ReceivedMessage) -> ConsumeResult {
        let take = |left: u64| left.checked_sub(1);
        if self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            std::future::pending::<()>().await;
        }
        output::print(&line(message));
        if self.shown.fetch_add(1, Ordering::Relaxed) + 1 == self.wanted {
            self.none.notify_one();
        }
        ConsumeResult::Success
    }

    async fn none(&self) {
        if self.wanted > 0 {
            self.none.notified().await;
        }
    }
}

fn line(message: &ReceivedMessage) -> String {
    let mut line = format!(
        "{} {}:{} offset {}",
        message.message_id(),
        message.topic,
        message.queue_id,
        message.queue_offset
    );
    if let Some(tag) = message.tags() {
        line.push_str(&format!(" tag {tag}"));
    }
    let keys: Vec<_> = message.keys().collect();
    if !keys.is_empty() {
        line.push_str(&format!(" key {}", keys.join(",")));
    }
    line.push_str(": ");
    line.push_str(&String::from_utf8_lossy(&message.body));
    line
}
