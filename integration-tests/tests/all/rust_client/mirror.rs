//! What our producer sends comes to Java's and Go's consumers as it was, and what they send comes to ours: each of them
//! sends everything back in the same way (delayed, in a transaction, traced: Java), with a property that tells what it
//! saw.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use thrustmq_client::{
    Admin, Clock, CompressionType, ConsumeFrom, ConsumeResult, KeySearch, Message, NewTopic,
    Producer, ProducerBuilder, PushConsumer, ReceivedMessage, Resolution, TraceRecord,
};
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::toolchain::{self, JavaClient};

const TOPIC: &str = "RustMirrored";
/// What only newer clients can decompress.
const PACKED: &str = "RustMirroredPacked";
const PATIENCE: Duration = Duration::from_secs(120);
const DELAY: Duration = Duration::from_secs(1);

/// Who mirrors what.
const MIRRORS: [(&str, Peer); 4] = [
    (TOPIC, Peer::Java(JavaClient::Four)),
    (TOPIC, Peer::Java(JavaClient::Five)),
    (PACKED, Peer::Java(JavaClient::Five)),
    (TOPIC, Peer::Go),
];

#[derive(Debug, Clone, Copy)]
enum Peer {
    Java(JavaClient),
    Go,
}

/// A message by its first key, and what a consumer should see of it.
#[derive(Debug, Clone)]
struct Sent {
    key: String,
    body: String,
    properties: Vec<(&'static str, &'static str)>,
    seen: String,
}

type Received = Arc<Mutex<BTreeMap<String, ReceivedMessage>>>;

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let topics = MIRRORS.map(|mirror| back(&mirror));
    for topic in topics.iter().map(String::as_str).chain([TOPIC, PACKED]) {
        let topic = NewTopic::named(topic).queues(2);
        admin.create_topic("DefaultCluster", &topic).await?;
    }
    admin.close().await;
    let sent = send(namesrv).await?;
    let packed = send_packed(namesrv).await?;
    let mut mirrors = tokio::task::JoinSet::new();
    for mirror in MIRRORS {
        let sent = if mirror.0 == TOPIC { &sent } else { &packed };
        mirrors.spawn(meet(mirror, namesrv.to_owned(), sent.clone()));
    }
    mirrors.join_all().await.into_iter().collect()
}

fn back((topic, peer): &(&str, Peer)) -> String {
    let peer = match peer {
        Peer::Java(JavaClient::Four) => "Java4",
        Peer::Java(JavaClient::Five) => "Java5",
        Peer::Go => "Go",
    };
    format!("{topic}By{peer}")
}

fn producer(namesrv: &str, group: &str) -> ProducerBuilder {
    Producer::builder(group)
        .name_servers(namesrv)
        .send_timeout(PATIENCE)
}

/// A message with everything that an application can put into one.
fn message(key: &str, body: &str) -> Message {
    message_to(TOPIC, key, body)
}

fn message_to(topic: &str, key: &str, body: &str) -> Message {
    let message = Message::new(topic, body.to_owned());
    let properties = USER_PROPERTIES.iter();
    properties
        .fold(message, |message, (name, value)| {
            message.property(*name, *value)
        })
        .tag(format!("tag of {key}"))
        .key(key)
        .key("second")
        .flag(7)
}

const USER_PROPERTIES: &[(&str, &str)] =
    &[("u-odd", "= ,;|&\"'\\\n\t{}[]%"), ("u-wide", "中文 ü é 🦀")];

/// What is seen of such a message.
fn seen(id: &str, key: &str, sharding_key: &str, body: &str) -> Sent {
    Sent {
        key: key.to_owned(),
        body: body.to_owned(),
        properties: USER_PROPERTIES.to_vec(),
        seen: format!(
            "{id}|tag of {key}|{key} second|7|{sharding_key}|{}",
            body.len()
        ),
    }
}

/// In every way.
async fn send(namesrv: &str) -> anyhow::Result<Vec<Sent>> {
    let plain = producer(namesrv, "rust-mirrored").start().await?;
    let mut sent = Vec::new();
    let receipt = plain.send(message("plain", "a body")).await?;
    sent.push(seen(&receipt.msg_id, "plain", "null", "a body"));
    let receipt = plain.send(message("level", "later").delay_level(1)).await?;
    sent.push(seen(&receipt.msg_id, "level", "null", "later"));
    let now_ms = u64::try_from(Clock::system().now_ms())?;
    let due = UNIX_EPOCH + Duration::from_millis(now_ms) + DELAY;
    let receipt = plain
        .send(message("timer", "at a time").deliver_at(due))
        .await?;
    sent.push(seen(&receipt.msg_id, "timer", "null", "at a time"));
    let receipt = plain
        .send_ordered(message("ordered", "in order"), "order 7")
        .await?;
    sent.push(seen(&receipt.msg_id, "ordered", "order 7", "in order"));
    let long = "long ".repeat(5_000);
    let receipt = plain.send(message("zlib", &long)).await?;
    sent.push(seen(&receipt.msg_id, "zlib", "null", &long));
    let batch = ["batch-0", "batch-1", "batch-2"];
    let receipts = plain
        .send_batch(batch.map(|key| message(key, key)).to_vec())
        .await?;
    let ids = receipts
        .iter()
        .flat_map(|receipt| receipt.msg_id.split(','));
    sent.extend(
        batch
            .iter()
            .zip(ids)
            .map(|(key, id)| seen(id, key, "null", key)),
    );
    plain.shutdown().await;

    sent.push(send_traced(namesrv).await?);
    sent.push(send_in_transaction(namesrv).await?);
    Ok(sent)
}

