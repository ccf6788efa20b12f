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

async fn wait_for_none(after: &str) {
    for _ in 0..500 {
        if threads().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("after {after} there are still {:?}", threads());
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
        assert!(!threads().is_empty(), "they are named otherwise now");
        if is_shut_down {
            consumer.shutdown().await;
            producer.shutdown().await;
        }
        drop((consumer, producer));
        wait_for_none(if is_shut_down { "shutdown" } else { "dropping" }).await;
    }
}
