//! Sends beside what Apache's broker 5.5.0 made of the same ones (run on 2026-11-22, one broker, the
//! topic `orders` with 4 queues): the code of the answer, the queue that it names, and the message as it
//! is stored. Where ours differs on purpose, the row says so.

use thrustmq_proto_compat::header::SendMessageRequestHeaderV2;
use thrustmq_proto_compat::message::batch;
use thrustmq_proto_compat::message::message_ext::MessageExt;
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::request_code::SendMessageV2;

use crate::harness::{TestBroker, pull_header, send_header};

const ILLEGAL: i32 = 13;
const FORBIDDEN: i32 = 16;
const INVALID: i32 = 29;
const GROUP_NOT_EXIST: i32 = 26;

type Entries = &'static [(&'static str, &'static str)];

/// Topics, and the code that answers a small message to queue 0.
const ROWS_OF_TOPICS: &[(&str, i32)] = &[
    ("orders", 0),
    ("a b", INVALID),
    ("SCHEDULE_TOPIC_XXXX", FORBIDDEN),
    ("RMQ_SYS_TRANS_HALF_TOPIC", FORBIDDEN),
    ("SELF_TEST_TOPIC", FORBIDDEN),
    ("OFFSET_MOVED_EVENT", FORBIDDEN),
    ("DefaultCluster_REPLY_TOPIC", 0),
    ("%DLQ%nobody", 0),
    ("TBW102", 0),
    ("%RETRY%g", 0),
    ("%RETRY%nobody", 0),
    ("%RETRY%g+orders", INVALID),
];

/// A send to `orders`, and the code of its answer.
struct Answered {
    queue_id: i32,
    properties: Entries,
    sys_flag: i32,
    body_bytes: usize,
    code: i32,
}

const fn answered(code: i32) -> Answered {
    Answered {
        queue_id: 0,
        properties: &[],
        sys_flag: 0,
        body_bytes: 1,
        code,
    }
}

const fn with_body(body_bytes: usize, code: i32) -> Answered {
    Answered {
        body_bytes,
        ..answered(code)
    }
}

const fn with_flag(sys_flag: i32, code: i32) -> Answered {
    Answered {
        sys_flag,
        ..answered(code)
    }
}

const fn with(properties: Entries, code: i32) -> Answered {
    Answered {
        properties,
        ..answered(code)
    }
}

const fn to_queue(queue_id: i32, code: i32) -> Answered {
    Answered {
        queue_id,
        ..answered(code)
    }
}

