//! Light queues: messages that go to several queues, each read as a topic of its own.

use thrustmq_broker::config::BrokerConfig;
use thrustmq_proto_compat::header::{
    GetMaxOffsetRequestHeader, QueryConsumerOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    GetMaxOffset, QueryConsumerOffset, UpdateConsumerOffset,
};
use thrustmq_proto_compat::response_code::ResponseCode;

use crate::harness::{SUSPEND, TestBroker, pull_header, send_header};

const GROUP: &str = "%LMQ%readers";

fn with_light_queues(config: &mut BrokerConfig) {
    config.light_queues = true;
    config.multi_dispatch = true;
    config.light_queues_max = 4;
    config.auto_create_group = false;
}

async fn to(broker: &TestBroker, body: &str, names: &str) {
    let properties = [("INNER_MULTI_DISPATCH", names)];
    broker.send("orders", 0, body, &properties).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_pull_gets_what_comes_and_offsets_survive() {
    let broker = TestBroker::start_with(with_light_queues).await;
    let mut waiting = pull_header(GROUP, "%LMQ%a", 0, 0);
    waiting.sys_flag |= SUSPEND;
    waiting.suspend_timeout_ms = 20_000;
    let (pulled, ()) = tokio::join!(broker.pull(&waiting), async {
        // It comes to the pull whether that waits already or not.
        to(&broker, "one", "%LMQ%a,%LMQ%b").await;
    });
    assert_eq!(pulled.bodies(), ["one"]);
    let message = &pulled.messages[0];
    assert_eq!(message.topic, "orders");
    assert_eq!(
        message.properties.get("INNER_MULTI_QUEUE_OFFSET"),
        Some("0,0")
    );
    to(&broker, "two", "%LMQ%b").await;
    waiting.topic = "%LMQ%b".to_owned();
    waiting.queue_offset = 1;
    assert_eq!(broker.pull(&waiting).await.bodies(), ["two"]);
    let commit = UpdateConsumerOffsetRequestHeader {
        consumer_group: GROUP.to_owned(),
        topic: "%LMQ%b".to_owned(),
        queue_id: 0,
        commit_offset: 2,
        ..UpdateConsumerOffsetRequestHeader::default()
    };
    let answer = broker.call::<UpdateConsumerOffset>(&commit, vec![]).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let max = GetMaxOffsetRequestHeader {
        topic: "%LMQ%b".to_owned(),
        queue_id: 0,
        ..GetMaxOffsetRequestHeader::default()
    };
    let answer = broker.call::<GetMaxOffset>(&max, vec![]).await;
    assert_eq!(answer.fields.get("offset"), Some("2"));

    let dir = broker.stop().await;
    let topics = std::fs::read_to_string(dir.path().join("config/topics.json")).unwrap();
    assert!(!topics.contains("%LMQ%"), "{topics}");
    let broker = TestBroker::start_in(dir, with_light_queues).await;
    let query = QueryConsumerOffsetRequestHeader {
        consumer_group: GROUP.to_owned(),
        topic: "%LMQ%b".to_owned(),
        queue_id: 0,
        ..QueryConsumerOffsetRequestHeader::default()
    };
    let answer = broker.call::<QueryConsumerOffset>(&query, vec![]).await;
    assert_eq!(
        answer.fields.get("offset"),
        Some("2"),
        "{:?}",
        answer.remark
    );
    to(&broker, "three", "%LMQ%b").await;
    waiting.queue_offset = 2;
    assert_eq!(broker.pull(&waiting).await.bodies(), ["three"]);
    waiting.queue_offset = 0;
    let all = broker.pull(&waiting).await.bodies();
    assert_eq!(all, ["one", "two", "three"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_are_refused_and_without_the_setting_there_are_none() {
    let broker = TestBroker::start_with(with_light_queues).await;
    let names = [("INNER_MULTI_DISPATCH", "%LMQ%1,%LMQ%2,%LMQ%3,%LMQ%4,%LMQ%5")];
    let (code, remark) = broker.send_refused(&send_header("orders", 0, &names)).await;
    assert_eq!(code, 1);
    assert!(
        remark.starts_with("[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]broker config enableLmq"),
        "{remark}"
    );
    broker.stop().await;

    let broker = TestBroker::start().await;
    to(&broker, "one", "%LMQ%a").await;
    let pulled = broker.pull(&pull_header("g", "%LMQ%a", 0, 0)).await;
    assert_eq!(pulled.code, ResponseCode::TOPIC_NOT_EXIST);
    broker.stop().await;
}

/// A message that is delayed comes to its light queues when it comes to its topic.
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_when_it_is_due() {
    let broker = TestBroker::start_with(with_light_queues).await;
    let properties = [("INNER_MULTI_DISPATCH", "%LMQ%a"), ("DELAY", "1")];
    broker.send("orders", 0, "later", &properties).await;
    let mut waiting = pull_header(GROUP, "%LMQ%a", 0, 0);
    waiting.sys_flag |= SUSPEND;
    waiting.suspend_timeout_ms = 20_000;
    assert_eq!(broker.pull(&waiting).await.bodies(), ["later"]);
    let topic = broker.pull(&pull_header(GROUP, "orders", 0, 0)).await;
    assert_eq!(topic.bodies(), ["later"]);
    broker.stop().await;
}

/// Nobody is there to be told, and others wait behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_waited_comes_to_its_topic_even_if_its_light_queues_are_too_many() {
    let broker = TestBroker::start_with(with_light_queues).await;
    let names = "%LMQ%1,%LMQ%2,%LMQ%3,%LMQ%4,%LMQ%5";
    for (queue_id, delay) in [("DELAY", "1"), ("TIMER_DELAY_MS", "500")]
        .iter()
        .enumerate()
    {
        let queue_id = queue_id as i32;
        let crowded = [("INNER_MULTI_DISPATCH", names), *delay];
        broker.send("orders", queue_id, "first", &crowded).await;
        broker.send("orders", queue_id, "second", &[*delay]).await;
        let mut bodies = Vec::new();
        while bodies.len() < 2 {
            let mut waiting = pull_header(GROUP, "orders", queue_id, bodies.len() as i64);
            waiting.sys_flag |= SUSPEND;
            waiting.suspend_timeout_ms = 20_000;
            bodies.extend(broker.pull(&waiting).await.bodies());
        }
        bodies.sort();
        assert_eq!(bodies, ["first", "second"], "{delay:?}");
    }
    broker.stop().await;
}
