//! Registration with name servers: here servers that only note what they are told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_proto_compat::body::RegisterBrokerBody;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{RegisterBrokerRequestHeader, RegisterBrokerResponseHeader};
use thrustmq_proto_compat::message::record::body_crc;
use thrustmq_proto_compat::request_code::{RegisterBroker, UnregisterBroker};
use thrustmq_remoting::{Incoming, Pool, PoolOptions, Reply, Routes, Server, ServerOptions};

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
        for _ in 0..200 {
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
    });
    let routes = Routes::builder(Arc::clone(heard))
        .on::<RegisterBroker>(&pool, |heard, incoming| {
            heard.register(&incoming);
            Ok(Reply::ok(RegisterBrokerResponseHeader::default()))
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
