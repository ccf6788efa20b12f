//! A name server and a broker on free ports, in a directory of their own.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use thrustmq_broker::config::BrokerConfig;
use thrustmq_broker::{BrokerOptions, BrokerServer};
use thrustmq_client::{
    Clock, ConsumeFrom, Producer, PushConsumer, PushConsumerBuilder, ReceivedMessage,
};
use thrustmq_namesrv::{NameServer, NamesrvConfig, NamesrvOptions};

/// What a test waits for comes within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Standalone {
    name_server: NameServer,
    broker: BrokerServer,
    config: BrokerConfig,
    _directory: TempDir,
}

impl Standalone {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With these keys of the broker's configuration.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name).display().to_string();
        let namesrv = NamesrvConfig {
            bind_address: "127.0.0.1".into(),
            listen_port: 0,
            kv_config_path: file("kvConfig.json"),
            config_store_path: Some(file("namesrv.properties")),
            ..NamesrvConfig::default()
        };
        let options = NamesrvOptions {
            config: namesrv,
            config_file: None,
        };
        let name_server = NameServer::start(options, Clock::system()).await.unwrap();
        let mut config = BrokerConfig {
            namesrv_addr: Some(name_server.local_addr().to_string()),
            bind_address: "127.0.0.1".into(),
            broker_ip1: "127.0.0.1".into(),
            broker_name: "broker-a".into(),
            listen_port: 0,
            store_root_dir: file("store"),
            commit_log_file_bytes: 16 << 20,
            consume_queue_file_bytes: 20_000,
            index_slots: 1_000,
            index_entries: 10_000,
            ..BrokerConfig::default()
        };
        for (key, value) in settings {
            config.set(key, value).unwrap();
        }
        let broker = start_broker(&config).await;
        // The same port again if the broker is started again.
        config.listen_port = broker.addresses().listen.port();
        Self {
            name_server,
            broker,
            config,
            _directory: directory,
        }
    }

    pub(crate) fn name_servers(&self) -> String {
        self.name_server.local_addr().to_string()
    }

    pub(crate) fn broker_address(&self) -> String {
        self.broker.addresses().listen.to_string()
    }

    pub(crate) async fn producer(&self) -> Producer {
        let builder = Producer::builder("test-producers").name_servers(self.name_servers());
        builder.start().await.unwrap()
    }

    /// A consumer of a group that begins with the oldest message.
    pub(crate) fn consumer(&self, group: &str) -> PushConsumerBuilder {
        PushConsumer::builder(group)
            .name_servers(self.name_servers())
            .consume_from(ConsumeFrom::FirstOffset)
    }

    /// A second broker at the same name server.
    pub(crate) async fn add_broker(&self, name: &str) -> SecondBroker {
        let directory = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig {
            broker_name: name.into(),
            listen_port: 0,
            store_root_dir: directory.path().display().to_string(),
            ..self.config.clone()
        };
        let broker = start_broker(&config).await;
        config.listen_port = broker.addresses().listen.port();
        SecondBroker {
            broker: Some(broker),
            config,
            _directory: directory,
        }
    }

    pub(crate) async fn restart_broker(self) -> Self {
        self.broker.shutdown().await;
        let broker = start_broker(&self.config).await;
        Self { broker, ..self }
    }

    pub(crate) async fn stop(self) {
        self.broker.shutdown().await;
        self.name_server.shutdown().await;
    }
}

pub(crate) struct SecondBroker {
    broker: Option<BrokerServer>,
    config: BrokerConfig,
    _directory: TempDir,
}

impl SecondBroker {
    pub(crate) async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await;
        }
    }

    pub(crate) async fn start(&mut self) {
        self.broker = Some(start_broker(&self.config).await);
    }
}

async fn start_broker(config: &BrokerConfig) -> BrokerServer {
    let options = BrokerOptions {
        config: config.clone(),
        ..BrokerOptions::default()
    };
    BrokerServer::start(options, Clock::system()).await.unwrap()
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
