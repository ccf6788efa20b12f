//! A consumer by itself: tags, retries, offsets, its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thrustmq_client::{ConsumeFrom, ConsumeResult, Message};
use tokio::runtime::Handle;

use crate::standalone::{Received, Standalone, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_subscribed_tags_arrive() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    // "Aa" and "BB" have the same hash: the broker cannot tell them apart.
    for tag in ["Aa", "BB", "c", "d"] {
        producer
            .send(Message::new("t", tag).tag(tag))
            .await
            .unwrap();
    }
    producer.send(Message::new("t", "none")).await.unwrap();
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "Aa || c")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("both messages", || received.len() >= 2).await;
    producer
        .send(Message::new("t", "last").tag("c"))
        .await
        .unwrap();
    wait_until("the last message", || received.len() >= 3).await;
    assert_eq!(received.bodies(), ["Aa", "c", "last"]);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_comes_again_with_its_own_topic() {
    let levels = "1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s";
    let servers = Standalone::start_with(&[("messageDelayLevel", levels)]).await;
    let producer = servers.producer().await;
    let receipt = producer
        .send(Message::new("t", "stubborn").key("k"))
        .await
        .unwrap();
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            let result = match message.reconsume_times {
                0 => ConsumeResult::Later,
                _ => ConsumeResult::Success,
            };
            seen.push(message);
            async move { result }
        })
        .await
        .unwrap();
    wait_until("the second delivery", || received.len() == 2).await;
    let [first, second] = &received.all()[..] else {
        panic!("two deliveries")
    };
    assert_eq!((first.reconsume_times, second.reconsume_times), (0, 1));
    assert_eq!((first.topic.as_str(), second.topic.as_str()), ("t", "t"));
    assert_eq!(second.message_id(), receipt.msg_id);
    assert_eq!(second.body, "stubborn");
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_listener_is_a_failure_like_others() {
    let levels = "1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s";
    let servers = Standalone::start_with(&[("messageDelayLevel", levels)]).await;
    let producer = servers.producer().await;
    producer.send(Message::new("t", "x")).await.unwrap();
    let deliveries = Arc::new(AtomicUsize::new(0));
    let counted = deliveries.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |_| {
            let before = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(before > 0, "meant to fail");
                ConsumeResult::Success
            }
        })
        .await
        .unwrap();
    wait_until("the second delivery", || {
        deliveries.load(Ordering::SeqCst) == 2
    })
    .await;
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_member_goes_on_where_the_last_one_stopped() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    for n in 0..100 {
        producer
            .send(Message::new("t", format!("{n:03}")))
            .await
            .unwrap();
    }
    let mut all = Vec::new();
    for _ in 0..3 {
        let received = Received::default();
        let seen = received.clone();
        let before = all.len();
        let consumer = servers
            .consumer("g")
            .subscribe("t", "*")
            .concurrency(4)
            .start(move |message| {
                seen.push(message);
                async move {
                    // So slow that the consumer ends in the midst of it.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    ConsumeResult::Success
                }
            })
            .await
            .unwrap();
        wait_until("some messages", || {
            before + received.len() >= (before + 30).min(100)
        })
        .await;
        consumer.shutdown().await;
        all.extend(received.bodies());
    }
    producer.send(Message::new("t", "100")).await.unwrap();
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
    wait_until("all messages", || all.len() + received.len() >= 101).await;
    consumer.shutdown().await;
    all.extend(received.bodies());
    all.sort();
    let expected: Vec<_> = (0..=100).map(|n| format!("{n:03}")).collect();
    assert_eq!(all, expected, "each exactly once");
    producer.shutdown().await;
    servers.stop().await;
}

/// How many tasks there are once nothing starts or ends any more: servers connect to each other for a while.
async fn settled(tasks: impl Fn() -> usize) -> usize {
    const CALM_LOOKS: u32 = 25;
    let (mut count, mut calm) = (tasks(), 0);
    while calm < CALM_LOOKS {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = tasks();
        calm = if now == count { calm + 1 } else { 0 };
        count = now;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_leaves_no_task_behind() {
    let servers = Standalone::start().await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = settled(tasks).await;
    let producer = servers.producer().await;
    producer.send(Message::new("t", "x")).await.unwrap();
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("the message", || received.len() == 1).await;
    consumer.shutdown().await;
    producer.shutdown().await;
    consumer.shutdown().await;
    drop((consumer, producer));
    wait_until("all tasks to end", || tasks() <= before).await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_without_shutdown_ends_the_tasks_too() {
    let servers = Standalone::start().await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = settled(tasks).await;
    let producer = servers.producer().await;
    producer.send(Message::new("t", "x")).await.unwrap();
    let listener = |_| async { ConsumeResult::Success };
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(listener)
        .await
        .unwrap();
    drop((consumer, producer));
    wait_until("all tasks to end", || tasks() <= before).await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consuming_goes_on_after_the_broker_was_restarted() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    producer.send(Message::new("t", "before")).await.unwrap();
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
    wait_until("the first message", || received.len() == 1).await;
    let servers = servers.restart_broker().await;
    producer.send(Message::new("t", "after")).await.unwrap();
    wait_until("the second message", || {
        received.bodies().contains(&"after".to_owned())
    })
    .await;
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}
