//! A client that has ended leaves no thread behind. Alone in its process, so that it can count them.
#![allow(clippy::unwrap_used)] // what helps tests fails as tests do

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use thrustmq_client::{ConsumeResult, Producer, PushConsumer};

/// Names of this process's threads, but for those of the runtime and the tests.
fn threads() -> BTreeSet<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let ours = ["conn-events", "client-requests", "callback"];
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| ours.iter().any(|our| name.starts_with(our)))
        .collect()
}

async fn wait_until(what: &str, is_so: impl Fn(&BTreeSet<String>) -> bool) {
    for _ in 0..3_000 {
        if is_so(&threads()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain for {what}, there are {:?}", threads());
}

#[tokio::test]
async fn no_thread_outlives_its_client() {
    let nobody = "127.0.0.1:1";
    for is_shut_down in [true, false] {
        let producer = Producer::builder("p")
            .name_servers(nobody)
            .start()
            .await
            .unwrap();
        let builder = PushConsumer::builder("g")
            .name_servers(nobody)
            .subscribe("t", "*");
        let consumer = builder
            .start(|_| async { ConsumeResult::Success })
            .await
            .unwrap();
        // A thread names itself a moment after it started.
        wait_until("threads to start", |threads| threads.len() >= 2).await;
        if is_shut_down {
            consumer.shutdown().await;
            producer.shutdown().await;
        }
        drop((consumer, producer));
        wait_until("all threads to end", BTreeSet::is_empty).await;
    }
}
