//! Transactions, and requests with replies.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    Admin, ConsumeFrom, ConsumeResult, Message, NewTopic, Producer, PushConsumer, Resolution,
};

use super::TIMEOUT;

const PAID: &str = "RustPaid";
const PRICES: &str = "RustPrices";

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    for topic in [PAID, PRICES] {
        let topic = NewTopic::named(topic).queues(2);
        admin.create_topic("DefaultCluster", &topic).await?;
    }
    admin.close().await;
    tokio::try_join!(transactions(namesrv), requests(namesrv))?;
    Ok(())
}

async fn transactions(namesrv: &str) -> anyhow::Result<()> {
    let received = Arc::new(Mutex::new(Vec::new()));
    let sink = received.clone();
    let consumer = PushConsumer::builder("rust-paid")
        .name_servers(namesrv)
        .subscribe(PAID, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            sink.lock().expect("no listener panics").push(message);
            async { ConsumeResult::Success }
        })
        .await?;
    let producer = Producer::builder("rust-payments")
        .name_servers(namesrv)
        .start_transactions(|_| async { Resolution::Unknown })
        .await?;
    let message = |key: &str| Message::new(PAID, key.to_owned()).key(key).tag("t");
    let committed = producer.begin(message("committed")).await?;
    let id = committed.receipt().msg_id.clone();
    producer.begin(message("undone")).await?.roll_back().await?;
    committed.commit().await?;
    producer
        .send(message("worked"), async |_| Resolution::Commit)
        .await?;
    let both = async {
        while received.lock().expect("no listener panics").len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(TIMEOUT, both).await;
    waited.context("two messages are committed")?;
    producer.shutdown().await;
    consumer.shutdown().await;
    let mut messages = received.lock().expect("no listener panics").clone();
    messages.sort_by_key(|message| message.body.clone());
    let bodies: Vec<_> = messages.iter().map(|message| &message.body[..]).collect();
    anyhow::ensure!(bodies == [&b"committed"[..], b"worked"], "{bodies:?}");
    let first = messages.first().context("there are two")?;
    anyhow::ensure!(
        first.message_id() == id && first.tags() == Some("t"),
        "{first:?}"
    );
    Ok(())
}

async fn requests(namesrv: &str) -> anyhow::Result<()> {
    let replier = Producer::builder("rust-repliers")
        .name_servers(namesrv)
        .start()
        .await?;
    let producer = replier.clone();
    let consumer = PushConsumer::builder("rust-prices")
        .name_servers(namesrv)
        .subscribe(PRICES, "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            let producer = producer.clone();
            async move {
                match producer.reply(&message, message.body.clone()).await {
                    Ok(_) => ConsumeResult::Success,
                    Err(_) => ConsumeResult::Later,
                }
            }
        })
        .await?;
    let requester = Producer::builder("rust-askers")
        .name_servers(namesrv)
        .start_requester()
        .await?;
    for body in ["apples".to_owned(), "pears ".repeat(2_000)] {
        let request = Message::new(PRICES, body.clone()).key("price");
        let reply = requester.request(request, TIMEOUT).await?;
        anyhow::ensure!(reply.body == body, "{reply:?}");
    }
    requester.shutdown().await;
    consumer.shutdown().await;
    replier.shutdown().await;
    Ok(())
}
