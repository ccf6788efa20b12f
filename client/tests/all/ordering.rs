//! Consumers in order: one message of a queue at a time, whoever comes and goes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_client::{
    ConsumeFrom, Message, OrderedResult, Producer, PushConsumer, ReceivedMessage,
};

use crate::standalone::{Received, Standalone, wait_until};

/// What a group consumed, queue by queue, and whether two listeners ever were in one queue.
#[derive(Clone, Default)]
struct Sequence {
    queues: Arc<Mutex<BTreeMap<i32, Vec<i64>>>>,
    busy: Arc<Mutex<BTreeMap<i32, usize>>>,
    had_two: Arc<AtomicBool>,
}

impl Sequence {
    async fn consume(&self, message: ReceivedMessage, work: Duration) {
        let count = {
            let mut busy = self.busy.lock().unwrap();
            let count = busy.entry(message.queue_id).or_default();
            *count += 1;
            *count
        };
        if count > 1 {
            self.had_two.store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(work).await;
        let mut queues = self.queues.lock().unwrap();
        queues
            .entry(message.queue_id)
            .or_default()
            .push(message.queue_offset);
        *self
            .busy
            .lock()
            .unwrap()
            .get_mut(&message.queue_id)
            .unwrap() -= 1;
    }

    fn len(&self) -> usize {
        self.queues.lock().unwrap().values().map(Vec::len).sum()
    }

    /// Every queue from its first message on, each once, in order.
    fn check(&self) {
        assert!(!self.had_two.load(Ordering::Relaxed), "two at a time");
        for (queue, offsets) in self.queues.lock().unwrap().iter() {
            let expected: Vec<i64> = (0..).take(offsets.len()).collect();
            assert_eq!(*offsets, expected, "queue {queue}");
        }
    }
}

async fn send(producer: &Producer, count: usize) {
    for n in 0..count {
        let message = Message::new("t", format!("{n:04}"));
        producer.send(message).await.unwrap();
    }
}

async fn member(servers: &Standalone, sequence: &Sequence, work: Duration) -> PushConsumer {
    let sequence = sequence.clone();
    let builder = servers.consumer("g").subscribe("t", "*");
    let listener = move |message| {
        let sequence = sequence.clone();
        async move {
            sequence.consume(message, work).await;
            OrderedResult::Success
        }
    };
    builder.start_orderly(listener).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_while_members_come_and_go() {
    let servers = Standalone::start().await;
    servers.create_topic(4).await;
    let producer = servers.producer().await;
    let sequence = Sequence::default();
    let work = Duration::from_millis(2);
    let one = member(&servers, &sequence, work).await;
    send(&producer, 100).await;
    wait_until("a first part", || sequence.len() >= 50).await;
    let two = member(&servers, &sequence, work).await;
    send(&producer, 200).await;
    wait_until("a second part", || sequence.len() >= 200).await;
    one.shutdown().await;
    send(&producer, 100).await;
    wait_until("every message", || sequence.len() >= 400).await;
    two.shutdown().await;
    sequence.check();
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_holds_its_queue_and_ends_with_the_dead_letters() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    for body in ["good", "bad", "poison", "panics", "last"] {
        producer.send(Message::new("t", body)).await.unwrap();
    }
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .reconsume_times_max(2)
        .start_orderly(move |message| {
            seen.push(message.clone());
            async move {
                match &message.body[..] {
                    b"bad" => OrderedResult::SuspendQueue(Duration::from_millis(20)),
                    b"poison" => OrderedResult::DeadLetter,
                    b"panics" => {
                        assert!(message.reconsume_times > 0, "meant to fail");
                        OrderedResult::Success
                    }
                    _ => OrderedResult::Success,
                }
            }
        })
        .await
        .unwrap();
    wait_until("the last message", || received.len() == 8).await;
    let all = received.all();
    let text = |m: &ReceivedMessage| format!("{:?} {}", m.body, m.reconsume_times);
    let sequence: Vec<_> = all.iter().map(text).collect();
    let expected = [
        "b\"good\" 0",
        "b\"bad\" 0",
        "b\"bad\" 1",
        "b\"bad\" 2",
        "b\"poison\" 0",
        "b\"panics\" 0",
        "b\"panics\" 1",
        "b\"last\" 0",
    ];
    assert_eq!(sequence, expected);
    consumer.shutdown().await;
    let dead = Received::default();
    let seen = dead.clone();
    let undertaker = servers
        .consumer("undertaker")
        .subscribe("%DLQ%g", "*")
        .start_orderly(move |message| {
            seen.push(message);
            async { OrderedResult::Success }
        })
        .await
        .unwrap();
    wait_until("the dead letters", || dead.len() == 2).await;
    assert_eq!(dead.bodies(), ["bad", "poison"]);
    undertaker.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_waits_for_the_listener_of_its_last_owner() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 3).await;
    let sequence = Sequence::default();
    // Two members and one queue: whoever has it keeps it until its listener has ended.
    let slow = member(&servers, &sequence, Duration::from_millis(1_500)).await;
    let busy = sequence.busy.clone();
    wait_until("work", || busy.lock().unwrap().values().any(|n| *n > 0)).await;
    let other = member(&servers, &sequence, Duration::from_millis(1)).await;
    slow.shutdown().await;
    wait_until("every message", || sequence.len() == 3).await;
    sequence.check();
    other.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_outlives_a_restart_of_the_broker() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    let sequence = Sequence::default();
    let consumer = member(&servers, &sequence, Duration::ZERO).await;
    send(&producer, 20).await;
    wait_until("what came before", || sequence.len() == 20).await;
    let servers = servers.restart_broker().await;
    send(&producer, 20).await;
    wait_until("what came after", || sequence.len() >= 40).await;
    consumer.shutdown().await;
    sequence.check();
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_the_order_too() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 50).await;
    let received = Received::default();
    let (seen, calls) = (received.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let consumer = PushConsumer::builder("g")
        .name_servers(servers.name_servers())
        .consume_from(ConsumeFrom::FirstOffset)
        .subscribe("t", "*")
        .consume_batch(8)
        .start_orderly_batch(move |messages: Vec<ReceivedMessage>| {
            assert!(messages.len() <= 8);
            let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            if !is_first {
                messages.into_iter().for_each(|message| seen.push(message));
            }
            async move {
                if is_first {
                    OrderedResult::SuspendQueue(Duration::from_millis(10))
                } else {
                    OrderedResult::Success
                }
            }
        })
        .await
        .unwrap();
    wait_until("every message", || received.len() >= 50).await;
    let offsets: Vec<_> = received.all().iter().map(|m| m.queue_offset).collect();
    assert_eq!(offsets, (0..50).collect::<Vec<_>>());
    assert!(calls.load(Ordering::SeqCst) < 40, "some calls had several");
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}
