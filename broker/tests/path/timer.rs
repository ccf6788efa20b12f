//! Messages with a time of their own.

use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::header::{RecallMessageRequestHeader, RecallMessageResponseHeader};
use thrustmq_proto_compat::message::message_ext::MessageExt;
use thrustmq_proto_compat::request_code::{
    GetTimerCheckPoint, GetTimerMetrics, RecallMessage, SendMessageV2,
};
use thrustmq_proto_compat::response_code::ResponseCode;

use crate::harness::{Pulled, SUSPEND, TestBroker, pull_header, send_header};

fn now_ms() -> i64 {
    Clock::system().now_ms()
}

async fn pull(broker: &TestBroker, queue_id: i32, offset: i64) -> Pulled {
    let mut header = pull_header("g", "orders", queue_id, offset);
    header.sys_flag |= SUSPEND;
    header.suspend_timeout_ms = 20_000;
    broker.pull(&header).await
}

/// Waits until queue 0 holds so many messages, and gives them.
async fn all(broker: &TestBroker, count: usize) -> Vec<MessageExt> {
    let mut messages: Vec<MessageExt> = vec![];
    while messages.len() < count {
        let next = i64::try_from(messages.len()).unwrap();
        messages.extend(pull(broker, 0, next).await.messages);
    }
    messages
}

