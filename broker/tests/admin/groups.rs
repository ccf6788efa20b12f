use thrustmq_proto_compat::body::{
    GroupForbidden, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper,
};
use thrustmq_proto_compat::header::{
    DeleteSubscriptionGroupRequestHeader, GetAllSubscriptionGroupRequestHeader,
    GetSubscriptionGroupConfigRequestHeader, QueryConsumerOffsetRequestHeader,
    UpdateConsumerOffsetRequestHeader, UpdateGroupForbiddenRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    DeleteSubscriptionGroup, GetAllSubscriptionGroupConfig, GetSubscriptionGroupConfig,
    QueryConsumerOffset, UpdateAndCreateSubscriptionGroup, UpdateAndCreateSubscriptionGroupList,
    UpdateAndGetGroupForbidden, UpdateConsumerOffset,
};

use crate::harness::{TestBroker, json};

fn named(group: &str) -> GetSubscriptionGroupConfigRequestHeader {
    GetSubscriptionGroupConfigRequestHeader {
        group: group.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_created_changed_and_survives_a_restart() {
    let broker = TestBroker::start().await;
    let mut group = SubscriptionGroupConfig::new("g");
    group.retry_max_times = 3;
    let body = json(&group);
    broker
        .done::<UpdateAndCreateSubscriptionGroup>(&(), body)
        .await;
    let dir = broker.stop().await;
    let broker = TestBroker::start_in(dir, |config| config.auto_create_group = false).await;
    let shown: SubscriptionGroupConfig = broker
        .show::<GetSubscriptionGroupConfig, _>(&named("g"))
        .await;
    assert_eq!(shown, group);
    assert_eq!(
        broker
            .refused::<GetSubscriptionGroupConfig>(&named("h"), vec![])
            .await,
        (26, "No group in this broker".to_owned())
    );
    let everything = GetAllSubscriptionGroupRequestHeader::default();
    let all: SubscriptionGroupWrapper = broker
        .show::<GetAllSubscriptionGroupConfig, _>(&everything)
        .await;
    assert_eq!(all.subscription_group_table["g"], group);
    assert!(all.subscription_group_table.contains_key("TOOLS_CONSUMER"));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_names_and_attributes_are_refused() {
    let broker = TestBroker::start().await;
    let refused = async |group: &SubscriptionGroupConfig| {
        let body = json(group);
        broker
            .refused::<UpdateAndCreateSubscriptionGroup>(&(), body)
            .await
    };
    let long = "g".repeat(121);
    assert_eq!(
        refused(&SubscriptionGroupConfig::new(&long)).await,
        (
            29,
            format!("The specified group: {long}, is longer than group max length: 120")
        )
    );
    let mut group = SubscriptionGroupConfig::new("g");
    group.attributes.insert("+a".to_owned(), "b".to_owned());
    assert_eq!(refused(&group).await, (1, "unsupported key: a".to_owned()));
    let mut group = SubscriptionGroupConfig::new("g");
    group.retry_queue_nums = i32::MAX;
    assert_eq!(refused(&group).await.0, 29);
    let list = SubscriptionGroupList {
        group_config_list: vec![
            SubscriptionGroupConfig::new("ok"),
            SubscriptionGroupConfig::new("not ok"),
        ],
    };
    let body = json(&list);
    assert_eq!(
        broker
            .refused::<UpdateAndCreateSubscriptionGroupList>(&(), body)
            .await
            .0,
        29
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_group_takes_its_offsets_along_if_asked() {
    let broker = TestBroker::start().await;
    broker.send("t", 0, "x").await;
    let group = json(&SubscriptionGroupConfig::new("g"));
    let commit = UpdateConsumerOffsetRequestHeader {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: 0,
        commit_offset: 9,
        broker_name: None,
    };
    let query = QueryConsumerOffsetRequestHeader {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: 0,
        set_zero_if_not_found: Some(false),
        broker_name: None,
    };
    for (clean_offset, code_after) in [(false, 0), (true, 22)] {
        broker
            .done::<UpdateAndCreateSubscriptionGroup>(&(), group.clone())
            .await;
        broker.done::<UpdateConsumerOffset>(&commit, vec![]).await;
        let delete = DeleteSubscriptionGroupRequestHeader {
            group_name: "g".to_owned(),
            clean_offset,
        };
        broker
            .done::<DeleteSubscriptionGroup>(&delete, vec![])
            .await;
        assert_eq!(
            broker.ask::<QueryConsumerOffset>(&query, vec![]).await.code,
            code_after
        );
    }
    assert_eq!(
        broker
            .refused::<UpdateConsumerOffset>(&commit, vec![])
            .await,
        (26, "Group g not exist!".to_owned())
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_can_be_kept_from_a_topic() {
    let broker = TestBroker::start().await;
    let mut header = UpdateGroupForbiddenRequestHeader {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        readable: Some(false),
    };
    let shown: GroupForbidden = broker.show::<UpdateAndGetGroupForbidden, _>(&header).await;
    assert_eq!(shown.readable, Some(false));
    header.readable = None;
    let shown: GroupForbidden = broker.show::<UpdateAndGetGroupForbidden, _>(&header).await;
    assert_eq!(shown.readable, Some(false));
    broker.stop().await;
}
