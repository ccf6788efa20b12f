//! Pops that wait: for messages, and not for clients that are gone.

use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{
    NotificationRequestHeader, PollingInfoRequestHeader, PollingInfoResponseHeader,
    PopMessageRequestHeader,
};
use thrustmq_proto_compat::message::message_ext::decode_all;
use thrustmq_proto_compat::request_code::{Notification, PollingInfo, PopMessage};
use thrustmq_remoting::{Client, ClientOptions};
use tokio::task::JoinHandle;

use crate::harness::{TIMEOUT, TestBroker};

const TOPIC: &str = "T";

fn header(poll_time_ms: i64) -> PopMessageRequestHeader {
    PopMessageRequestHeader {
        consumer_group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: -1,
        max_msg_nums: 32,
        invisible_time_ms: 60_000,
        poll_time_ms,
        ..PopMessageRequestHeader::default()
    }
}

fn bodies(answer: &Command) -> Vec<String> {
    let messages = decode_all(&answer.body.to_bytes(), 1 << 20).messages;
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    messages.iter().map(|message| text(&message.body)).collect()
}

/// A request of a client of its own, which waits for its answer.
fn start(broker: &TestBroker, request: Command) -> (Client, JoinHandle<()>) {
    let client = Client::new(ClientOptions::default(), None, None, Clock::system());
    let (waiting, address) = (client.clone(), broker.address.clone());
    let task = tokio::spawn(async move {
        // Its client goes before there is an answer.
        let _ = waiting.call(&address, request, TIMEOUT).await;
    });
    (client, task)
}

async fn until_waiting(broker: &TestBroker, count: i32) {
    let asked = PollingInfoRequestHeader {
        consumer_group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: -1,
    };
    let waiting = async {
        loop {
            let answer = broker.call::<PollingInfo>(&asked, Vec::new()).await;
            let info: PollingInfoResponseHeader = answer.header().unwrap();
            if info.polling_num == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "not {count} wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pop_goes_on_behind_what_the_one_before_took() {
    let broker = TestBroker::start().await;
    let one = PopMessageRequestHeader {
        queue_id: 0,
        max_msg_nums: 1,
        ..header(10_000)
    };
    for body in ["a", "b", "c"] {
        broker.send(TOPIC, 0, body, &[]).await;
    }
    broker.pull_all(TOPIC, 0, 3).await;
    for body in ["a", "b", "c"] {
        let answer = broker.call::<PopMessage>(&one, Vec::new()).await;
        assert_eq!(bodies(&answer), [body]);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pop_whose_client_is_gone_leases_nothing() {
    let broker = TestBroker::start().await;
    broker.send(TOPIC, 0, "first", &[]).await;
    let answer = broker.call::<PopMessage>(&header(10_000), Vec::new()).await;
    assert_eq!(bodies(&answer), ["first"]);
    let mut gone = Vec::new();
    for _ in 0..2 {
        gone.push(start(
            &broker,
            Command::request::<PopMessage>(&header(60_000)),
        ));
    }
    let notification = NotificationRequestHeader {
        consumer_group: "g".to_owned(),
        topic: TOPIC.to_owned(),
        queue_id: -1,
        poll_time_ms: 60_000,
        ..NotificationRequestHeader::default()
    };
    gone.push(start(
        &broker,
        Command::request::<Notification>(&notification),
    ));
    until_waiting(&broker, 2).await;
    for (client, task) in gone {
        client.shutdown().await;
        task.await.unwrap();
    }
    until_waiting(&broker, 0).await;
    broker.send(TOPIC, 0, "second", &[]).await;
    let answer = broker.call::<PopMessage>(&header(10_000), Vec::new()).await;
    assert_eq!(bodies(&answer), ["second"]);
    broker.stop().await;
}
