//! Pulls that are answered at once: codes, remarks, filters, commits.

use thrustmq_proto_compat::header::{QueryConsumerOffsetRequestHeader, ResetOffsetRequestHeader};
use thrustmq_proto_compat::request_code::{
    InvokeBrokerToResetOffset, LitePullMessage, QueryConsumerOffset,
};
use thrustmq_proto_compat::response_code::ResponseCode;

use crate::harness::{COMMIT, SUBSCRIPTION, TestBroker, pull_header, pulled};

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_a_queue_has_its_code_and_remark() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    broker.send("orders", 0, "2", &[]).await;
    broker.pull_all("orders", 0, 2).await;
    let at = |queue_id, offset| {
        let header = pull_header("g", "orders", queue_id, offset);
        let broker = &broker;
        async move {
            let pulled = broker.pull(&header).await;
            (
                pulled.code.0,
                pulled.remark,
                pulled.header.next_begin_offset,
            )
        }
    };
    assert_eq!(at(0, 0).await, (0, "FOUND".to_owned(), 2));
    assert_eq!(at(0, 1).await, (0, "FOUND".to_owned(), 2));
    assert_eq!(at(0, 2).await, (19, "OFFSET_OVERFLOW_ONE".to_owned(), 2));
    assert_eq!(at(0, 9).await, (21, "OFFSET_OVERFLOW_BADLY".to_owned(), 2));
    assert_eq!(at(1, 0).await.0, 19);
    assert_eq!(at(1, 5).await.0, 21);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_choose_messages_by_request_and_by_heartbeat() {
    let broker = TestBroker::start().await;
    for (body, tag) in [("1", "A"), ("2", "B"), ("3", "A")] {
        broker.send("orders", 0, body, &[("TAGS", tag)]).await;
    }
    broker.pull_all("orders", 0, 3).await;
    let mut by_request = pull_header("g", "orders", 0, 0);
    by_request.subscription = Some("A || C".to_owned());
    assert_eq!(broker.pull(&by_request).await.bodies(), ["1", "3"]);
    by_request.subscription = Some("none".to_owned());
    let nothing = broker.pull(&by_request).await;
    assert_eq!(nothing.code, ResponseCode::PULL_RETRY_IMMEDIATELY);
    assert_eq!(
        (nothing.remark.as_str(), nothing.header.next_begin_offset),
        ("NO_MATCHED_MESSAGE", 3)
    );
    broker.heartbeat("h", "orders", &["B"]).await;
    let mut by_heartbeat = pull_header("h", "orders", 0, 0);
    by_heartbeat.sys_flag = 0;
    by_heartbeat.subscription = None;
    by_heartbeat.sub_version = 7;
    assert_eq!(broker.pull(&by_heartbeat).await.bodies(), ["2"]);
    by_heartbeat.sub_version = 8;
    let stale = broker.pull(&by_heartbeat).await;
    assert_eq!(
        (stale.code.0, stale.remark.as_str()),
        (25, "the consumer's subscription not latest")
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_javas_broker_says() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    let faq = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
    let unknown_topic = broker.pull(&pull_header("g", "nowhere", 0, 0)).await;
    assert_eq!(unknown_topic.code.0, 17);
    assert_eq!(
        unknown_topic.remark,
        format!("topic[nowhere] not exist, apply first please! {faq}")
    );
    let wrong_queue = broker.pull(&pull_header("g", "orders", 4, 0)).await;
    assert_eq!(wrong_queue.code.0, 29);
    assert!(
        wrong_queue.remark.starts_with(
            "queueId[4] is illegal, topic:[orders] topicConfig.readQueueNums:[4] consumer:["
        ),
        "{}",
        wrong_queue.remark
    );
    let mut offline = pull_header("offline", "orders", 0, 0);
    offline.sys_flag = 0;
    let offline = broker.pull(&offline).await;
    assert_eq!(
        (offline.code.0, offline.remark),
        (24, format!("the consumer's group info not exist{faq}"))
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forbids_reading_creates_no_group() {
    let broker = TestBroker::start_with(|config| config.auto_create_group = false).await;
    broker.send("orders", 0, "1", &[]).await;
    let pulled = broker.pull(&pull_header("g", "orders", 0, 0)).await;
    assert_eq!(pulled.code.0, 26);
    assert!(
        pulled
            .remark
            .starts_with("subscription group [g] does not exist, \nSee "),
        "{}",
        pulled.remark
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_commits_the_offset_it_brings_along() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    broker.pull_some("orders", 0).await;
    let mut header = pull_header("g", "orders", 0, 0);
    header.sys_flag = SUBSCRIPTION | COMMIT;
    header.commit_offset = 1;
    broker.pull(&header).await;
    let query = QueryConsumerOffsetRequestHeader {
        consumer_group: "g".to_owned(),
        topic: "orders".to_owned(),
        queue_id: 0,
        ..QueryConsumerOffsetRequestHeader::default()
    };
    let answer = broker.call::<QueryConsumerOffset>(&query, Vec::new()).await;
    assert_eq!(answer.fields.get("offset"), Some("1"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lite_pulls_are_served_on_the_main_port_only() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    broker.pull_some("orders", 0).await;
    let header = pull_header("g", "orders", 0, 0);
    let answer = broker.call::<LitePullMessage>(&header, Vec::new()).await;
    assert_eq!(pulled(answer).bodies(), ["1"]);
    let fast = broker.server.addresses().fast.to_string();
    let request = thrustmq_proto_compat::command::Command::request::<LitePullMessage>(&header);
    let refused = broker
        .client
        .call(&fast, request, crate::harness::TIMEOUT)
        .await
        .unwrap();
    assert_eq!(
        (refused.code, refused.remark.as_deref()),
        (3, Some(" request type 361 not supported"))
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_from_outside_moves_the_next_pull_once() {
    let broker = TestBroker::start().await;
    for n in 0..4 {
        broker.send("orders", 0, &n.to_string(), &[]).await;
    }
    broker.pull_all("orders", 0, 4).await;
    let reset = ResetOffsetRequestHeader {
        topic: "orders".to_owned(),
        group: "g".to_owned(),
        queue_id: 0,
        offset: Some(1),
        timestamp_ms: -1,
        is_force: true,
    };
    let answer = broker
        .call::<InvokeBrokerToResetOffset>(&reset, Vec::new())
        .await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let moved = broker.pull(&pull_header("g", "orders", 0, 3)).await;
    assert_eq!((moved.code.0, moved.remark.as_str()), (21, "OFFSET_RESET"));
    assert_eq!(moved.header.next_begin_offset, 1);
    let goes_on = broker.pull(&pull_header("g", "orders", 0, 1)).await;
    assert_eq!(goes_on.bodies(), ["1", "2", "3"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lags_behind_is_sent_to_a_replica_where_that_is_allowed() {
    // Of the machine's memory, nothing or 40 % holds messages: whoever reads older ones lags.
    for (allowed, ratio, expected) in [(true, 0, 1), (true, 40, 0), (false, 0, 0)] {
        let broker = TestBroker::start_with(|config| {
            config.slave_read = allowed;
            config.memory_ratio_max = ratio;
        })
        .await;
        broker.send("orders", 0, "1", &[]).await;
        let mut pulled = broker.pull_some("orders", 0).await;
        while pulled.messages.is_empty() {
            pulled = broker.pull_some("orders", 0).await;
        }
        assert_eq!(pulled.header.suggest_which_broker_id, expected);
        broker.stop().await;
    }
}
