//! Messages that consumers return, and their end in the dead-letter topic.

use std::time::Duration;

use thrustmq_proto_compat::body::{
    LockBatchRequestBody, MessageQueue, SubscriptionGroupConfig, TopicConfig,
};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    ConsumerSendMsgBackRequestHeader, GetTopicConfigRequestHeader,
};
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::request_code::{
    ConsumerSendMsgBack, GetTopicConfig, LockBatchMq, SendMessageV2,
    UpdateAndCreateSubscriptionGroup,
};
use tokio::time::Instant;

use crate::harness::{SUSPEND, TestBroker, pull_header, send_header};

fn back(offset: i64, delay_level: i32, times_max: Option<i32>) -> ConsumerSendMsgBackRequestHeader {
    ConsumerSendMsgBackRequestHeader {
        offset,
        group: "g".to_owned(),
        delay_level,
        max_reconsume_times: times_max,
        ..ConsumerSendMsgBackRequestHeader::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returned_message_comes_again_and_then_dies() {
    let broker =
        TestBroker::start_with(|config| config.message_delay_level = "1s 1s 1s 1s".to_owned())
            .await;
    let sent = broker
        .send("orders", 0, "try me", &[("UNIQ_KEY", "K")])
        .await;
    let first = broker.pull_some("orders", 0).await.messages.remove(0);
    let answer = broker
        .call::<ConsumerSendMsgBack>(&back(first.physical_offset, 0, Some(1)), vec![])
        .await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let again = broker.pull_some("%RETRY%g", 0).await.messages.remove(0);
    assert_eq!(&again.body[..], b"try me");
    assert_eq!(again.reconsume_times, 1);
    assert_eq!(again.properties.get("RETRY_TOPIC"), Some("orders"));
    assert_eq!(
        again.properties.get("ORIGIN_MESSAGE_ID"),
        Some(sent.msg_id.as_str())
    );
    assert_eq!(again.properties.get("UNIQ_KEY"), Some("K"));
    assert_eq!(again.properties.get("DELAY"), Some("3"));
    let answer = broker
        .call::<ConsumerSendMsgBack>(&back(again.physical_offset, 0, Some(1)), vec![])
        .await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let dead = broker.pull_some("%DLQ%g", 0).await.messages.remove(0);
    assert_eq!(dead.reconsume_times, 2);
    assert_eq!(dead.properties.get("RETRY_TOPIC"), Some("orders"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_level_gives_a_message_up_at_once() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "bad", &[]).await;
    let first = broker.pull_some("orders", 0).await.messages.remove(0);
    broker
        .call::<ConsumerSendMsgBack>(&back(first.physical_offset, -1, None), vec![])
        .await;
    assert_eq!(broker.pull_some("%DLQ%g", 0).await.bodies(), ["bad"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_of_nothing_is_refused() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    for offset in [-1, 3, 1 << 40] {
        let answer = broker
            .call::<ConsumerSendMsgBack>(&back(offset, 0, None), vec![])
            .await;
        let remark = format!("look message by offset failed, {offset}");
        assert_eq!((answer.code, answer.remark), (1, Some(remark)));
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_to_the_retry_topic_dies_past_its_maximum_or_under_a_queue_lock() {
    let broker = TestBroker::start().await;
    let mut header = send_header("%RETRY%g", 0, &[("DELAY", "3"), ("RETRY_TOPIC", "orders")]);
    header.reconsume_times = 4;
    header.max_reconsume_times = Some(3);
    broker
        .send_as::<SendMessageV2>(&header, b"worn".to_vec())
        .await;
    let dead = broker.pull_some("%DLQ%g", 0).await.messages.remove(0);
    assert_eq!(&dead.body[..], b"worn");
    assert_eq!(dead.properties.get("DELAY"), Some("-1"));
    let lock = LockBatchRequestBody {
        consumer_group: "ordered".to_owned(),
        client_id: "c".to_owned(),
        mq_set: [MessageQueue {
            topic: "orders".to_owned(),
            broker_name: "broker-t".to_owned(),
            queue_id: 0,
        }]
        .into(),
        ..LockBatchRequestBody::default()
    };
    broker
        .call::<LockBatchMq>(&(), fastjson::to_vec(&lock).unwrap())
        .await;
    broker
        .send("%RETRY%ordered", 0, "no retry in order", &[])
        .await;
    assert_eq!(
        broker.pull_some("%DLQ%ordered", 0).await.bodies(),
        ["no retry in order"]
    );
    broker.stop().await;
}

/// What Apache's broker 5.5.0 gives its consumers of the same message (run on 2026-11-22).
#[tokio::test(flavor = "multi_thread")]
async fn a_returned_message_comes_soon_and_as_it_was() {
    let broker =
        TestBroker::start_with(|config| config.message_delay_level = "1s 60s".to_owned()).await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    let sent = [("KEYS", "k"), ("TAGS", "t"), ("TIMER_DELIVER_MS", "5")];
    let sent: Properties = sent.into_iter().collect();
    let mut body = Vec::new();
    let item = BatchItem {
        flag: 5,
        body: b"body",
        properties: &sent.to_text(),
    };
    batch::encode(&item, &mut body).unwrap();
    let mut header = send_header("orders", 0, &[]);
    header.batch = true;
    let stored = broker.send_as::<SendMessageV2>(&header, body).await;
    let mut waiting = pull_header("g", "orders", 0, stored.queue_offset);
    waiting.sys_flag |= SUSPEND;
    waiting.suspend_timeout_ms = 20_000;
    let first = broker.pull(&waiting).await.messages.remove(0);
    let begun = Instant::now();
    let answer = broker
        .call::<ConsumerSendMsgBack>(&back(first.physical_offset, 1, None), vec![])
        .await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let again = broker.pull_some("%RETRY%g", 0).await.messages.remove(0);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(950), "{waited:?}");
    // The next level would be a minute.
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    assert_eq!((again.flag, again.reconsume_times), (5, 1));
    let mut names: Vec<_> = again.properties.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let expected = [
        "DELAY",
        "KEYS",
        "ORIGIN_MESSAGE_ID",
        "REAL_QID",
        "REAL_TOPIC",
        "RETRY_TOPIC",
        "TAGS",
        "WAIT",
        "__CRC32#",
    ];
    assert_eq!(names, expected);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_can_be_read_and_sent_again() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "bad", &[("KEYS", "k")]).await;
    let first = broker.pull_some("orders", 0).await.messages.remove(0);
    broker
        .call::<ConsumerSendMsgBack>(&back(first.physical_offset, -1, None), vec![])
        .await;
    let dead = broker.pull_some("%DLQ%g", 0).await.messages.remove(0);
    assert_eq!(dead.properties.get("DELAY"), Some("0"));
    assert_eq!(dead.topic, "%DLQ%g");
    let topic = topic_config(&broker, "%DLQ%g").await;
    assert_eq!((topic.perm, topic.write_queue_nums), (6, 1));
    // With all its properties, as tools do it: it is neither delayed nor given up once more.
    let mut header = send_header("orders", 1, &[]);
    header.properties = Some(dead.properties.to_text());
    broker
        .send_as::<SendMessageV2>(&header, dead.body.to_vec())
        .await;
    let again = broker.pull_some("orders", 1).await.messages.remove(0);
    assert_eq!((again.reconsume_times, &again.body[..]), (0, &b"bad"[..]));
    assert_eq!(again.properties.get("KEYS"), Some("k"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_mark_their_retry_topics_and_groups_without_retry_keep_nothing() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "m", &[]).await;
    let first = broker.pull_some("orders", 0).await.messages.remove(0);
    let mut header = back(first.physical_offset, 1, None);
    header.unit_mode = true;
    let answer = broker.call::<ConsumerSendMsgBack>(&header, vec![]).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    assert_eq!(topic_config(&broker, "%RETRY%g").await.topic_sys_flag, 2);
    let group = SubscriptionGroupConfig {
        group_name: "careless".to_owned(),
        retry_queue_nums: 0,
        ..SubscriptionGroupConfig::default()
    };
    let body = fastjson::to_vec(&group).unwrap();
    let answer = broker
        .call::<UpdateAndCreateSubscriptionGroup>(&(), body)
        .await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    header.group = "careless".to_owned();
    let answer = broker.call::<ConsumerSendMsgBack>(&header, vec![]).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let asked = GetTopicConfigRequestHeader {
        topic: "%RETRY%careless".to_owned(),
    };
    let answer = broker.call::<GetTopicConfig>(&asked, vec![]).await;
    assert_eq!(answer.code, 17);
    broker.stop().await;
}

async fn topic_config(broker: &TestBroker, topic: &str) -> TopicConfig {
    let asked = GetTopicConfigRequestHeader {
        topic: topic.to_owned(),
    };
    let answer = broker.call::<GetTopicConfig>(&asked, vec![]).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    fastjson::from_slice(&answer.body.to_bytes()).unwrap()
}
