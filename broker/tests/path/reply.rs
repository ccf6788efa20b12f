//! Replies to requests: pushed to who asked, stored, and what their senders are told.

use std::sync::Arc;

use thrustmq_proto_compat::body::{HeartbeatData, ProducerData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{ReplyMessageRequestHeader, SendMessageRequestHeader};
use thrustmq_proto_compat::message::{properties, sys_flag};
use thrustmq_proto_compat::request_code::{
    HeartBeat, PushReplyMessageToClient, SendReplyMessage, SendReplyMessageV2,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Client, ClientOptions, Incoming, Pool, PoolOptions, Reply, Routes};
use tokio::sync::mpsc;

use crate::harness::{TIMEOUT, TestBroker, pull_header, send_header};

const TOPIC: &str = "DefaultCluster_REPLY_TOPIC";

struct Pushed {
    header: ReplyMessageRequestHeader,
    body: Vec<u8>,
}

struct RequesterState {
    pushed: mpsc::Sender<Pushed>,
    answer: ResponseCode,
}

/// A client that waits for replies.
struct Requester {
    client: Client,
    pushed: mpsc::Receiver<Pushed>,
}

impl Requester {
    /// Announced to the broker; it answers each reply with this code.
    async fn join(broker: &TestBroker, client_id: &str, answer: ResponseCode) -> Self {
        let (tell, pushed) = mpsc::channel(1_000);
        let pool = Pool::new(PoolOptions {
            name: "test-requester",
            threads: 1,
            queue_capacity: 1_000,
            lends: 0,
        });
        let state = Arc::new(RequesterState {
            pushed: tell,
            answer,
        });
        let routes = Routes::builder(state)
            .on::<PushReplyMessageToClient>(
                &pool,
                |state: &RequesterState, push: Incoming<ReplyMessageRequestHeader>| {
                    let body = push.command.body.to_bytes().to_vec();
                    let header = push.header;
                    state.pushed.try_send(Pushed { header, body }).unwrap();
                    Ok(Reply::success().with_code(state.answer))
                },
            )
            .build();
        let client = Client::new(
            ClientOptions::default(),
            Some(routes),
            None,
            Clock::system(),
        );
        let requester = Self { client, pushed };
        // Of two groups: leaving one must not lose the client.
        requester.heartbeat(broker, client_id, &["rg", "rg2"]).await;
        requester
    }

    async fn heartbeat(&self, broker: &TestBroker, client_id: &str, groups: &[&str]) {
        let producer = |group: &&str| ProducerData {
            group_name: (*group).to_owned(),
        };
        let heartbeat = HeartbeatData {
            client_id: client_id.to_owned(),
            producer_data_set: groups.iter().map(producer).collect(),
            ..HeartbeatData::default()
        };
        let body = fastjson::to_vec(&heartbeat).unwrap();
        let request = Command::request::<HeartBeat>(&()).with_body(body);
        let answer = self.client.call(&broker.address, request, TIMEOUT).await;
        assert_eq!(answer.unwrap().response_code(), ResponseCode::SUCCESS);
    }

    async fn next(&mut self) -> Pushed {
        let next = tokio::time::timeout(TIMEOUT, self.pushed.recv()).await;
        next.expect("a reply is pushed").unwrap()
    }
}

async fn reply(broker: &TestBroker, to: &[(&str, &str)], body: &[u8]) -> Command {
    let mut header = send_header(TOPIC, 0, to);
    header.flag = 7;
    header.sys_flag = sys_flag::COMPRESSION_LZ4;
    broker
        .call::<SendReplyMessageV2>(&header, body.to_vec())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_reaches_who_asked_and_is_stored() {
    let broker = TestBroker::start().await;
    let mut requester = Requester::join(&broker, "asker@1", ResponseCode::SUCCESS).await;
    let answer = reply(
        &broker,
        &[
            ("CORRELATION_ID", "c1"),
            ("REPLY_TO_CLIENT", "asker@1"),
            ("MSG_TYPE", "reply"),
            ("ü", "ä"),
        ],
        b"the answer",
    )
    .await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    assert_eq!(answer.fields.get("MSG_REGION"), Some("DefaultRegion"));
    assert_eq!(answer.fields.get("TRACE_ON"), Some("true"));
    assert_eq!(answer.fields.get("queueId"), Some("0"));
    assert_eq!(answer.fields.get("msgId").unwrap().len(), 32);
    let pushed = requester.next().await;
    assert_eq!(pushed.body, b"the answer");
    let header = pushed.header;
    assert_eq!((header.topic.as_str(), header.flag), (TOPIC, 7));
    assert_eq!(header.sys_flag, sys_flag::COMPRESSION_LZ4);
    assert_eq!(header.queue_id, 0);
    assert_eq!(header.born_timestamp_ms, 1_700_000_000_000);
    assert!(header.store_timestamp_ms > header.born_timestamp_ms);
    assert_eq!(header.store_host, broker.address);
    assert!(header.born_host.starts_with("127.0.0.1:"));
    let text = header.properties.unwrap();
    assert_eq!(properties::get(&text, "CORRELATION_ID"), Some("c1"));
    assert_eq!(properties::get(&text, "ü"), Some("ä"));
    assert!(properties::get(&text, "PUSH_REPLY_TIME").is_some());

    let stored = broker.pull_some(TOPIC, 0).await.messages.remove(0);
    assert_eq!(&stored.body[..], b"the answer");
    assert_eq!(stored.sys_flag, sys_flag::COMPRESSION_LZ4);
    assert_eq!(stored.properties.get("CORRELATION_ID"), Some("c1"));
    assert_eq!(stored.properties.get("PUSH_REPLY_TIME"), None);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_replies_learns_that_nobody_got_it_and_it_is_stored_all_the_same() {
    let broker = TestBroker::start().await;
    let mut unwilling = Requester::join(&broker, "unwilling", ResponseCode::SYSTEM_ERROR).await;
    let cases: [(&[(&str, &str)], &str); 3] = [
        (
            &[("REPLY_TO_CLIENT", "gone@1")],
            "push reply message fail, channel of <gone@1> not found.",
        ),
        (
            &[("CORRELATION_ID", "c")],
            "reply message properties[REPLY_TO_CLIENT] is null",
        ),
        (
            &[("REPLY_TO_CLIENT", "unwilling")],
            "push reply message to unwillingfail.",
        ),
    ];
    for (stored, (to, remark)) in cases.into_iter().enumerate() {
        let answer = reply(&broker, to, b"r").await;
        assert_eq!((answer.code, answer.remark.as_deref()), (1, Some(remark)));
        let offset = answer.fields.get("queueOffset").unwrap();
        assert_eq!(offset, stored.to_string());
    }
    assert_eq!(unwilling.next().await.body, b"r");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_reply_and_one_that_is_not_stored_arrive_too() {
    let broker = TestBroker::start_with(|config| config.store_reply = false).await;
    let mut requester = Requester::join(&broker, "asker", ResponseCode::SUCCESS).await;
    let to = [("REPLY_TO_CLIENT", "asker")];
    let long = SendMessageRequestHeader::from(send_header(TOPIC, -1, &to));
    let answer = broker.call::<SendReplyMessage>(&long, Vec::new()).await;
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    assert_eq!(answer.fields.get("msgId"), Some("0"));
    assert_eq!(answer.fields.get("queueOffset"), Some("0"));
    assert_eq!(requester.next().await.body, b"");
    let pulled = broker.pull(&pull_header("g", TOPIC, 0, 0)).await;
    assert_eq!(pulled.header.max_offset, 0);
    broker.stop().await;
}

/// More replies at a time than calls may be under way on a connection, by default 64.
#[tokio::test(flavor = "multi_thread")]
async fn many_replies_at_once_all_arrive() {
    let broker = TestBroker::start_with(|config| config.server_async_calls_max = 4).await;
    let mut requester = Requester::join(&broker, "asker", ResponseCode::SUCCESS).await;
    let replies = (0..200).map(|n: i32| {
        let broker = &broker;
        async move {
            let to = [("REPLY_TO_CLIENT", "asker")];
            reply(broker, &to, n.to_string().as_bytes()).await.code
        }
    });
    let codes = futures_of(replies).await;
    assert_eq!(codes, vec![0; 200]);
    for _ in 0..200 {
        requester.next().await;
    }
    broker.stop().await;
}

/// Runs all at the same time.
async fn futures_of<F: Future<Output = i32>>(futures: impl Iterator<Item = F>) -> Vec<i32> {
    let mut running: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        running.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(code) => {
                done.push(code);
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}
