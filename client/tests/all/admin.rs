//! Administrative calls, and what brokers ask of consumers on behalf of `mqadmin`.

use std::time::Duration;

use bytes::Bytes;
use thrustmq_client::{
    Admin, AdminError, Clock, ConsumeResult, Message, MessageQueue, MessageRequestMode, NewTopic,
};
use thrustmq_proto_compat::body::{CMResult, ConsumeMessageDirectlyResult, ConsumerRunningInfo};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    ResetOffsetRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    ConsumeMessageDirectly, GetConsumerRunningInfo, InvokeBrokerToResetOffset,
};
use thrustmq_remoting::{Client, ClientOptions};

use crate::standalone::{Received, Standalone, wait_until, wait_until_async};

const TIMEOUT: Duration = Duration::from_secs(60);

fn client() -> Client {
    Client::new(ClientOptions::default(), None, None, Clock::system())
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_routes_and_offsets() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let unknown = admin
        .create_topic("no-such", &NewTopic::named("t"))
        .await
        .unwrap_err();
    assert!(
        matches!(&unknown, AdminError::NoSuchCluster { known, .. } if known == &["DefaultCluster"])
    );
    let topic = NewTopic::named("t").queues(3);
    assert_eq!(
        admin.create_topic("DefaultCluster", &topic).await.unwrap(),
        ["broker-a"]
    );
    wait_until_async("the route", async || admin.route("t").await.is_ok()).await;
    let route = admin.route("t").await.unwrap();
    assert_eq!(route.publish_queues().len(), 3);
    assert_eq!(route.brokers()["broker-a"][&0], servers.broker_address());
    let producer = servers.producer().await;
    let receipt = producer.send(Message::new("t", "x")).await.unwrap();
    wait_until_async("the message in its queue", async || {
        admin.offsets(&receipt.queue).await.unwrap().max == 1
    })
    .await;
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_answers_for_itself() {
    let servers = Standalone::start().await;
    let producer = servers.producer().await;
    let receipt = producer
        .send(Message::new("t", "x").tag("a"))
        .await
        .unwrap();
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "a || b")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("the message", || received.len() == 1).await;

    let (client, broker) = (client(), servers.broker_address());
    let asked = GetConsumerRunningInfoRequestHeader {
        consumer_group: "g".into(),
        client_id: consumer.client_id().into(),
        jstack_enable: false,
    };
    let reply = client
        .call_as::<GetConsumerRunningInfo>(&broker, &asked, Bytes::new(), TIMEOUT)
        .await;
    let info: ConsumerRunningInfo = fastjson::from_slice(&reply.unwrap().body.to_bytes()).unwrap();
    assert_eq!(
        info.properties["PROP_NAMESERVER_ADDR"],
        servers.name_servers()
    );
    let queue = &info.mq_table[&receipt.queue];
    assert_eq!((queue.commit_offset, queue.cached_msg_count), (1, 0));
    let subscribed = info
        .subscription_set
        .iter()
        .find(|data| data.topic == "t")
        .unwrap();
    assert_eq!(subscribed.sub_string, "a || b");

    let asked = ConsumeMessageDirectlyResultRequestHeader {
        consumer_group: "g".into(),
        client_id: Some(consumer.client_id().into()),
        msg_id: Some(receipt.offset_msg_id),
        ..ConsumeMessageDirectlyResultRequestHeader::default()
    };
    let reply = client
        .call_as::<ConsumeMessageDirectly>(&broker, &asked, Bytes::new(), TIMEOUT)
        .await;
    let result: ConsumeMessageDirectlyResult =
        fastjson::from_slice(&reply.unwrap().body.to_bytes()).unwrap();
    assert_eq!(result.consume_result, Some(CMResult::Success));
    assert_eq!(received.bodies(), ["x", "x"]);
    client.shutdown().await;
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_sends_the_consumer_back() {
    let servers = Standalone::start_with(&[("useServerSideResetOffset", "false")]).await;
    let producer = servers.producer().await;
    for n in 0..5 {
        producer
            .send(Message::new("t", format!("{n}")))
            .await
            .unwrap();
    }
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("the messages", || received.len() == 5).await;
    let (client, broker) = (client(), servers.broker_address());
    let asked = ResetOffsetRequestHeader {
        group: "g".into(),
        topic: "t".into(),
        queue_id: -1,
        timestamp_ms: 1_000,
        is_force: true,
        ..ResetOffsetRequestHeader::default()
    };
    // The broker knows the group once it has committed, which takes some seconds.
    wait_until_async("the reset", async || {
        let reset =
            client.call_as::<InvokeBrokerToResetOffset>(&broker, &asked, Bytes::new(), TIMEOUT);
        reset.await.is_ok()
    })
    .await;
    wait_until("the messages again", || received.len() == 10).await;
    assert_eq!(
        received.bodies(),
        ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]
    );
    client.shutdown().await;
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_servers_keep_values_and_permissions() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let name_server = &admin.name_servers()[0];
    let config = admin.name_server_config(name_server).await.unwrap();
    let port = name_server.rsplit_once(':').unwrap().1;
    assert!(config.contains_key("listenPort"), "{port} in {config:?}");
    let setting = [("scanNotActiveBrokerInterval", "4321")];
    admin.set_name_server_config(&setting).await.unwrap();
    let config = admin.name_server_config(name_server).await.unwrap();
    assert_eq!(config["scanNotActiveBrokerInterval"], "4321");

    assert_eq!(admin.value("space", "key").await.unwrap(), None);
    admin.put_value("space", "key", "value").await.unwrap();
    let value = admin.value("space", "key").await.unwrap();
    assert_eq!(value.as_deref(), Some("value"));
    assert_eq!(admin.values("space").await.unwrap()["key"], "value");
    admin.delete_value("space", "key").await.unwrap();
    assert!(admin.values("space").await.unwrap().is_empty());
    assert!(admin.values("nowhere").await.unwrap().is_empty());

    servers.create_topic(2).await;
    let writable = async || admin.route("t").await.unwrap().publish_queues().len();
    let wiped = admin.wipe_write_permission("broker-a").await.unwrap();
    assert!(wiped[0].topics > 0, "{wiped:?}");
    assert_eq!(writable().await, 0);
    admin.add_write_permission("broker-a").await.unwrap();
    assert_eq!(writable().await, 2);
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_seen_and_offsets_moved() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    let receipt = producer.send(Message::new("t", "x")).await.unwrap();
    for _ in 0..4 {
        producer.send(Message::new("t", "x")).await.unwrap();
    }
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("the messages", || received.len() == 5).await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let broker = servers.broker_address();
    assert_eq!(admin.broker_address("broker-a").await.unwrap(), broker);
    let unknown = admin.broker_address("broker-z").await.unwrap_err();
    assert!(matches!(&unknown, AdminError::NoSuchBroker { known, .. } if known == &["broker-a"]));

    let id = consumer.client_id();
    wait_until_async("the group", async || {
        matches!(admin.group_members("g").await, Ok(Some(_)))
    })
    .await;
    let info = admin.consumer_info("g", id, true).await.unwrap();
    assert!(info.mq_table.contains_key(&receipt.queue), "{info:?}");
    let again = admin.consume_directly("g", id, &receipt.offset_msg_id);
    let again = again.await.unwrap();
    assert!(
        again.is_success && again.result == "CR_SUCCESS",
        "{again:?}"
    );
    assert_eq!(received.len(), 6);
    assert!(admin.consumer_info("g", "nobody", false).await.is_err());
    let producers = admin.producers_of_broker(&broker).await.unwrap();
    assert_eq!(producers["test-producers"].len(), 1);
    let of_group = admin.producers_of_group("test-producers", "t").await;
    assert_eq!(of_group.unwrap().connection_set.len(), 1);
    consumer.shutdown().await;

    offsets_are_moved_and_copied(&admin, &receipt.queue).await;
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

/// Group `g` is through with all five messages of the queue.
async fn offsets_are_moved_and_copied(admin: &Admin, queue: &MessageQueue) {
    let lag = async |group: &str| {
        let lags = admin.lag_in(group, "t").await.unwrap();
        lags.iter()
            .map(thrustmq_client::QueueLag::messages)
            .sum::<i64>()
    };
    assert_eq!(lag("g").await, 0);
    admin.reset_offset("g", queue, 2).await.unwrap();
    assert_eq!(lag("g").await, 3);
    let other = thrustmq_client::NewGroup::named("other");
    admin.create_group("DefaultCluster", &other).await.unwrap();
    admin.clone_offsets("g", "other", Some("t")).await.unwrap();
    assert_eq!(lag("other").await, 3);
    assert!(admin.topics_of_group("g").await.unwrap().contains("t"));
    let broker = admin.broker_address("broker-a").await.unwrap();
    let config = admin.group_config(&broker, "other").await.unwrap();
    assert_eq!(config.retry_max_times, 16);
    let set = admin.set_request_mode("other", "t", MessageRequestMode::Pop, 2);
    set.await.unwrap();
    let unknown = admin.lag("nobody").await.unwrap_err();
    assert!(matches!(unknown, AdminError::NoSuchGroup(group) if group == "nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_count_and_clean_up() {
    let servers = Standalone::start().await;
    servers.create_topic(3).await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let broker = servers.broker_address();
    admin.set_topic_permission("t", 4).await.unwrap();
    let config = admin.topic_config(&broker, "t").await.unwrap();
    assert_eq!((config.perm, config.write_queue_nums), (4, 3));
    admin.set_topic_permission("t", 6).await.unwrap();
    let producer = servers.producer().await;
    for _ in 0..3 {
        producer.send(Message::new("t", "x")).await.unwrap();
    }
    wait_until_async("the count", async || {
        let counted = admin.statistics(&broker, "TOPIC_PUT_NUMS", "t").await;
        counted.unwrap().is_some()
    })
    .await;
    let nothing = admin.statistics(&broker, "TOPIC_PUT_NUMS", "no-such").await;
    assert_eq!(nothing.unwrap(), None);
    let rates = admin.topic_rates("t").await.unwrap();
    assert!(rates.groups.is_empty(), "{rates:?}");
    assert!(admin.replication(&broker).await.unwrap().master);
    admin.clean_expired_queues(&broker).await.unwrap();
    admin.clean_unused_topics(&broker).await.unwrap();
    admin.delete_expired_files(&broker).await.unwrap();
    assert_eq!(
        admin.delete_topic_everywhere("t").await.unwrap(),
        ["DefaultCluster"]
    );
    assert!(admin.route("t").await.is_err());
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}