/// A message can be read a little before it is no longer counted.
async fn until_none_waits(broker: &TestBroker) {
    for _ in 0..3_000 {
        let metrics = broker.call::<GetTimerMetrics>(&(), Vec::new()).await;
        let metrics = String::from_utf8_lossy(&metrics.body.to_bytes()).into_owned();
        if metrics.contains("\"orders\":{\"count\":0,") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the timer still counts some");
}

fn bodies(messages: &[MessageExt]) -> Vec<String> {
    let text = |message: &MessageExt| String::from_utf8_lossy(&message.body).into_owned();
    messages.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_at_its_time_with_its_properties() {
    let broker = TestBroker::start().await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let due_ms = now_ms() + 1_300;
    let due = due_ms.to_string();
    let properties = [
        ("TIMER_DELIVER_MS", due.as_str()),
        ("UNIQ_KEY", "K"),
        ("TAGS", "t"),
    ];
    let sent = broker.send("orders", 2, "later", &properties).await;
    assert_eq!(sent.queue_id, 2);
    let message = pull(&broker, 2, 0).await.messages.remove(0);
    let late_ms = now_ms() - due_ms;
    assert!((0..60_000).contains(&late_ms), "{late_ms} ms late");
    assert!(message.store_timestamp >= due_ms);
    let property = |name| message.properties.get(name);
    assert_eq!((message.queue_id, message.queue_offset), (2, 0));
    assert_eq!(
        (property("TAGS"), property("UNIQ_KEY")),
        (Some("t"), Some("K"))
    );
    assert_eq!(property("REAL_TOPIC"), Some("orders"));
    let slot = (due_ms - 1) / 1_000 * 1_000;
    assert_eq!(property("TIMER_OUT_MS"), Some(slot.to_string().as_str()));
    assert!(property("TIMER_ENQUEUE_MS").is_some() && property("TIMER_DEQUEUE_MS").is_some());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_taken_in_javas_order_and_levels_win() {
    let broker = TestBroker::start().await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let past = (now_ms() - 5_000).to_string();
    let far = (now_ms() + 60_000).to_string();
    broker
        .send("orders", 0, "past", &[("TIMER_DELIVER_MS", &past)])
        .await;
    let sent_ms = now_ms();
    broker
        .send(
            "orders",
            0,
            "late",
            &[("TIMER_DELAY_SEC", "2"), ("TIMER_DELIVER_MS", &past)],
        )
        .await;
    broker
        .send(
            "orders",
            0,
            "soon",
            &[("TIMER_DELAY_MS", "400"), ("TIMER_DELIVER_MS", &far)],
        )
        .await;
    broker
        .send(
            "orders",
            0,
            "level",
            &[("DELAY", "1"), ("TIMER_DELIVER_MS", &far)],
        )
        .await;
    let mut messages = all(&broker, 4).await;
    messages.sort_by_key(|message| message.body.clone());
    assert_eq!(bodies(&messages), ["late", "level", "past", "soon"]);
    // The timer leaves out what is less than a second.
    let waited_ms = messages[0].store_timestamp - sent_ms;
    assert!(waited_ms >= 1_000, "{waited_ms} ms");
    assert_eq!(messages[1].properties.get("TIMER_DELIVER_MS"), None);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_wait_is_refused_in_javas_words() {
    let broker = TestBroker::start_with(|config| config.timer_delay_seconds_max = 10).await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    for properties in [
        &[("TIMER_DELAY_SEC", "11")][..],
        &[("TIMER_DELIVER_MS", "soon")],
        &[("TIMER_DELIVER_MS", "1"), ("TIMER_DEL_UNIQKEY", "K")],
    ] {
        let header = send_header("orders", 0, properties);
        let (code, remark) = broker.send_refused(&header).await;
        assert_eq!(code, 13);
        assert!(remark.starts_with("timer message illegal"), "{remark}");
        assert!(remark.contains("max delay 10000ms"), "{remark}");
    }
    let dir = broker.stop().await;
    let broker = TestBroker::start_in(dir, |config| config.timer_enable = false).await;
    let header = send_header("orders", 0, &[("TIMER_DELAY_SEC", "1")]);
    let (code, remark) = broker.send_refused(&header).await;
    assert_eq!(code, 1);
    assert_eq!(
        remark,
        "accurate timer message is not enabled, timerWheelEnable is false"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_slot_refuses() {
    let broker = TestBroker::start_with(|config| config.timer_slot_messages_max = 3).await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    let due = (now_ms() + 30_000).to_string();
    let header = send_header("orders", 0, &[("TIMER_DELIVER_MS", due.as_str())]);
    let is_refused = async || {
        let answer = broker.call::<SendMessageV2>(&header, b"x".to_vec()).await;
        let remark = answer.remark.unwrap_or_default();
        remark.starts_with("timer message is under flow control")
    };
    // Those that the timer has not read yet are not counted.
    let mut taken = 0;
    while !is_refused().await {
        taken += 1;
        assert!(taken < 1_000, "never refused");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(taken >= 3, "refused after {taken}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_restart_and_comes_once() {
    let broker = TestBroker::start().await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    for delay in ["1", "300", "700", "1100", "1500", "4000"] {
        broker
            .send("orders", 0, delay, &[("TIMER_DELAY_MS", delay)])
            .await;
    }
    // In the middle of a slot, most likely.
    all(&broker, 2).await;
    let dir = broker.stop().await;
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let messages = all(&broker, 6).await;
    assert_eq!(
        bodies(&messages),
        ["1", "300", "700", "1100", "1500", "4000"]
    );
    until_none_waits(&broker).await;
    let checkpoint = broker.call::<GetTimerCheckPoint>(&(), Vec::new()).await;
    assert_eq!(checkpoint.body.to_bytes().len(), 56);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_far_ahead_rolls() {
    let broker = TestBroker::start_with(|config| config.timer_roll_window_slots = 2).await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let due_ms = now_ms() + 5_500;
    let due = due_ms.to_string();
    broker
        .send("orders", 0, "rolls", &[("TIMER_DELIVER_MS", &due)])
        .await;
    let message = all(&broker, 1).await.remove(0);
    let late_ms = message.store_timestamp - due_ms;
    assert!((0..60_000).contains(&late_ms), "{late_ms} ms late");
    let rolls: i32 = message
        .properties
        .get("TIMER_ROLL_TIMES")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=4).contains(&rolls), "{rolls}");
    broker.stop().await;
}

async fn recall(broker: &TestBroker, topic: &str, handle: &str) -> Result<String, (i32, String)> {
    let header = RecallMessageRequestHeader {
        producer_group: Some("p".to_owned()),
        topic: topic.to_owned(),
        recall_handle: handle.to_owned(),
        broker_name: None,
    };
    let answer = broker.call::<RecallMessage>(&header, Vec::new()).await;
    assert!(answer.fields.get("MSG_REGION").is_some());
    if answer.response_code() != ResponseCode::SUCCESS {
        return Err((answer.code, answer.remark.unwrap_or_default()));
    }
    let header: RecallMessageResponseHeader = answer.header().unwrap();
    Ok(header.msg_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recalled_message_never_comes() {
    let broker = TestBroker::start_with(|config| config.recall_enable = true).await;
    broker.send("orders", 1, "makes the topic", &[]).await;
    let due = (now_ms() + 6_000).to_string();
    let mut handles = vec![];
    for body in ["a", "b", "c"] {
        let properties = [("TIMER_DELIVER_MS", due.as_str()), ("UNIQ_KEY", body)];
        let sent = broker.send("orders", 0, body, &properties).await;
        handles.push(sent.recall_handle.unwrap());
    }
    assert_eq!(recall(&broker, "orders", &handles[1]).await.unwrap(), "b");
    let illegal = |remark: &str| Err((604, remark.to_owned()));
    let bad = recall(&broker, "orders", "nonsense").await;
    assert_eq!(bad, illegal("recall handle is invalid"));
    broker.send("bills", 0, "makes the topic", &[]).await;
    let other = recall(&broker, "bills", &handles[0]).await;
    assert_eq!(other, illegal("recall failed, topic not match"));
    assert_eq!(
        recall(&broker, "none", &handles[0]).await.unwrap_err().0,
        17
    );
    assert_eq!(bodies(&all(&broker, 2).await), ["a", "c"]);
    let late = recall(&broker, "orders", &handles[0]).await;
    assert_eq!(late, illegal("recall failed, timestamp invalid"));
    broker
        .send("orders", 0, "d", &[("TIMER_DELAY_MS", "1")])
        .await;
    assert_eq!(bodies(&all(&broker, 3).await), ["a", "c", "d"]);
    until_none_waits(&broker).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recalls_are_off_until_they_are_switched_on() {
    let broker = TestBroker::start().await;
    let refused = recall(&broker, "orders", "x").await.unwrap_err();
    assert_eq!(
        refused,
        (16, "recall failed, operation is forbidden".to_owned())
    );
    broker.stop().await;
}
