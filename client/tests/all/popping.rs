//! POP consumers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thrustmq_client::testing::BROKER;
use thrustmq_client::{
    ConsumeFrom, Leased, Message, PopConsumer, PopConsumerBuilder, PopResult, Producer,
};
use tokio::runtime::Handle;

use crate::standalone::{Received, Standalone, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing comes: this long a test looks.
const NOTHING: Duration = Duration::from_millis(300);
const SHORT: Duration = Duration::from_secs(1);

fn builder(servers: &Standalone) -> PopConsumerBuilder {
    PopConsumer::builder("g")
        .name_servers(servers.name_servers())
        .consume_from(ConsumeFrom::FirstOffset)
        .subscribe("t", "*")
}

async fn send(producer: &Producer, bodies: impl IntoIterator<Item = impl ToString>) {
    for body in bodies {
        let message = Message::new("t", body.to_string());
        producer.send(message).await.unwrap();
    }
}

/// Takes messages until there are so many.
async fn take(consumer: &PopConsumer, count: usize) -> Vec<Leased> {
    let mut all = Vec::new();
    while all.len() < count {
        let received = consumer.receive(32, PATIENCE).await.unwrap();
        assert!(!received.is_empty(), "{} of {count}", all.len());
        all.extend(received);
    }
    all.sort_by_key(|leased| leased.body.clone());
    all
}

fn bodies(leased: &[Leased]) -> Vec<&str> {
    let bodies = leased
        .iter()
        .map(|leased| std::str::from_utf8(&leased.body).unwrap());
    bodies.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_comes_again_and_nothing_else() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    send(&producer, 0..6).await;
    let consumer = builder(&servers)
        .invisible_time(SHORT)
        .start()
        .await
        .unwrap();
    let mut first = take(&consumer, 6).await;
    assert_eq!(bodies(&first), ["0", "1", "2", "3", "4", "5"]);
    assert!(
        first
            .iter()
            .all(|leased| leased.topic == "t" && leased.delivery() == 1)
    );
    consumer.ack(&first[0]).await.unwrap();
    consumer.ack_all(&first[1..4]).await.unwrap();
    consumer
        .change_invisible(&mut first[4], PATIENCE)
        .await
        .unwrap();
    let again = take(&consumer, 1).await;
    assert_eq!(bodies(&again), ["5"]);
    assert_eq!((again[0].delivery(), again[0].topic.as_str()), (2, "t"));
    // From a retry topic.
    consumer.ack(&again[0]).await.unwrap();
    consumer
        .change_invisible(&mut first[4], Duration::from_millis(1))
        .await
        .unwrap();
    let last = take(&consumer, 1).await;
    assert_eq!(bodies(&last), ["4"]);
    consumer.ack(&last[0]).await.unwrap();
    assert!(consumer.receive(32, 2 * SHORT).await.unwrap().is_empty());
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_is_given_up_while_it_waits_takes_nothing() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    let consumer = builder(&servers).start().await.unwrap();
    let given_up = tokio::time::timeout(NOTHING, consumer.receive(32, PATIENCE)).await;
    assert!(given_up.is_err());
    let (received, ()) = tokio::join!(consumer.receive(32, PATIENCE), send(&producer, ["a"]));
    assert_eq!(bodies(&received.unwrap()), ["a"]);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_messages_of_all_brokers_by_tag() {
    let mut servers = Standalone::start().await;
    servers.add_broker("broker-b").await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    // "Aa" and "BB" have the same hash.
    for n in 0..40 {
        let tag = ["Aa", "BB"][n % 2];
        let message = Message::new("t", format!("{n:02}")).tag(tag);
        producer.send(message).await.unwrap();
    }
    let start = || builder(&servers).subscribe("t", "Aa").start();
    let (one, two) = (start().await.unwrap(), start().await.unwrap());
    let mut seen = BTreeSet::new();
    let mut brokers = BTreeSet::new();
    while seen.len() < 20 {
        for consumer in [&one, &two] {
            let received = consumer.receive(3, NOTHING).await.unwrap();
            consumer.ack_all(&received).await.unwrap();
            for leased in received {
                assert_eq!(leased.tags(), Some("Aa"));
                brokers.insert(leased.store_host);
                assert!(seen.insert(leased.body.clone()), "{leased:?} came twice");
            }
        }
    }
    assert_eq!(brokers.len(), 2);
    one.shutdown().await;
    two.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_the_next_waits_for_the_one_before() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..4).await;
    let consumer = builder(&servers)
        .fifo()
        .invisible_time(SHORT)
        .start()
        .await
        .unwrap();
    let first = consumer.receive(2, PATIENCE).await.unwrap();
    assert_eq!(bodies(&first), ["0", "1"]);
    assert!(consumer.receive(2, NOTHING).await.unwrap().is_empty());
    consumer.ack(&first[0]).await.unwrap();
    // The lease of the second ends, and what follows waits for it.
    let second = consumer.receive(1, PATIENCE).await.unwrap();
    assert_eq!(bodies(&second), ["1"]);
    assert_eq!(second[0].delivery(), 2);
    consumer.ack(&second[0]).await.unwrap();
    assert_eq!(
        bodies(&consumer.receive(9, PATIENCE).await.unwrap()),
        ["2", "3"]
    );
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_survive_the_broker_and_clients_find_it_again() {
    let mut servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, ["a", "b"]).await;
    let consumer = builder(&servers)
        .invisible_time(PATIENCE)
        .start()
        .await
        .unwrap();
    let leased = take(&consumer, 2).await;
    servers.stop_broker(BROKER).await;
    assert!(consumer.ack(&leased[0]).await.is_err());
    servers.start_broker(BROKER).await;
    while consumer.ack(&leased[0]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut other = leased[1].clone();
    consumer
        .change_invisible(&mut other, Duration::from_millis(1))
        .await
        .unwrap();
    let again = take(&consumer, 1).await;
    assert_eq!(bodies(&again), ["b"]);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_s_lease_is_renewed_ended_or_shortened() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    send(&producer, ["slow", "fails", "panics", "well"]).await;
    let received = Received::default();
    let seen = received.clone();
    let listener = builder(&servers)
        .invisible_time(SHORT)
        .concurrency(4)
        .listen(move |message| {
            let (body, before) = (message.body.clone(), message.reconsume_times);
            seen.push(message);
            async move {
                match &body[..] {
                    b"slow" => tokio::time::sleep(3 * SHORT).await,
                    b"fails" if before == 0 => {
                        return PopResult::LaterAfter(Duration::from_millis(1));
                    }
                    b"panics" => assert!(before > 0, "meant to fail"),
                    _ => {}
                }
                PopResult::Done
            }
        })
        .await
        .unwrap();
    wait_until("the second delivery", || received.len() >= 5).await;
    tokio::time::sleep(4 * SHORT).await;
    // The one that panicked comes again after 10 s.
    assert_eq!(
        received.bodies(),
        ["fails", "fails", "panics", "slow", "well"]
    );
    wait_until("the last delivery", || received.len() == 6).await;
    listener.shutdown().await;
    let after = builder(&servers).start().await.unwrap();
    assert!(after.receive(32, NOTHING).await.unwrap().is_empty());
    after.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_of_a_queue_work_in_order_and_what_fails_holds_up_the_rest() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..6).await;
    let received = Received::default();
    let seen = received.clone();
    let failures = Arc::new(AtomicUsize::new(2));
    let listener = builder(&servers)
        .fifo()
        .invisible_time(SHORT)
        .listen(move |message| {
            // Its lease and those of the messages behind it are renewed meanwhile.
            let is_slow = message.body == "0";
            let fails = message.body == "3"
                && failures
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok();
            seen.push(message);
            async move {
                if is_slow {
                    tokio::time::sleep(2 * SHORT).await;
                }
                match fails {
                    true => PopResult::LaterAfter(Duration::from_millis(100)),
                    false => PopResult::Done,
                }
            }
        })
        .await
        .unwrap();
    wait_until("all of them", || received.len() == 8).await;
    listener.shutdown().await;
    let order: Vec<_> = received
        .all()
        .iter()
        .map(|message| message.body.clone())
        .collect();
    assert_eq!(order, ["0", "1", "2", "3", "3", "3", "4", "5"]);
    producer.shutdown().await;
    servers.stop().await;
}

#[test]
fn a_shutdown_leaves_no_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let servers = Standalone::start().await;
        servers.create_topic(4).await;
        let producer = servers.producer().await;
        send(&producer, 0..100).await;
        producer.shutdown().await;
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let consumer = builder(&servers).start().await.unwrap();
        take(&consumer, 1).await;
        consumer.shutdown().await;
        wait_until("an empty runtime", || tasks() == 0).await;
        for is_orderly in [true, false] {
            let received = Received::default();
            let seen = received.clone();
            let listener = builder(&servers).listen(move |message| {
                seen.push(message);
                async { PopResult::Done }
            });
            let listener = listener.await.unwrap();
            if is_orderly {
                wait_until("messages", || received.len() > 0).await;
                listener.shutdown().await;
            } else {
                drop(listener);
            }
            wait_until("an empty runtime again", || tasks() == 0).await;
        }
        servers.stop().await;
    });
}
