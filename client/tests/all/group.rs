//! Several members of one group share its queues; nothing is lost while they come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use thrustmq_client::{Admin, ConsumeResult, Message, NewTopic, PushConsumer};

use crate::standalone::{Received, Standalone, wait_until};

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
