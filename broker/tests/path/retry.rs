//! Messages that consumers return, and their end in the dead-letter topic.

use thrustmq_proto_compat::body::{LockBatchRequestBody, MessageQueue};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::ConsumerSendMsgBackRequestHeader;
use thrustmq_proto_compat::request_code::{ConsumerSendMsgBack, LockBatchMq};

use crate::harness::{TestBroker, send_header};

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
    assert_eq!(again.properties.get("DELAY"), None);
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
        .send_as::<thrustmq_proto_compat::request_code::SendMessageV2>(&header, b"worn".to_vec())
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
