use thrustmq_proto_compat::body::{
    CheckClientRequestBody, ConsumerConnection, GetConsumerListByGroupResponseBody, GroupList,
    ProducerConnection, ProducerTableInfo, QuerySubscriptionResponseBody, SubscriptionData,
};
use thrustmq_proto_compat::header::{
    GetConsumerConnectionListRequestHeader, GetConsumerListByGroupRequestHeader,
    GetProducerConnectionListRequestHeader, GetTopicConfigRequestHeader,
    QuerySubscriptionByConsumerRequestHeader, QueryTopicConsumeByWhoRequestHeader,
    UnregisterClientRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    CheckClientConfig, GetAllProducerInfo, GetConsumerConnectionList, GetConsumerListByGroup,
    GetProducerConnectionList, GetTopicConfig, QuerySubscriptionByConsumer, QueryTopicConsumeByWho,
    UnregisterClient, UpdateBrokerConfig,
};

use crate::harness::{Consumer, TestBroker, Told, json};

fn of_group() -> GetConsumerListByGroupRequestHeader {
    GetConsumerListByGroupRequestHeader {
        consumer_group: "g".to_owned(),
    }
}

async fn members(broker: &TestBroker) -> Vec<String> {
    let list: GetConsumerListByGroupResponseBody =
        broker.show::<GetConsumerListByGroup, _>(&of_group()).await;
    list.consumer_id_list
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_are_told_who_comes_and_who_goes() {
    let broker = TestBroker::start().await;
    let changed = Told::GroupChanged("g".to_owned());
    let mut one = Consumer::new(&broker, "one");
    one.join("g", &["t"]).await;
    assert_eq!(one.told().await, changed);
    let mut two = Consumer::new(&broker, "two");
    two.join("g", &["t"]).await;
    assert_eq!(one.told().await, changed);
    assert_eq!(two.told().await, changed);
    assert_eq!(members(&broker).await.len(), 2);
    let leave = UnregisterClientRequestHeader {
        client_id: "two".to_owned(),
        producer_group: Some("p".to_owned()),
        consumer_group: Some("g".to_owned()),
    };
    two.call::<UnregisterClient>(&leave).await;
    assert_eq!(one.told().await, changed);
    assert_eq!(members(&broker).await, ["one"]);
    two.forget();
    two.join("g", &["t"]).await;
    assert_eq!(one.told().await, changed);
    two.client.shutdown().await;
    assert_eq!(one.told().await, changed);
    assert_eq!(members(&broker).await, ["one"]);
    one.client.shutdown().await;
    broker
        .eventually("the group is empty", async || {
            broker
                .ask::<GetConsumerListByGroup>(&of_group(), vec![])
                .await
                .code
                == 1
        })
        .await;
    let refusal = broker
        .refused::<GetConsumerListByGroup>(&of_group(), vec![])
        .await;
    assert_eq!(refusal, (1, "no consumer for this group, g".to_owned()));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_creates_the_retry_topic_and_tells_what_the_broker_can() {
    let broker = TestBroker::start().await;
    let one = Consumer::new(&broker, "one");
    let answer = one.join("g", &["t"]).await;
    assert_eq!(answer.fields.get("IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
    assert_eq!(answer.fields.get("IS_SUB_CHANGE"), Some("true"));
    let retry = GetTopicConfigRequestHeader {
        topic: "%RETRY%g".to_owned(),
    };
    broker.done::<GetTopicConfig>(&retry, vec![]).await;
    let mut second = one.heartbeat("g", &["t"]);
    second.heartbeat_fingerprint = 5;
    one.beat(second.clone()).await;
    let answer = one.beat(second.clone()).await;
    assert_eq!(answer.fields.get("IS_SUB_CHANGE"), Some("false"));
    second.heartbeat_fingerprint = 6;
    let answer = one.beat(second.clone()).await;
    assert_eq!(answer.fields.get("IS_SUB_CHANGE"), Some("true"));
    second.without_sub = true;
    second.consumer_data_set[0].subscription_data_set.clear();
    one.beat(second).await;
    let header = QuerySubscriptionByConsumerRequestHeader {
        group: "g".to_owned(),
        topic: Some("t".to_owned()),
    };
    let shown: QuerySubscriptionResponseBody =
        broker.show::<QuerySubscriptionByConsumer, _>(&header).await;
    assert_eq!(shown.subscription_data.unwrap().sub_string, "*");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_is_connected() {
    let broker = TestBroker::start().await;
    let one = Consumer::new(&broker, "one");
    one.join("g", &["t", "u"]).await;
    let header = GetConsumerConnectionListRequestHeader {
        consumer_group: "g".to_owned(),
    };
    let shown: ConsumerConnection = broker.show::<GetConsumerConnectionList, _>(&header).await;
    assert_eq!(shown.connection_set[0].client_id, "one");
    assert!(
        shown.connection_set[0]
            .client_addr
            .starts_with("127.0.0.1:")
    );
    assert_eq!(shown.subscription_table.len(), 2);
    let header = GetProducerConnectionListRequestHeader {
        producer_group: "p".to_owned(),
    };
    let shown: ProducerConnection = broker.show::<GetProducerConnectionList, _>(&header).await;
    assert_eq!(shown.connection_set.len(), 1);
    let shown: ProducerTableInfo = broker.show::<GetAllProducerInfo, _>(&()).await;
    assert_eq!(shown.data["p"][0].client_id, "one");
    let header = QueryTopicConsumeByWhoRequestHeader {
        topic: "t".to_owned(),
    };
    let shown: GroupList = broker.show::<QueryTopicConsumeByWho, _>(&header).await;
    assert_eq!(shown.group_list.into_iter().collect::<Vec<_>>(), ["g"]);
    let absent = GetConsumerConnectionListRequestHeader {
        consumer_group: "h".to_owned(),
    };
    let refusal = broker
        .refused::<GetConsumerConnectionList>(&absent, vec![])
        .await;
    assert_eq!(
        refusal,
        (206, "the consumer group[h] not online".to_owned())
    );
    let absent = GetProducerConnectionListRequestHeader {
        producer_group: "q".to_owned(),
    };
    let refusal = broker
        .refused::<GetProducerConnectionList>(&absent, vec![])
        .await;
    assert_eq!(refusal, (1, "the producer group[q] not exist".to_owned()));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_checked_before_a_consumer_starts() {
    let broker = TestBroker::start().await;
    let check = |expression_type: &str, expression: &str| CheckClientRequestBody {
        client_id: "one".to_owned(),
        group: "g".to_owned(),
        subscription_data: Some(SubscriptionData {
            topic: "t".to_owned(),
            expression_type: Some(expression_type.to_owned()),
            sub_string: expression.to_owned(),
            ..SubscriptionData::default()
        }),
        ..CheckClientRequestBody::default()
    };
    for (expression_type, expression) in [("TAG", "a = 1"), ("SQL92", "a = 1"), ("", "")] {
        let body = json(&check(expression_type, expression));
        broker.done::<CheckClientConfig>(&(), body).await;
    }
    for (expression_type, expression, why) in [
        ("SQL92", "a = ", "can not go on at the end"),
        ("SQL92", "", "the expression is empty"),
        ("XPATH", "a", "expressions of the type XPATH are unknown"),
    ] {
        let body = json(&check(expression_type, expression));
        let refusal = broker.refused::<CheckClientConfig>(&(), body).await;
        assert_eq!(refusal, (23, why.to_owned()));
    }
    let off = b"enablePropertyFilter=false".to_vec();
    broker.done::<UpdateBrokerConfig>(&(), off).await;
    let refusal = broker
        .refused::<CheckClientConfig>(&(), json(&check("SQL92", "a = 1")))
        .await;
    let remark = "The broker does not support consumer to filter message by SQL92";
    assert_eq!(refusal, (1, remark.to_owned()));
    broker.stop().await;
}
