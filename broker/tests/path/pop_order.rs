//! Pops in order: one batch of a queue at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thrustmq_broker::config::BrokerConfig;
use thrustmq_proto_compat::body::{BatchAck, BatchAckMessageRequestBody};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    AckMessageRequestHeader, ChangeInvisibleTimeRequestHeader, ChangeInvisibleTimeResponseHeader,
    NotificationRequestHeader, NotificationResponseHeader, PopMessageRequestHeader,
    PopMessageResponseHeader, ResetOffsetRequestHeader,
};
use thrustmq_proto_compat::message::message_ext::decode_all;
use thrustmq_proto_compat::request_code::{
    AckMessage, BatchAckMessage, ChangeMessageInvisibleTime, InvokeBrokerToResetOffset,
    Notification, PopMessage,
};
use thrustmq_proto_compat::response_code::ResponseCode;

use crate::harness::TestBroker;

const TOPIC: &str = "T";
const POLLING_TIMEOUT: i32 = 210;

/// What a pop was given.
#[derive(Debug)]
struct Popped {
    header: PopMessageResponseHeader,
    offsets: Vec<i64>,
    bodies: Vec<String>,
}

impl Popped {
    fn handle(&self, offset: i64) -> String {
        let PopMessageResponseHeader {
            pop_time_ms,
            invisible_time_ms,
            revive_queue_id,
            ..
        } = self.header;
        let start = self.offsets[0];
        format!("{start} {pop_time_ms} {invisible_time_ms} {revive_queue_id} 0 broker-t 0 {offset}")
    }

    fn counts(&self) -> &str {
        self.header.order_count_info.as_deref().unwrap_or_default()
    }
}

fn pop_header(attempt: &str, messages: i32) -> PopMessageRequestHeader {
    PopMessageRequestHeader {
        consumer_group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: 0,
        max_msg_nums: messages,
        invisible_time_ms: 60_000,
        order: Some(true),
        attempt_id: Some(attempt.to_owned()),
        ..PopMessageRequestHeader::default()
    }
}

async fn pop(broker: &TestBroker, header: &PopMessageRequestHeader) -> Option<Popped> {
    popped(broker.call::<PopMessage>(header, Vec::new()).await)
}

fn popped(answer: Command) -> Option<Popped> {
    if answer.code == POLLING_TIMEOUT {
        return None;
    }
    assert_eq!(
        answer.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        answer.remark
    );
    let messages = decode_all(&answer.body.to_bytes(), 1 << 20).messages;
    Some(Popped {
        header: answer.header().unwrap(),
        offsets: messages
            .iter()
            .map(|message| message.queue_offset)
            .collect(),
        bodies: messages
            .iter()
            .map(|message| String::from_utf8_lossy(&message.body).into_owned())
            .collect(),
    })
}

async fn ack(broker: &TestBroker, popped: &Popped, offset: i64) -> Command {
    let header = AckMessageRequestHeader {
        consumer_group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        extra_info: popped.handle(offset),
        offset,
        ..AckMessageRequestHeader::default()
    };
    broker.call::<AckMessage>(&header, Vec::new()).await
}

async fn done(broker: &TestBroker, popped: &Popped, offset: i64) {
    let answer = ack(broker, popped, offset).await;
    assert_eq!(
        answer.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        answer.remark
    );
}

async fn change(
    broker: &TestBroker,
    popped: &Popped,
    offset: i64,
    invisible_time_ms: i64,
) -> ChangeInvisibleTimeResponseHeader {
    let header = ChangeInvisibleTimeRequestHeader {
        consumer_group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        extra_info: popped.handle(offset),
        offset,
        invisible_time_ms,
        ..ChangeInvisibleTimeRequestHeader::default()
    };
    let answer = broker
        .call::<ChangeMessageInvisibleTime>(&header, Vec::new())
        .await;
    assert_eq!(
        answer.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        answer.remark
    );
    answer.header().unwrap()
}

