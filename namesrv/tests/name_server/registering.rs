//! Brokers come: bodies, checksums, versions, masters and slaves.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use thrustmq_proto_compat::body::{ClusterInfo, DataVersion, GetBrokerMemberGroupResponseBody};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    GetBrokerMemberGroupRequestHeader, QueryDataVersionRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    GetBrokerClusterInfo, GetBrokerMemberGroup, QueryDataVersion,
};
use thrustmq_remoting::Reply;

use crate::harness::{Broker, Harness};

#[tokio::test]
async fn what_a_broker_registers_is_what_clients_find() {
    let harness = Harness::start().await;
    let master = Broker::new(&harness, "a", 0, &["t", "u"]);
    let answer = master.up().await;
    assert_eq!(
        (answer.master_address, answer.ha_server_address),
        (None, None)
    );
    let slave = Broker::new(&harness, "a", 1, &["t", "u"]);
    let answer = slave.up().await;
    assert_eq!(answer.master_address.as_deref(), Some("10.0.0.0:10911-a"));
    assert_eq!(
        answer.ha_server_address.as_deref(),
        Some("10.0.0.0:10912-a")
    );

    let route = harness.route("t").await.unwrap();
    assert_eq!(route.queue_datas.len(), 1);
    assert_eq!(route.queue_datas[0].write_queue_nums, 4);
    let addresses = &route.broker_datas[0].broker_addrs;
    assert_eq!(
        (addresses.len(), addresses[&1].as_str()),
        (2, "10.0.0.1:10911-a")
    );
    harness.stop().await;
}

#[tokio::test]
async fn cluster_and_members_are_listed() {
    let harness = Harness::start().await;
    let broker_1 = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker_1.up().await;
    let broker_2 = Broker::new(&harness, "b", 0, &["t", "u"]);
    broker_2.up().await;
    let reply = harness
        .call::<GetBrokerClusterInfo>(&(), Vec::new())
        .await
        .unwrap();
    let text = reply.body.to_bytes();
    assert!(
        std::str::from_utf8(&text)
            .unwrap()
            .contains(r#""brokerAddrs":{0:"10.0.0.0:10911-a"}"#),
        "keys that are numbers stand without quotes, as fastjson writes them: {text:?}"
    );
    let info: ClusterInfo = fastjson::from_slice(&text).unwrap();
    assert_eq!(info.cluster_addr_table["DefaultCluster"].len(), 2);

    let header = GetBrokerMemberGroupRequestHeader {
        cluster_name: "DefaultCluster".to_owned(),
        broker_name: "b".to_owned(),
    };
    let reply = harness
        .call::<GetBrokerMemberGroup>(&header, Vec::new())
        .await
        .unwrap();
    let body: GetBrokerMemberGroupResponseBody =
        fastjson::from_slice(&reply.body.to_bytes()).unwrap();
    assert_eq!(
        body.broker_member_group.unwrap().broker_addrs[&0],
        "10.0.0.0:10911-b"
    );
    harness.stop().await;
}

#[tokio::test]
async fn a_compressed_body_is_read() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &[]);
    broker.header.compressed = true;
    let body = packed(&[
        piece(r#"{"counter":7,"timestamp":5,"stateVersion":0}"#),
        2_u32.to_be_bytes().to_vec(),
        piece("t 8 3 6 SINGLE_TAG {}"),
        piece("u 1 1 4 SINGLE_TAG"),
        piece("[]"),
        0_u32.to_be_bytes().to_vec(),
    ]);
    assert_eq!(broker.register_body(body.clone()).await.code, 0);
    let route = harness.route("t").await.unwrap();
    let queues = &route.queue_datas[0];
    assert_eq!(
        (queues.read_queue_nums, queues.write_queue_nums, queues.perm),
        (8, 3, 6)
    );

    let torn = broker.register_body(body[..body.len() / 2].to_vec()).await;
    assert_eq!(torn.code, 1);
    let remark = torn.remark.unwrap();
    assert!(
        remark.starts_with("Failed to decode RegisterBrokerBody"),
        "{remark}"
    );
    harness.stop().await;
}

fn packed(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&pieces.concat()).unwrap();
    encoder.finish().unwrap()
}