async fn send_traced(namesrv: &str) -> anyhow::Result<Sent> {
    let traced = producer(namesrv, "rust-mirrored-traced").trace(true);
    let traced = traced.start().await?;
    let (key, body) = ("traced", "seen by the tracer");
    let receipt = traced.send(message(key, body)).await?;
    traced.shutdown().await;
    Ok(seen(&receipt.msg_id, key, "null", body))
}

async fn send_in_transaction(namesrv: &str) -> anyhow::Result<Sent> {
    let transactions = producer(namesrv, "rust-mirrored-transactions");
    let transactions = transactions
        .start_transactions(|_| async { Resolution::Unknown })
        .await?;
    let (key, body) = ("committed", "it succeeded");
    let begun = transactions.begin(message(key, body)).await?;
    let sent = seen(&begun.receipt().msg_id, key, "null", body);
    begun.commit().await?;
    transactions.shutdown().await;
    Ok(sent)
}

async fn send_packed(namesrv: &str) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Vec::new();
    for (key, compression) in [
        ("lz4", CompressionType::Lz4),
        ("zstd", CompressionType::Zstd),
    ] {
        let producer = producer(namesrv, "rust-mirrored-packed").compression(compression);
        let producer = producer.start().await?;
        let long = format!("long by {key} ").repeat(5_000);
        let receipt = producer.send(message_to(PACKED, key, &long)).await?;
        sent.push(seen(&receipt.msg_id, key, "null", &long));
        producer.shutdown().await;
    }
    Ok(sent)
}

/// Lets a peer mirror the messages, and looks at what comes back.
async fn meet(
    mirror: (&'static str, Peer),
    namesrv: String,
    sent: Vec<Sent>,
) -> anyhow::Result<()> {
    let back = back(&mirror);
    let received = Received::default();
    let sink = received.clone();
    let consumer = PushConsumer::builder(format!("of-{back}"))
        .name_servers(&namesrv)
        .subscribe(&back, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            let key = message.keys().next().unwrap_or_default().to_owned();
            sink.lock()
                .expect("no listener panics")
                .insert(key, message);
            async { ConsumeResult::Success }
        })
        .await?;
    let (name, count) = (back.clone(), sent.len());
    let servers = namesrv.clone();
    let ran = tokio::task::spawn_blocking(move || run_peer(mirror, &servers, &name, count));
    if !ran.await?.with_context(|| back.clone())? {
        return Ok(());
    }
    let all_there = async {
        while received.lock().expect("no listener panics").len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, all_there).await;
    consumer.shutdown().await;
    let received = received.lock().expect("no listener panics").clone();
    in_time.with_context(|| format!("{back}: {:?} of {count}", received.keys()))?;
    sent.iter()
        .try_for_each(|sent| check(sent, &received).with_context(|| back.clone()))?;
    let is_traced = matches!(mirror.1, Peer::Java(_)) && mirror.0 == TOPIC;
    match received.get("traced").filter(|_| is_traced) {
        Some(message) => read_trace(&namesrv, &back, message).await,
        None => Ok(()),
    }
}

/// Java's trace of a message that it sent, by the message's id.
async fn read_trace(namesrv: &str, topic: &str, message: &ReceivedMessage) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let id = message.message_id();
    let reading = async {
        loop {
            for traced in admin.traces(&KeySearch::traces(&id)).await? {
                if let TraceRecord::Sent(sent) = traced.record {
                    return anyhow::Ok(sent);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let sent = tokio::time::timeout(PATIENCE, reading).await;
    let sent = sent.with_context(|| format!("no trace of {id}"))??;
    admin.close().await;
    let seen = (
        sent.topic.as_str(),
        sent.tag.as_deref(),
        sent.keys.as_deref(),
    );
    let expected = (topic, Some("tag of traced"), Some("traced second"));
    anyhow::ensure!(seen == expected && sent.message_id == id, "{sent:?}");
    anyhow::ensure!(sent.group == format!("{topic}-traced"), "{sent:?}");
    Ok(())
}

fn check(sent: &Sent, received: &BTreeMap<String, ReceivedMessage>) -> anyhow::Result<()> {
    let message = received
        .get(&sent.key)
        .with_context(|| format!("{sent:?} is not there"))?;
    let property = |name: &str| message.properties.get(name).unwrap_or_default();
    anyhow::ensure!(
        property("seen") == sent.seen,
        "{} for {}",
        property("seen"),
        sent.seen
    );
    anyhow::ensure!(message.body == sent.body.as_bytes(), "body of {sent:?}");
    anyhow::ensure!(message.flag == 7, "flag of {message:?}");
    anyhow::ensure!(
        message.tags() == Some(&format!("tag of {}", sent.key)),
        "{message:?}"
    );
    anyhow::ensure!(
        message.keys().eq([sent.key.as_str(), "second"]),
        "{message:?}"
    );
    for (name, value) in &sent.properties {
        anyhow::ensure!(property(name) == *value, "{name}: {:?}", property(name));
    }
    Ok(())
}

/// False where the peer's language is not there.
fn run_peer(
    (topic, peer): (&str, Peer),
    namesrv: &str,
    back: &str,
    count: usize,
) -> anyhow::Result<bool> {
    let directory = tempfile::tempdir()?;
    let count = count.to_string();
    let command = match peer {
        Peer::Java(client) => {
            let options = [
                ("namesrv", namesrv),
                ("topic", topic),
                ("back", back),
                ("count", &count),
            ];
            let program = ("mirror", options.as_slice());
            peer::java_with(client, directory.path(), HeaderEncoding::Json, program)
        }
        Peer::Go => toolchain::go().map(|mut command| {
            command.args(["mirror", namesrv, topic, back, &count]);
            command
        }),
    };
    let ran = command.map(|command| peer::run(command, directory.path(), PATIENCE));
    Ok(ran.transpose()?.is_some())
}
