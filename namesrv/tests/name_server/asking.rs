//! Clients ask: routes in both styles of JSON, by zone, of ordered topics, and why there is none.

use thrustmq_proto_compat::header::PutKVConfigRequestHeader;
use thrustmq_proto_compat::request_code::PutKvConfig;
use thrustmq_proto_compat::response_code::ResponseCode;

use crate::harness::{Broker, Harness};

/// A Go client's version, the last before standard JSON, the first with it, ours.
const GO: i32 = 317;
const LAST_WITHOUT: i32 = 400;
const FIRST_WITH: i32 = 401;

#[tokio::test]
async fn the_style_of_json_goes_by_the_clients_version() {
    let harness = Harness::start().await;
    let broker_1 = Broker::new(&harness, "ä", 0, &["t", "u"]);
    broker_1.up().await;
    for version in [0, GO, LAST_WITHOUT] {
        let text = harness.route_text("t", version, &[]).await;
        assert!(text.contains("\"brokerAddrs\":{0:\""), "{version}: {text}");
        assert!(text.contains("\"brokerName\":\"ä\""), "{version}: {text}");
    }
    for version in [FIRST_WITH, 513] {
        let text = harness.route_text("t", version, &[]).await;
        assert!(
            text.contains("\"brokerAddrs\":{\"0\":\""),
            "{version}: {text}"
        );
        assert!(
            text.contains("\"brokerName\":\"\\u00E4\""),
            "{version}: {text}"
        );
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
    let asked = harness
        .route_text("t", GO, &[("acceptStandardJsonOnly", "true")])
        .await;
    serde_json::from_str::<serde_json::Value>(&asked).unwrap();
    harness.stop().await;
}

#[tokio::test]
async fn a_zone_sees_its_own_brokers() {
    let harness = Harness::start().await;
    let mut brokers = Vec::new();
    for (name, id, zone) in [("near", 0, "Z1"), ("far", 0, "z2"), ("far-slave", 1, "z2")] {
        let mut broker = Broker::new(&harness, name, id, &["t", "u"]);
        broker.fields.push(("__ZONE_NAME", zone));
        broker.up().await;
        brokers.push(broker);
    }
    let fields = [("__ZONE_NAME", "z1"), ("__ZONE_MODE", "true")];
    let text = harness.route_text("t", 513, &fields).await;
    assert!(
        text.contains("{0:\"10.0.0.0:10911-near\"}"),
        "fastjson's style whatever the version: {text}"
    );
    assert!(!text.contains("10911-far\""), "{text}");
    let fields = [("__ZONE_NAME", "z1"), ("__ZONE_MODE", "false")];
    let text = harness.route_text("t", 513, &fields).await;
    assert!(text.contains("10911-far\""), "{text}");
    harness.stop().await;
}

#[tokio::test]
async fn slaves_answer_only_if_they_speak_for_their_group() {
    let harness = Harness::start().await;
    let mut old_slave = Broker::new(&harness, "a", 1, &["t", "u"]);
    old_slave.header.enable_acting_master = None;
    old_slave.up().await;
    let refusal = harness.route("t").await.unwrap_err();
    assert_eq!(refusal.code, ResponseCode::TOPIC_NOT_EXIST);
    harness.stop().await;
}

#[tokio::test]
async fn the_reason_for_no_route_follows_javas_text() {
    let harness = Harness::start().await;
    let java = "No topic route info in name server for the topic: t\n\
        See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
    let refusal = harness.route("t").await.unwrap_err();
    assert_eq!(refusal.code, ResponseCode::TOPIC_NOT_EXIST);
    let reason = refusal.remark.strip_prefix(java).unwrap();
    assert!(reason.starts_with(" No broker has registered"), "{reason}");
    let broker_2 = Broker::new(&harness, "a", 0, &["u", "v"]);
    broker_2.up().await;
    let refusal = harness.route("t").await.unwrap_err();
    let reason = refusal.remark.strip_prefix(java).unwrap();
    assert!(reason.starts_with(" The topic is not created"), "{reason}");
    harness.stop().await;
}

#[tokio::test]
async fn a_server_may_wait_for_its_brokers() {
    let harness = Harness::start_with(|config| config.need_wait_for_service = true).await;
    let broker_3 = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker_3.up().await;
    let refusal = harness.route("t").await.unwrap_err();
    assert_eq!(
        (refusal.code.0, refusal.remark.as_str()),
        (1, "name server not ready")
    );
    harness.clock.advance_ms(45_000);
    assert!(harness.route("t").await.is_ok());
    harness.stop().await;
}

#[tokio::test]
async fn the_order_of_a_topic_is_shown_if_configured() {
    let harness = Harness::start().await;
    let broker_4 = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker_4.up().await;
    let header = PutKVConfigRequestHeader {
        namespace: "ORDER_TOPIC_CONFIG".to_owned(),
        key: "t".to_owned(),
        value: "a:4".to_owned(),
    };
    harness
        .call::<PutKvConfig>(&header, Vec::new())
        .await
        .unwrap();
    assert_eq!(harness.route("t").await.unwrap().order_topic_conf, None);
    crate::operating::update(&harness, "orderMessageEnable=true")
        .await
        .unwrap();
    assert_eq!(
        harness
            .route("t")
            .await
            .unwrap()
            .order_topic_conf
            .as_deref(),
        Some("a:4")
    );
    assert_eq!(harness.route("u").await.unwrap().order_topic_conf, None);
    harness.stop().await;
}

#[tokio::test]
async fn an_unknown_code_is_answered() {
    let harness = Harness::start().await;
    let request = thrustmq_proto_compat::command::Command::new(4711);
    let answer = harness
        .client
        .call(&harness.address, request, crate::harness::TIMEOUT)
        .await
        .unwrap();
    assert_eq!(
        (answer.code, answer.remark.as_deref()),
        (3, Some(" request type 4711 not supported"))
    );
    harness.stop().await;
}
