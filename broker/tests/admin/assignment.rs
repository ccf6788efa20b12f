//! Division of queues by the broker: 400, 401 and 402.

use thrustmq_proto_compat::body::{
    MessageModel, MessageRequestMode, MessageRequestModeSerializeWrapper,
    QueryAssignmentRequestBody, QueryAssignmentResponseBody, SetMessageRequestModeRequestBody,
};
use thrustmq_proto_compat::request_code::{
    GetAllMessageRequestMode, QueryAssignment, SetMessageRequestMode,
};

use crate::harness::{Consumer, TestBroker, body_of, json};

/// What the broker says: mode and queue ids.
async fn assigned(
    broker: &TestBroker,
    client_id: &str,
    change: impl FnOnce(&mut QueryAssignmentRequestBody),
) -> Option<(Vec<i32>, Vec<MessageRequestMode>)> {
    let mut asked = QueryAssignmentRequestBody {
        client_id: client_id.to_owned(),
        consumer_group: "g".to_owned(),
        message_model: MessageModel::Clustering,
        strategy_name: Some("AVG".to_owned()),
        topic: "t".to_owned(),
    };
    change(&mut asked);
    let answer = broker.done::<QueryAssignment>(&(), json(&asked)).await;
    let body: QueryAssignmentResponseBody = body_of(&answer);
    let assigned = body.message_queue_assignments?;
    let ids = assigned.iter().map(|one| one.message_queue.queue_id);
    Some((ids.collect(), assigned.iter().map(|one| one.mode).collect()))
}

fn pop_mode(topic: &str) -> Vec<u8> {
    json(&SetMessageRequestModeRequestBody {
        consumer_group: "g".to_owned(),
        mode: MessageRequestMode::Pop,
        pop_share_queue_num: -1,
        topic: topic.to_owned(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_divides_queues_among_the_members() {
    let broker = TestBroker::start().await;
    broker.send("t", 0, "one").await;
    assert_eq!(
        assigned(&broker, "one", |_| {}).await,
        None,
        "nobody is here yet"
    );
    let one = Consumer::new(&broker, "one");
    let two = Consumer::new(&broker, "two");
    one.join("g", &["t"]).await;
    two.join("g", &["t"]).await;
    let pull = |ids: &[i32]| Some((ids.to_vec(), vec![MessageRequestMode::Pull; ids.len()]));
    assert_eq!(assigned(&broker, "one", |_| {}).await, pull(&[0, 1]));
    assert_eq!(assigned(&broker, "two", |_| {}).await, pull(&[2, 3]));
    let dealt = |asked: &mut QueryAssignmentRequestBody| {
        asked.strategy_name = Some("AVG_BY_CIRCLE".to_owned());
    };
    assert_eq!(assigned(&broker, "two", dealt).await, pull(&[1, 3]));
    let broadcast = |asked: &mut QueryAssignmentRequestBody| {
        asked.message_model = MessageModel::Broadcasting;
    };
    assert_eq!(
        assigned(&broker, "two", broadcast).await,
        pull(&[0, 1, 2, 3])
    );
    assert_eq!(assigned(&broker, "stranger", |_| {}).await, pull(&[]));
    let unknown =
        |asked: &mut QueryAssignmentRequestBody| asked.strategy_name = Some("X".to_owned());
    assert_eq!(assigned(&broker, "one", unknown).await, None);
    let absent = |asked: &mut QueryAssignmentRequestBody| asked.topic = "absent".to_owned();
    assert_eq!(assigned(&broker, "one", absent).await, None);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_pops_takes_any_queue_also_after_a_restart() {
    let broker = TestBroker::start().await;
    broker.send("t", 0, "one").await;
    broker
        .done::<SetMessageRequestMode>(&(), pop_mode("t"))
        .await;
    let refused = [
        ("%RETRY%g", 16, "retry topic is not allowed to set mode"),
        ("absent", 17, "topic[absent] not exist"),
    ];
    for (topic, code, remark) in refused {
        let answer = broker
            .refused::<SetMessageRequestMode>(&(), pop_mode(topic))
            .await;
        assert_eq!(answer, (code, remark.to_owned()));
    }
    let broker = TestBroker::start_in(broker.stop().await, |_| {}).await;
    let one = Consumer::new(&broker, "one");
    one.join("g", &["t"]).await;
    let pop = Some((vec![-1], vec![MessageRequestMode::Pop]));
    assert_eq!(assigned(&broker, "one", |_| {}).await, pop);
    let other = |asked: &mut QueryAssignmentRequestBody| asked.topic = "%RETRY%g".to_owned();
    let retry = assigned(&broker, "one", other).await.unwrap();
    assert_eq!(retry.1, [MessageRequestMode::Pull], "retries are pulled");
    let all: MessageRequestModeSerializeWrapper =
        broker.show::<GetAllMessageRequestMode, _>(&()).await;
    assert_eq!(
        all.message_request_mode_map["t"]["g"].pop_share_queue_num,
        -1
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_divide_gives_everyone_all() {
    let broker = TestBroker::start_with(|config| config.server_load_balancer = false).await;
    broker.send("t", 0, "one").await;
    let everyone = assigned(&broker, "stranger", |_| {}).await.unwrap();
    assert_eq!(everyone.0, [0, 1, 2, 3]);
    broker.stop().await;
}
