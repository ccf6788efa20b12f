use thrustmq_proto_compat::body::{
    ConsumeStats, ConsumerOffsetSerializeWrapper, LockBatchRequestBody, LockBatchResponseBody,
    MessageQueue, ResetOffsetBody, ResetOffsetBodyForC, UnlockBatchRequestBody,
};
use thrustmq_proto_compat::command::{Command, Language};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    CloneGroupOffsetRequestHeader, GetConsumeStatsRequestHeader, QueryConsumerOffsetRequestHeader,
    QueryConsumerOffsetResponseHeader, ResetOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    CloneGroupOffset, GetAllConsumerOffset, GetConsumeStats, InvokeBrokerToResetOffset,
    LockBatchMq, QueryConsumerOffset, UnlockBatchMq, UpdateConsumerOffset,
};

use crate::harness::{Consumer, TestBroker, Told, body_of, json};

fn query(group: &str, topic: &str, queue_id: i32) -> QueryConsumerOffsetRequestHeader {
    QueryConsumerOffsetRequestHeader {
        consumer_group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id,
        ..QueryConsumerOffsetRequestHeader::default()
    }
}

fn commit(topic: &str, queue_id: i32, commit_offset: i64) -> UpdateConsumerOffsetRequestHeader {
    UpdateConsumerOffsetRequestHeader {
        consumer_group: "g".to_owned(),
        topic: topic.to_owned(),
        queue_id,
        commit_offset,
        broker_name: None,
    }
}

fn reset(timestamp_ms: i64) -> ResetOffsetRequestHeader {
    ResetOffsetRequestHeader {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: -1,
        timestamp_ms,
        is_force: true,
        ..ResetOffsetRequestHeader::default()
    }
}

async fn offset(broker: &TestBroker, header: &QueryConsumerOffsetRequestHeader) -> i64 {
    let answer = broker.done::<QueryConsumerOffset>(header, vec![]).await;
    answer
        .header::<QueryConsumerOffsetResponseHeader>()
        .unwrap()
        .offset
}

