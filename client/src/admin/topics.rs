//! Topics: which there are, how they are made and deleted, and what their queues hold.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
pub use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::body::{GroupList, MessageQueue, TopicList, TopicStatsTable};
use thrustmq_proto_compat::header::{
    CreateTopicRequestHeader, DeleteTopicFromNamesrvRequestHeader, DeleteTopicRequestHeader,
    GetTopicConfigRequestHeader, GetTopicStatsInfoRequestHeader, GetTopicsByClusterRequestHeader,
    QueryTopicConsumeByWhoRequestHeader,
};
use thrustmq_proto_compat::message::names::AUTO_CREATE_TOPIC;
use thrustmq_proto_compat::request_code::{
    DeleteTopicInBroker, DeleteTopicInNamesrv, GetAllTopicListFromNameserver, GetTopicConfig,
    GetTopicStatsInfo, GetTopicsByCluster, QueryTopicConsumeByWho, UpdateAndCreateTopic,
};

use super::{Admin, OffsetRange};
use crate::error::{AdminError, RouteError};

/// Read and write.
const PERMISSION_DEFAULT: i32 = 6;

/// A topic to be created, or changed.
///
/// ```no_run
/// use thrustmq_client::NewTopic;
///
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let topic = NewTopic::named("orders").queues(16);
/// admin.create_topic("DefaultCluster", &topic).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NewTopic {
    name: String,
    queues: i32,
    permission: i32,
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

/// What a queue holds.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for stats in admin.topic_stats("orders").await? {
///     println!("{}: up to {}", stats.queue, stats.offsets.max);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStats {
    /// The queue.
    pub queue: MessageQueue,
    /// Its offsets.
    pub offsets: OffsetRange,
    /// When its last message was stored, milliseconds since 1970; 0 if it has none.
    pub last_stored_ms: i64,
}

impl Admin {
    /// All topics that the name servers know, RocketMQ's own included.
    ///
    /// # Errors
    /// The name server does not answer.
    pub async fn topics(&self) -> Result<BTreeSet<String>, AdminError> {
        let address = self.name_server()?;
        let list: TopicList = self
            .ask::<GetAllTopicListFromNameserver, _>(&address, &())
            .await?;
        Ok(list.topic_list)
    }

    /// The topics of one cluster.
    ///
    /// # Errors
    /// The name server does not answer.
    pub async fn topics_of_cluster(&self, cluster: &str) -> Result<BTreeSet<String>, AdminError> {
        let address = self.name_server()?;
        let header = GetTopicsByClusterRequestHeader {
            cluster: cluster.to_owned(),
        };
        let list: TopicList = self.ask::<GetTopicsByCluster, _>(&address, &header).await?;
        Ok(list.topic_list)
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
        let mut created = Vec::new();
        for master in self.masters(cluster).await? {
            self.call::<UpdateAndCreateTopic>(&master.address, &header, Bytes::new())
                .await?;
            created.push(master.name);
        }
        Ok(created)
    }

    /// Deletes a topic with all its messages from a cluster, and its route from every name server.
    ///
    /// # Errors
    /// There is no such cluster, or a server refused; those before it have forgotten the topic then.
    pub async fn delete_topic(&self, cluster: &str, topic: &str) -> Result<(), AdminError> {
        let header = DeleteTopicRequestHeader {
            topic: topic.to_owned(),
        };
        for master in self.masters(cluster).await? {
            self.call::<DeleteTopicInBroker>(&master.address, &header, Bytes::new())
                .await?;
        }
        let header = DeleteTopicFromNamesrvRequestHeader {
            topic: topic.to_owned(),
            cluster_name: Some(cluster.to_owned()),
        };
        for address in self.link.name_servers().addresses().iter() {
            self.call::<DeleteTopicInNamesrv>(address, &header, Bytes::new())
                .await?;
        }
        Ok(())
    }

