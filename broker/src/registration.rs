//! Keeps the broker registered with every name server: at the start, when its topics or its
//! permission change, and every 30 s. One task a name server, so that a silent one delays no other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::{
    DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigAndMappingSerializeWrapper,
};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    QueryDataVersionRequestHeader, RegisterBrokerRequestHeader, UnRegisterBrokerRequestHeader,
};
use thrustmq_proto_compat::message::record::body_crc;
use thrustmq_remoting::{CallError, Handled, Responder};
use tokio::task::{JoinHandle, JoinSet};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::topic::{PERM_READ, PERM_WRITE};

const PERIOD_MS_MIN: i64 = 10_000;
const PERIOD_MS_MAX: i64 = 60_000;
/// First pause after a failure; it doubles up to the period.
const RETRY_MS_FIRST: u64 = 500;
/// The start does not wait longer for name servers that do not answer.
const START_WAIT: Duration = Duration::from_millis(3_500);

/// Registers with all name servers once, then keeps doing so in the background. Returns when each
/// has answered or failed.
pub(crate) async fn start(broker: &Arc<Broker>) -> Vec<JoinHandle<()>> {
    let addresses = broker.namesrv.addresses().iter();
    let mut firsts = JoinSet::new();
    for (number, address) in addresses.enumerate() {
        let keeper = Keeper {
            broker: Arc::clone(broker),
            number,
            address: address.clone(),
            failures: 0,
            heard: 0,
        };
        // Changes are counted from before the first registration, so that none falls between.
        let changes = broker.namesrv.changes();
        let change = *changes.borrow();
        firsts.spawn(async move { (keeper.first(change).await, changes) });
    }
    let mut tasks = Vec::new();
    while let Some(first) = firsts.join_next().await {
        match first {
            Ok((keeper, changes)) => tasks.push(tokio::spawn(keeper.keep(changes))),
            Err(error) => tracing::error!(%error, "registration task failed"),
        }
    }
    tasks
}

/// Answers a request once what it changed is written, and all name servers have heard of it or have
/// failed to: so whoever made the request and asks them next finds it.
pub(crate) fn answer_once_registered(
    broker: &Arc<Broker>,
    responder: Responder,
    handled: Handled<()>,
) {
    let broker = Arc::clone(broker);
    let (change, noted) = (broker.namesrv.register_soon(), broker.metadata.noted());
    broker.runtime.clone().spawn(async move {
        broker.metadata.all_written(noted).await;
        broker.namesrv.all_heard(change).await;
        responder.send(handled);
    });
}

/// Tells all name servers that the broker leaves.
pub(crate) async fn unregister(broker: &Arc<Broker>) {
    let mut calls = JoinSet::new();
    for address in broker.namesrv.addresses() {
        let (broker, address) = (Arc::clone(broker), address.clone());
        calls.spawn(async move {
            let header = unregister_header(&broker);
            if let Err(error) = broker.namesrv.unregister(&address, &header).await {
                tracing::warn!(address, %error, "broker is not unregistered");
            }
        });
    }
    while calls.join_next().await.is_some() {}
}

/// What keeps the broker registered with one name server.
struct Keeper {
    broker: Arc<Broker>,
    /// Of the name server, among all.
    number: usize,
    address: String,
    failures: u32,
    /// The last change that the name server heard of, or could not be told.
    heard: u64,
}

impl Keeper {
    async fn first(mut self, change: u64) -> Self {
        if tokio::time::timeout(START_WAIT, self.register(true))
            .await
            .is_err()
        {
            self.failures = 1;
        }
        self.told(change);
        self
    }

    fn told(&mut self, change: u64) {
        self.heard = change;
        self.broker.namesrv.heard(self.number, change);
    }

