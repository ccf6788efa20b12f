//! Producers whose brokers die and come back, and what is left of a producer after its end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_client::testing::BROKER;
use thrustmq_client::{ConsumeResult, Message, Producer, SendError};
use tokio::runtime::Handle;

use crate::standalone::{Received, Standalone, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_a_broker_restarts() {
    let mut servers = Standalone::start().await;
    let builder = Producer::builder("p").name_servers(servers.name_servers());
    let builder = builder.send_timeout(Duration::from_secs(30)).retries(60);
    let producer = builder.start().await.unwrap();
    producer.send(Message::new("t", "first")).await.unwrap();
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let send = |n: usize| {
        let acknowledged = acknowledged.clone();
        let body = format!("{n:04}");
        let message = Message::new("t", body.clone());
        producer.send_with_callback(message, move |sent| {
            if sent.is_ok() {
                acknowledged.lock().unwrap().insert(body);
            }
        })
    };
    for n in 0..300 {
        send(n).await.unwrap();
        if n == 100 {
            servers.stop_broker(BROKER).await;
        }
        if n == 200 {
            servers.start_broker(BROKER).await;
        }
    }
    wait_until("every send", || acknowledged.lock().unwrap().len() == 300).await;
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
    let arrived = || {
        let bodies: BTreeSet<_> = received.bodies().into_iter().collect();
        acknowledged.lock().unwrap().is_subset(&bodies)
    };
    wait_until("every acknowledged message", arrived).await;
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_no_task_is_left_and_every_send_is_told() {
    let servers = Standalone::start().await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();

    let producer = servers.producer().await;
    let told = Arc::new(Mutex::new(0));
    for _ in 0..200 {
        let told = told.clone();
        let done = move |sent: Result<_, SendError>| {
            assert!(sent.is_ok());
            *told.lock().unwrap() += 1;
        };
        let message = Message::new("t", "x");
        producer.send_with_callback(message, done).await.unwrap();
    }
    producer.shutdown().await;
    assert_eq!(*told.lock().unwrap(), 200, "shutdown waits for them");
    let late = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert!(matches!(late, SendError::ShutDown));
    drop(producer);
    wait_until("no task more than before", || tasks() <= before).await;
    servers.stop().await;
}
