//! Our client crate against both kinds of servers.

mod admin;
mod connect;
mod failing;
mod killed;
mod lite_pull;
mod memory;
mod mirror;
mod pop;
mod pull;
mod push;
mod sending;
mod traces;
mod transactions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    Admin, ConsumeFrom, ConsumeResult, Message, NewTopic, Producer, PushConsumer, ReceivedMessage,
};
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::toolchain;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const TOPIC: &str = "RustTopic";
const EACH: usize = 20;
const TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn our_client_works_with_our_servers() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    run(&cluster)?;
    cluster.stop(&[])
}

#[test]
fn our_client_works_with_java_servers() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let cluster = Cluster::java()?.context("Java was there before")?;
    run(&cluster)?;
    cluster.stop(&[])
}

#[test]
fn our_client_loses_nothing_when_a_broker_of_ours_is_killed() -> anyhow::Result<()> {
    let mut cluster = Cluster::with_our_namesrv()?;
    cluster.add_our_broker("broker-a")?;
    cluster.add_our_broker("broker-b")?;
    killed::run(&mut cluster, Cluster::restart_our_broker)?;
    cluster.stop(&[])
}

#[test]
fn our_client_loses_nothing_when_a_java_broker_is_killed() -> anyhow::Result<()> {
    let Some(mut cluster) = Cluster::with_java_namesrv()? else {
        return Ok(());
    };
    cluster.add_java_broker("broker-a")?;
    cluster.add_java_broker("broker-b")?;
    killed::run(&mut cluster, Cluster::restart_java_broker)?;
    cluster.stop(&[])
}

#[test]
fn the_memory_of_our_client_is_level() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    memory::run(&cluster.namesrv())?;
    cluster.stop(&[])
}

fn run(cluster: &Cluster) -> anyhow::Result<()> {
    let namesrv = cluster.namesrv();
    runtime()?.block_on(async {
        tokio::try_join!(
            send_and_receive(&namesrv),
            transactions::run(&namesrv),
            admin::run(&namesrv),
            connect::run(&namesrv),
            push::run(&namesrv),
            lite_pull::run(&namesrv),
            pop::run(&namesrv),
            failing::run(&namesrv),
            pull::run(&namesrv),
            mirror::run(&namesrv),
            traces::run(&namesrv),
            sending::run(&namesrv),
        )?;
        Ok(())
    })
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// Messages by key, with how often each came.
type Received = Arc<Mutex<BTreeMap<String, (ReceivedMessage, u32)>>>;

async fn consumer(
    namesrv: &str,
    group: &str,
    tags: &str,
) -> anyhow::Result<(PushConsumer, Received)> {
    let received = Received::default();
    let sink = received.clone();
    let consumer = PushConsumer::builder(group)
        .name_servers(namesrv)
        .subscribe(TOPIC, tags)
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            let key = message
                .properties
                .get("KEYS")
                .unwrap_or_default()
                .to_owned();
            let mut received = sink.lock().expect("no listener panics");
            received.entry(key).or_insert((message, 0)).1 += 1;
            async { ConsumeResult::Success }
        })
        .await?;
    Ok((consumer, received))
}

async fn send_and_receive(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    let topic = NewTopic::named(TOPIC).queues(4);
    admin.create_topic("DefaultCluster", &topic).await?;
    let (all, received) = consumer(namesrv, "rust-all", "*").await?;
    let (some, tagged) = consumer(namesrv, "rust-some", "TagA || TagB").await?;
    let producer = Producer::builder("rust-producer")
        .name_servers(namesrv)
        .start()
        .await?;
    let sent = send_all(&producer).await?;
    let wanted: BTreeMap<_, _> = sent
        .iter()
        .filter(|(key, _)| tag(key) != "TagC")
        .map(|(key, body)| (key.clone(), body.clone()))
        .collect();
    expect(&received, &sent).await?;
    expect(&tagged, &wanted).await?;
    producer.shutdown().await;
    all.shutdown().await;
    some.shutdown().await;
    check_offsets(&admin, sent.len()).await?;
    admin.close().await;
    Ok(())
}

fn tag(key: &str) -> &'static str {
    ["TagA", "TagB", "TagC"][key.len() % 3]
}

fn message(key: &str, body: &str) -> Message {
    Message::new(TOPIC, body.to_owned())
        .tag(tag(key))
        .key(key)
        .property("user", format!("property of {key}"))
        .flag(7)
}

/// Sends in every way; the bodies by key.
async fn send_all(producer: &Producer) -> anyhow::Result<BTreeMap<String, String>> {
    let mut sent = BTreeMap::new();
    let mut next = |kind: &str, number: usize, body: String| {
        let key = format!("{kind}{number}");
        let message = message(&key, &body);
        sent.insert(key, body);
        message
    };
    let (outcome, mut outcomes) = mpsc::channel(EACH);
    for i in 0..EACH {
        producer
            .send(next("sync", i, format!("body {i} 中文")))
            .await?;
        producer
            .send_oneway(next("oneway", i, format!("body {i}")))
            .await?;
        let outcome = outcome.clone();
        let done = move |result| drop(outcome.try_send(result));
        let message = next("async", i, format!("body {i}"));
        producer.send_with_callback(message, done).await?;
    }
    for _ in 0..EACH {
        outcomes.recv().await.context("an outcome a message")??;
    }
    let batch = (0..EACH)
        .map(|i| next("batch", i, format!("body {i}")))
        .collect();
    producer.send_batch(batch).await?;
    producer
        .send(next("large", 0, "a large body ".repeat(10_000)))
        .await?;
    Ok(sent)
}

/// Waits for as many messages as wanted, and a little longer for what should not come.
async fn expect(received: &Received, wanted: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let arrived = async {
        while received.lock().expect("no listener panics").len() < wanted.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let in_time = tokio::time::timeout(TIMEOUT, arrived).await.is_ok();
    let received = received.lock().expect("no listener panics");
    anyhow::ensure!(in_time, "{} of {} arrived", received.len(), wanted.len());
    anyhow::ensure!(received.keys().eq(wanted.keys()), "other messages arrived");
    for (key, (message, times)) in received.iter() {
        anyhow::ensure!(*times == 1, "{key} came {times} times");
        anyhow::ensure!(message.body == wanted[key].as_bytes(), "body of {key}");
        let property = message.properties.get("user");
        let wanted_property = format!("property of {key}");
        anyhow::ensure!(
            property == Some(wanted_property.as_str()),
            "property of {key}"
        );
        anyhow::ensure!(message.flag == 7, "flag of {key}");
    }
    Ok(())
}

async fn check_offsets(admin: &Admin, sent: usize) -> anyhow::Result<()> {
    let route = admin.route(TOPIC).await?;
    let mut stored = 0;
    for queue in route.subscribe_queues() {
        stored += admin.offsets(queue).await?.max;
    }
    anyhow::ensure!(stored == i64::try_from(sent)?, "{stored} stored of {sent}");
    Ok(())
}
