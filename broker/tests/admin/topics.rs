use thrustmq_proto_compat::body::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper,
    TopicConfigAndQueueMapping, TopicList,
};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{
    CreateTopicRequestHeader, DeleteTopicRequestHeader, GetAllTopicConfigRequestHeader,
    GetMaxOffsetRequestHeader, GetMaxOffsetResponseHeader, GetTopicConfigRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    DeleteTopicInBroker, GetAllTopicConfig, GetMaxOffset, GetSystemTopicListFromBroker,
    GetTopicConfig, UpdateAndCreateTopic, UpdateAndCreateTopicList,
};

use crate::harness::{TestBroker, json};

fn create(topic: &str) -> CreateTopicRequestHeader {
    CreateTopicRequestHeader {
        topic: topic.to_owned(),
        read_queue_nums: 3,
        write_queue_nums: 2,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".to_owned(),
        ..CreateTopicRequestHeader::default()
    }
}

fn named(topic: &str) -> GetTopicConfigRequestHeader {
    GetTopicConfigRequestHeader {
        topic: topic.to_owned(),
    }
}

async fn all(broker: &TestBroker) -> TopicConfigAndMappingSerializeWrapper {
    let everything = GetAllTopicConfigRequestHeader::default();
    broker.show::<GetAllTopicConfig, _>(&everything).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_shown_changed_and_survives_a_restart() {
    let broker = TestBroker::start().await;
    let mut header = create("orders");
    header.attributes = Some("+message.type=FIFO".to_owned());
    header.order = true;
    broker.done::<UpdateAndCreateTopic>(&header, vec![]).await;
    let version = all(&broker).await.data_version;
    header.attributes = None;
    broker.done::<UpdateAndCreateTopic>(&header, vec![]).await;
    assert_eq!(all(&broker).await.data_version, version);
    header.perm = 4;
    broker.done::<UpdateAndCreateTopic>(&header, vec![]).await;
    assert_eq!(all(&broker).await.data_version.counter, version.counter + 1);
    let dir = broker.stop().await;
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let topic: TopicConfigAndQueueMapping =
        broker.show::<GetTopicConfig, _>(&named("orders")).await;
    assert_eq!(
        (topic.read_queue_nums, topic.write_queue_nums, topic.perm),
        (3, 2, 4)
    );
    assert_eq!(topic.attributes["message.type"], "FIFO");
    assert!(topic.order);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_java_refuses_is_refused_with_its_words() {
    let broker = TestBroker::start().await;
    let refused = async |header: CreateTopicRequestHeader| {
        broker
            .refused::<UpdateAndCreateTopic>(&header, vec![])
            .await
    };
    let characters = "allowing only ^[%|a-zA-Z0-9_-]+$";
    assert_eq!(
        refused(create("a.b")).await,
        (
            29,
            format!("The specified topic: a.b, contains illegal characters, {characters}")
        )
    );
    assert_eq!(
        refused(create(" ")).await,
        (29, "The specified topic is blank.".to_owned())
    );
    let long = "t".repeat(128);
    assert_eq!(
        refused(create(&long)).await,
        (
            29,
            format!("The specified topic: {long}, is longer than topic max length: 127")
        )
    );
    for system in ["TBW102", "broker-t", "DefaultCluster", "rmq_sys_anything"] {
        let remark = format!("The topic[{system}] is conflict with system topic.");
        assert_eq!(refused(create(system)).await, (29, remark));
    }
    let mut header = create("t");
    header.attributes = Some("+message.type=MIXED".to_owned());
    let mixed = (29, "MIXED message type is not supported.".to_owned());
    assert_eq!(refused(header.clone()).await, mixed);
    header.attributes = Some("+no.such=1".to_owned());
    assert_eq!(
        refused(header.clone()).await,
        (1, "unsupported key: no.such".to_owned())
    );
    header.attributes = None;
    header.read_queue_nums = i32::MAX;
    assert_eq!(refused(header).await.0, 29);
    assert_eq!(
        broker.refused::<GetTopicConfig>(&named("t"), vec![]).await,
        (17, "No topic in this broker. topic: t".to_owned())
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_topics_is_created_as_a_whole_or_not_at_all() {
    let broker = TestBroker::start().await;
    let topics = |names: &[&str]| CreateTopicListRequestBody {
        topic_config_list: names.iter().map(|name| TopicConfig::new(*name)).collect(),
    };
    let body = json(&topics(&["good", "not good"]));
    assert_eq!(
        broker
            .refused::<UpdateAndCreateTopicList>(&(), body)
            .await
            .0,
        29
    );
    assert!(!all(&broker).await.topic_config_table.contains_key("good"));
    let body = json(&topics(&["one", "two"]));
    broker.done::<UpdateAndCreateTopicList>(&(), body).await;
    let table = all(&broker).await.topic_config_table;
    assert!(table.contains_key("one") && table.contains_key("two"));
    let rubbish = broker
        .refused::<UpdateAndCreateTopicList>(&(), b"{\"topic".to_vec())
        .await;
    assert_eq!(rubbish.0, 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_is_gone_with_its_messages() {
    let broker = TestBroker::start().await;
    broker.send("t", 1, "hello").await;
    let queue = GetMaxOffsetRequestHeader {
        topic: "t".to_owned(),
        queue_id: 1,
        ..GetMaxOffsetRequestHeader::default()
    };
    let end = async || {
        let answer = broker.done::<GetMaxOffset>(&queue, vec![]).await;
        answer
            .header::<GetMaxOffsetResponseHeader>()
            .unwrap()
            .offset
    };
    broker
        .eventually("the message is in its queue", async || end().await == 1)
        .await;
    let delete = DeleteTopicRequestHeader {
        topic: "t".to_owned(),
    };
    broker.done::<DeleteTopicInBroker>(&delete, vec![]).await;
    assert_eq!(
        broker
            .refused::<GetTopicConfig>(&named("t"), vec![])
            .await
            .0,
        17
    );
    assert_eq!(end().await, 0);
    let system = DeleteTopicRequestHeader {
        topic: "TBW102".to_owned(),
    };
    assert_eq!(
        broker
            .refused::<DeleteTopicInBroker>(&system, vec![])
            .await
            .0,
        29
    );
    let blank = DeleteTopicRequestHeader {
        topic: " ".to_owned(),
    };
    let remark = "The specified topic is blank.".to_owned();
    assert_eq!(
        broker.refused::<DeleteTopicInBroker>(&blank, vec![]).await,
        (29, remark)
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_come_in_pages() {
    let broker = TestBroker::start().await;
    let mut header = GetAllTopicConfigRequestHeader {
        topic_seq: Some(0),
        max_topic_num: Some(5),
        data_version: None,
    };
    let mut seen = Vec::new();
    let total = loop {
        let answer = broker.done::<GetAllTopicConfig>(&header, vec![]).await;
        let total = answer
            .fields
            .get("totalTopicNum")
            .unwrap()
            .parse::<usize>()
            .unwrap();
        let page: TopicConfigAndMappingSerializeWrapper = crate::harness::body_of(&answer);
        seen.extend(page.topic_config_table.into_keys());
        if seen.len() >= total {
            break total;
        }
        header.topic_seq = i32::try_from(seen.len()).ok();
        header.data_version = Some(String::from_utf8(json(&page.data_version)).unwrap());
    };
    assert_eq!(seen.len(), total);
    let system: TopicList = broker.show::<GetSystemTopicListFromBroker, _>(&()).await;
    assert!(system.topic_list.contains("SCHEDULE_TOPIC_XXXX"));
    assert!(system.topic_list.contains("DefaultCluster_REPLY_TOPIC"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_nothing_serves_gets_code_3() {
    let broker = TestBroker::start().await;
    let answer = broker.raw(Command::new(3001)).await;
    assert_eq!(answer.code, 3);
    assert_eq!(
        answer.remark.as_deref(),
        Some(" request type 3001 not supported")
    );
    let nothing = broker.raw(Command::new(17)).await;
    assert_eq!(
        nothing.remark.as_deref(),
        Some("the custom field <topic> is null")
    );
    broker.stop().await;
}
