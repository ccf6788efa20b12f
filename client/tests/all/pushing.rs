//! The push consumer's other ways: batches, streams, broadcasting, conditions, hooks, pauses.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_client::rebalance::{Configured, GroupView, RebalanceStrategy};
use thrustmq_client::{
    BatchResult, ConsumeEnd, ConsumeHook, ConsumeResult, ConsumedBatch, Message, MessageQueue,
    Producer, ReceivedMessage, StartError, Subscription,
};
use tokio::runtime::Handle;

use crate::standalone::{Received, Standalone, wait_until};

const QUICK_RETRIES: &str = "1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s";

async fn send(producer: &Producer, bodies: impl IntoIterator<Item = u32>) {
    for n in bodies {
        let message = Message::new("t", format!("{n:03}")).property("a", n.to_string());
        producer.send(message).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_fails_in_parts() {
    let servers = Standalone::start_with(&[("messageDelayLevel", QUICK_RETRIES)]).await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..20).await;
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .consume_batch(10)
        .start_batch(move |messages: Vec<ReceivedMessage>| {
            let is_odd = |message: &ReceivedMessage| message.body.last().unwrap() % 2 == 1;
            let results = messages.iter().map(|message| {
                if is_odd(message) && message.reconsume_times == 0 {
                    ConsumeResult::LaterAt(1)
                } else {
                    ConsumeResult::Success
                }
            });
            let results = results.collect();
            messages.into_iter().for_each(|message| seen.push(message));
            async move { BatchResult::Each(results) }
        })
        .await
        .unwrap();
    wait_until("all, and those with odd numbers twice", || {
        received.len() >= 30
    })
    .await;
    let again = |m: &ReceivedMessage| m.reconsume_times == 1;
    let again: Vec<_> = received.all().into_iter().filter(again).collect();
    assert_eq!(again.len(), 10);
    assert!(again.iter().all(|m| m.body.last().unwrap() % 2 == 1));
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_not_delivered_again() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    send(&producer, 0..2).await;
    let dead = Received::default();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(|_| async { ConsumeResult::DeadLetter })
        .await
        .unwrap();
    let seen = dead.clone();
    let undertaker = servers
        .consumer("undertaker")
        .subscribe("%DLQ%g", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("both dead letters", || dead.len() == 2).await;
    assert_eq!(dead.bodies(), ["000", "001"]);
    consumer.shutdown().await;
    undertaker.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_checked_and_obeyed() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let builder = || servers.consumer("g");
    let listener = |_| async { ConsumeResult::Success };
    let wrong = builder().subscribe("t", Subscription::sql("a > > 5"));
    let refused = wrong.start(listener).await.unwrap_err();
    assert!(matches!(refused, StartError::Filter { .. }), "{refused}");

    let producer = servers.producer().await;
    let received = Received::default();
    let seen = received.clone();
    let consumer = builder()
        .subscribe("t", Subscription::sql("a > 5 AND a < 8"))
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    send(&producer, (0..10).chain([7])).await;
    wait_until("what fits", || received.len() >= 3).await;
    assert_eq!(received.bodies(), ["006", "007", "007"]);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_conditions_says_what_to_do() {
    let servers = Standalone::start_with(&[("enablePropertyFilter", "false")]).await;
    servers.create_topic(1).await;
    let builder = servers.consumer("g");
    let builder = builder.subscribe("t", Subscription::sql("a > 5"));
    let refused = builder.stream().await.unwrap_err().to_string();
    assert!(refused.contains("enablePropertyFilter=true"), "{refused}");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_of_a_broadcasting_group_gets_everything_once() {
    let servers = Standalone::start().await;
    servers.create_topic(4).await;
    let producer = servers.producer().await;
    let directory = tempfile::tempdir().unwrap();
    let start = async |name: &str, received: &Received| {
        let seen = received.clone();
        let config = thrustmq_client::ClientConfig::new()
            .name_servers(servers.name_servers())
            .instance_name(name);
        let builder = servers.consumer("g").config(config).broadcasting();
        let builder = builder.offset_directory(directory.path());
        let listener = move |message: ReceivedMessage| {
            let fails = message.body.ends_with(b"7");
            seen.push(message);
            async move {
                if fails {
                    ConsumeResult::Later
                } else {
                    ConsumeResult::Success
                }
            }
        };
        builder.subscribe("t", "*").start(listener).await.unwrap()
    };
    let (first, second) = (Received::default(), Received::default());
    let one = start("one", &first).await;
    let two = start("two", &second).await;
    send(&producer, 0..20).await;
    wait_until("all at both", || first.len() >= 20 && second.len() >= 20).await;
    one.shutdown().await;
    two.shutdown().await;
    send(&producer, 20..30).await;
    let one = start("one", &first).await;
    wait_until("what came meanwhile", || first.len() >= 30).await;
    one.shutdown().await;
    let expected: Vec<_> = (0..30).map(|n| format!("{n:03}")).collect();
    assert_eq!(first.bodies(), expected, "each once, those that fail too");
    assert_eq!(second.bodies(), expected[..20]);
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_no_more_than_is_taken() {
    let servers = Standalone::start_with(&[("messageDelayLevel", QUICK_RETRIES)]).await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..30).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let builder = || servers.consumer("g").subscribe("t", "*").concurrency(4);
    let mut stream = builder().stream().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(stream.next().await.unwrap());
    }
    let more = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    assert!(more.is_err(), "four are under way");
    assert_eq!(held[0].topic, "t");
    // One is dropped, one is to come again, two are done.
    let mut again: Vec<_> = held.drain(..2).map(|d| d.body.clone()).collect();
    again.sort();
    held.drain(..).for_each(thrustmq_client::Delivery::ack);
    let mut others = Vec::new();
    while others.len() < 28 {
        let delivery = stream.next().await.unwrap();
        others.push((delivery.reconsume_times, delivery.body.clone()));
        delivery.ack();
    }
    let retried = others.iter().filter(|(times, _)| *times == 1);
    let mut retried: Vec<_> = retried.map(|(_, body)| body.clone()).collect();
    retried.sort();
    assert_eq!(retried, again);
    stream.shutdown().await;

    // What nobody took is there after the next start, at once.
    send(&producer, 30..40).await;
    let mut stream = builder().stream().await.unwrap();
    stream.next().await.unwrap().ack();
    stream.shutdown().await;
    let mut stream = builder().stream().await.unwrap();
    for _ in 0..9 {
        let delivery = stream.next().await.unwrap();
        assert_eq!(delivery.reconsume_times, 0);
        delivery.ack();
    }
    let before = tasks();
    drop(stream);
    wait_until("its tasks to end", || tasks() < before).await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_consumer_does_nothing() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
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
    send(&producer, 0..4).await;
    wait_until("the first messages", || received.len() == 4).await;
    consumer.suspend();
    send(&producer, 4..8).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(received.len(), 4);
    consumer.resume();
    wait_until("the others", || received.len() == 8).await;
    consumer.suspend();
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

/// Counts what hooks are told.
#[derive(Debug, Default)]
struct Ends {
    begun: AtomicUsize,
    ends: Mutex<Vec<ConsumeEnd>>,
}

impl ConsumeHook for Ends {
    fn before(&self, batch: &ConsumedBatch<'_>) {
        assert_eq!(batch.group, "g");
        self.begun.fetch_add(batch.messages.len(), Ordering::SeqCst);
    }

    fn after(&self, _: &ConsumedBatch<'_>, end: ConsumeEnd, _: Duration) {
        self.ends.lock().unwrap().push(end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_told_of_every_call() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..4).await;
    let ends = Arc::new(Ends::default());
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .concurrency(1)
        .consume_timeout(Duration::from_millis(100))
        .hook(ends.clone())
        .start(|message| async move {
            match &message.body[..] {
                b"000" => ConsumeResult::Success,
                b"001" => ConsumeResult::Later,
                b"002" => panic!("meant to fail"),
                _ => std::future::pending().await,
            }
        })
        .await
        .unwrap();
    wait_until("four calls", || ends.ends.lock().unwrap().len() == 4).await;
    assert_eq!(ends.begun.load(Ordering::SeqCst), 4);
    let expected = [
        ConsumeEnd::Success,
        ConsumeEnd::Failed,
        ConsumeEnd::Panicked,
        ConsumeEnd::TimedOut,
    ];
    assert_eq!(*ends.ends.lock().unwrap(), expected);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_consumed_is_traced() {
    let servers = Standalone::start_with(&[("traceTopicEnable", "true")]).await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    let message = Message::new("t", "good").key("k");
    let good = producer.send(message).await.unwrap();
    let bad = producer.send(Message::new("t", "bad")).await.unwrap();
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .trace(true)
        .start(move |message| {
            let is_good = message.body == "good";
            seen.push(message);
            async move {
                if is_good {
                    ConsumeResult::Success
                } else {
                    ConsumeResult::DeadLetter
                }
            }
        })
        .await
        .unwrap();
    wait_until("both messages", || received.len() == 2).await;
    consumer.shutdown().await;
    let traces = servers
        .consumer("tracer")
        .subscribe("RMQ_SYS_TRACE_TOPIC", "*");
    let mut traces = traces.stream().await.unwrap();
    let mut records = Vec::new();
    while records.len() < 4 {
        let delivery = traces.next().await.unwrap();
        let text = String::from_utf8(delivery.body.to_vec()).unwrap();
        let all = text.split_terminator('\u{2}');
        records.extend(all.map(|record| record.replace('\u{1}', "|")));
        delivery.ack();
    }
    let of = |kind: &str, id: &str| {
        let is_it = |record: &&String| record.starts_with(kind) && record.contains(id);
        let found = records.iter().find(is_it).unwrap();
        let fields: Vec<_> = found.split('|').map(str::to_owned).collect();
        fields
    };
    let before = of("SubBefore|", &good.msg_id);
    assert_eq!((&*before[3], &*before[6], &*before[7]), ("g", "0", "k"));
    let after = of("SubAfter|", &good.msg_id);
    assert_eq!(after[1], before[4], "both are of one call");
    assert_eq!((&*after[4], &*after[5], &*after[6]), ("true", "k", "0"));
    let after = of("SubAfter|", &bad.msg_id);
    assert_eq!((&*after[4], &*after[5], &*after[6]), ("false", "null", "4"));
    assert_eq!((after.len(), &*after[8]), (9, "g"));
    traces.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

/// A strategy as an application may get it wrong.
#[derive(Debug)]
struct Broken;

impl RebalanceStrategy for Broken {
    fn divide(&self, _: &GroupView<'_>) -> Vec<MessageQueue> {
        panic!("meant to fail")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_decides_which_queues_are_consumed() {
    let servers = Standalone::start().await;
    servers.create_topic(4).await;
    let producer = servers.producer().await;
    let second = MessageQueue {
        topic: "t".into(),
        broker_name: "broker-a".into(),
        queue_id: 2,
    };
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .rebalance(Configured::new([second]))
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    let listener = |_| async { ConsumeResult::Success };
    let broken = servers.consumer("other").subscribe("t", "*");
    let broken = broken.rebalance(Broken).start(listener).await.unwrap();
    send(&producer, 0..16).await;
    wait_until("a quarter of the messages", || received.len() == 4).await;
    assert!(received.all().iter().all(|message| message.queue_id == 2));
    consumer.shutdown().await;
    broken.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}