    /// Deletes a topic with all its messages from all clusters that have it; their names.
    ///
    /// # Errors
    /// A server does not answer or refused; those before it have forgotten the topic then.
    pub async fn delete_topic_everywhere(&self, topic: &str) -> Result<Vec<String>, AdminError> {
        let clusters = self.clusters().await?.cluster_addr_table;
        let mut cleared = Vec::new();
        for (cluster, brokers) in clusters {
            let has_it = match self.route(topic).await {
                Ok(route) => route.brokers().keys().any(|name| brokers.contains(name)),
                Err(AdminError::Route(RouteError::NoSuchTopic(_))) => false,
                Err(error) => return Err(error),
            };
            if has_it {
                self.delete_topic(&cluster, topic).await?;
                cleared.push(cluster);
            }
        }
        Ok(cleared)
    }

    /// How a broker keeps a topic.
    ///
    /// # Errors
    /// It does not answer, or does not know the topic.
    pub async fn topic_config(
        &self,
        address: &str,
        topic: &str,
    ) -> Result<TopicConfig, AdminError> {
        let header = GetTopicConfigRequestHeader {
            topic: topic.to_owned(),
        };
        self.ask::<GetTopicConfig, _>(address, &header).await
    }

    /// Sets what may be done with a topic on each of its brokers, and leaves its queues as they are.
    /// RocketMQ's bits: 2 write, 4 read.
    ///
    /// # Errors
    /// There is no such topic, or a broker does not answer or refuses; those before it have changed then.
    pub async fn set_topic_permission(&self, topic: &str, bits: i32) -> Result<(), AdminError> {
        for address in self.brokers_of(topic).await? {
            let config = self.topic_config(&address, topic).await?;
            let header = CreateTopicRequestHeader {
                topic: topic.to_owned(),
                default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
                read_queue_nums: config.read_queue_nums,
                write_queue_nums: config.write_queue_nums,
                perm: bits,
                topic_filter_type: "SINGLE_TAG".to_owned(),
                topic_sys_flag: Some(config.topic_sys_flag),
                order: config.order,
                ..CreateTopicRequestHeader::default()
            };
            self.call::<UpdateAndCreateTopic>(&address, &header, Bytes::new())
                .await?;
        }
        Ok(())
    }

    /// Where the messages that were stored at a time or later begin in each queue of a topic.
    /// Milliseconds since 1970.
    ///
    /// # Errors
    /// There is no such topic, it cannot be read, or a broker does not answer.
    pub async fn offsets_at(
        &self,
        topic: &str,
        timestamp_ms: i64,
    ) -> Result<BTreeMap<MessageQueue, i64>, AdminError> {
        let reader = self.reader();
        let mut offsets = BTreeMap::new();
        for queue in self.readable_queues(&reader, topic).await? {
            let offset = reader.offset_at(&queue, timestamp_ms).await?;
            offsets.insert(queue, offset);
        }
        Ok(offsets)
    }

    /// What each queue of a topic holds, in the order of the queues.
    ///
    /// # Errors
    /// There is no such topic, or one of its brokers does not answer.
    pub async fn topic_stats(&self, topic: &str) -> Result<Vec<QueueStats>, AdminError> {
        let header = GetTopicStatsInfoRequestHeader {
            topic: topic.to_owned(),
        };
        let mut queues = BTreeMap::new();
        for address in self.brokers_of(topic).await? {
            let table: TopicStatsTable =
                self.ask::<GetTopicStatsInfo, _>(&address, &header).await?;
            queues.extend(table.offset_table);
        }
        let stats = queues.into_iter().map(|(queue, offset)| QueueStats {
            queue,
            offsets: OffsetRange {
                min: offset.min_offset,
                max: offset.max_offset,
            },
            last_stored_ms: offset.last_update_timestamp,
        });
        Ok(stats.collect())
    }

    /// The groups that consume a topic, or did.
    ///
    /// # Errors
    /// There is no such topic, or one of its brokers does not answer.
    pub async fn groups_of_topic(&self, topic: &str) -> Result<BTreeSet<String>, AdminError> {
        let header = QueryTopicConsumeByWhoRequestHeader {
            topic: topic.to_owned(),
        };
        let mut groups = BTreeSet::new();
        for address in self.brokers_of(topic).await? {
            let list: GroupList = self
                .ask::<QueryTopicConsumeByWho, _>(&address, &header)
                .await?;
            groups.extend(list.group_list);
        }
        Ok(groups)
    }
}
