//! Transactions: half messages, their ends, and the broker's questions to producers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thrustmq_broker::config::{BrokerConfig, FlushDiskType};
use thrustmq_proto_compat::body::{HeartbeatData, ProducerData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    CheckTransactionStateRequestHeader, EndTransactionRequestHeader,
    ResumeCheckHalfMessageRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader,
};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::message_ext::MessageExt;
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::request_code::{
    CheckTransactionState, EndTransaction, HeartBeat, ResumeCheckHalfMessage, SendMessageV2,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Client, ClientOptions, Incoming, Pool, PoolOptions, Reply, Routes};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::harness::{TIMEOUT, TestBroker, pull_header, send_header};

const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
const OP: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
const COMMIT: i32 = sys_flag::TRANSACTION_COMMIT;
const ROLLBACK: i32 = sys_flag::TRANSACTION_ROLLBACK;
const GROUP: &str = "tg";

/// Checks soon and often; marks at once.
fn impatient(config: &mut BrokerConfig) {
    config.transaction_timeout_ms = 0;
    config.transaction_check_interval_ms = 50;
    config.transaction_op_interval_ms = 0;
    // The test may be slow to answer.
    config.transaction_check_max = 1_000;
}

/// Nothing is checked while the test looks.
fn patient(config: &mut BrokerConfig) {
    config.transaction_check_interval_ms = 600_000;
    config.transaction_op_interval_ms = 20;
}

fn half_header(topic: &str, properties: &[(&str, &str)]) -> SendMessageRequestHeaderV2 {
    let mut all = vec![("TRAN_MSG", "true"), ("PGROUP", GROUP)];
    all.extend_from_slice(properties);
    SendMessageRequestHeaderV2 {
        producer_group: GROUP.to_owned(),
        sys_flag: sys_flag::TRANSACTION_PREPARED,
        born_timestamp_ms: Clock::system().now_ms(),
        flag: 77,
        ..send_header(topic, 1, &all)
    }
}

async fn send_half(
    broker: &TestBroker,
    body: &str,
    properties: &[(&str, &str)],
) -> SendMessageResponseHeader {
    let header = half_header("orders", properties);
    broker
        .send_as::<SendMessageV2>(&header, body.as_bytes().to_vec())
        .await
}

fn end_header(sent: &SendMessageResponseHeader, how: i32) -> EndTransactionRequestHeader {
    EndTransactionRequestHeader {
        topic: Some("orders".to_owned()),
        producer_group: GROUP.to_owned(),
        tran_state_table_offset: sent.queue_offset,
        commit_log_offset: OffsetId::decode(&sent.msg_id).unwrap().physical_offset,
        commit_or_rollback: how,
        msg_id: sent.transaction_id.clone().unwrap(),
        transaction_id: sent.transaction_id.clone(),
        ..EndTransactionRequestHeader::default()
    }
}

async fn end(broker: &TestBroker, header: &EndTransactionRequestHeader) -> (ResponseCode, String) {
    let answer = broker.call::<EndTransaction>(header, Vec::new()).await;
    let code = answer.response_code();
    (code, answer.remark.unwrap_or_default())
}

