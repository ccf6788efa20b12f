//! Finding messages by key and by place.

use std::time::Duration;

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{QueryMessageRequestHeader, ViewMessageRequestHeader};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::request_code::{QueryMessage, ViewMessageById};

use crate::harness::{TIMEOUT, TestBroker, pulled};

fn by_key(key: &str, max_num: i32) -> QueryMessageRequestHeader {
    QueryMessageRequestHeader {
        topic: "orders".to_owned(),
        key: key.to_owned(),
        max_num,
        begin_timestamp_ms: 0,
        end_timestamp_ms: i64::MAX,
        broker_name: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_unique_keys_find_their_messages() {
    let broker = TestBroker::start().await;
    broker
        .send(
            "orders",
            0,
            "1",
            &[("KEYS", "red blue"), ("UNIQ_KEY", "U1")],
        )
        .await;
    broker
        .send("orders", 0, "2", &[("KEYS", "blue"), ("UNIQ_KEY", "U2")])
        .await;
    let mut bodies = Vec::new();
    for _ in 0..1_200 {
        bodies = pulled(
            broker
                .call::<QueryMessage>(&by_key("blue", 32), vec![])
                .await,
        )
        .bodies();
        if bodies.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bodies.sort();
    assert_eq!(bodies, ["1", "2"]);
    let mut request = Command::request::<QueryMessage>(&by_key("U2", 0));
    request.fields.push_text("_UNIQUE_KEY_QUERY", "true");
    let answer = broker
        .client
        .call(&broker.address, request, TIMEOUT)
        .await
        .unwrap();
    assert_eq!(pulled(answer).bodies(), ["2"]);
    let nothing = broker
        .call::<QueryMessage>(&by_key("green", 32), vec![])
        .await;
    let remark = "can not find message, maybe time range not correct";
    assert_eq!(
        (nothing.code, nothing.remark.as_deref()),
        (22, Some(remark))
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_id_finds_its_message_and_other_offsets_nothing() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    let sent = broker.send("orders", 0, "2", &[]).await;
    let offset = OffsetId::decode(&sent.msg_id).unwrap().physical_offset;
    let view = |offset| {
        let header = ViewMessageRequestHeader {
            topic: None,
            offset,
        };
        let broker = &broker;
        async move { broker.call::<ViewMessageById>(&header, vec![]).await }
    };
    assert_eq!(pulled(view(offset).await).bodies(), ["2"]);
    for wrong in [-1, offset + 1, i64::MAX] {
        let answer = view(wrong).await;
        let remark = format!("can not find message by the offset, {wrong}");
        assert_eq!((answer.code, answer.remark), (1, Some(remark)));
    }
    broker.stop().await;
}