/// A broker with two messages in queue 0 of topic `t`, and group `g`.
async fn broker_with_messages(
    configure: impl FnOnce(&mut thrustmq_broker::config::BrokerConfig),
) -> (TestBroker, Consumer) {
    let broker = TestBroker::start_with(configure).await;
    broker.send("t", 0, "one").await;
    broker.send("t", 0, "two").await;
    let stats = GetConsumeStatsRequestHeader {
        consumer_group: "g".to_owned(),
        topic_list: Some("t".to_owned()),
        ..GetConsumeStatsRequestHeader::default()
    };
    broker
        .eventually("both messages are in their queue", async || {
            let stats: ConsumeStats = broker.show::<GetConsumeStats, _>(&stats).await;
            stats
                .offset_table
                .values()
                .any(|queue| queue.broker_offset == 2)
        })
        .await;
    let consumer = Consumer::new(&broker, "one");
    consumer.join("g", &["t"]).await;
    (broker, consumer)
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_committed_and_survive_a_restart() {
    let (broker, _consumer) = broker_with_messages(|_| {}).await;
    assert_eq!(offset(&broker, &query("g", "t", 0)).await, 0);
    let mut strict = query("g", "t", 0);
    strict.set_zero_if_not_found = Some(false);
    let remark = "Not found, do not set to zero, maybe this group boot first";
    assert_eq!(
        broker.refused::<QueryConsumerOffset>(&strict, vec![]).await,
        (22, remark.to_owned())
    );
    broker
        .done::<UpdateConsumerOffset>(&commit("t", 0, 2), vec![])
        .await;
    broker
        .done::<UpdateConsumerOffset>(&commit("t", 0, 1), vec![])
        .await;
    assert_eq!(offset(&broker, &query("g", "t", 0)).await, 1);
    assert_eq!(
        broker
            .refused::<UpdateConsumerOffset>(&commit("u", 0, 1), vec![])
            .await,
        (17, "Topic u not exist!".to_owned())
    );
    let dir = broker.stop().await;
    let broker = TestBroker::start_in(dir, |_| {}).await;
    assert_eq!(offset(&broker, &query("g", "t", 0)).await, 1);
    let all: ConsumerOffsetSerializeWrapper = broker.show::<GetAllConsumerOffset, _>(&()).await;
    assert_eq!(all.offset_table["t@g"][&0], 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_outranks_what_the_group_commits() {
    let (broker, _consumer) = broker_with_messages(|_| {}).await;
    let answer = broker
        .done::<InvokeBrokerToResetOffset>(&reset(-1), vec![])
        .await;
    let moved: ResetOffsetBody = body_of(&answer);
    let queue = MessageQueue {
        broker_name: "broker-t".to_owned(),
        queue_id: 0,
        topic: "t".to_owned(),
    };
    assert_eq!(moved.offset_table[&queue], 2);
    assert_eq!(moved.offset_table.len(), 4);
    let answer = broker
        .done::<UpdateConsumerOffset>(&commit("t", 0, 1), vec![])
        .await;
    assert_eq!(
        answer.remark.as_deref(),
        Some("Offset has been previously reset")
    );
    assert_eq!(offset(&broker, &query("g", "t", 0)).await, 2);
    let mut one = reset(0);
    one.queue_id = 0;
    one.offset = Some(9);
    let remark = "Target offset 9 not in consume queue range [0-2]";
    assert_eq!(
        broker
            .refused::<InvokeBrokerToResetOffset>(&one, vec![])
            .await,
        (1, remark.to_owned())
    );
    one.topic = "absent".to_owned();
    assert_eq!(
        broker
            .refused::<InvokeBrokerToResetOffset>(&one, vec![])
            .await,
        (17, "Topic absent does not exist".to_owned())
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_reset_themselves_where_the_broker_does_not() {
    let (broker, mut consumer) =
        broker_with_messages(|config| config.server_side_reset = false).await;
    let remark = "THe consumer group <g> not exist";
    let too_early = broker
        .refused::<InvokeBrokerToResetOffset>(&reset(-1), vec![])
        .await;
    assert_eq!(too_early, (1, remark.to_owned()));
    for queue_id in 0..4 {
        broker
            .done::<UpdateConsumerOffset>(&commit("t", queue_id, 1), vec![])
            .await;
    }
    consumer.told().await;
    let answer = broker
        .done::<InvokeBrokerToResetOffset>(&reset(-1), vec![])
        .await;
    let Told::Reset { topic, body } = consumer.told().await else {
        panic!("the consumer is told to reset");
    };
    assert_eq!(topic, "t");
    assert_eq!(body.as_bytes(), answer.body.to_bytes());
    assert!(body.contains("\"topic\":\"t\"}:2"), "{body}");
    consumer.client.shutdown().await;
    broker
        .eventually("the consumer is gone", async || {
            broker
                .ask::<InvokeBrokerToResetOffset>(&reset(-1), vec![])
                .await
                .code
                == 206
        })
        .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_in_cpp_makes_the_broker_speak_to_cpp_clients() {
    let (broker, mut consumer) =
        broker_with_messages(|config| config.server_side_reset = false).await;
    for queue_id in 0..4 {
        let header = commit("t", queue_id, 1);
        broker.done::<UpdateConsumerOffset>(&header, vec![]).await;
    }
    consumer.told().await;
    // Without force, a group does not skip what it has not consumed.
    let mut cautious = reset(-1);
    cautious.is_force = false;
    let mut request = Command::request::<InvokeBrokerToResetOffset>(&cautious);
    request.language = Language::Cpp;
    let answer = broker.raw(request).await;
    let moved: ResetOffsetBody = body_of(&answer);
    let Told::Reset { body, .. } = consumer.told().await else {
        panic!("the consumer is told to reset");
    };
    let told: ResetOffsetBodyForC = fastjson::from_slice(body.as_bytes()).unwrap();
    let told: Vec<_> = told
        .offset_table
        .iter()
        .map(|queue| (queue.queue_id, queue.offset))
        .collect();
    assert_eq!(told, [(0, 1), (1, 0), (2, 0), (3, 0)]);
    let moved: Vec<_> = moved.offset_table.values().copied().collect();
    assert_eq!(moved, [1, 0, 0, 0]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_topics_that_a_live_group_leaves_out_are_cloned_only_on_demand() {
    let (broker, _consumer) = broker_with_messages(|_| {}).await;
    broker.send("u", 0, "one").await;
    let header = commit("u", 0, 1);
    broker.done::<UpdateConsumerOffset>(&header, vec![]).await;
    let mut strict = query("h", "u", 0);
    strict.set_zero_if_not_found = Some(false);
    let mut clone = CloneGroupOffsetRequestHeader {
        src_group: "g".to_owned(),
        dest_group: "h".to_owned(),
        topic: Some("u".to_owned()),
        offline: false,
    };
    broker.done::<CloneGroupOffset>(&clone, vec![]).await;
    let (code, _) = broker.refused::<QueryConsumerOffset>(&strict, vec![]).await;
    assert_eq!(
        code, 22,
        "the consumer of the group does not subscribe to the topic"
    );
    clone.offline = true;
    broker.done::<CloneGroupOffset>(&clone, vec![]).await;
    assert_eq!(offset(&broker, &strict).await, 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_group_gets_the_offsets_of_another() {
    let (broker, _consumer) = broker_with_messages(|_| {}).await;
    broker
        .done::<UpdateConsumerOffset>(&commit("t", 0, 2), vec![])
        .await;
    let clone = CloneGroupOffsetRequestHeader {
        src_group: "g".to_owned(),
        dest_group: "h".to_owned(),
        topic: Some("t".to_owned()),
        offline: false,
    };
    broker.done::<CloneGroupOffset>(&clone, vec![]).await;
    assert_eq!(offset(&broker, &query("h", "t", 0)).await, 2);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_locked_by_one_client() {
    let broker = TestBroker::start().await;
    let queue = MessageQueue {
        broker_name: "broker-t".to_owned(),
        queue_id: 0,
        topic: "t".to_owned(),
    };
    let lock = async |client_id: &str| {
        let body = json(&LockBatchRequestBody {
            client_id: client_id.to_owned(),
            consumer_group: "g".to_owned(),
            mq_set: [queue.clone()].into(),
            only_this_broker: false,
        });
        let locked: LockBatchResponseBody = body_of(&broker.done::<LockBatchMq>(&(), body).await);
        locked.lock_ok_mq_set.len()
    };
    assert_eq!(lock("one").await, 1);
    assert_eq!(lock("two").await, 0);
    let unlock = json(&UnlockBatchRequestBody {
        client_id: "one".to_owned(),
        consumer_group: "g".to_owned(),
        mq_set: [queue.clone()].into(),
        only_this_broker: false,
    });
    broker.done::<UnlockBatchMq>(&(), unlock).await;
    assert_eq!(lock("two").await, 1);
    broker.stop().await;
}