/// As [`end`], once the broker knows after its start what is open.
async fn end_after_start(
    broker: &TestBroker,
    header: &EndTransactionRequestHeader,
) -> ResponseCode {
    for _ in 0..3_000 {
        let (code, _) = end(broker, header).await;
        if code != ResponseCode::SERVICE_NOT_AVAILABLE {
            return code;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the broker never knows its transactions");
}

async fn all(broker: &TestBroker, topic: &str, queue_id: i32) -> Vec<MessageExt> {
    broker
        .pull(&pull_header("g", topic, queue_id, 0))
        .await
        .messages
}

async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {what}");
}

/// The messages of a queue, once there are so many.
async fn at_least(
    broker: &TestBroker,
    topic: &str,
    queue_id: i32,
    count: usize,
) -> Vec<MessageExt> {
    wait_for(topic, async || {
        let messages = all(broker, topic, queue_id).await;
        (messages.len() >= count).then_some(messages)
    })
    .await
}

struct Question {
    header: CheckTransactionStateRequestHeader,
    message: MessageExt,
}

impl Question {
    fn answer(&self, how: i32) -> EndTransactionRequestHeader {
        EndTransactionRequestHeader {
            producer_group: GROUP.to_owned(),
            tran_state_table_offset: self.header.tran_state_table_offset,
            commit_log_offset: self.header.commit_log_offset,
            commit_or_rollback: how,
            from_transaction_check: true,
            msg_id: self.header.msg_id.clone().unwrap(),
            transaction_id: self.header.transaction_id.clone(),
            ..EndTransactionRequestHeader::default()
        }
    }
}

/// A producer that notes what it is asked.
struct Producer {
    client: Client,
    questions: mpsc::Receiver<Question>,
}

impl Producer {
    async fn join(broker: &TestBroker, client_id: &str) -> Self {
        let (tell, questions) = mpsc::channel(1_000);
        let pool = Pool::new(PoolOptions {
            name: "test-producer",
            threads: 1,
            queue_capacity: 1_000,
            lends: 0,
        });
        let routes = Routes::builder(Arc::new(tell))
            .on::<CheckTransactionState>(
                &pool,
                |tell: &mpsc::Sender<Question>,
                 asked: Incoming<CheckTransactionStateRequestHeader>| {
                    let body: Bytes = asked.command.body.to_bytes();
                    let message = MessageExt::decode(&body, 1 << 20).unwrap();
                    let header = asked.header;
                    // The test may have seen enough.
                    let _ = tell.try_send(Question { header, message });
                    Ok(Reply::success())
                },
            )
            .build();
        let options = ClientOptions::default();
        let client = Client::new(options, Some(routes), None, Clock::system());
        let heartbeat = HeartbeatData {
            client_id: client_id.to_owned(),
            producer_data_set: vec![ProducerData {
                group_name: GROUP.to_owned(),
            }],
            ..HeartbeatData::default()
        };
        let body = fastjson::to_vec(&heartbeat).unwrap();
        let request = Command::request::<HeartBeat>(&()).with_body(body);
        let answer = client.call(&broker.address, request, TIMEOUT).await;
        assert_eq!(answer.unwrap().response_code(), ResponseCode::SUCCESS);
        Self { client, questions }
    }

    async fn next(&mut self) -> Question {
        let next = tokio::time::timeout(TIMEOUT, self.questions.recv()).await;
        next.expect("the producer is asked").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_shows_the_message_and_marks_its_half() {
    let broker = TestBroker::start_with(patient).await;
    let sent = send_half(
        &broker,
        "pay",
        &[("TAGS", "t"), ("UNIQ_KEY", "K"), ("own", "1")],
    )
    .await;
    assert_eq!((sent.queue_id, sent.queue_offset), (1, 0));
    assert_eq!(sent.transaction_id.as_deref(), Some("K"));
    let half = at_least(&broker, HALF, 0, 1).await.remove(0);
    assert_eq!((half.sys_flag, half.flag), (0, 77));
    for (name, value) in [
        ("REAL_TOPIC", "orders"),
        ("REAL_QID", "1"),
        ("__transactionId__", "K"),
        ("TRAN_MSG", "true"),
    ] {
        assert_eq!(half.properties.get(name), Some(value), "{name}");
    }
    assert!(all(&broker, "orders", 1).await.is_empty());

    let header = end_header(&sent, COMMIT);
    assert_eq!(
        end_after_start(&broker, &header).await,
        ResponseCode::SUCCESS
    );
    let message = at_least(&broker, "orders", 1, 1).await.remove(0);
    assert_eq!((&message.body[..], message.flag), (&b"pay"[..], 77));
    assert_eq!(message.sys_flag, COMMIT);
    assert_eq!(
        message.prepared_transaction_offset,
        header.commit_log_offset
    );
    assert_eq!(message.properties.get("own"), Some("1"));
    assert_eq!(message.born_timestamp, half.born_timestamp);
    let op = at_least(&broker, OP, 0, 1).await.remove(0);
    assert_eq!((&op.body[..], op.tags()), (&b"0,"[..], Some("d")));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_end_counts_and_later_ones_change_nothing() {
    let broker = TestBroker::start_with(patient).await;
    let one = send_half(&broker, "committed", &[]).await;
    let other = send_half(&broker, "rolled back", &[]).await;
    let code = end_after_start(&broker, &end_header(&one, COMMIT)).await;
    assert_eq!(code, ResponseCode::SUCCESS);
    for (sent, how) in [
        (&other, ROLLBACK),
        (&one, COMMIT),
        (&one, ROLLBACK),
        (&other, COMMIT),
    ] {
        let answered = end(&broker, &end_header(sent, how)).await;
        assert_eq!(answered, (ResponseCode::SUCCESS, String::new()));
    }
    at_least(&broker, OP, 0, 2).await;
    let dir = broker.stop().await;
    // Nor after a restart.
    let broker = TestBroker::start_in(dir, patient).await;
    for (sent, how) in [(&other, COMMIT), (&one, COMMIT)] {
        let code = end_after_start(&broker, &end_header(sent, how)).await;
        assert_ne!(code, ResponseCode::SERVICE_NOT_AVAILABLE);
    }
    let bodies: Vec<_> = all(&broker, "orders", 1).await;
    assert_eq!(bodies.len(), 1);
    assert_eq!(&bodies[0].body[..], b"committed");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_does_not_fit_its_half_message_is_refused_with_javas_words() {
    let broker = TestBroker::start_with(patient).await;
    let sent = send_half(&broker, "x", &[]).await;
    let plain = broker
        .send("orders", 1, "plain", &[("PGROUP", GROUP)])
        .await;
    let right = end_header(&sent, COMMIT);
    // Undecided: the transaction stays open.
    let code = end_after_start(&broker, &end_header(&sent, 0)).await;
    assert_eq!(code, ResponseCode::SUCCESS);
    let wrong = |change: fn(&mut EndTransactionRequestHeader)| {
        let mut header = right.clone();
        change(&mut header);
        header
    };
    let gone = "Find prepared transaction message failed";
    for (header, remark) in [
        (
            wrong(|h| h.producer_group = "other".to_owned()),
            "The producer group wrong",
        ),
        (
            wrong(|h| h.tran_state_table_offset += 1),
            "The transaction state table offset wrong",
        ),
        (wrong(|h| h.commit_log_offset += 1), gone),
        (wrong(|h| h.commit_log_offset = 1 << 40), gone),
        (wrong(|h| h.commit_log_offset = -1), gone),
        (end_header(&plain, COMMIT), gone),
    ] {
        let answered = end(&broker, &header).await;
        assert_eq!(answered, (ResponseCode::SYSTEM_ERROR, remark.to_owned()));
    }
    assert_eq!(end(&broker, &right).await.0, ResponseCode::SUCCESS);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_after_a_demanded_time_without_check_is_refused() {
    let broker = TestBroker::start_with(|config| {
        patient(config);
        config.transaction_timeout_ms = 100;
    })
    .await;
    let sent = send_half(&broker, "x", &[("CHECK_IMMUNITY_TIME_IN_SECONDS", "0")]).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let mut header = end_header(&sent, COMMIT);
    let code = end_after_start(&broker, &header).await;
    assert_eq!(code, ResponseCode::ILLEGAL_OPERATION);
    header.from_transaction_check = true;
    assert_eq!(end(&broker, &header).await.0, ResponseCode::SUCCESS);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_are_asked_in_turn_and_may_answer_for_any_place_of_the_half() {
    let broker = TestBroker::start_with(impatient).await;
    let mut producers = [
        Producer::join(&broker, "one@1").await,
        Producer::join(&broker, "two@2").await,
    ];
    let sent = send_half(&broker, "ask me", &[("UNIQ_KEY", "U"), ("DELAY", "0")]).await;
    let mut asked = BTreeSet::new();
    let mut answers = Vec::new();
    for producer in &mut producers {
        let question = producer.next().await;
        answers.push(question.answer(COMMIT));
        let Question { header, message } = &question;
        assert_eq!(header.topic.as_deref(), Some(HALF));
        assert_eq!(header.msg_id.as_deref(), Some("U"));
        assert_eq!(header.broker_name.as_deref(), Some("broker-t"));
        assert_eq!(message.topic, "orders");
        assert_eq!((message.queue_id, message.flag), (1, 77));
        assert_eq!(message.queue_offset, header.tran_state_table_offset);
        assert_eq!(message.physical_offset, header.commit_log_offset);
        assert_eq!(header.offset_msg_id, Some(message.offset_id().encode()));
        assert!(message.properties.get("TRANSACTION_CHECK_TIMES").is_some());
        assert!(asked.insert(header.tran_state_table_offset));
    }
    // The producer's own late answer and those to the questions, for places long left.
    answers.insert(0, end_header(&sent, COMMIT));
    for answer in &answers {
        assert_eq!(end(&broker, answer).await.0, ResponseCode::SUCCESS);
    }
    assert_eq!(at_least(&broker, "orders", 1, 1).await.len(), 1);
    for producer in producers {
        producer.client.shutdown().await;
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_ends_is_given_up_and_can_be_resumed() {
    let broker = TestBroker::start_with(|config| {
        impatient(config);
        config.transaction_check_max = 2;
    })
    .await;
    let sent = send_half(&broker, "nobody", &[("UNIQ_KEY", "U")]).await;
    let given_up = at_least(&broker, GIVEN_UP, 0, 1).await.remove(0);
    assert_eq!(
        given_up.properties.get("TRANSACTION_CHECK_TIMES"),
        Some("2")
    );
    assert_eq!(&given_up.body[..], b"nobody");
    let late = end(&broker, &end_header(&sent, COMMIT)).await;
    assert_eq!(late.0, ResponseCode::SYSTEM_ERROR);
    assert!(all(&broker, "orders", 1).await.is_empty());

    let mut producer = Producer::join(&broker, "back@1").await;
    let resume = |msg_id: String| ResumeCheckHalfMessageRequestHeader {
        msg_id: Some(msg_id),
        ..ResumeCheckHalfMessageRequestHeader::default()
    };
    let header = resume(given_up.offset_id().encode());
    // After two questions it is given up again, which may be sooner than the answer.
    wait_for("end in time", async || {
        let answer = broker
            .call::<ResumeCheckHalfMessage>(&header, Vec::new())
            .await;
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
        let question = producer.next().await;
        let code = end(&broker, &question.answer(COMMIT)).await.0;
        (code == ResponseCode::SUCCESS).then_some(())
    })
    .await;
    assert_eq!(
        &at_least(&broker, "orders", 1, 1).await[0].body[..],
        b"nobody"
    );
    let unknown = broker
        .call::<ResumeCheckHalfMessage>(&resume("no id".to_owned()), Vec::new())
        .await;
    assert_eq!(unknown.response_code(), ResponseCode::SYSTEM_ERROR);
    producer.client.shutdown().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_transactions_survive_a_restart_and_done_ones_are_passed() {
    let broker = TestBroker::start_with(patient).await;
    let mut sent = Vec::new();
    for number in 0..5 {
        sent.push(send_half(&broker, &format!("half {number}"), &[]).await);
    }
    for (number, how) in [(0, COMMIT), (1, ROLLBACK), (3, COMMIT)] {
        let code = end_after_start(&broker, &end_header(&sent[number], how)).await;
        assert_eq!(code, ResponseCode::SUCCESS);
    }
    let dir = broker.stop().await;
    let offsets = std::fs::read_to_string(dir.path().join("config/consumerOffset.json")).unwrap();
    let half_done = format!("\"{HALF}@CID_RMQ_SYS_TRANS\":{{0:2}}");
    assert!(offsets.contains(&half_done), "{offsets}");
    let metrics = std::fs::read_to_string(dir.path().join("config/transactionMetrics")).unwrap();
    assert!(metrics.contains("\"orders\":{\"count\":2,"), "{metrics}");

    let broker = TestBroker::start_in(dir, impatient).await;
    let mut producer = Producer::join(&broker, "back@1").await;
    let mut open = BTreeSet::new();
    while open.len() < 2 {
        let question = producer.next().await;
        open.insert(String::from_utf8_lossy(&question.message.body).into_owned());
        end(&broker, &question.answer(COMMIT)).await;
    }
    assert_eq!(open.into_iter().collect::<Vec<_>>(), ["half 2", "half 4"]);
    assert_eq!(at_least(&broker, "orders", 1, 4).await.len(), 4);
    producer.client.shutdown().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_begins_with_the_commit() {
    let broker = TestBroker::start_with(patient).await;
    let delays = [
        ("by level", ("DELAY", "1")),
        ("by time", ("TIMER_DELAY_MS", "1500")),
    ];
    for (count, (body, delay)) in delays.into_iter().enumerate() {
        let sent = send_half(&broker, body, &[delay]).await;
        let begun = Instant::now();
        let code = end_after_start(&broker, &end_header(&sent, COMMIT)).await;
        assert_eq!(code, ResponseCode::SUCCESS);
        let at_once = all(&broker, "orders", 1).await.len();
        assert!(at_once == count || begun.elapsed() > Duration::from_millis(400));
        let message = at_least(&broker, "orders", 1, count + 1)
            .await
            .remove(count);
        assert_eq!(&message.body[..], body.as_bytes());
        // The timer leaves out what is less than a second.
        let waited = begun.elapsed();
        assert!(waited > Duration::from_millis(400), "{body}: {waited:?}");
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_synchronous_flush_ends_are_answered_too() {
    let broker = TestBroker::start_with(|config| {
        patient(config);
        config.flush_disk_type = FlushDiskType::SyncFlush;
    })
    .await;
    let sent = send_half(&broker, "safe", &[]).await;
    let code = end_after_start(&broker, &end_header(&sent, COMMIT)).await;
    assert_eq!(code, ResponseCode::SUCCESS);
    assert_eq!(at_least(&broker, "orders", 1, 1).await.len(), 1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_messages_may_be_switched_off() {
    let broker = TestBroker::start_with(|config| config.reject_transactions = true).await;
    let refused = broker.send_refused(&half_header("orders", &[])).await;
    assert_eq!(
        refused,
        (
            16,
            "the broker[127.0.0.1] sending transaction message is forbidden".to_owned()
        )
    );
    // A retry that kept the mark is an ordinary message.
    let mut retry = half_header("orders", &[("DELAY", "1")]);
    retry.reconsume_times = 1;
    broker.send_as::<SendMessageV2>(&retry, b"x".to_vec()).await;
    broker.stop().await;
}
