//! Operators change things: topics, permissions, key-value and the server's own configuration.

use thrustmq_namesrv::{NameServer, NamesrvConfig, NamesrvOptions, StartError};
use thrustmq_proto_compat::body::{KVTable, QueueData, TopicList, TopicRouteData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::*;
use thrustmq_proto_compat::request_code::*;
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::Refusal;

use crate::harness::{Broker, Harness};

pub(crate) async fn update(harness: &Harness, text: &str) -> Result<(), Refusal> {
    let updated = harness
        .call::<UpdateNamesrvConfig>(&(), text.as_bytes().to_vec())
        .await;
    updated.map(|_| ())
}

async fn topics<C: CommandSpec>(
    harness: &Harness,
    header: &C::Request,
) -> Result<Vec<String>, Refusal> {
    let reply = harness.call::<C>(header, Vec::new()).await?;
    let list: TopicList = fastjson::from_slice(&reply.body.to_bytes()).unwrap();
    Ok(list.topic_list.into_iter().collect())
}

#[tokio::test]
async fn topics_are_listed() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &["t", "u", "v"]);
    let table = &mut broker
        .body
        .topic_config_serialize_wrapper
        .topic_config_table;
    table.get_mut("t").unwrap().topic_sys_flag = 1;
    table.get_mut("u").unwrap().topic_sys_flag = 2;
    table.get_mut("v").unwrap().topic_sys_flag = 3;
    broker.up().await;
    assert_eq!(
        topics::<GetAllTopicListFromNameserver>(&harness, &())
            .await
            .unwrap(),
        ["t", "u", "v"]
    );
    assert_eq!(
        topics::<GetUnitTopicList>(&harness, &()).await.unwrap(),
        ["t", "v"]
    );
    assert_eq!(
        topics::<GetHasUnitSubTopicList>(&harness, &())
            .await
            .unwrap(),
        ["u", "v"]
    );
    assert_eq!(
        topics::<GetHasUnitSubUnunitTopicList>(&harness, &())
            .await
            .unwrap(),
        ["u"]
    );
    let system = topics::<GetSystemTopicListFromNs>(&harness, &())
        .await
        .unwrap();
    assert_eq!(system, ["DefaultCluster", "a"]);
    let cluster = |cluster: &str| GetTopicsByClusterRequestHeader {
        cluster: cluster.to_owned(),
    };
    let known = topics::<GetTopicsByCluster>(&harness, &cluster("DefaultCluster"))
        .await
        .unwrap();
    assert_eq!(known.len(), 3);
    let unknown = topics::<GetTopicsByCluster>(&harness, &cluster("x"))
        .await
        .unwrap();
    assert!(unknown.is_empty());

    update(&harness, "enableAllTopicList=false\nenableTopicList=false")
        .await
        .unwrap();
    let disabled = topics::<GetAllTopicListFromNameserver>(&harness, &())
        .await
        .unwrap_err();
    assert_eq!((disabled.code.0, disabled.remark.as_str()), (1, "disable"));
    assert!(topics::<GetUnitTopicList>(&harness, &()).await.is_err());
    harness.stop().await;
}

#[tokio::test]
async fn topics_are_deleted_and_put() {
    let harness = Harness::start().await;
    let broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker.up().await;
    for cluster_name in [None, Some("DefaultCluster".to_owned()), Some(String::new())] {
        let topic = "t".to_owned();
        let header = DeleteTopicFromNamesrvRequestHeader {
            topic,
            cluster_name,
        };
        harness
            .call::<DeleteTopicInNamesrv>(&header, Vec::new())
            .await
            .unwrap();
        assert!(harness.route("t").await.is_err());
        broker.up().await;
        assert!(
            harness.route("t").await.is_ok(),
            "an unchanged broker brings it back"
        );
    }

    let header = RegisterTopicRequestHeader {
        topic: "p".to_owned(),
    };
    let queue = QueueData {
        broker_name: "a".to_owned(),
        write_queue_nums: 9,
        ..QueueData::default()
    };
    let route = TopicRouteData {
        queue_datas: vec![queue],
        ..TopicRouteData::default()
    };
    let body = fastjson::to_vec(&route).unwrap();
    harness
        .call::<RegisterTopicInNamesrv>(&header, body)
        .await
        .unwrap();
    assert_eq!(
        harness.route("p").await.unwrap().queue_datas[0].write_queue_nums,
        9
    );
    harness.stop().await;
}

#[tokio::test]
async fn write_permissions_are_wiped_and_restored() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker.up().await;
    let broker_name = || "a".to_owned();
    let header = WipeWritePermOfBrokerRequestHeader {
        broker_name: broker_name(),
    };
    let wiped = harness
        .call::<WipeWritePermOfBroker>(&header, Vec::new())
        .await
        .unwrap();
    assert_eq!(wiped.header.wipe_topic_count, 2);
    assert_eq!(harness.route("t").await.unwrap().queue_datas[0].perm, 4);
    broker.up().await;
    assert_eq!(
        harness.route("t").await.unwrap().queue_datas[0].perm,
        4,
        "unchanged topics stay wiped"
    );
    let header = AddWritePermOfBrokerRequestHeader {
        broker_name: broker_name(),
    };
    let added = harness
        .call::<AddWritePermOfBroker>(&header, Vec::new())
        .await
        .unwrap();
    assert_eq!(added.header.add_topic_count, 2);
    assert_eq!(harness.route("t").await.unwrap().queue_datas[0].perm, 6);
    broker.set_topics(&["t", "u"]);
    broker.up().await;
    harness.stop().await;
}

