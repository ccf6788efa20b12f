//! What most tests need: servers, patient clients, and a place for what listeners get.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_client::testing::{self, BROKER};
use thrustmq_client::{
    Admin, ConsumeFrom, NewTopic, Producer, PushConsumer, PushConsumerBuilder, ReceivedMessage,
};

/// What a test waits for comes within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Standalone {
    servers: testing::Standalone,
}

impl Standalone {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these keys of the broker's configuration.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut builder = testing::Standalone::builder();
        for (key, value) in settings {
            builder = builder.broker_setting(*key, *value);
        }
        let servers = builder.start().await.unwrap();
        Self { servers }
    }

    pub(crate) fn name_servers(&self) -> String {
        self.servers.name_servers()
    }

    pub(crate) fn broker_address(&self) -> String {
        self.servers.broker_address(BROKER).unwrap()
    }

    pub(crate) async fn producer(&self) -> Producer {
        let builder = Producer::builder("test-producers").name_servers(self.name_servers());
        let patient = builder.send_timeout(Duration::from_secs(20));
        patient.start().await.unwrap()
    }

    /// A consumer of a group that begins with the oldest message.
    pub(crate) fn consumer(&self, group: &str) -> PushConsumerBuilder {
        PushConsumer::builder(group)
            .name_servers(self.name_servers())
            .consume_from(ConsumeFrom::FirstOffset)
    }

    /// Creates topic `t`, and waits until clients find it.
    pub(crate) async fn create_topic(&self, queues: u16) {
        let admin = Admin::connect(self.name_servers()).await.unwrap();
        let topic = NewTopic::named("t").queues(queues);
        admin.create_topic("DefaultCluster", &topic).await.unwrap();
        wait_until_async("the topic's route", async || admin.route("t").await.is_ok()).await;
        admin.close().await;
    }

    /// A second broker at the same name server.
    pub(crate) async fn add_broker(&mut self, name: &str) {
        self.servers.add_broker(name).await.unwrap();
    }

    pub(crate) async fn stop_broker(&mut self, name: &str) {
        self.servers.stop_broker(name).await;
    }

    pub(crate) async fn start_broker(&mut self, name: &str) {
        self.servers.start_broker(name).await.unwrap();
    }

    pub(crate) async fn stop_name_server(&mut self) {
        self.servers.stop_name_server().await;
    }

    pub(crate) async fn start_name_server(&mut self) {
        self.servers.start_name_server().await.unwrap();
    }

    pub(crate) async fn restart_broker(mut self) -> Self {
        self.stop_broker(BROKER).await;
        self.start_broker(BROKER).await;
        self
    }

    pub(crate) async fn stop(self) {
        drop(self.servers);
    }
}

/// Collects what listeners get.
#[derive(Clone, Default)]
pub(crate) struct Received {
    messages: Arc<Mutex<Vec<ReceivedMessage>>>,
}

impl Received {
    pub(crate) fn push(&self, message: ReceivedMessage) {
        self.messages.lock().unwrap().push(message);
    }

    pub(crate) fn all(&self) -> Vec<ReceivedMessage> {
        self.messages.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    /// Bodies in alphabetical order.
    pub(crate) fn bodies(&self) -> Vec<String> {
        let all = self.all();
        let mut bodies: Vec<_> = all
            .iter()
            .map(|m| String::from_utf8_lossy(&m.body).into_owned())
            .collect();
        bodies.sort();
        bodies
    }
}

/// Waits until `is_so`; fails the test with `what` if it never is.
pub(crate) async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    wait_until_async(what, async || is_so()).await;
}

/// As [`wait_until`], for a condition that takes a call to find out.
pub(crate) async fn wait_until_async<Fut: Future<Output = bool>>(
    what: &str,
    is_so: impl Fn() -> Fut,
) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}