/// A broker with `0`, `1`, … in queue 0.
async fn broker_with(messages: usize) -> TestBroker {
    let broker = TestBroker::start_with(quiet).await;
    for number in 0..messages {
        broker.send(TOPIC, 0, &number.to_string(), &[]).await;
    }
    broker.pull_all(TOPIC, 0, messages as i64).await;
    broker
}

fn quiet(config: &mut BrokerConfig) {
    config.pull_queue_wait_ms_max = 30_000;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_blocks_its_queue_until_it_is_done() {
    let broker = broker_with(4).await;
    let first = pop(&broker, &pop_header("one", 2)).await.unwrap();
    assert_eq!(
        (&first.offsets[..], first.header.revive_queue_id),
        (&[0, 1][..], 999)
    );
    assert_eq!(first.counts(), "0 0 0");
    assert_eq!(first.header.rest_num, 2);
    assert!(pop(&broker, &pop_header("two", 2)).await.is_none());
    // A handle names the millisecond of its pop: within one, both would be the same.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let again = pop(&broker, &pop_header("one", 2)).await.unwrap();
    assert_eq!(again.bodies, first.bodies, "the attempt is repeated");
    assert_eq!(again.counts(), "0 0 0");
    done(&broker, &first, 0).await;
    assert!(
        pop(&broker, &pop_header("two", 2)).await.is_none(),
        "the handle is of the lost answer"
    );
    done(&broker, &again, 1).await;
    assert!(
        pop(&broker, &pop_header("two", 2)).await.is_none(),
        "one is open"
    );
    done(&broker, &again, 0).await;
    let next = pop(&broker, &pop_header("two", 2)).await.unwrap();
    assert_eq!(next.offsets, [2, 3]);
    done(&broker, &again, 1).await;
    let illegal = ack(&broker, &next, 4).await;
    assert_eq!(
        (
            illegal.code,
            illegal
                .remark
                .unwrap()
                .split(", next")
                .next()
                .unwrap()
                .to_owned()
        ),
        (
            13,
            "offset is illegal, key:T@g@0, old:2, commit:4".to_owned()
        )
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_given_messages_when_the_batch_ends() {
    let broker = broker_with(3).await;
    let first = pop(&broker, &pop_header("one", 1)).await.unwrap();
    let mut waiting = pop_header("two", 1);
    waiting.poll_time_ms = 20_000;
    let begun_ms = Clock::system().now_ms();
    let (next, ()) = tokio::join!(pop(&broker, &waiting), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        done(&broker, &first, 0).await;
    });
    let next = next.unwrap();
    assert_eq!(next.offsets, [1]);
    // A client gives its message back a little later.
    waiting.attempt_id = Some("three".to_owned());
    waiting.born_time_ms = 0;
    let (again, changed) = tokio::join!(pop(&broker, &waiting), change(&broker, &next, 1, 300));
    assert_eq!(
        (changed.pop_time_ms, changed.revive_queue_id),
        (next.header.pop_time_ms, 999)
    );
    let again = again.unwrap();
    assert_eq!((again.offsets[0], again.counts()), (1, "0 qo0%1 1;0 0 1"));
    let elapsed_ms = Clock::system().now_ms() - begun_ms;
    assert!(elapsed_ms < 15_000, "{elapsed_ms}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_know_of_the_batch_in_flight() {
    let broker = broker_with(2).await;
    let notification = NotificationRequestHeader {
        consumer_group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: -1,
        order: Some(true),
        ..NotificationRequestHeader::default()
    };
    let has_messages = async || {
        let answer = broker.call::<Notification>(&notification, Vec::new()).await;
        answer
            .header::<NotificationResponseHeader>()
            .unwrap()
            .has_msg
    };
    assert!(has_messages().await);
    let first = pop(&broker, &pop_header("one", 1)).await.unwrap();
    assert!(!has_messages().await);
    done(&broker, &first, 0).await;
    assert!(has_messages().await);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_the_batch_and_a_batch_is_acknowledged_at_once() {
    let broker = broker_with(4).await;
    let first = pop(&broker, &pop_header("one", 3)).await.unwrap();
    let acks = BatchAckMessageRequestBody {
        broker_name: "broker-t".to_owned(),
        acks: vec![BatchAck {
            bit_set: "Aw==".to_owned(),
            consumer_group: "g".to_owned(),
            invisible_time: 60_000,
            pop_time: first.header.pop_time_ms,
            retry: "0".to_owned(),
            revive_queue_id: 999,
            topic: TOPIC.to_owned(),
            ..BatchAck::default()
        }],
    };
    let body = fastjson::to_vec(&acks).unwrap();
    let answer = broker.call::<BatchAckMessage>(&(), body).await;
    assert_eq!(
        answer.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        answer.remark
    );
    assert!(
        pop(&broker, &pop_header("two", 3)).await.is_none(),
        "offset 2 is open"
    );
    let reset = ResetOffsetRequestHeader {
        group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: 0,
        offset: Some(1),
        ..ResetOffsetRequestHeader::default()
    };
    let answer = broker
        .call::<InvokeBrokerToResetOffset>(&reset, Vec::new())
        .await;
    assert_eq!(
        answer.response_code(),
        ResponseCode::SUCCESS,
        "{:?}",
        answer.remark
    );
    let again = pop(&broker, &pop_header("two", 3)).await.unwrap();
    assert_eq!(
        (&again.offsets[..], again.counts()),
        (&[1, 2, 3][..], "0 0 0")
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_in_flight_survives_a_restart() {
    let broker = broker_with(4).await;
    let first = pop(&broker, &pop_header("one", 2)).await.unwrap();
    done(&broker, &first, 0).await;
    let broker = TestBroker::start_in(broker.stop().await, quiet).await;
    assert!(pop(&broker, &pop_header("two", 2)).await.is_none());
    done(&broker, &first, 1).await;
    let next = pop(&broker, &pop_header("two", 2)).await.unwrap();
    assert_eq!(next.offsets, [2, 3]);
    broker.stop().await;
}

/// Consumers that sometimes lose what they were given, of which each gets the next messages only when
/// the ones before are done.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_fail_keep_the_order() {
    const MESSAGES: usize = 60;
    const LEASE_MS: i64 = 400;
    let broker = broker_with(MESSAGES).await;
    // And when the pop began that brought it so far: its messages may be given to another, and their
    // ends then count for nothing, a lease later.
    let next = Mutex::new((0, 0));
    let was_late = AtomicBool::new(false);
    let consumer = async |name: usize| {
        let mut random = name as u64 * 0x9E37_79B9 + 7;
        let mut attempt = 0;
        while next.lock().unwrap().0 < MESSAGES as i64 {
            attempt += 1;
            let mut header = pop_header(&format!("{name}-{attempt}"), 3);
            header.invisible_time_ms = LEASE_MS;
            header.poll_time_ms = 1_000;
            let begun_ms = Clock::system().now_ms();
            let Some(popped) = pop(&broker, &header).await else {
                continue;
            };
            let (first, since_ms) = *next.lock().unwrap();
            let is_next = popped.offsets[0] == first;
            let has_expired = Clock::system().now_ms() - since_ms >= LEASE_MS;
            let is_again = popped.offsets[0] < first && has_expired;
            assert!(is_next || is_again, "what is not done comes first");
            for offset in &popped.offsets {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                if random >> 33 & 7 == 0 {
                    break; // the consumer dies; the rest comes again
                }
                // Before the answer: another may be given what follows at once.
                *next.lock().unwrap() = (offset + 1, begun_ms);
                done(&broker, &popped, *offset).await;
            }
            was_late.fetch_or(
                Clock::system().now_ms() - begun_ms >= LEASE_MS,
                Ordering::SeqCst,
            );
        }
    };
    tokio::join!(consumer(1), consumer(2), consumer(3));
    let left = pop(&broker, &pop_header("last", 1)).await;
    assert!(left.is_none() || was_late.load(Ordering::SeqCst));
    broker.stop().await;
}
