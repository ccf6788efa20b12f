//! Producers: every way to send, and what they do when a send fails.

use std::time::Duration;

use thrustmq_client::{
    Admin, ConsumeResult, Message, MessageError, NewTopic, Producer, RouteError, SendError,
    SendStatus,
};
use tokio::sync::mpsc;

use crate::standalone::{Received, Standalone, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_as_it_was_sent() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    let body = "0123456789".repeat(1_000);
    let message = Message::new("orders", body.clone())
        .tag("paid")
        .key("4711")
        .key("4712")
        .property("shop", "7")
        .flag(42);
    let receipt = producer.send(message).await.unwrap();
    assert_eq!(receipt.status, SendStatus::Stored);
    assert_eq!(
        (receipt.queue.topic.as_str(), receipt.queue_offset),
        ("orders", 0)
    );

    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("orders", "paid")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("the message", || received.len() == 1).await;
    let [message] = &received.all()[..] else {
        panic!("one message")
    };
    assert_eq!(message.body, body, "compressed on the way");
    assert_eq!((message.tags(), message.flag), (Some("paid"), 42));
    assert_eq!(message.keys().collect::<Vec<_>>(), ["4711", "4712"]);
    assert_eq!(message.properties.get("shop"), Some("7"));
    assert_eq!(message.message_id(), receipt.msg_id);
    assert_eq!(message.offset_id().encode(), receipt.offset_msg_id);
    assert_eq!(message.queue_id, receipt.queue.queue_id);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ways_of_sending_deliver() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    producer.send(Message::new("t", "awaited")).await.unwrap();
    producer
        .send_oneway(Message::new("t", "oneway"))
        .await
        .unwrap();
    let (outcomes, mut outcome) = mpsc::channel(1);
    let done = move |sent| outcomes.try_send(sent).unwrap();
    producer
        .send_with_callback(Message::new("t", "callback"), done)
        .await
        .unwrap();
    assert_eq!(
        outcome.recv().await.unwrap().unwrap().status,
        SendStatus::Stored
    );
    let batch = (0..5)
        .map(|n| Message::new("t", format!("batch-{n}")))
        .collect();
    let receipts = producer.send_batch(batch).await.unwrap();
    let [receipt] = &receipts[..] else {
        panic!("one request: {receipts:?}")
    };
    assert_eq!(receipt.msg_id.split(',').count(), 5);
    assert_eq!(receipt.offset_msg_id.split(',').count(), 5);

    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("8 messages", || received.len() == 8).await;
    let expected = [
        "awaited", "batch-0", "batch-1", "batch-2", "batch-3", "batch-4", "callback", "oneway",
    ];
    assert_eq!(received.bodies(), expected);
    let mut ids: Vec<_> = received
        .all()
        .iter()
        .filter(|message| message.body.starts_with(b"batch"))
        .map(thrustmq_client::ReceivedMessage::message_id)
        .collect();
    ids.sort();
    let mut sent_ids: Vec<_> = receipt.msg_id.split(',').collect();
    sent_ids.sort();
    assert_eq!(ids, sent_ids, "each message of a batch has its own id");
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_batch_is_split() {
    let servers = Standalone::start().await;
    let builder = Producer::builder("p").name_servers(servers.name_servers());
    let producer = builder.batch_bytes_max(3_000).start().await.unwrap();
    let batch = (0..10)
        .map(|_| Message::new("t", vec![b'x'; 1_000]))
        .collect();
    let receipts = producer.send_batch(batch).await.unwrap();
    let ids: usize = receipts
        .iter()
        .map(|receipt| receipt.msg_id.split(',').count())
        .sum();
    assert_eq!((receipts.len(), ids), (5, 10));
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_before_anything_is_sent() {
    let servers = Standalone::start_with(&[("autoCreateTopicEnable", "false")]).await;
    let producer = servers.producer().await;
    let empty = producer.send(Message::new("t", "")).await.unwrap_err();
    assert!(matches!(empty, SendError::Message(MessageError::EmptyBody)));
    let unknown = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert!(
        matches!(unknown, SendError::Route(RouteError::NoSuchTopic(_))),
        "{unknown}"
    );
    let messages = vec![Message::new("t", "x"), Message::new("u", "x")];
    let mixed = producer.send_batch(messages).await.unwrap_err();
    assert!(
        mixed.stored.is_empty() && mixed.unsent.len() == 2,
        "{mixed}"
    );
    producer.shutdown().await;
    let late = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert!(matches!(late, SendError::ShutDown));
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_broker_code_and_remark() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    admin
        .create_topic("DefaultCluster", &NewTopic::named("read-only"))
        .await
        .unwrap();
    let producer = servers.producer().await;
    let long = Message::new("read-only", "x").property("p", "y".repeat(32_000));
    let refused = producer.send(long).await;
    assert!(refused.is_ok(), "32 KiB of properties fit: {refused:?}");
    // The broker's own limit is lower than ours.
    let builder = Producer::builder("p").name_servers(servers.name_servers());
    let builder = builder
        .body_bytes_max(8 << 20)
        .compress_above_bytes(usize::MAX);
    let careless = builder.start().await.unwrap();
    let long = Message::new("read-only", vec![1; 5 << 20]);
    let Err(SendError::Refused {
        broker_name,
        refusal,
    }) = careless.send(long).await
    else {
        panic!("a body of 5 MiB was taken");
    };
    assert_eq!((broker_name.as_str(), refusal.code.0), ("broker-a", 13));
    careless.shutdown().await;
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_servers_a_send_fails_within_its_time() {
    let builder = Producer::builder("p").name_servers("127.0.0.1:1");
    let producer = builder
        .send_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let failed = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert!(
        matches!(failed, SendError::Route(RouteError::NoNameServer { .. })),
        "{failed}"
    );
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_goes_on_after_the_broker_was_restarted() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    producer.send(Message::new("t", "before")).await.unwrap();
    let servers = servers.restart_broker().await;
    producer.send(Message::new("t", "after")).await.unwrap();
    producer.shutdown().await;
    servers.stop().await;
}
