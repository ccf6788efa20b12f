//! Pulls that wait.

use std::time::Duration;

use thrustmq_proto_compat::response_code::ResponseCode;
use tokio::time::Instant;

use crate::harness::{SUBSCRIPTION, SUSPEND, TestBroker, pull_header};

fn waiting(
    queue_id: i32,
    offset: i64,
    wait_ms: i64,
) -> thrustmq_proto_compat::header::PullMessageRequestHeader {
    let mut header = pull_header("g", "orders", queue_id, offset);
    header.sys_flag = SUBSCRIPTION | SUSPEND;
    header.suspend_timeout_ms = wait_ms;
    header
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_wakes_the_pull_that_waits_for_it_at_once() {
    let broker = TestBroker::start().await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let header = waiting(0, 0, 20_000);
    let begun = Instant::now();
    let sending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        broker.send("orders", 0, "news", &[]).await;
        Instant::now()
    };
    let (pulled, sent) = tokio::join!(broker.pull(&header), sending);
    assert_eq!(pulled.bodies(), ["news"]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(
        sent.elapsed() < Duration::from_secs(4),
        "only a sweep woke it"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_whose_time_is_up_is_answered() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    broker.pull_some("orders", 0).await;
    let begun = Instant::now();
    let pulled = broker.pull(&waiting(0, 1, 500)).await;
    assert_eq!(pulled.code, ResponseCode::PULL_NOT_FOUND);
    assert_eq!(pulled.remark, "OFFSET_OVERFLOW_ONE");
    assert!(begun.elapsed() >= Duration::from_millis(500));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_tag_wakes_no_pull() {
    let broker = TestBroker::start().await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let mut header = waiting(0, 0, 20_000);
    header.subscription = Some("wanted".to_owned());
    let begun = Instant::now();
    let sending = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.send("orders", 0, "1", &[("TAGS", "other")]).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        broker.send("orders", 0, "2", &[("TAGS", "wanted")]).await;
    };
    let (pulled, ()) = tokio::join!(broker.pull(&header), sending);
    assert_eq!(pulled.bodies(), ["2"]);
    assert!(begun.elapsed() >= Duration::from_millis(500));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_messages_and_pulls_loses_none() {
    let broker = TestBroker::start().await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let sending = async {
        for n in 0..300 {
            broker.send("orders", 0, &n.to_string(), &[]).await;
        }
    };
    let pulling = async {
        let (mut offset, mut got) = (0, Vec::new());
        while got.len() < 300 {
            let pulled = broker.pull(&waiting(0, offset, 10_000)).await;
            assert_eq!(pulled.code, ResponseCode::SUCCESS, "{}", pulled.remark);
            offset = pulled.header.next_begin_offset;
            got.extend(pulled.bodies());
        }
        got
    };
    let ((), got) = tokio::join!(sending, pulling);
    let expected: Vec<String> = (0..300).map(|n: i32| n.to_string()).collect();
    assert_eq!(got, expected);
    broker.stop().await;
}
