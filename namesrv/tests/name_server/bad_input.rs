//! Whatever comes, each request is answered and the next client is served.

use thrustmq_proto_compat::command::Command;

use crate::harness::{Broker, Harness, TIMEOUT};

const CODES: [i32; 23] = [
    100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313, 318, 319,
    322, 327, 901, 904,
];

/// Every field that any of the commands knows.
const FIELDS: [&str; 13] = [
    "namespace",
    "key",
    "value",
    "brokerName",
    "brokerAddr",
    "clusterName",
    "haServerAddr",
    "brokerId",
    "topic",
    "cluster",
    "heartbeatTimeoutMillis",
    "compressed",
    "bodyCrc32",
];

const BODIES: [&[u8]; 7] = [
    b"",
    b"\0",
    b"{",
    b"[[[[[[[[[[",
    b"{\"queueDatas\":[{\"brokerName\":7}],\"topicConfigSerializeWrapper\":[]}",
    b"\xff\xfe\x80listenPort",
    b"null",
];

#[tokio::test]
async fn every_code_answers_every_nonsense() {
    let harness = Harness::start().await;
    let broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker.up().await;
    let long = "x".repeat(2_000);
    for value in [
        None,
        Some(""),
        Some("-1"),
        Some("true"),
        Some("\u{0}ä"),
        Some(&*long),
    ] {
        for code in CODES {
            for body in BODIES {
                let mut request = Command::new(code).with_body(body.to_vec());
                for field in value.iter().flat_map(|_| FIELDS) {
                    request.fields.push_text(field, value.unwrap_or_default());
                }
                let answer = harness
                    .client
                    .call(&harness.address, request, TIMEOUT)
                    .await;
                answer.unwrap_or_else(|error| panic!("code {code}: {error}"));
            }
        }
    }
    assert!(
        harness.route("t").await.is_ok(),
        "and nothing of it hit the broker that is there"
    );
    harness.stop().await;
}
