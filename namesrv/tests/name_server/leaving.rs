//! Brokers go: asked to, their connection closed, silent; and what the rest of the group is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::header::{
    BrokerHeartbeatRequestHeader, NotifyMinBrokerIdChangeRequestHeader,
};
use thrustmq_proto_compat::request_code::{BrokerHeartbeat, NotifyMinBrokerIdChange};
use thrustmq_remoting::{
    Handled, Incoming, Pool, PoolOptions, Reply, Routes, Server, ServerOptions,
};

use crate::harness::{Broker, Harness};

#[tokio::test]
async fn a_broker_that_unregisters_is_gone() {
    let harness = Harness::start().await;
    let (a, b) = (
        Broker::new(&harness, "a", 0, &["t", "u"]),
        Broker::new(&harness, "b", 0, &["t", "v"]),
    );
    a.up().await;
    b.up().await;
    a.unregister().await;
    harness.until_gone("u").await;
    assert_eq!(harness.route("t").await.unwrap().broker_datas.len(), 1);
    a.up().await;
    assert_eq!(harness.route("t").await.unwrap().broker_datas.len(), 2);
    harness.stop().await;
}

#[tokio::test]
async fn the_routes_of_a_closed_connection_go_at_once() {
    let harness = Harness::start().await;
    let broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker.up().await;
    assert!(harness.route("t").await.is_ok());
    broker.client.shutdown().await;
    harness.until_gone("t").await;
    harness.stop().await;
}

#[tokio::test]
async fn a_silent_broker_expires_and_its_connection_closes() {
    let harness = Harness::start().await;
    let quiet = Broker::new(&harness, "quiet", 0, &["t", "u"]);
    let beating = Broker::new(&harness, "beating", 0, &["v", "w"]);
    quiet.up().await;
    beating.up().await;
    harness.clock.advance_ms(100_000);
    heartbeat(&harness, &beating).await;
    assert!(harness.route("t").await.is_ok());
    harness.clock.advance_ms(20_001);
    harness.until_gone("t").await;
    assert!(harness.route("v").await.is_ok());
    quiet.up().await;
    assert!(harness.route("t").await.is_ok());
    harness.stop().await;
}

#[tokio::test]
async fn a_broker_can_say_how_long_it_may_be_silent() {
    let harness = Harness::start().await;
    let mut broker = Broker::new(&harness, "a", 0, &["t", "u"]);
    broker.header.heartbeat_timeout_ms = Some(5_000);
    broker.up().await;
    harness.clock.advance_ms(5_000);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(harness.route("t").await.is_ok());
    harness.clock.advance_ms(1);
    harness.until_gone("t").await;
    harness.stop().await;
}

async fn heartbeat(harness: &Harness, broker: &Broker) {
    let header = BrokerHeartbeatRequestHeader {
        cluster_name: broker.header.cluster_name.clone(),
        broker_address: broker.header.broker_address.clone(),
        broker_name: broker.header.broker_name.clone(),
        ..BrokerHeartbeatRequestHeader::default()
    };
    harness
        .call::<BrokerHeartbeat>(&header, Vec::new())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_slave_acts_for_a_master_that_is_gone() {
    let harness = Harness::start_with(|config| config.support_acting_master = true).await;
    let mut master = Broker::new(&harness, "a", 0, &["t", "u"]);
    let mut slave = Broker::new(&harness, "a", 1, &["t", "u"]);
    master.header.enable_acting_master = Some(true);
    slave.header.enable_acting_master = Some(true);
    master.up().await;
    slave.up().await;
    assert_eq!(harness.route("t").await.unwrap().queue_datas[0].perm, 6);

    master.client.shutdown().await;
    let mut route = harness.route("t").await.unwrap();
    for _ in 0..6_000 {
        if route.queue_datas[0].perm == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        route = harness.route("t").await.unwrap();
    }
    assert_eq!(route.queue_datas[0].perm, 4, "read-only");
    let addresses = &route.broker_datas[0].broker_addrs;
    assert_eq!(
        (addresses.len(), addresses[&0].as_str()),
        (1, "10.0.0.1:10911-a")
    );
    harness.stop().await;
}

type Notices = Arc<Mutex<Vec<NotifyMinBrokerIdChangeRequestHeader>>>;

/// A broker that listens for notices, at the address it registers.
struct ListeningBroker {
    broker: Broker,
    server: Server,
    notices: Notices,
}

impl ListeningBroker {
    async fn new(harness: &Harness, id: i64) -> Self {
        let notices = Notices::default();
        let pool = Pool::new(PoolOptions {
            name: "notices",
            threads: 1,
            queue_capacity: 10,
            lends: 0,
        });
        let routes = Routes::builder(Arc::clone(&notices))
            .on::<NotifyMinBrokerIdChange>(&pool, take_notice)
            .build();
        let options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(options, routes, None, Clock::system())
            .await
            .unwrap();
        let mut broker = Broker::new(harness, "a", id, &["t", "u"]);
        broker.header.enable_acting_master = Some(true);
        broker.header.broker_address = server.local_addr().to_string();
        Self {
            broker,
            server,
            notices,
        }
    }

    async fn notice(&self) -> NotifyMinBrokerIdChangeRequestHeader {
        for _ in 0..6_000 {
            if let Some(notice) = self.notices.lock().unwrap().pop() {
                return notice;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no notice within a minute");
    }
}

fn take_notice(
    notices: &Mutex<Vec<NotifyMinBrokerIdChangeRequestHeader>>,
    incoming: Incoming<NotifyMinBrokerIdChangeRequestHeader>,
) -> Handled<()> {
    assert!(incoming.command.is_oneway());
    notices.lock().unwrap().push(incoming.header);
    Ok(Reply::success())
}

#[tokio::test]
async fn the_group_is_told_of_its_lowest_id() {
    let harness = Harness::start_with(|config| config.notify_min_broker_id_changed = true).await;
    let slave = ListeningBroker::new(&harness, 1).await;
    let master = ListeningBroker::new(&harness, 0).await;
    slave.broker.up().await;
    master.broker.up().await;
    let notice = slave.notice().await;
    assert_eq!(notice.min_broker_id, Some(0));
    assert_eq!(
        notice.min_broker_address,
        Some(master.broker.header.broker_address.clone())
    );
    assert_eq!(
        notice.ha_broker_address,
        Some(master.broker.header.ha_server_address.clone())
    );
    assert_eq!(notice.offline_broker_address, None);

    master.broker.unregister().await;
    let notice = slave.notice().await;
    assert_eq!(notice.min_broker_id, Some(1));
    assert_eq!(
        notice.offline_broker_address,
        Some(master.broker.header.broker_address.clone())
    );
    assert!(master.notices.lock().unwrap().is_empty());
    slave.server.shutdown().await;
    master.server.shutdown().await;
    harness.stop().await;
}
