//! A name server and a broker in your test's process, on free ports, in a directory that goes with
//! them. With the feature `testing`, which belongs under `[dev-dependencies]`:
//!
//! ```toml
//! [dev-dependencies]
//! thrustmq-client = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use thrustmq_client::testing::Standalone;
//! use thrustmq_client::{Message, Producer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let servers = Standalone::start().await?;
//! servers.create_topic("orders", 4).await?;
//! let producer = Producer::builder("shop").config(servers.config()).start().await?;
//! producer.send(Message::new("orders", "4711")).await?;
//! producer.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```
//!
//! These are the servers that ThrustMQ ships, not an imitation: what works here works there. They run
//! on threads of their own, so that a test's runtime, of whatever kind, has no part in them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tempfile::TempDir;
use thrustmq_broker::config::BrokerConfig;
use thrustmq_broker::{BrokerOptions, BrokerServer, StartError as BrokerStartError};
use thrustmq_namesrv::{
    NameServer, NamesrvConfig, NamesrvOptions, StartError as NamesrvStartError,
};
use thrustmq_proto_compat::clock::Clock;
use tokio::runtime::{Builder, Runtime};

use crate::admin::{Admin, NewTopic};
use crate::config::ClientConfig;
use crate::error::AdminError;

/// The cluster that the brokers belong to.
pub const CLUSTER: &str = "DefaultCluster";
/// The broker that is there from the start.
pub const BROKER: &str = "broker-a";

const HOST: &str = "127.0.0.1";
/// Tests share few cores, and the servers have threads of their own for what is heavy.
const WORKER_THREADS: usize = 2;
/// A port that was free a moment ago may belong to somebody's connection now.
const PORT_ATTEMPTS: u32 = 10;
const PORT_PAUSE: Duration = Duration::from_millis(200);

/// Servers for a test: see [the module](self). Dropping it stops them, waits for that, and removes all
/// that they stored.
pub struct Standalone {
    /// Taken when it is dropped, as is all that runs on it.
    runtime: Option<Runtime>,
    name_server: Option<NameServer>,
    name_servers: String,
    brokers: BTreeMap<String, TestBroker>,
    directory: TempDir,
    settings: Vec<(String, String)>,
}

struct TestBroker {
    config: BrokerConfig,
    /// None while it is stopped.
    running: Option<BrokerServer>,
}

/// What a [`Standalone`] is started with.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing runs until `start` is called"]
pub struct StandaloneBuilder {
    settings: Vec<(String, String)>,
}

/// Why the servers cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{server} does not start: {cause}")]
pub struct StandaloneError {
    /// Which of them.
    pub server: String,
    /// In its own words.
    pub cause: String,
}

impl StandaloneBuilder {
    /// A setting of the brokers, by the name that it has in `broker.conf`: `messageDelayLevel`, for
    /// instance. The defaults are a broker's own, but for small files.
    pub fn broker_setting(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Starts the servers. They are ready when this returns.
    ///
    /// # Errors
    /// There is no such setting, or the machine has no port, thread or directory to give.
    pub async fn start(self) -> Result<Standalone, StandaloneError> {
        let failed = |cause: &dyn fmt::Display| not_started("the test's runtime", cause);
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("thrustmq-testing")
            .enable_all()
            .build()
            .map_err(|cause| failed(&cause))?;
        let directory = tempfile::tempdir().map_err(|cause| failed(&cause))?;
        let mut servers = Standalone {
            runtime: Some(runtime),
            name_server: None,
            name_servers: String::new(),
            brokers: BTreeMap::new(),
            directory,
            settings: self.settings,
        };
        servers.start_name_server().await?;
        servers.add_broker(BROKER).await?;
        Ok(servers)
    }
}

impl Standalone {
    /// A name server and a broker with the defaults.
    ///
    /// # Errors
    /// The machine has no port, thread or directory to give.
    pub async fn start() -> Result<Self, StandaloneError> {
        Self::builder().start().await
    }

