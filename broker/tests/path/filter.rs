//! Subscriptions by SQL92, and members of one group that subscribe differently.

use std::time::Duration;

use thrustmq_proto_compat::body::{
    ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::PullMessageRequestHeader;
use thrustmq_proto_compat::message::tags_code::string_hash;
use thrustmq_proto_compat::request_code::{HeartBeat, PullMessage};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Client, ClientOptions};
use tokio::time::Instant;

use crate::harness::{Pulled, SUBSCRIPTION, SUSPEND, TIMEOUT, TestBroker, pull_header, pulled};

const TOPIC: &str = "orders";

/// A consumer with a connection of its own.
struct Consumer {
    client: Client,
    address: String,
    id: &'static str,
}

impl Consumer {
    fn of(broker: &TestBroker, id: &'static str) -> Self {
        Self {
            client: Client::new(ClientOptions::default(), None, None, Clock::system()),
            address: broker.address.clone(),
            id,
        }
    }

    async fn subscribe(&self, subscription: SubscriptionData) {
        let heartbeat = HeartbeatData {
            client_id: self.id.to_owned(),
            consumer_data_set: vec![ConsumerData {
                group_name: "g".to_owned(),
                consume_type: ConsumeType::Passively,
                message_model: MessageModel::Clustering,
                subscription_data_set: vec![subscription],
                ..ConsumerData::default()
            }],
            ..HeartbeatData::default()
        };
        let body = fastjson::to_vec(&heartbeat).unwrap();
        let request = Command::request::<HeartBeat>(&()).with_body(body);
        let answer = self.client.call(&self.address, request, TIMEOUT).await;
        assert_eq!(answer.unwrap().response_code(), ResponseCode::SUCCESS);
    }

    async fn pull(&self, header: &PullMessageRequestHeader) -> Pulled {
        let request = Command::request::<PullMessage>(header);
        pulled(
            self.client
                .call(&self.address, request, TIMEOUT)
                .await
                .unwrap(),
        )
    }

    /// Pulls by what the heartbeat said.
    async fn pull_subscribed(&self, sub_version: i64) -> Pulled {
        let mut header = pull_header("g", TOPIC, 0, 0);
        header.sys_flag = 0;
        header.subscription = None;
        header.sub_version = sub_version;
        self.pull(&header).await
    }
}

fn sql(expression: &str, sub_version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: TOPIC.to_owned(),
        sub_string: expression.to_owned(),
        expression_type: Some("SQL92".to_owned()),
        sub_version,
        ..SubscriptionData::default()
    }
}

fn tag(name: &str, sub_version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: TOPIC.to_owned(),
        sub_string: name.to_owned(),
        tags_set: [name.to_owned()].into(),
        code_set: [string_hash(name)].into(),
        sub_version,
        ..SubscriptionData::default()
    }
}

/// A pull that brings its expression along.
fn bringing(expression_type: &str, expression: &str) -> PullMessageRequestHeader {
    let mut header = pull_header("g", TOPIC, 0, 0);
    header.subscription = Some(expression.to_owned());
    header.expression_type = Some(expression_type.to_owned());
    header
}

