//! Several members of one group share its queues; nothing is lost while they come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use thrustmq_client::{Admin, ConsumeResult, Message, NewTopic, PushConsumer};

use crate::standalone::{Received, Standalone, wait_until, wait_until_async};

async fn member(servers: &Standalone, received: &Received) -> PushConsumer {
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        });
    consumer.await.unwrap()
}

fn queues(received: &Received, from: usize) -> BTreeSet<i32> {
    received
        .all()
        .iter()
        .skip(from)
        .map(|message| message.queue_id)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_queues_and_take_over() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    admin
        .create_topic("DefaultCluster", &NewTopic::named("t").queues(8))
        .await
        .unwrap();
    let producer = servers.producer().await;
    let (first, second) = (Received::default(), Received::default());
    let one = member(&servers, &first).await;
    let two = member(&servers, &second).await;

    let sending = producer.clone();
    let sender = tokio::spawn(async move {
        for n in 0..2_000 {
            sending
                .send(Message::new("t", format!("{n:04}")))
                .await
                .unwrap();
        }
    });
    wait_until("both members to have work", || {
        first.len() > 50 && second.len() > 50
    })
    .await;
    one.shutdown().await;
    sender.await.unwrap();
    let distinct = || {
        let mut bodies = first.bodies();
        bodies.extend(second.bodies());
        bodies.into_iter().collect::<BTreeSet<_>>().len()
    };
    wait_until("every message", || distinct() == 2_000).await;
    let all = first.len() + second.len();
    assert!(
        all < 2_200,
        "{all} deliveries of 2,000 messages: too many twice"
    );
    let tail = second.len();
    for n in 0..16 {
        producer
            .send(Message::new("t", format!("tail-{n}")))
            .await
            .unwrap();
    }
    wait_until("the tail", || second.len() >= tail + 16).await;
    assert_eq!(
        queues(&second, tail).len(),
        8,
        "the member that stayed has every queue"
    );
    two.shutdown().await;
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_members_than_queues_leave_some_idle() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    admin
        .create_topic("DefaultCluster", &NewTopic::named("t").queues(1))
        .await
        .unwrap();
    let producer = servers.producer().await;
    let received = Received::default();
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(member(&servers, &received).await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for n in 0..50 {
        producer
            .send(Message::new("t", format!("{n:02}")))
            .await
            .unwrap();
    }
    wait_until("every message", || received.len() >= 50).await;
    assert_eq!(
        received.bodies().into_iter().collect::<BTreeSet<_>>().len(),
        50
    );
    for member in members {
        member.shutdown().await;
    }
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_and_starts_under_load_costs_nothing() {
    let mut servers = Standalone::start().await;
    servers.add_broker("broker-b").await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let topic = NewTopic::named("t").queues(4);
    let on = admin.create_topic("DefaultCluster", &topic).await.unwrap();
    assert_eq!(on, ["broker-a", "broker-b"]);
    wait_until_async("both brokers in the route", async || {
        admin
            .route("t")
            .await
            .is_ok_and(|route| route.publish_queues().len() == 8)
    })
    .await;
    let producer = servers.producer().await;
    let received = Received::default();
    let consumer = member(&servers, &received).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let counts = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let (sending, ending) = (producer.clone(), is_over.clone());
    let [all, on_other] = counts.clone();
    let sender = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        while !ending.load(Ordering::Relaxed) {
            let body = format!("{:05}", acknowledged.len());
            let receipt = sending.send(Message::new("t", body.clone())).await.unwrap();
            acknowledged.push(body);
            all.fetch_add(1, Ordering::Relaxed);
            if receipt.queue.broker_name == "broker-b" {
                on_other.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        acknowledged
    });
    let more = async |what: &str, which: usize| {
        let count = || counts[which].load(Ordering::Relaxed);
        let wanted = count() + 50;
        wait_until(what, || count() >= wanted).await;
    };
    more("messages on the broker that is to stop", 1).await;
    servers.stop_broker("broker-b").await;
    more("messages while it is stopped", 0).await;
    servers.start_broker("broker-b").await;
    more("messages on the broker that was restarted", 1).await;
    is_over.store(true, Ordering::Relaxed);
    let acknowledged = sender.await.unwrap();

    let expected: BTreeSet<_> = acknowledged.into_iter().collect();
    let missing = || {
        let got: BTreeSet<_> = received.bodies().into_iter().collect();
        expected.difference(&got).count()
    };
    wait_until("every acknowledged message", || missing() == 0).await;
    consumer.shutdown().await;
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}