    /// To change the brokers' settings.
    pub fn builder() -> StandaloneBuilder {
        StandaloneBuilder::default()
    }

    /// The name server's address, for a builder's `name_servers(..)`.
    pub fn name_servers(&self) -> String {
        self.name_servers.clone()
    }

    /// A configuration for clients of these servers. It gives a slow machine more time than the
    /// defaults do.
    pub fn config(&self) -> ClientConfig {
        ClientConfig::new()
            .name_servers(self.name_servers())
            .call_timeout(Duration::from_secs(20))
            .connect_timeout(Duration::from_secs(20))
    }

    /// `host:port` of a broker; it keeps its port when it is stopped and started. None if there is no
    /// such broker.
    pub fn broker_address(&self, name: &str) -> Option<String> {
        let broker = self.brokers.get(name)?;
        Some(format!("{HOST}:{}", broker.config.listen_port))
    }

    /// Creates a topic on every broker that runs, with so many queues on each.
    ///
    /// # Errors
    /// The name is not allowed, or the brokers do not answer.
    pub async fn create_topic(&self, topic: &str, queues: u16) -> Result<(), AdminError> {
        let admin = Admin::with_config(self.config()).await?;
        let created = admin
            .create_topic(CLUSTER, &NewTopic::named(topic).queues(queues))
            .await;
        admin.close().await;
        created.map(|_| ())
    }

    /// Starts one more broker of the same cluster.
    ///
    /// # Errors
    /// The name is not allowed or in use, or the machine has no port to give.
    pub async fn add_broker(&mut self, name: &str) -> Result<(), StandaloneError> {
        if self.brokers.contains_key(name) {
            return Err(not_started(name, &"there is one of this name"));
        }
        let mut config = self.broker_config(name);
        for (key, value) in &self.settings {
            let set = config.set(key, value);
            set.map_err(|cause| not_started(name, &cause))?;
        }
        let running = self.run(start_broker(config.clone())).await??;
        // The same port again when it is started again.
        config.listen_port = running.addresses().listen.port();
        let broker = TestBroker {
            config,
            running: Some(running),
        };
        self.brokers.insert(name.to_owned(), broker);
        Ok(())
    }

    /// Stops a broker in order; clients see it go away. Nothing happens if it does not run.
    pub async fn stop_broker(&mut self, name: &str) {
        let broker = self.brokers.get_mut(name);
        if let Some(running) = broker.and_then(|broker| broker.running.take()) {
            // It fails only if the broker panics, and then it is stopped as well.
            let _ = self.run(running.shutdown()).await;
        }
    }

    /// Starts a broker that was stopped, on the same port and with what it stored.
    ///
    /// # Errors
    /// There is no such broker, or its port was taken meanwhile.
    pub async fn start_broker(&mut self, name: &str) -> Result<(), StandaloneError> {
        let Some(broker) = self.brokers.get(name) else {
            return Err(not_started(name, &"there is no such broker"));
        };
        if broker.running.is_some() {
            return Ok(());
        }
        let running = self.run(start_broker(broker.config.clone())).await??;
        if let Some(broker) = self.brokers.get_mut(name) {
            broker.running = Some(running);
        }
        Ok(())
    }

    /// Stops the name server: clients go on with the routes that they know. Nothing happens if it
    /// does not run.
    pub async fn stop_name_server(&mut self) {
        if let Some(name_server) = self.name_server.take() {
            // It fails only if the name server panics, and then it is stopped as well.
            let _ = self.run(name_server.shutdown()).await;
        }
    }

