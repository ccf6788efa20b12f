//! Registration with name servers: here servers that only note what they are told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_proto_compat::body::{
    MessageQueueAssignment, QueryAssignmentRequestBody, QueryAssignmentResponseBody, QueueData,
    RegisterBrokerBody, TopicRouteData,
};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{RegisterBrokerRequestHeader, RegisterBrokerResponseHeader};
use thrustmq_proto_compat::message::record::body_crc;
use thrustmq_proto_compat::request_code::{
    GetRouteInfoByTopic, QueryAssignment, RegisterBroker, UnregisterBroker,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{
    Incoming, Pool, PoolOptions, Refusal, Reply, Routes, Server, ServerOptions,
};

use crate::harness::TestBroker;

#[derive(Default)]
struct Heard {
    topics: Mutex<Vec<Vec<String>>>,
    left: Mutex<Vec<String>>,
}

impl Heard {
    fn register(&self, incoming: &Incoming<RegisterBrokerRequestHeader>) {
        let bytes = incoming.command.body.to_bytes();
        assert_eq!(incoming.header.body_crc32, body_crc(&bytes));
        let body: RegisterBrokerBody = fastjson::from_slice(&bytes).unwrap();
        let topics = body.topic_config_serialize_wrapper.topic_config_table;
        self.topics
            .lock()
            .unwrap()
            .push(topics.into_keys().collect());
    }

    async fn wait_for_topic(&self, topic: &str) {
        for _ in 0..1_200 {
            let heard = self
                .topics
                .lock()
                .unwrap()
                .iter()
                .any(|t| t.iter().any(|t| t == topic));
            if heard {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{topic} was not registered");
    }
}

async fn name_server(heard: &Arc<Heard>, listen: &str) -> Server {
    let pool = Pool::new(PoolOptions {
        name: "test",
        threads: 1,
        queue_capacity: 100,
        lends: 0,
    });
    let routes = Routes::builder(Arc::clone(heard))
        .on::<RegisterBroker>(&pool, |heard, incoming| {
            heard.register(&incoming);
            Ok(Reply::ok(RegisterBrokerResponseHeader::default()))
        })
        .on::<GetRouteInfoByTopic>(&pool, |_, incoming| {
            if incoming.header.topic != "spread" {
                return Err(Refusal::new(
                    ResponseCode::TOPIC_NOT_EXIST,
                    "absent".to_owned(),
                ));
            }
            Ok(Reply::success().with_body(fastjson::to_vec(&two_brokers()).unwrap()))
        })
        .on::<UnregisterBroker>(&pool, |heard, incoming| {
            heard
                .left
                .lock()
                .unwrap()
                .push(incoming.header.broker_address);
            Ok(Reply::success())
        })
        .build();
    let options = ServerOptions::new(listen.parse().unwrap());
    Server::bind(options, routes, None, Clock::system())
        .await
        .unwrap()
}

fn two_brokers() -> TopicRouteData {
    let data = |broker_name: &str| QueueData {
        broker_name: broker_name.to_owned(),
        perm: 6,
        read_queue_nums: 2,
        ..QueueData::default()
    };
    TopicRouteData {
        queue_datas: vec![data("broker-u"), data("broker-t")],
        ..TopicRouteData::default()
    }
}

/// What a member of group `g` is given of a topic, as broker and queue.
async fn assigned(broker: &TestBroker, topic: &str) -> Option<Vec<(String, i32)>> {
    let asked = QueryAssignmentRequestBody {
        client_id: "127.0.0.1@test".to_owned(),
        consumer_group: "g".to_owned(),
        strategy_name: Some("AVG".to_owned()),
        topic: topic.to_owned(),
        ..QueryAssignmentRequestBody::default()
    };
    let body = fastjson::to_vec(&asked).unwrap();
    let answer = broker.call::<QueryAssignment>(&(), body).await;
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    let body: QueryAssignmentResponseBody = fastjson::from_slice(&answer.body.to_bytes()).unwrap();
    let queue =
        |one: MessageQueueAssignment| (one.message_queue.broker_name, one.message_queue.queue_id);
    Some(
        body.message_queue_assignments?
            .into_iter()
            .map(queue)
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_all_brokers_are_divided() {
    let heard = Arc::new(Heard::default());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone_address = gone.local_addr().unwrap();
    drop(gone);
    let server = name_server(&heard, "127.0.0.1:0").await;
    let addresses = format!("{gone_address};{}", server.local_addr());
    let broker = TestBroker::start_with(|config| config.namesrv_addr = Some(addresses)).await;
    broker.heartbeat("g", "spread", &[]).await;
    let all = ["broker-t", "broker-u"].map(|name| [(name.to_owned(), 0), (name.to_owned(), 1)]);
    assert_eq!(assigned(&broker, "spread").await, Some(all.concat()));
    assert_eq!(assigned(&broker, "absent").await, None);
    broker.stop().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_name_servers_hear_of_the_start_of_new_topics_and_of_the_end() {
    let heard = [Arc::new(Heard::default()), Arc::new(Heard::default())];
    let first = name_server(&heard[0], "127.0.0.1:0").await;
    let second = name_server(&heard[1], "127.0.0.1:0").await;
    let addresses = format!("{}; {}", first.local_addr(), second.local_addr());
    let broker = TestBroker::start_with(|config| config.namesrv_addr = Some(addresses)).await;
    for heard in &heard {
        assert!(heard.topics.lock().unwrap()[0].contains(&"TBW102".to_owned()));
    }
    broker.send("orders", 0, "1", &[]).await;
    for heard in &heard {
        heard.wait_for_topic("orders").await;
    }
    let address = broker.address.clone();
    broker.stop().await;
    for heard in &heard {
        assert_eq!(heard.left.lock().unwrap().join(" "), address);
    }
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_comes_late_is_registered_with() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let broker = TestBroker::start_with(|config| config.namesrv_addr = Some(address.clone())).await;
    let heard = Arc::new(Heard::default());
    let server = name_server(&heard, &address).await;
    heard.wait_for_topic("TBW102").await;
    broker.stop().await;
    server.shutdown().await;
}
