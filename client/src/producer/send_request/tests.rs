use std::net::Ipv4Addr;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::compress::decompress;

use super::*;

fn sender() -> Sender {
    let clock = Clock::by_hand(1_700_000_000_000);
    Sender {
        group: "pg".into(),
        namespace: Namespace::default(),
        keys: UniqueKeys::new(Ipv4Addr::LOCALHOST.into(), 1, 2, clock),
        body_bytes_max: 4 << 20,
        compression: CompressionType::Zlib,
        compression_level: 5,
        compress_above_bytes: 4096,
        traces: false,
    }
}

fn queue() -> MessageQueue {
    MessageQueue {
        topic: "t".into(),
        broker_name: "broker-a".into(),
        queue_id: 3,
    }
}

fn header_of(command: &Command) -> SendMessageRequestHeaderV2 {
    command.header().unwrap()
}

#[test]
fn each_message_of_a_batch_has_its_own_receipt() {
    let whole = SendReceipt {
        status: SendStatus::Stored,
        msg_id: "a,b".into(),
        offset_msg_id: "1,2".into(),
        queue: queue(),
        queue_offset: 7,
        transaction_id: None,
        recall_handle: None,
        region: None,
    };
    let second = whole.of_message(1);
    assert_eq!((second.msg_id.as_str(), second.queue_offset), ("b", 8));
    assert_eq!(
        (second.offset_msg_id.as_str(), second.queue),
        ("2", queue())
    );
}

#[test]
fn the_region_is_told_to_who_traces() {
    let mut traced = sender();
    traced.traces = true;
    let header = SendMessageResponseHeader::default();
    let answer = || Command::answer(ResponseCode::SUCCESS).with_header(&header);
    let region = |sender: &Sender, answer: &Command| {
        let request = SendRequest::of(sender, &Message::new("t", "x"), 0).unwrap();
        let receipt = request.receipt(&queue(), answer).unwrap().unwrap();
        receipt.region
    };
    let mut told = answer();
    told.fields.push_text("MSG_REGION", "east");
    assert_eq!(region(&traced, &told).as_deref(), Some("east"));
    assert_eq!(region(&traced, &answer()).as_deref(), Some("DefaultRegion"));
    assert_eq!(region(&sender(), &told), None);
    told.fields.push_text("TRACE_ON", "false");
    assert_eq!(region(&traced, &told), None);
}

#[test]
fn a_message_travels_with_all_that_the_broker_needs() {
    let message = Message::new("t", "body").tag("x").key("k").flag(9);
    let mut request = SendRequest::of(&sender(), &message, 77).unwrap();
    let command = request.command(&queue());
    let header = header_of(&command);
    assert_eq!(
        (command.code, header.topic.as_str(), header.queue_id),
        (310, "t", 3)
    );
    assert_eq!(
        (
            header.producer_group.as_str(),
            header.default_topic.as_str()
        ),
        ("pg", "TBW102")
    );
    assert_eq!(
        (header.born_timestamp_ms, header.flag, header.sys_flag),
        (77, 9, 0)
    );
    let text = header.properties.unwrap();
    assert_eq!(
        properties::get(&text, "UNIQ_KEY"),
        Some(request.message_id.as_str())
    );
    assert_eq!(properties::get(&text, "TAGS"), Some("x"));
    assert_eq!(command.body.to_bytes(), "body");
}

#[test]
fn only_long_bodies_are_compressed_and_only_if_it_helps() {
    let long = Message::new("t", vec![b'x'; 4097]);
    let mut request = SendRequest::of(&sender(), &long, 0).unwrap();
    let command = request.command(&queue());
    let flag = header_of(&command).sys_flag;
    assert!(sys_flag::is_compressed(flag));
    assert_eq!(
        decompress(&command.body.to_bytes(), flag, 5_000).unwrap(),
        vec![b'x'; 4097]
    );

    let short = Message::new("t", vec![b'x'; 4096]);
    assert_eq!(
        SendRequest::of(&sender(), &short, 0)
            .unwrap()
            .header
            .sys_flag,
        0
    );

    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(5_000)
    .collect();
    assert_eq!(
        SendRequest::of(&sender(), &Message::new("t", noise), 0)
            .unwrap()
            .header
            .sys_flag,
        0
    );
}

#[test]
fn a_half_message_is_marked() {
    let message = Message::new("t", "b").with_system(property_name::TRANSACTION_PREPARED, "true");
    let request = SendRequest::of(&sender(), &message, 0).unwrap();
    assert_eq!(request.header.sys_flag, sys_flag::TRANSACTION_PREPARED);
}

#[test]
fn a_batch_is_one_request_with_a_key_for_each_message() {
    let messages = [
        Message::new("t", "one").key("1"),
        Message::new("t", "two").key("2"),
    ];
    let mut request = SendRequest::of_batch(&sender(), &messages, 5).unwrap();
    let command = request.command(&queue());
    assert_eq!(command.code, 320);
    assert!(header_of(&command).batch);
    let body = command.body.to_bytes();
    let items: Vec<_> = batch::decode(&body, 10).map(Result::unwrap).collect();
    let keys: Vec<_> = items
        .iter()
        .map(|i| properties::get(i.properties, "UNIQ_KEY").unwrap())
        .collect();
    assert_eq!(keys.join(","), request.message_id);
    assert_eq!(items[1].body, b"two");
    assert!(body.len() <= messages.iter().map(batch_bytes).sum());
}

#[test]
fn a_batch_takes_only_messages_that_belong_together() {
    let batch = |second: Message| {
        let messages = [Message::new("t", "one"), second];
        SendRequest::of_batch(&sender(), &messages, 0).unwrap_err()
    };
    assert!(matches!(
        batch(Message::new("u", "two")),
        MessageError::NotForBatch(_)
    ));
    assert!(matches!(
        batch(Message::new("t", "two").delay_level(3)),
        MessageError::NotForBatch(_)
    ));
    assert!(matches!(
        batch(Message::new("t", "two").wait_store_ok(false)),
        MessageError::NotForBatch(_)
    ));
    assert_eq!(batch(Message::new("t", "")), MessageError::EmptyBody);
}

#[test]
fn answers_become_receipts_or_refusals() {
    let request = SendRequest::of(&sender(), &Message::new("t", "b"), 0).unwrap();
    let header = SendMessageResponseHeader {
        msg_id: "OFFSET".into(),
        queue_id: 1,
        queue_offset: 42,
        ..SendMessageResponseHeader::default()
    };
    for (code, status) in [
        (0, SendStatus::Stored),
        (10, SendStatus::FlushTimedOut),
        (11, SendStatus::NoReplica),
        (12, SendStatus::ReplicaTimedOut),
    ] {
        let answer = Command::answer(ResponseCode(code)).with_header(&header);
        let receipt = request.receipt(&queue(), &answer).unwrap().unwrap();
        assert_eq!((receipt.status, receipt.queue_offset), (status, 42));
        assert_eq!(
            (receipt.queue.queue_id, receipt.offset_msg_id.as_str()),
            (1, "OFFSET")
        );
        assert_eq!(receipt.msg_id, request.message_id);
    }
    assert!(
        request
            .receipt(&queue(), &Command::answer(ResponseCode(2)))
            .is_none()
    );
    let empty = Command::answer(ResponseCode::SUCCESS);
    assert!(request.receipt(&queue(), &empty).unwrap().is_err());
}
