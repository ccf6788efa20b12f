//! Administrative calls, and what brokers ask of consumers on behalf of `mqadmin`.

use std::time::Duration;

use bytes::Bytes;
use thrustmq_client::{Admin, AdminError, Clock, ConsumeResult, Message, NewTopic};
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

const TIMEOUT: Duration = Duration::from_secs(10);

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