fn piece(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

#[tokio::test]
async fn a_body_that_does_not_match_its_checksum_is_refused() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    let crc32 = i32::try_from(crc32_of(&broker.body_json()) & 0x7fff_ffff).unwrap();
    broker.header.body_crc32 = crc32 ^ 1;
    let refused = broker.register().await;
    assert_eq!(
        (refused.code, refused.remark.as_deref()),
        (1, Some("crc32 not match"))
    );
    assert!(harness.route("t").await.is_err());
    broker.header.body_crc32 = crc32;
    broker.up().await;
    assert!(harness.route("t").await.is_ok());
    harness.stop().await;
}

/// CRC-32 bit by bit, so that the test does not trust the library that it tests.
fn crc32_of(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    !crc
}

#[tokio::test]
async fn a_broker_before_3_0_11_registers_only_topics() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker.version = 38;
    let body = fastjson::to_vec(&broker.body.topic_config_serialize_wrapper).unwrap();
    assert_eq!(broker.register_body(body).await.code, 0);
    assert!(harness.route("u").await.is_ok());
    harness.stop().await;
}

#[tokio::test]
async fn one_topic_of_an_unknown_broker_is_refused() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &["t"]);
    let refused = broker.register().await;
    assert_eq!(
        (refused.code, refused.remark.as_deref()),
        (1, Some("register broker failed"))
    );
    broker.set_topics(&["t", "u"]);
    broker.up().await;
    broker.set_topics(&["v"]);
    broker.up().await;
    assert!(harness.route("v").await.is_ok());
    assert!(harness.route("t").await.is_ok());
    harness.stop().await;
}

#[tokio::test]
async fn a_missing_field_is_named_and_a_malformed_body_is_refused() {
    let harness = Harness::start().await;
    let broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    let refused = broker.register_body(b"{\"topicConfig".to_vec()).await;
    assert_eq!(refused.code, 1);
    let mut request = thrustmq_proto_compat::command::Command::new(103);
    request.fields.push_text("brokerName", "a");
    let answer = harness
        .client
        .call(&harness.address, request, crate::harness::TIMEOUT)
        .await
        .unwrap();
    assert_eq!(answer.code, 1);
    let remark = answer.remark.unwrap();
    assert!(
        remark.contains("the custom field <brokerAddr> is null"),
        "{remark}"
    );
    harness.stop().await;
}

#[tokio::test]
async fn a_data_version_is_compared() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    let unknown = query(&harness, &broker, broker.data_version()).await;
    assert!(unknown.header.changed && unknown.body.is_empty());
    broker.up().await;
    let same = query(&harness, &broker, broker.data_version()).await;
    assert!(!same.header.changed);
    let stored: DataVersion = fastjson::from_slice(&same.body.to_bytes()).unwrap();
    assert_eq!(stored, *broker.data_version());
    broker.set_topics(&["t", "u", "v"]);
    assert!(
        query(&harness, &broker, broker.data_version())
            .await
            .header
            .changed
    );
    harness.stop().await;
}

async fn query(
    harness: &Harness,
    broker: &Broker,
    version: &DataVersion,
) -> Reply<thrustmq_proto_compat::header::QueryDataVersionResponseHeader> {
    let header = QueryDataVersionRequestHeader {
        broker_name: broker.header.broker_name.clone(),
        broker_address: broker.header.broker_address.clone(),
        cluster_name: broker.header.cluster_name.clone(),
        broker_id: broker.header.broker_id,
    };
    let body = fastjson::to_vec(version).unwrap();
    harness
        .call::<QueryDataVersion>(&header, body)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_registration_brings_back_the_ordered_topics() {
    use thrustmq_proto_compat::body::KVTable;
    use thrustmq_proto_compat::header::PutKVConfigRequestHeader;
    use thrustmq_proto_compat::request_code::PutKvConfig;

    let harness = Harness::start().await;
    let broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    assert!(broker.register().await.body.is_empty());
    let header = PutKVConfigRequestHeader {
        namespace: "ORDER_TOPIC_CONFIG".to_owned(),
        key: "t".to_owned(),
        value: "a:4".to_owned(),
    };
    harness
        .call::<PutKvConfig>(&header, Vec::new())
        .await
        .unwrap();
    let body = broker.register().await.body.to_bytes();
    let table: KVTable = fastjson::from_slice(&body).unwrap();
    assert_eq!(table.table["t"], "a:4");
    harness.stop().await;
}