async fn with_three_orders() -> TestBroker {
    let broker = TestBroker::start().await;
    for (body, price, tag) in [("a", "5", "x"), ("b", "50", "y"), ("c", "none", "x")] {
        let properties = [("price", price), ("TAGS", tag)];
        broker.send(TOPIC, 0, body, &properties).await;
    }
    broker.pull_all(TOPIC, 0, 3).await;
    broker
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_request_says_is_filtered_by() {
    let broker = with_three_orders().await;
    for (expression, bodies) in [
        ("price > 10", vec!["b"]),
        ("price = '5' OR TAGS = 'y'", vec!["a", "b"]),
        ("TAGS = 'x' AND price NOT IN ('5')", vec!["c"]),
    ] {
        let pulled = broker.pull(&bringing("SQL92", expression)).await;
        assert_eq!(pulled.bodies(), bodies, "{expression}");
        assert_eq!(pulled.header.next_begin_offset, 3);
    }
    let none = broker.pull(&bringing("SQL92", "price > 100")).await;
    assert_eq!(none.code, ResponseCode::PULL_RETRY_IMMEDIATELY);
    assert_eq!(none.header.next_begin_offset, 3);
    for (expression_type, expression) in [("SQL92", "price >"), ("SQL92", ""), ("XPATH", "x")] {
        let refused = broker.pull(&bringing(expression_type, expression)).await;
        assert_eq!(refused.code, ResponseCode::SUBSCRIPTION_PARSE_FAILED);
        let text = "parse the consumer's subscription failed: ";
        assert!(refused.remark.starts_with(text), "{}", refused.remark);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_message_that_the_expression_takes_wakes_a_pull() {
    let broker = with_three_orders().await;
    let mut header = bringing("SQL92", "price > 10");
    header.queue_offset = 3;
    header.sys_flag = SUBSCRIPTION | SUSPEND;
    header.suspend_timeout_ms = 20_000;
    let consumer = Consumer::of(&broker, "one");
    let sending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        broker.send(TOPIC, 0, "cheap", &[("price", "7")]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        broker.send(TOPIC, 0, "dear", &[("price", "70")]).await;
        Instant::now()
    };
    let (pulled, sent) = tokio::join!(consumer.pull(&header), sending);
    // Had the cheap one woken it, it would have been answered with none.
    assert_eq!(pulled.bodies(), ["dear"]);
    assert!(
        sent.elapsed() < Duration::from_secs(4),
        "only a sweep woke it"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_one_group_are_served_with_their_own_subscriptions() {
    let broker = with_three_orders().await;
    let [dear, x, new] = ["dear", "x", "new"].map(|id| Consumer::of(&broker, id));
    dear.subscribe(sql("price > 10", 7)).await;
    x.subscribe(tag("x", 9)).await;
    assert_eq!(dear.pull_subscribed(7).await.bodies(), ["b"]);
    assert_eq!(x.pull_subscribed(9).await.bodies(), ["a", "c"]);
    // Who said nothing is served with the newest of the group.
    assert_eq!(new.pull_subscribed(0).await.bodies(), ["a", "c"]);
    // Each answers for its own version.
    let old = dear.pull_subscribed(8).await;
    assert_eq!(old.code, ResponseCode::SUBSCRIPTION_NOT_LATEST);
    // But who wants the same as another vouches for it, as all do in Java.
    new.subscribe(sql("price > 10", 12)).await;
    assert_eq!(dear.pull_subscribed(11).await.bodies(), ["b"]);
    let newer = dear.pull_subscribed(13).await;
    assert_eq!(newer.code, ResponseCode::SUBSCRIPTION_NOT_LATEST);
    dear.subscribe(sql("price = '5'", 8)).await;
    assert_eq!(dear.pull_subscribed(8).await.bodies(), ["a"]);
    dear.subscribe(sql("price = ", 10)).await;
    let wrong = dear.pull_subscribed(10).await;
    assert_eq!(wrong.code, ResponseCode::FILTER_DATA_NOT_EXIST);
    assert_eq!(x.pull_subscribed(9).await.bodies(), ["a", "c"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_property_filters_only_tags_are_served() {
    let broker = TestBroker::start_with(|config| config.property_filter = false).await;
    broker.send(TOPIC, 0, "a", &[("TAGS", "x")]).await;
    broker.pull_some(TOPIC, 0).await;
    let consumer = Consumer::of(&broker, "one");
    consumer.subscribe(sql("price > 10", 7)).await;
    let subscribed = consumer.pull_subscribed(7).await;
    let brought = broker.pull(&bringing("SQL92", "price > 10")).await;
    for refused in [subscribed, brought] {
        assert_eq!(refused.code, ResponseCode::SYSTEM_ERROR);
        let text = "The broker does not support consumer to filter message by SQL92";
        assert_eq!(refused.remark, text);
    }
    assert_eq!(broker.pull(&bringing("TAG", "x")).await.bodies(), ["a"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_groups_filter_by_outlives_a_restart() {
    let broker = with_three_orders().await;
    let consumer = Consumer::of(&broker, "one");
    consumer.subscribe(sql("price > 10", 7)).await;
    let dir = broker.stop().await;
    let file = dir.path().join("config/consumerFilter.json");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(
        written.contains(r#""expression":"price > 10""#),
        "{written}"
    );
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let consumer = Consumer::of(&broker, "one");
    let unknown = consumer.pull_subscribed(7).await;
    assert_eq!(unknown.code, ResponseCode::SUBSCRIPTION_NOT_EXIST);
    consumer.subscribe(sql("price > 10", 7)).await;
    assert_eq!(consumer.pull_subscribed(7).await.bodies(), ["b"]);
    broker.stop().await;
}