    async fn keep(mut self, mut changes: tokio::sync::watch::Receiver<u64>) {
        loop {
            let wait = tokio::time::sleep(self.pause());
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = wait => {}
            }
            let change = *changes.borrow_and_update();
            let force = change != self.heard || self.broker.config.current().force_register;
            self.register(force).await;
            self.told(change);
        }
    }

    fn pause(&self) -> Duration {
        let period_ms = self.broker.config.current().register_period_ms;
        let period_ms = period_ms.clamp(PERIOD_MS_MIN, PERIOD_MS_MAX).unsigned_abs();
        if self.failures == 0 {
            return Duration::from_millis(period_ms);
        }
        let doubled = RETRY_MS_FIRST.saturating_mul(1 << self.failures.min(10));
        Duration::from_millis(doubled.min(period_ms))
    }

    async fn register(&mut self, force: bool) {
        match self.try_register(force).await {
            Ok(()) => {
                if self.failures > 0 {
                    tracing::info!(address = self.address, "registered with name server again");
                }
                self.failures = 0;
            }
            Err(error) => {
                // One line for a name server that is away, however long.
                if self.failures == 0 {
                    tracing::warn!(address = self.address, %error, "not registered with name server, will try again");
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    async fn try_register(&self, force: bool) -> Result<(), CallError> {
        let Self {
            broker, address, ..
        } = self;
        if !force {
            let header = query_header(broker);
            let version = broker.topics.data_version();
            if !broker
                .namesrv
                .has_other_version(address, &header, &version)
                .await?
            {
                return Ok(());
            }
        }
        let config = broker.config.current();
        let body = registration_body(broker, &config);
        let header = register_header(broker, &config, &body);
        let timeout = Duration::from_millis(config.register_timeout_ms.unsigned_abs());
        let ordered = broker
            .namesrv
            .register(address, &header, body, timeout)
            .await?;
        broker
            .topics
            .mark_ordered(ordered.iter().map(String::as_str));
        Ok(())
    }
}

fn registration_body(broker: &Broker, config: &BrokerConfig) -> Bytes {
    let snapshot = broker.topics.snapshot();
    let permission = config.broker_permission;
    let is_restricted = permission & (PERM_READ | PERM_WRITE) != PERM_READ | PERM_WRITE;
    let topics = snapshot.topics.into_iter().map(|(name, topic)| {
        let mut topic = TopicConfig::clone(&topic);
        if is_restricted {
            topic.perm &= permission;
        }
        (name, topic)
    });
    let body = RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
            data_version: snapshot.data_version,
            mapping_data_version: DataVersion::default(),
            topic_config_table: topics.collect(),
            ..TopicConfigAndMappingSerializeWrapper::default()
        },
    };
    fastjson::to_vec(&body).unwrap_or_default().into()
}

fn register_header(
    broker: &Broker,
    config: &BrokerConfig,
    body: &[u8],
) -> RegisterBrokerRequestHeader {
    let ha_port = match config.ha_listen_port {
        0 => broker.advertised.port().saturating_add(1),
        port => port,
    };
    RegisterBrokerRequestHeader {
        broker_name: config.broker_name.clone(),
        broker_address: broker.address.clone(),
        cluster_name: config.broker_cluster_name.clone(),
        ha_server_address: format!("{}:{ha_port}", config.broker_ip2),
        broker_id: config.broker_id,
        heartbeat_timeout_ms: None,
        enable_acting_master: Some(false),
        compressed: false,
        body_crc32: body_crc(body),
    }
}

fn query_header(broker: &Broker) -> QueryDataVersionRequestHeader {
    let config = broker.config.current();
    QueryDataVersionRequestHeader {
        broker_name: config.broker_name.clone(),
        broker_address: broker.address.clone(),
        cluster_name: config.broker_cluster_name.clone(),
        broker_id: config.broker_id,
    }
}

fn unregister_header(broker: &Broker) -> UnRegisterBrokerRequestHeader {
    let config = broker.config.current();
    UnRegisterBrokerRequestHeader {
        broker_name: config.broker_name.clone(),
        broker_address: broker.address.clone(),
        cluster_name: config.broker_cluster_name.clone(),
        broker_id: config.broker_id,
    }
}
