//! Requests that no honest client sends: each gets an answer, and the next one is served.

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::PullMessageRequestHeader;
use thrustmq_proto_compat::request_code::{PullMessage, SendMessageV2};
use thrustmq_proto_compat::table::CommandSpec;

use crate::harness::{SUSPEND, TIMEOUT, TestBroker, pull_header, send_header};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_codes_and_bad_fields_are_named() {
    let broker = TestBroker::start().await;
    let ask = |command: Command| {
        let broker = &broker;
        async move {
            let answer = broker
                .client
                .call(&broker.address, command, TIMEOUT)
                .await
                .unwrap();
            (answer.code, answer.remark.unwrap_or_default())
        }
    };
    assert_eq!(
        ask(Command::new(9_999)).await,
        (3, " request type 9999 not supported".to_owned())
    );
    assert_eq!(
        ask(Command::new(PullMessage::CODE)).await,
        (1, "the custom field <consumerGroup> is null".to_owned())
    );
    let mut malformed = Command::request::<SendMessageV2>(&send_header("orders", 0, &[]));
    malformed.fields.set("e", "many");
    let (code, remark) = ask(malformed).await;
    assert_eq!(code, 1);
    assert!(
        remark.starts_with("the custom field <e> is not a valid"),
        "{remark}"
    );
    broker.send("orders", 0, "next", &[]).await;
    broker.stop().await;
}

/// A change to an honest pull, and the code of its answer.
type Wild = (fn(&mut PullMessageRequestHeader), i32);

const WILD_PULLS: [Wild; 13] = [
    (|pull| pull.queue_offset = -1, 21),
    (|pull| pull.queue_offset = i64::MIN, 21),
    (|pull| pull.queue_offset = i64::MAX, 21),
    (|pull| pull.queue_id = i32::MIN, 29),
    (|pull| pull.queue_id = i32::MAX, 29),
    (|pull| pull.max_msg_nums = -5, 0),
    (|pull| pull.max_msg_nums = i32::MAX, 0),
    (|pull| pull.max_msg_bytes = Some(-5), 0),
    (|pull| pull.max_msg_bytes = Some(0), 0),
    (|pull| pull.sys_flag = -1, 0),
    (|pull| pull.topic.clear(), 17),
    (
        |pull| pull.consumer_group = "no group's name".to_owned(),
        26,
    ),
    (wait_since_long_ago, 19),
];

fn wait_since_long_ago(pull: &mut PullMessageRequestHeader) {
    pull.queue_offset = 1;
    pull.sys_flag |= SUSPEND;
    pull.suspend_timeout_ms = i64::MIN;
}

#[tokio::test(flavor = "multi_thread")]
async fn wild_numbers_in_pulls_are_answered() {
    let broker = TestBroker::start().await;
    broker.send("orders", 0, "1", &[]).await;
    broker.pull_some("orders", 0).await;
    for (index, (change, code)) in WILD_PULLS.iter().enumerate() {
        let mut header = pull_header("g", "orders", 0, 0);
        change(&mut header);
        let answer = broker.call::<PullMessage>(&header, vec![]).await;
        assert_eq!(answer.code, *code, "{index}: {:?}", answer.remark);
    }
    let honest = pull_header("g", "orders", 0, 0);
    assert_eq!(broker.pull(&honest).await.bodies(), ["1"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wild_properties_are_stored_or_refused() {
    let broker = TestBroker::start().await;
    for properties in [
        vec![("DELAY", "99999999999999999999")],
        vec![("DELAY", "-7")],
        vec![("UNIQ_KEY", "not hexadecimal")],
        vec![("KEYS", "   ")],
        vec![("REAL_TOPIC", "elsewhere"), ("REAL_QID", "x")],
    ] {
        broker.send("orders", 0, "x", &properties).await;
    }
    let long = "x".repeat(40_000);
    let inner = ("INNER_NUM", "3");
    for properties in [vec![("a", long.as_str())], vec![inner]] {
        let (code, remark) = broker
            .send_refused(&send_header("orders", 0, &properties))
            .await;
        assert_eq!(code, 13, "{remark}");
    }
    let mut forged = send_header("orders", 0, &[]);
    forged.sys_flag = 0x80;
    assert_eq!(broker.send_refused(&forged).await.0, 13);
    let mut too_many_queues = send_header("wide", 9, &[]);
    too_many_queues.default_topic_queue_nums = i32::MAX;
    assert_eq!(broker.send_refused(&too_many_queues).await.0, 29);
    let mut no_queues = send_header("narrow", -1, &[]);
    no_queues.default_topic_queue_nums = i32::MIN;
    broker
        .call::<SendMessageV2>(&no_queues, b"x".to_vec())
        .await;
    broker.send("orders", 0, "next", &[]).await;
    broker.stop().await;
}
