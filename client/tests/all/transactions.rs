//! Transactions: what is committed comes, what is rolled back does not, and what nobody ended is
//! asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thrustmq_client::{
    ConsumeResult, Message, MessageError, Producer, ProducerBuilder, PushConsumer, Resolution,
    SendError, TransactionError,
};

use crate::standalone::{Received, Standalone, wait_until};

/// Brokers that ask soon.
const SOON: &[(&str, &str)] = &[
    ("transactionCheckInterval", "300"),
    ("transactionTimeOut", "300"),
    ("transactionOpBatchInterval", "100"),
];

fn builder(servers: &Standalone) -> ProducerBuilder {
    Producer::builder("payments")
        .name_servers(servers.name_servers())
        .send_timeout(Duration::from_secs(20))
}

async fn consumer(servers: &Standalone) -> (PushConsumer, Received) {
    let received = Received::default();
    let sink = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("paid", "*")
        .start(move |message| {
            sink.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    (consumer, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_decides_whether_a_message_comes() {
    let servers = Standalone::start().await;
    let producer = builder(&servers)
        .start_transactions(|_| async { Resolution::Unknown })
        .await
        .unwrap();
    let (consumer, received) = consumer(&servers).await;
    let begin = |body: &'static str| producer.begin(Message::new("paid", body).key(body).tag("t"));
    let committed = begin("committed").await.unwrap();
    let rolled_back = begin("rolled back").await.unwrap();
    let receipt = committed.receipt().clone();
    assert_eq!(receipt.transaction_id.as_deref(), Some(&*receipt.msg_id));
    rolled_back.roll_back().await.unwrap();
    committed.commit().await.unwrap();
    let worked = Message::new("paid", "worked");
    let sent = producer.send(worked, async |_| Resolution::Commit).await;
    assert_eq!(sent.unwrap().queue.topic, "paid");
    let failed = Message::new("paid", "failed");
    let sent = producer.send(failed, async |_| Resolution::Rollback).await;
    assert!(sent.is_ok());
    // What is sent last comes after all that is to come.
    let last = producer.producer().send(Message::new("paid", "zero")).await;
    assert!(last.is_ok());
    wait_until("the messages", || received.len() >= 3).await;
    assert_eq!(received.bodies(), ["committed", "worked", "zero"]);
    let all = received.all();
    let message = all.iter().find(|m| m.body == "committed").unwrap();
    assert_eq!(
        (message.tags(), message.message_id()),
        (Some("t"), receipt.msg_id)
    );
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_is_asked_for_what_nobody_ended() {
    let servers = Standalone::start_with(SOON).await;
    let (consumer, received) = consumer(&servers).await;
    let first = builder(&servers)
        .start_transactions(|_| async { Resolution::Unknown })
        .await
        .unwrap();
    for body in ["done", "undone", "late"] {
        drop(
            first
                .begin(Message::new("paid", body).key(body))
                .await
                .unwrap(),
        );
    }
    first.shutdown().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let times = asked.clone();
    let second = builder(&servers)
        .start_transactions(move |message| {
            let times = times.clone();
            async move {
                match message.keys().next() {
                    Some("done") => Resolution::Commit,
                    Some("undone") => Resolution::Rollback,
                    _ if times.fetch_add(1, Ordering::Relaxed) == 0 => {
                        panic!("asked again after it")
                    }
                    _ if times.load(Ordering::Relaxed) == 2 => Resolution::Unknown,
                    _ => Resolution::Commit,
                }
            }
        })
        .await
        .unwrap();
    // A producer is known to the brokers of the topics that it has sent to.
    let known = second.producer().send(Message::new("paid", "zero")).await;
    assert!(known.is_ok());
    wait_until("the messages", || received.len() >= 3).await;
    assert_eq!(received.bodies(), ["done", "late", "zero"]);
    assert!(
        asked.load(Ordering::Relaxed) >= 3,
        "after a panic, and again"
    );
    consumer.shutdown().await;
    second.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_is_no_transaction() {
    let servers = Standalone::start().await;
    let producer = builder(&servers)
        .start_transactions(|_| async { Resolution::Commit })
        .await
        .unwrap();
    let delayed = producer
        .begin(Message::new("paid", "x").delay_level(1))
        .await;
    assert!(matches!(
        delayed,
        Err(TransactionError::Send(SendError::Message(
            MessageError::NotForTransaction("delayed")
        )))
    ));
    producer.shutdown().await;
    servers.stop().await;
}
