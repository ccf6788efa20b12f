//! Small administrative calls: create a topic, look at routes, clusters and offsets.

use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::body::{ClusterInfo, MessageQueue};
use thrustmq_proto_compat::header::{
    CreateTopicRequestHeader, GetMaxOffsetRequestHeader, GetMinOffsetRequestHeader,
};
use thrustmq_proto_compat::message::names::AUTO_CREATE_TOPIC;
use thrustmq_proto_compat::request_code::{GetMaxOffset, GetMinOffset, UpdateAndCreateTopic};
use thrustmq_remoting::CallError;

use crate::error::{AdminError, StartError};
use crate::link::{Link, LinkOptions};
use crate::route::TopicRoute;

/// Read and write.
const PERMISSION_DEFAULT: i32 = 6;

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
}

/// A topic to be created, or changed.
#[derive(Debug, Clone)]
pub struct NewTopic {
    name: String,
    queues: i32,
    permission: i32,
}

/// The offsets that a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first message that is still there.
    pub min: i64,
    /// The number that the next message will get.
    pub max: i64,
}

impl NewTopic {
    /// A topic with 8 queues a broker, readable and writable.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            queues: 8,
            permission: PERMISSION_DEFAULT,
        }
    }

    /// Queues on each broker.
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = i32::from(queues);
        self
    }

    /// RocketMQ's permission bits: 2 write, 4 read.
    pub fn permission(mut self, bits: i32) -> Self {
        self.permission = bits;
        self
    }
}

impl Admin {
    /// An administrator of the clusters that these name servers know: `host:port`, several with `;`
    /// between.
    ///
    /// # Errors
    /// No address is given; the servers themselves are asked with the first call.
    pub async fn connect(name_servers: impl Into<String>) -> Result<Self, StartError> {
        let options = LinkOptions {
            name_servers: Some(name_servers.into()),
            ..LinkOptions::default()
        };
        let link = Arc::new(Link::new(&options, None).await?);
        Ok(Self { link })
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

    /// Creates or changes a topic on every master of a cluster; the names of the brokers that have
    /// it now.
    ///
    /// # Errors
    /// There is no such cluster, or a broker refused; brokers before it have the topic then.
    pub async fn create_topic(
        &self,
        cluster: &str,
        topic: &NewTopic,
    ) -> Result<Vec<String>, AdminError> {
        let clusters = self.clusters().await?;
        let Some(broker_names) = clusters.cluster_addr_table.get(cluster) else {
            return Err(AdminError::NoSuchCluster {
                cluster: cluster.to_owned(),
                known: clusters.cluster_addr_table.into_keys().collect(),
            });
        };
        let mut created = Vec::new();
        for broker_name in broker_names {
            let broker = clusters.broker_addr_table.get(broker_name);
            let master = broker.and_then(|data| data.broker_addrs.get(&crate::route::MASTER_ID));
            if let Some(address) = master {
                self.create_topic_on(address, topic).await?;
                created.push(broker_name.clone());
            }
        }
        Ok(created)
    }

    async fn create_topic_on(&self, address: &str, topic: &NewTopic) -> Result<(), AdminError> {
        let header = CreateTopicRequestHeader {
            topic: topic.name.clone(),
            default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
            read_queue_nums: topic.queues,
            write_queue_nums: topic.queues,
            perm: topic.permission,
            topic_filter_type: "SINGLE_TAG".to_owned(),
            topic_sys_flag: Some(0),
            ..CreateTopicRequestHeader::default()
        };
        let called = self
            .link
            .call::<UpdateAndCreateTopic>(address, &header, Bytes::new())
            .await;
        called.map(|_| ()).map_err(|cause| failed(address, cause))
    }

    /// The offsets that a queue holds now.
    ///
    /// # Errors
    /// The queue's broker is not known, or does not answer.
    pub async fn offsets(&self, queue: &MessageQueue) -> Result<OffsetRange, AdminError> {
        let route = self.link.subscribe_route(&queue.topic).await?;
        let address = route.master_address(&queue.broker_name);
        let address = address.ok_or_else(|| AdminError::NoBroker(queue.clone()))?;
        let min = GetMinOffsetRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            broker_name: Some(queue.broker_name.clone()),
        };
        let max = GetMaxOffsetRequestHeader {
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            committed: true,
            broker_name: Some(queue.broker_name.clone()),
        };
        let min = self
            .link
            .call::<GetMinOffset>(address, &min, Bytes::new())
            .await;
        let max = self
            .link
            .call::<GetMaxOffset>(address, &max, Bytes::new())
            .await;
        Ok(OffsetRange {
            min: min.map_err(|cause| failed(address, cause))?.header.offset,
            max: max.map_err(|cause| failed(address, cause))?.header.offset,
        })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.link.close().await;
    }
}

fn failed(address: &str, cause: CallError) -> AdminError {
    AdminError::Call {
        address: address.to_owned(),
        cause,
    }
}
