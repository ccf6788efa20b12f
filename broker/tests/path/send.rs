//! Sending: what is stored, what is answered, what is refused.

use thrustmq_broker::config::FlushDiskType;
use thrustmq_proto_compat::header::SendMessageRequestHeader;
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::request_code::{SendBatchMessage, SendMessage, SendMessageV2};
use thrustmq_proto_compat::response_code::ResponseCode;

use crate::harness::{TestBroker, send_header};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_as_it_was_sent_with_the_brokers_properties() {
    let broker = TestBroker::start().await;
    let mut header = send_header(
        "orders",
        2,
        &[("UNIQ_KEY", "ABC"), ("TAGS", "t"), ("POP_CK", "x")],
    );
    header.flag = 5;
    let sent = broker
        .send_as::<SendMessageV2>(&header, b"hello".to_vec())
        .await;
    assert_eq!((sent.queue_id, sent.queue_offset), (2, 0));
    assert_eq!(sent.transaction_id.as_deref(), Some("ABC"));
    let id = OffsetId::decode(&sent.msg_id).unwrap();
    assert_eq!(
        (id.store_host.to_string(), id.physical_offset),
        (broker.address.clone(), 0)
    );
    let pulled = broker.pull_some("orders", 2).await;
    let message = &pulled.messages[0];
    assert_eq!(&message.body[..], b"hello");
    assert_eq!(
        (message.flag, message.queue_id, message.queue_offset),
        (5, 2, 0)
    );
    assert_eq!(message.born_timestamp, 1_700_000_000_000);
    assert_eq!(message.store_host.to_string(), broker.address);
    let property = |name| message.properties.get(name);
    assert_eq!(property("CLUSTER"), Some("DefaultCluster"));
    assert_eq!(property("MSG_REGION"), Some("DefaultRegion"));
    assert_eq!(property("TRACE_ON"), Some("true"));
    assert_eq!(property("POP_CK"), None);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_headers_and_any_queue_are_taken_and_answers_name_the_region() {
    let broker = TestBroker::start().await;
    let long = SendMessageRequestHeader::from(send_header("orders", -1, &[]));
    let answer = broker.call::<SendMessage>(&long, b"1".to_vec()).await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    assert_eq!(answer.fields.get("MSG_REGION"), Some("DefaultRegion"));
    assert_eq!(answer.fields.get("TRACE_ON"), Some("true"));
    let queue_id: i32 = answer.fields.get("queueId").unwrap().parse().unwrap();
    assert!((0..4).contains(&queue_id), "{queue_id}");
    // The broker makes the unique key that is missing.
    assert!(
        answer
            .fields
            .get("transactionId")
            .is_some_and(|key| key.len() == 32)
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_gets_offsets_in_a_row_and_keeps_its_messages_properties() {
    let broker = TestBroker::start().await;
    let mut body = Vec::new();
    for text in ["a", "b", "c"] {
        let properties = format!("UNIQ_KEY\u{1}{text}\u{2}");
        let item = BatchItem {
            flag: 0,
            body: text.as_bytes(),
            properties: &properties,
        };
        batch::encode(&item, &mut body).unwrap();
    }
    broker.send("orders", 1, "first", &[]).await;
    let mut header = send_header(
        "orders",
        1,
        &[("UNIQ_KEY", "whole batch"), ("shared", "yes")],
    );
    header.batch = true;
    let sent = broker.send_as::<SendBatchMessage>(&header, body).await;
    assert_eq!((sent.queue_id, sent.queue_offset), (1, 1));
    assert_eq!(sent.msg_id.split(',').count(), 3);
    let last = loop {
        let pulled = broker.pull_some("orders", 1).await;
        if pulled.messages.len() == 4 {
            break pulled;
        }
    };
    assert_eq!(last.bodies(), ["first", "a", "b", "c"]);
    let message = &last.messages[3];
    assert_eq!(message.queue_offset, 3);
    assert_eq!(message.properties.get("UNIQ_KEY"), Some("c"));
    let names: Vec<_> = message.properties.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["UNIQ_KEY", "__CRC32#"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_javas_broker_says() {
    let broker = TestBroker::start_with(|config| config.auto_create_topic = true).await;
    broker.send("orders", 0, "x", &[]).await;
    let refused = |topic: &'static str, queue_id, properties: &'static [(&str, &str)]| {
        let header = send_header(topic, queue_id, properties);
        let broker = &broker;
        async move { broker.send_refused(&header).await }
    };
    let (code, remark) = refused("orders", 4, &[]).await;
    assert_eq!(code, 29);
    assert!(
        remark.starts_with("request queueId[4] is illegal, TopicConfig [topicName=orders, readQueueNums=4, writeQueueNums=4, perm=RW-, topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={}] Producer: 127.0.0.1:"),
        "{remark}"
    );
    assert_eq!(
        refused("bad topic", 0, &[]).await,
        (29, "The specified topic: bad topic, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$".to_owned())
    );
    assert_eq!(
        refused("SCHEDULE_TOPIC_XXXX", 0, &[]).await,
        (
            16,
            "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.".to_owned()
        )
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_refused_where_none_are_created() {
    let broker = TestBroker::start_with(|config| config.auto_create_topic = false).await;
    assert_eq!(
        broker.send_refused(&send_header("nowhere", 0, &[])).await,
        (17, "topic[nowhere] not exist, apply first please!\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.".to_owned())
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_and_oversized_bodies_and_broken_batches_are_illegal() {
    let broker = TestBroker::start_with(|config| config.message_bytes_max = 1_000).await;
    let remark = "the message is illegal, maybe msg body or properties length not matched. msg body length limit 1000B, msg properties length limit 32KB.";
    let single = send_header("orders", 0, &[]);
    let mut in_batch = single.clone();
    in_batch.batch = true;
    let bodies = [
        (&single, vec![]),
        (&single, vec![0; 1_001]),
        (&in_batch, vec![1; 30]),
        (&in_batch, vec![]),
    ];
    for (header, body) in bodies {
        let answer = broker.call::<SendMessageV2>(header, body).await;
        assert_eq!((answer.code, answer.remark.as_deref()), (13, Some(remark)));
    }
    broker.send("orders", 0, &"x".repeat(1_000), &[]).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sync_flush_an_answer_means_on_disk() {
    let broker =
        TestBroker::start_with(|config| config.flush_disk_type = FlushDiskType::SyncFlush).await;
    let sends = (0..20).map(|n| {
        let body = format!("{n}");
        let broker = &broker;
        async move { broker.send("orders", 0, &body, &[]).await }
    });
    let mut offsets = Vec::new();
    for send in sends {
        offsets.push(send.await.queue_offset);
    }
    assert_eq!(offsets, (0..20).collect::<Vec<_>>());
    broker
        .send("orders", 0, "no wait", &[("WAIT", "false")])
        .await;
    broker.stop().await;
}
