use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::request_code::GetBrokerRuntimeInfo;

use crate::harness::{Consumer, TestBroker};

/// Everything of the admin, client and offset pools.
const CODES: &[i32] = &[
    14, 15, 17, 18, 21, 25, 26, 28, 29, 30, 31, 32, 34, 35, 38, 41, 42, 43, 45, 46, 200, 201, 202,
    203, 204, 207, 208, 215, 222, 223, 225, 300, 303, 305, 306, 307, 309, 314, 315, 316, 317, 321,
    328, 329, 343, 345, 351, 352, 353, 907,
];

/// Every field that one of them has.
const FIELDS: &[&str] = &[
    "topic",
    "queueId",
    "consumerGroup",
    "group",
    "offset",
    "commitOffset",
    "timestamp",
    "index",
    "count",
    "readQueueNums",
    "writeQueueNums",
    "perm",
    "topicFilterType",
    "order",
    "attributes",
    "topicSeq",
    "maxTopicNum",
    "dataVersion",
    "groupSeq",
    "maxGroupNum",
    "clientID",
    "clientId",
    "producerGroup",
    "groupName",
    "cleanOffset",
    "statsName",
    "statsKey",
    "msgId",
    "srcGroup",
    "destGroup",
    "topicList",
    "topicSysFlag",
    "readable",
    "isForce",
    "isOrder",
];

const NUMBERS: &[&str] = &[
    "-1",
    "0",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
];
const TEXTS: &[&str] = &[
    "",
    "t",
    "g",
    "\u{0}",
    "@",
    "%RETRY%",
    "ä\u{1}\u{2}",
    "1e400",
    "{{{",
];
const BODIES: &[&[u8]] = &[
    b"",
    b"{",
    b"null",
    b"[]",
    b"{\"mqSet\":[{}],\"clientID\":null,\"consumerDataSet\":[{}],\"topicConfigList\":[{}]}",
    b"{\"groupName\":\"g\",\"retryQueueNums\":-5,\"retryMaxTimes\":2147483647}",
    b"\xff\xfe\x00=\x00\n\\u12",
];

/// Whatever the answer, it is a handler's, not the apology for one that panicked.
async fn answered(broker: &TestBroker, request: Command) {
    let code = request.code;
    let remark = broker.raw(request).await.remark.unwrap_or_default();
    assert!(!remark.ends_with("failed, see the server's log"), "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wild_requests_are_answered() {
    let broker = TestBroker::start().await;
    broker.send("t", 0, "x").await;
    let consumer = Consumer::new(&broker, "one");
    consumer.join("g", &["t"]).await;
    for code in CODES {
        for value in NUMBERS.iter().chain(TEXTS) {
            let mut request = Command::new(*code);
            FIELDS
                .iter()
                .for_each(|field| request.fields.push_text(field, value));
            answered(&broker, request).await;
        }
        for number in NUMBERS {
            let mut request = Command::new(*code);
            for field in FIELDS {
                request.fields.push_text(field, number);
            }
            for (field, name) in [("topic", "t"), ("group", "g"), ("consumerGroup", "g")] {
                request.fields.set(field, name);
            }
            answered(&broker, request).await;
        }
        for body in BODIES {
            answered(&broker, Command::new(*code).with_body(body.to_vec())).await;
        }
    }
    broker.done::<GetBrokerRuntimeInfo>(&(), vec![]).await;
    broker.send("t", 0, "y").await;
    broker.stop().await;
}