    /// Starts a name server that was stopped, on the same port. It knows a broker again when that has
    /// registered, which these do every second.
    ///
    /// # Errors
    /// Its port was taken meanwhile.
    pub async fn start_name_server(&mut self) -> Result<(), StandaloneError> {
        if self.name_server.is_some() {
            return Ok(());
        }
        let port = self.name_servers.rsplit_once(':');
        let port = port.and_then(|(_, port)| port.parse().ok());
        let config = NamesrvConfig {
            bind_address: HOST.to_owned(),
            listen_port: port.unwrap_or(0),
            kv_config_path: self.path("kvConfig.json"),
            config_store_path: Some(self.path("namesrv.properties")),
            ..NamesrvConfig::default()
        };
        let options = NamesrvOptions {
            config,
            config_file: None,
        };
        let name_server = self.run(start_name_server(options)).await??;
        self.name_servers = name_server.local_addr().to_string();
        self.name_server = Some(name_server);
        Ok(())
    }

    fn broker_config(&self, name: &str) -> BrokerConfig {
        BrokerConfig {
            namesrv_addr: Some(self.name_servers()),
            bind_address: HOST.to_owned(),
            broker_ip1: HOST.to_owned(),
            broker_name: name.to_owned(),
            listen_port: 0,
            store_root_dir: self.path(name),
            commit_log_file_bytes: 16 << 20,
            consume_queue_file_bytes: 20_000,
            index_slots: 1_000,
            index_entries: 10_000,
            register_period_ms: 1_000,
            // A machine that is slow, or whose disk is full of other things, is no reason to refuse.
            disk_used_ratio_max: 95,
            disk_clean_forcibly_ratio: 99,
            disk_warning_ratio: 99,
            send_queue_wait_ms_max: 60_000,
            log_busy_ms_max: 60_000,
            ..BrokerConfig::default()
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs what belongs to the servers where they live.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StandaloneError> {
        let failed = |cause: &dyn fmt::Display| not_started("the test's runtime", cause);
        let Some(runtime) = &self.runtime else {
            return Err(failed(&"it was stopped"));
        };
        runtime.spawn(work).await.map_err(|cause| failed(&cause))
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let brokers = std::mem::take(&mut self.brokers).into_values();
        let brokers: Vec<_> = brokers.filter_map(|broker| broker.running).collect();
        let name_server = self.name_server.take();
        // No runtime may be waited for, or dropped, on a thread of another one.
        let stopping = std::thread::Builder::new().name("thrustmq-stop".to_owned());
        let stopping = stopping.spawn(move || {
            runtime.block_on(async {
                for broker in brokers {
                    broker.shutdown().await;
                }
                if let Some(name_server) = name_server {
                    name_server.shutdown().await;
                }
            });
        });
        if let Ok(stopping) = stopping {
            // A panic in there was told by its own thread.
            let _ = stopping.join();
        }
    }
}

impl fmt::Debug for Standalone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standalone")
            .field("name_servers", &self.name_servers)
            .field("brokers", &self.brokers.keys())
            .finish_non_exhaustive()
    }
}

async fn start_name_server(options: NamesrvOptions) -> Result<NameServer, StandaloneError> {
    let mut attempts = PORT_ATTEMPTS;
    loop {
        attempts -= 1;
        match NameServer::start(options.clone(), Clock::system()).await {
            Err(NamesrvStartError::Listen { .. }) if attempts > 0 => {
                tokio::time::sleep(PORT_PAUSE).await;
            }
            started => return started.map_err(|cause| not_started("the name server", &cause)),
        }
    }
}

async fn start_broker(config: BrokerConfig) -> Result<BrokerServer, StandaloneError> {
    let name = config.broker_name.clone();
    let mut attempts = PORT_ATTEMPTS;
    loop {
        let options = BrokerOptions {
            config: config.clone(),
            ..BrokerOptions::default()
        };
        attempts -= 1;
        match BrokerServer::start(options, Clock::system()).await {
            Err(BrokerStartError::Listen { .. }) if attempts > 0 => {
                tokio::time::sleep(PORT_PAUSE).await;
            }
            started => return started.map_err(|cause| not_started(&name, &cause)),
        }
    }
}

fn not_started(server: &str, cause: &dyn fmt::Display) -> StandaloneError {
    StandaloneError {
        server: server.to_owned(),
        cause: cause.to_string(),
    }
}