#[tokio::test]
async fn key_values_survive_a_restart() {
    let harness = Harness::start().await;
    let none = list(&harness).await.unwrap_err();
    assert_eq!(none.remark, "No config item, Namespace: ns");
    assert_eq!(none.code.0, 22);
    put(&harness, "k", "v").await;
    put(&harness, "gone", "x").await;
    let gone = DeleteKVConfigRequestHeader {
        namespace: "ns".to_owned(),
        key: "gone".to_owned(),
    };
    let deleted = harness.call::<DeleteKvConfig>(&gone, Vec::new()).await;
    deleted.unwrap();

    let harness = Harness::start_in(harness.stop().await, |_| {}).await;
    assert_eq!(get(&harness, "k").await.unwrap().as_deref(), Some("v"));
    let none = get(&harness, "gone").await.unwrap_err();
    assert_eq!(none.remark, "No config item, Namespace: ns Key: gone");
    assert_eq!(none.code.0, 22);
    let table: Vec<_> = list(&harness).await.unwrap().table.into_iter().collect();
    assert_eq!(table, [("k".to_owned(), "v".to_owned())]);
    harness.stop().await;
}

async fn put(harness: &Harness, key: &str, value: &str) {
    let header = PutKVConfigRequestHeader {
        namespace: "ns".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let put = harness.call::<PutKvConfig>(&header, Vec::new()).await;
    put.unwrap();
}

async fn get(harness: &Harness, key: &str) -> Result<Option<String>, Refusal> {
    let header = GetKVConfigRequestHeader {
        namespace: "ns".to_owned(),
        key: key.to_owned(),
    };
    let got = harness.call::<GetKvConfig>(&header, Vec::new()).await?;
    Ok(got.header.value)
}

async fn list(harness: &Harness) -> Result<KVTable, Refusal> {
    let header = GetKVListByNamespaceRequestHeader {
        namespace: "ns".to_owned(),
    };
    let listed = harness.call::<GetKvListByNamespace>(&header, Vec::new());
    let body = listed.await?.body.to_bytes();
    Ok(fastjson::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_configuration_is_shown_changed_and_kept() {
    let harness = Harness::start().await;
    update(
        &harness,
        "scanNotActiveBrokerInterval=1234\nscanNotActive=1\n",
    )
    .await
    .unwrap();
    let reply = harness
        .call::<GetNamesrvConfig>(&(), Vec::new())
        .await
        .unwrap();
    let text = String::from_utf8(reply.body.to_bytes().to_vec()).unwrap();
    assert!(
        text.contains("scanNotActiveBrokerInterval=1234\n"),
        "{text}"
    );
    let kept =
        std::fs::read_to_string(harness.directory.path().join("namesrv.properties")).unwrap();
    assert_eq!(kept, text);

    for forbidden in [
        "kvConfigPath",
        "configStorePath",
        "configBlackList",
        "rocketmqHome",
    ] {
        let refusal = update(&harness, &format!("{forbidden}=/tmp/x"))
            .await
            .unwrap_err();
        let seen = (refusal.code.0, refusal.remark.as_str());
        assert_eq!(
            seen,
            (16, "Can not update config in black list."),
            "{forbidden}"
        );
    }
    let refusal = update(&harness, "enableTopicList=perhaps")
        .await
        .unwrap_err();
    assert_eq!(refusal.code.0, 1);
    assert!(
        refusal.remark.contains("enableTopicList"),
        "{}",
        refusal.remark
    );
    harness.stop().await;
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_told() {
    let harness = Harness::start().await;
    let start = |config: NamesrvConfig| {
        let options = NamesrvOptions {
            config,
            config_file: None,
        };
        NameServer::start(options, Clock::system())
    };
    let base = NamesrvConfig {
        bind_address: "127.0.0.1".to_owned(),
        listen_port: 0,
        kv_config_path: harness
            .directory
            .path()
            .join("other.json")
            .display()
            .to_string(),
        ..NamesrvConfig::default()
    };
    let taken = NamesrvConfig {
        listen_port: harness.server.local_addr().port(),
        ..base.clone()
    };
    assert!(matches!(start(taken).await, Err(StartError::Listen { .. })));
    let wrong = NamesrvConfig {
        bind_address: "here".to_owned(),
        ..base.clone()
    };
    assert!(matches!(start(wrong).await, Err(StartError::BadAddress(_))));
    std::fs::write(&base.kv_config_path, "{").unwrap();
    assert!(matches!(start(base).await, Err(StartError::KvConfig(_))));
    harness.stop().await;
}
