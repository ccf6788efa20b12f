//! Administration, typed: [`Admin`] finds the brokers that a call is for, asks each of them, and puts
//! their answers together. Here the cluster and what the others share; the modules hold a call each for
//! what their names say.

mod brokers;
mod connections;
mod groups;
mod messages;
mod name_servers;
mod redrive;
mod statistics;
mod topics;
mod traces;
mod walk;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use thrustmq_proto_compat::body::{ClusterInfo, MessageQueue};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::CallError;

pub use brokers::{BrokerSetting, Replication};
pub use connections::{ConsumedDirectly, ConsumerInfo, ProducersByGroup};
pub use groups::{GroupConfig, GroupConnections, NewGroup, QueueLag};
pub use messages::KeySearch;
pub use name_servers::PermissionChange;
pub use redrive::{Redrive, RedriveProgress};
pub use statistics::{GroupRates, Statistic, Statistics, TopicRates};
pub use topics::{NewTopic, QueueStats, TopicConfig};
pub use traces::Traced;
pub use walk::{FoundMessage, MessageWalk, TimeRange};

use crate::config::ClientConfig;
use crate::error::{AdminError, StartError};
use crate::link::Link;
use crate::queue_offsets;
use crate::route::TopicRoute;

/// Administers a cluster. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), thrustmq_client::AdminError> {
/// use thrustmq_client::{Admin, NewTopic};
/// let admin = Admin::connect("127.0.0.1:9876").await?;
/// let brokers = admin.create_topic("DefaultCluster", &NewTopic::named("orders").queues(8)).await?;
/// assert!(!brokers.is_empty());
/// admin.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    link: Arc<Link>,
    /// For producers that it needs.
    config: ClientConfig,
}

/// The offsets that a queue holds.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let route = admin.route("orders").await?;
/// for queue in route.subscribe_queues() {
///     let offsets = admin.offsets(queue).await?;
///     println!("{queue}: {} to {}", offsets.min, offsets.max);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first message that is still there.
    pub min: i64,
    /// The number that the next message will get.
    pub max: i64,
}

impl Admin {
    /// An administrator of the clusters that these name servers know: `host:port`, several with `;`
    /// between.
    ///
    /// # Errors
    /// No address is given; the servers themselves are asked with the first call.
    pub async fn connect(name_servers: impl Into<String>) -> Result<Self, StartError> {
        Self::with_config(ClientConfig::new().name_servers(name_servers)).await
    }

    /// As [`Admin::connect`], with everything that a configuration can say. Names of topics and groups
    /// are those that the servers know: a [`namespace`](ClientConfig::namespace) is not put before them.
    ///
    /// # Errors
    /// The configuration is wrong or names no server; the servers are asked with the first call.
    pub async fn with_config(config: ClientConfig) -> Result<Self, StartError> {
        let config = config.namespace("");
        let link = Arc::new(Link::new(&config, None).await?);
        Ok(Self { link, config })
    }

    /// All clusters and their brokers.
    ///
    /// # Errors
    /// No name server answers.
    pub async fn clusters(&self) -> Result<ClusterInfo, AdminError> {
        Ok(self
            .link
            .name_servers()
            .cluster_info(self.link.client())
            .await?)
    }

    /// Where a topic is, as the name servers know it now.
    ///
    /// # Errors
    /// No name server answers, or there is no such topic.
    pub async fn route(&self, topic: &str) -> Result<TopicRoute, AdminError> {
        let data = self
            .link
            .name_servers()
            .route(self.link.client(), topic)
            .await?;
        Ok(TopicRoute::of(topic, &data))
    }

    /// A name server's address.
    fn name_server(&self) -> Result<String, AdminError> {
        let first = self.link.name_servers().addresses().first().cloned();
        Ok(first.ok_or(StartError::NoNameServer)?)
    }

    /// The addresses of a cluster's masters, in the order of their names.
    async fn masters(&self, cluster: &str) -> Result<Vec<Master>, AdminError> {
        let clusters = self.clusters().await?;
        let Some(broker_names) = clusters.cluster_addr_table.get(cluster) else {
            return Err(AdminError::NoSuchCluster {
                cluster: cluster.to_owned(),
                known: clusters.cluster_addr_table.into_keys().collect(),
            });
        };
        let master = |name: &String| {
            let broker = clusters.broker_addr_table.get(name)?;
            let address = broker.broker_addrs.get(&crate::route::MASTER_ID)?.clone();
            let name = name.clone();
            Some(Master { name, address })
        };
        Ok(broker_names.iter().filter_map(master).collect())
    }

    /// The address of a broker group's master, or of who stands in for it.
    ///
    /// # Errors
    /// No name server answers, or none knows the broker.
    pub async fn broker_address(&self, broker_name: &str) -> Result<String, AdminError> {
        let brokers = self.clusters().await?.broker_addr_table;
        let addresses = brokers.get(broker_name).map(|broker| &broker.broker_addrs);
        let address = addresses.and_then(|addresses| addresses.values().next().cloned());
        address.ok_or_else(|| AdminError::NoSuchBroker {
            broker_name: broker_name.to_owned(),
            known: brokers.into_keys().collect(),
        })
    }

    /// The masters of a topic, or who stands in for them.
    async fn brokers_of(&self, topic: &str) -> Result<BTreeSet<String>, AdminError> {
        let route = self.route(topic).await?;
        let names = route.brokers().keys();
        let address = |name: &String| route.broker_address(name, crate::route::MASTER_ID);
        Ok(names.filter_map(address).map(str::to_owned).collect())
    }

    /// Calls one server.
    async fn call<C: CommandSpec>(
        &self,
        address: &str,
        header: &C::Request,
        body: impl Into<Bytes> + Send,
    ) -> Result<C::Response, AdminError> {
        let called = self.link.call::<C>(address, header, body.into()).await;
        called
            .map(|reply| reply.header)
            .map_err(|cause| failed(address, cause))
    }

    /// Calls one server for the JSON that it answers.
    async fn ask<C: CommandSpec, T: DeserializeOwned>(
        &self,
        address: &str,
        header: &C::Request,
    ) -> Result<T, AdminError> {
        let called = self.link.call::<C>(address, header, Bytes::new()).await;
        let reply = called.map_err(|cause| failed(address, cause))?;
        fastjson::from_slice(&reply.body.to_bytes()).map_err(|cause| AdminError::BadAnswer {
            address: address.to_owned(),
            cause: cause.to_string(),
        })
    }

    /// The offsets that a queue holds now.
    ///
    /// # Errors
    /// The queue's broker is not known, or does not answer.
    pub async fn offsets(&self, queue: &MessageQueue) -> Result<OffsetRange, AdminError> {
        Ok(OffsetRange {
            min: queue_offsets::min(&self.link, queue).await?,
            max: queue_offsets::max(&self.link, queue).await?,
        })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.link.close().await;
    }
}

/// A broker that stores.
struct Master {
    name: String,
    address: String,
}

/// Whether a server refused with one of these codes.
fn is_refused_with(error: &AdminError, codes: &[ResponseCode]) -> bool {
    let AdminError::Call {
        cause: CallError::Refused(refusal),
        ..
    } = error
    else {
        return false;
    };
    codes.contains(&refusal.code)
}

fn failed(address: &str, cause: CallError) -> AdminError {
    AdminError::Call {
        address: address.to_owned(),
        cause,
    }
}
