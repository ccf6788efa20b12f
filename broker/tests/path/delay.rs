//! Delayed messages.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::TestBroker;

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_when_it_is_due_and_keeps_its_properties() {
    // The next level is far away.
    let broker =
        TestBroker::start_with(|config| config.message_delay_level = "1s 60s".to_owned()).await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let begun = Instant::now();
    let sent = broker
        .send(
            "orders",
            2,
            "later",
            &[("DELAY", "1"), ("TAGS", "t"), ("UNIQ_KEY", "K")],
        )
        .await;
    assert_eq!(sent.queue_id, 2);
    let message = broker.pull_some("orders", 2).await.messages.remove(0);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(950), "{waited:?}");
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    assert_eq!((message.queue_id, message.queue_offset), (2, 0));
    let property = |name| message.properties.get(name);
    // As in Java, which tells consumers how long they were delayed.
    assert_eq!(property("DELAY"), Some("1"));
    assert_eq!(property("WAIT"), None);
    assert_eq!(
        (property("TAGS"), property("UNIQ_KEY")),
        (Some("t"), Some("K"))
    );
    assert_eq!(
        (property("REAL_TOPIC"), property("REAL_QID")),
        (Some("orders"), Some("2"))
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_do_not_wait_for_each_other() {
    let broker =
        TestBroker::start_with(|config| config.message_delay_level = "60s 1s".to_owned()).await;
    broker.send("orders", 0, "slow", &[("DELAY", "1")]).await;
    broker.send("orders", 0, "fast", &[("DELAY", "2")]).await;
    assert_eq!(broker.pull_some("orders", 0).await.bodies(), ["fast"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delayed_survives_a_restart_and_comes_once() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    broker.send("orders", 1, "soon", &[("DELAY", "1")]).await;
    assert_eq!(broker.pull_some("orders", 1).await.bodies(), ["soon"]);
    broker
        .send("orders", 1, "after the restart", &[("DELAY", "2")])
        .await;
    let dir = broker.stop().await;
    let text = std::fs::read_to_string(dir.path().join("config/delayOffset.json")).unwrap();
    assert!(text.contains("\"offsetTable\":{1:1"), "{text}");
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let mut header = crate::harness::pull_header("g", "orders", 1, 1);
    header.sys_flag |= crate::harness::SUSPEND;
    header.suspend_timeout_ms = 20_000;
    assert_eq!(broker.pull(&header).await.bodies(), ["after the restart"]);
    let all = broker.pull_some("orders", 1).await;
    assert_eq!(all.bodies(), ["soon", "after the restart"]);
    broker.stop().await;
}