const ROWS_OF_ANSWERS: &[Answered] = &[
    to_queue(3, 0),
    to_queue(4, INVALID),
    with_body(1_000, 0),
    with_body(1_001, ILLEGAL),
    // Java: code 1, a NullPointerException.
    with_body(0, ILLEGAL),
    with_flag(sys_flag::INNER_BATCH, ILLEGAL),
    with_flag(sys_flag::NEED_UNWRAP, 0),
    with(&[("INNER_NUM", "3")], ILLEGAL),
    with(&[("DELAY", "1")], 0),
    with(&[("DELAY", "99")], 0),
    // Java: code 1, a NumberFormatException.
    with(&[("DELAY", "x")], 0),
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_java_s() {
    let broker = TestBroker::start_with(|config| config.message_bytes_max = 1_000).await;
    broker.heartbeat("g", "orders", &[]).await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    let long_topics = [("t".repeat(127), 0), ("t".repeat(128), INVALID)];
    let long_group = [(format!("%RETRY%{}", "g".repeat(200)), GROUP_NOT_EXIST)];
    let topics = ROWS_OF_TOPICS.iter();
    let topics = topics.map(|(topic, code)| ((*topic).to_owned(), *code));
    for (topic, code) in topics.chain(long_topics).chain(long_group) {
        expect(&broker, &send_header(&topic, 0, &[]), 1, code).await;
    }
    for row in ROWS_OF_ANSWERS {
        let mut header = send_header("orders", row.queue_id, row.properties);
        header.sys_flag = row.sys_flag;
        expect(&broker, &header, row.body_bytes, row.code).await;
    }
    broker.stop().await;
}

async fn expect(
    broker: &TestBroker,
    header: &SendMessageRequestHeaderV2,
    body_bytes: usize,
    code: i32,
) {
    let body = vec![b'x'; body_bytes];
    let answer = broker.call::<SendMessageV2>(header, body).await;
    assert_eq!(answer.code, code, "{header:?}: {:?}", answer.remark);
    let told = ["MSG_REGION", "TRACE_ON"].map(|name| answer.fields.get(name));
    assert_eq!(told, [Some("DefaultRegion"), Some("true")], "{header:?}");
}

/// A send to queue 1 of `orders`, and how it is stored.
struct Kept {
    sent: &'static str,
    queue_id: i32,
    /// Without those of the broker: region, trace, cluster, checksum, and a unique key that it made.
    stored: Entries,
}

const ROWS_OF_PROPERTIES: &[Kept] = &[
    // The last of equal names counts, what has no name or value is none, separators may lack.
    Kept {
        sent: "a\u{1}1\u{2}a\u{1}2\u{2}e\u{1}\u{2}ü\u{1}ä€😀\u{2}b\u{1}x\u{1}y\u{2}novalue\u{2}\u{2}last\u{1}z",
        queue_id: 1,
        stored: &[("a", "2"), ("ü", "ä€😀"), ("b", "x\u{1}y"), ("last", "z")],
    },
    // Java keeps what is transient by its own words.
    Kept {
        sent: "CLUSTER\u{1}c\u{2}MSG_REGION\u{1}r\u{2}TRACE_ON\u{1}n\u{2}POP_CK\u{1}1 2\u{2}__RMQ.TRANSIENT.x\u{1}1\u{2}WAIT\u{1}false\u{2}",
        queue_id: 1,
        stored: &[("WAIT", "false")],
    },
    Kept {
        sent: "_SYS_MSG_PRIORITY_\u{1}0\u{2}",
        queue_id: 0,
        stored: &[("_SYS_MSG_PRIORITY_", "0")],
    },
    Kept {
        sent: "_SYS_MSG_PRIORITY_\u{1}9\u{2}",
        queue_id: 3,
        stored: &[("_SYS_MSG_PRIORITY_", "9")],
    },
    Kept {
        sent: "_SYS_MSG_PRIORITY_\u{1}-1\u{2}",
        queue_id: 1,
        stored: &[("_SYS_MSG_PRIORITY_", "-1")],
    },
    Kept {
        sent: "_SYS_MSG_PRIORITY_\u{1}abc\u{2}",
        queue_id: 1,
        stored: &[("_SYS_MSG_PRIORITY_", "abc")],
    },
    Kept {
        sent: "_SYS_MSG_PRIORITY_\u{1}2\u{2}__SHARDINGKEY\u{1}s\u{2}",
        queue_id: 1,
        stored: &[("__SHARDINGKEY", "s")],
    },
    Kept {
        sent: "_SYS_MSG_PRIORITY_\u{1}2\u{2}TRAN_MSG\u{1}false\u{2}",
        queue_id: 2,
        stored: &[("_SYS_MSG_PRIORITY_", "2"), ("TRAN_MSG", "false")],
    },
    Kept {
        sent: "DELAY\u{1}-1\u{2}",
        queue_id: 1,
        stored: &[("DELAY", "-1")],
    },
];

fn raw_header(properties: &str) -> SendMessageRequestHeaderV2 {
    SendMessageRequestHeaderV2 {
        properties: Some(properties.to_owned()),
        ..send_header("orders", 1, &[])
    }
}

/// The message, once it is there.
async fn stored_at(broker: &TestBroker, topic: &str, queue_id: i32, offset: i64) -> MessageExt {
    let mut header = pull_header("g", topic, queue_id, offset);
    header.sys_flag |= crate::harness::SUSPEND;
    header.suspend_timeout_ms = 20_000;
    broker.pull(&header).await.messages.remove(0)
}

fn of_producer(message: &MessageExt) -> Properties {
    let is_own = |name: &str| {
        let own = ["CLUSTER", "MSG_REGION", "TRACE_ON", "__CRC32#", "UNIQ_KEY"];
        own.contains(&name)
    };
    let entries = message.properties.iter();
    entries.filter(|(name, _)| !is_own(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_stored_as_java_does() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    for row in ROWS_OF_PROPERTIES {
        let sent = broker
            .send_as::<SendMessageV2>(&raw_header(row.sent), b"x".to_vec())
            .await;
        assert_eq!(sent.queue_id, row.queue_id, "{:?}", row.sent);
        let message = stored_at(&broker, "orders", row.queue_id, sent.queue_offset).await;
        let expected: Properties = row.stored.iter().copied().collect();
        assert_eq!(of_producer(&message), expected, "{:?}", row.sent);
    }
    broker.stop().await;
}

/// What the compressed body means is its consumer's affair: bytes and flag stay as they are, delayed,
/// returned and given up too.
#[tokio::test(flavor = "multi_thread")]
async fn flags_and_bodies_stay_as_they_are_on_every_way() {
    let broker = TestBroker::start().await;
    broker.heartbeat("g", "orders", &[]).await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    stored_at(&broker, "orders", 0, 0).await; // A queue's end is asked below: nothing is on its way.
    let flags = [
        sys_flag::COMPRESSION_LZ4,
        sys_flag::COMPRESSION_ZSTD,
        sys_flag::COMPRESSION_ZLIB | sys_flag::MULTI_TAGS,
    ];
    for flag in flags {
        for (topic, end, properties) in [
            ("orders", "orders", &[("k", "v")] as &[(&str, &str)]),
            ("orders", "orders", &[("k", "v"), ("DELAY", "1")]),
            ("%RETRY%g", "%DLQ%g", &[("k", "v")]),
        ] {
            let mut header = send_header(topic, 0, properties);
            (header.sys_flag, header.flag) = (flag, 77);
            if topic != end {
                (header.reconsume_times, header.max_reconsume_times) = (17, Some(16));
            }
            let body = format!("{flag} {properties:?}").into_bytes();
            let before = broker.pull(&pull_header("g", end, 0, 0)).await;
            let next = before.header.max_offset;
            broker.send_as::<SendMessageV2>(&header, body.clone()).await;
            let message = stored_at(&broker, end, 0, next).await;
            assert_eq!(message.sys_flag, flag, "{topic} {properties:?}");
            assert_eq!((message.flag, &message.body[..]), (77, &body[..]));
            assert_eq!(message.properties.get("k"), Some("v"));
        }
    }
    broker.stop().await;
}

/// A batch's own properties say nothing of its messages: theirs are stored alone.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_batch_keep_their_own_properties_only() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "makes the topic", &[]).await;
    let rows: [Entries; 4] = [
        &[("UNIQ_KEY", "U1")],
        &[("K", "common"), ("WAIT", "false")],
        &[("_SYS_MSG_PRIORITY_", "3")],
        &[("TRAN_MSG", "true")],
    ];
    for common in rows {
        let mut body = Vec::new();
        let inner = [
            "UNIQ_KEY\u{1}U1\u{2}DELAY\u{1}1\u{2}TIMER_DELAY_SEC\u{1}1\u{2}",
            "",
        ];
        for (flag, properties) in (1..).zip(inner) {
            let item = batch::BatchItem {
                flag,
                body: b"one",
                properties,
            };
            batch::encode(&item, &mut body).unwrap();
        }
        let mut header = send_header("orders", 1, common);
        (header.batch, header.reconsume_times) = (true, 3);
        let sent = broker.send_as::<SendMessageV2>(&header, body).await;
        assert_eq!(sent.queue_id, 1);
        let first = stored_at(&broker, "orders", 1, sent.queue_offset).await;
        assert_eq!((first.flag, first.reconsume_times), (1, 3));
        assert_eq!(first.properties.get("UNIQ_KEY"), Some("U1"));
        let kept: Properties = [("DELAY", "1"), ("TIMER_DELAY_SEC", "1")]
            .into_iter()
            .collect();
        assert_eq!(of_producer(&first), kept);
        let second = stored_at(&broker, "orders", 1, sent.queue_offset + 1).await;
        assert_eq!((second.flag, of_producer(&second).is_empty()), (2, true));
    }
    let refused: [(&str, i32, Entries); 3] = [
        ("%RETRY%g", 0, &[]),
        ("orders", sys_flag::TRANSACTION_PREPARED, &[]),
        ("orders", 0, &[("DELAY", "1")]),
    ];
    for (topic, flag, common) in refused {
        let mut header = send_header(topic, 0, common);
        (header.batch, header.sys_flag) = (true, flag);
        assert_eq!(broker.send_refused(&header).await.0, ILLEGAL, "{topic}");
    }
    broker.stop().await;
}
