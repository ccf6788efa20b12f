//! Consumer groups: which there are, who is a member, how far they are, and where they go on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use thrustmq_proto_compat::body::{
    ConsumeStats, ConsumerConnection, MessageQueue, MessageRequestMode, ResetOffsetBody,
    SetMessageRequestModeRequestBody, SubscriptionGroupConfig, SubscriptionGroupWrapper, TopicList,
};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    CloneGroupOffsetRequestHeader, DeleteSubscriptionGroupRequestHeader,
    GetAllSubscriptionGroupRequestHeader, GetConsumeStatsRequestHeader,
    GetConsumerConnectionListRequestHeader, GetSubscriptionGroupConfigRequestHeader,
    QueryTopicsByConsumerRequestHeader, ResetOffsetRequestHeader,
};
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::request_code::{
    CloneGroupOffset, DeleteSubscriptionGroup, GetAllSubscriptionGroupConfig, GetConsumeStats,
    GetConsumerConnectionList, GetSubscriptionGroupConfig, InvokeBrokerToResetOffset,
    QueryTopicsByConsumer, SetMessageRequestMode, UpdateAndCreateSubscriptionGroup,
};
use thrustmq_proto_compat::response_code::ResponseCode;

use super::{Admin, is_refused_with};
use crate::error::{AdminError, RouteError};
use crate::queue_offsets;

/// As brokers are told that a reset is for all queues of a topic.
const ALL_QUEUES: i32 = -1;

/// Who is connected as a member of a group, as brokers tell it.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let members = admin.group_members("billing").await?;
/// println!("{}", members.map_or(0, |group| group.connection_set.len()));
/// # Ok(())
/// # }
/// ```
pub type GroupConnections = ConsumerConnection;

/// How brokers treat a group.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// println!("{:?}", admin.group_config("127.0.0.1:10911", "billing").await?);
/// # Ok(())
/// # }
/// ```
pub type GroupConfig = SubscriptionGroupConfig;

/// A consumer group to be created, or changed.
///
/// ```no_run
/// use thrustmq_client::NewGroup;
///
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let group = NewGroup::named("billing").retries_max(3);
/// admin.create_group("DefaultCluster", &group).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NewGroup {
    config: SubscriptionGroupConfig,
}

impl NewGroup {
    /// A group with RocketMQ's defaults: 16 retries, then dead letters.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            config: SubscriptionGroupConfig::new(name),
        }
    }

    /// Deliveries after the first, before a message goes to the dead letters. Default 16.
    pub fn retries_max(mut self, times: u16) -> Self {
        self.config.retry_max_times = i32::from(times);
        self
    }

    /// Whether its members may consume. Default yes.
    pub fn enabled(mut self, is_enabled: bool) -> Self {
        self.config.consume_enable = is_enabled;
        self
    }

    /// Whether queues popped for it are popped in order. Default no.
    pub fn ordered(mut self, is_ordered: bool) -> Self {
        self.config.consume_message_orderly = is_ordered;
        self
    }
}

/// How far a group is in a queue.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for lag in admin.lag("billing").await? {
///     println!("{}: {} messages behind", lag.queue, lag.messages());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLag {
    /// The queue; also those of the group's retry topic.
    pub queue: MessageQueue,
    /// The number that the queue's next message will get.
    pub end: i64,
    /// Where the group goes on.
    pub committed: i64,
    /// How far the members have pulled.
    pub pulled: i64,
    /// When the last committed message was stored, milliseconds since 1970; 0 if that is not known.
    pub last_stored_ms: i64,
}

impl QueueLag {
    /// Messages that are not committed yet.
    pub fn messages(&self) -> i64 {
        self.end.saturating_sub(self.committed)
    }
}

impl Admin {
    /// The consumer groups of a cluster, RocketMQ's own included.
    ///
    /// # Errors
    /// There is no such cluster, or a broker does not answer.
    pub async fn groups(&self, cluster: &str) -> Result<BTreeSet<String>, AdminError> {
        let header = GetAllSubscriptionGroupRequestHeader::default();
        let mut groups = BTreeSet::new();
        for master in self.masters(cluster).await? {
            let table: SubscriptionGroupWrapper = self
                .ask::<GetAllSubscriptionGroupConfig, _>(&master.address, &header)
                .await?;
            groups.extend(table.subscription_group_table.into_keys());
        }
        Ok(groups)
    }

    /// Creates or changes a group on every master of a cluster; the names of the brokers that have it
    /// now.
    ///
    /// # Errors
    /// There is no such cluster, or a broker refused; brokers before it have the group then.
    pub async fn create_group(
        &self,
        cluster: &str,
        group: &NewGroup,
    ) -> Result<Vec<String>, AdminError> {
        let body = fastjson::to_vec(&group.config).expect("names and numbers always encode");
        let body = Bytes::from(body);
        let mut created = Vec::new();
        for master in self.masters(cluster).await? {
            self.call::<UpdateAndCreateSubscriptionGroup>(&master.address, &(), body.clone())
                .await?;
            created.push(master.name);
        }
        Ok(created)
    }

    /// Deletes a group from a cluster, with its offsets.
    ///
    /// # Errors
    /// There is no such cluster, or a broker refused; those before it have forgotten the group then.
    pub async fn delete_group(&self, cluster: &str, group: &str) -> Result<(), AdminError> {
        let header = DeleteSubscriptionGroupRequestHeader {
            group_name: group.to_owned(),
            clean_offset: true,
        };
        for master in self.masters(cluster).await? {
            self.call::<DeleteSubscriptionGroup>(&master.address, &header, Bytes::new())
                .await?;
        }
        Ok(())
    }

    /// The members of a group that are connected now, with their subscriptions; nothing if there is
    /// none.
    ///
    /// # Errors
    /// No broker knows the group, or one of them does not answer.
    pub async fn group_members(&self, group: &str) -> Result<Option<GroupConnections>, AdminError> {
        let header = GetConsumerConnectionListRequestHeader {
            consumer_group: group.to_owned(),
        };
        for address in self.brokers_of_group(group).await? {
            let asked = self
                .ask::<GetConsumerConnectionList, GroupConnections>(&address, &header)
                .await;
            match asked {
                // Members are connected to all brokers: the first that knows them knows all.
                Ok(members) if !members.connection_set.is_empty() => return Ok(Some(members)),
                Ok(_) => {}
                Err(error) if is_refused_with(&error, &[ResponseCode::CONSUMER_NOT_ONLINE]) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The brokers that know a group: those of its retry topic, which members have; else the masters of
    /// the clusters in which it was created.
    pub(super) async fn brokers_of_group(
        &self,
        group: &str,
    ) -> Result<BTreeSet<String>, AdminError> {
        match self.brokers_of(&names::retry_topic(group)).await {
            Err(AdminError::Route(RouteError::NoSuchTopic(_))) => {}
            other => return other,
        }
        let mut brokers = BTreeSet::new();
        for cluster in self.clusters().await?.cluster_addr_table.into_keys() {
            if self.groups(&cluster).await?.contains(group) {
                let masters = self.masters(&cluster).await?.into_iter();
                brokers.extend(masters.map(|master| master.address));
            }
        }
        if brokers.is_empty() {
            return Err(AdminError::NoSuchGroup(group.to_owned()));
        }
        Ok(brokers)
    }

    /// How far a group is in each queue of the topics that it consumes.
    ///
    /// # Errors
    /// No broker knows the group, or one of them does not answer.
    pub async fn lag(&self, group: &str) -> Result<Vec<QueueLag>, AdminError> {
        let brokers = self.brokers_of_group(group).await?;
        self.lag_at(brokers, group, None).await
    }

    /// How far a group is in each queue of one topic.
    ///
    /// # Errors
    /// There is no such topic, or one of its brokers does not answer.
    pub async fn lag_in(&self, group: &str, topic: &str) -> Result<Vec<QueueLag>, AdminError> {
        let brokers = self.brokers_of(topic).await?;
        self.lag_at(brokers, group, Some(topic)).await
    }

    async fn lag_at(
        &self,
        brokers: BTreeSet<String>,
        group: &str,
        topic: Option<&str>,
    ) -> Result<Vec<QueueLag>, AdminError> {
        let header = GetConsumeStatsRequestHeader {
            consumer_group: group.to_owned(),
            topic: topic.map(str::to_owned),
            topic_list: None,
        };
        let mut queues = BTreeMap::new();
        for address in brokers {
            let stats: ConsumeStats = self.ask::<GetConsumeStats, _>(&address, &header).await?;
            queues.extend(stats.offset_table);
        }
        let lags = queues.into_iter().map(|(queue, offsets)| QueueLag {
            queue,
            end: offsets.broker_offset,
            committed: offsets.consumer_offset,
            pulled: offsets.pull_offset,
            last_stored_ms: offsets.last_timestamp,
        });
        Ok(lags.collect())
    }

    /// Lets a group go on at the first messages of a topic that were stored at a time or later, and
    /// tells its members; where it goes on now. `timestamp_ms` counts milliseconds since 1970; −1 is the
    /// end of each queue.
    ///
    /// # Errors
    /// There is no such topic, or a broker does not answer or refuses.
    pub async fn reset_offsets(
        &self,
        group: &str,
        topic: &str,
        timestamp_ms: i64,
    ) -> Result<BTreeMap<MessageQueue, i64>, AdminError> {
        let header = ResetOffsetRequestHeader {
            group: group.to_owned(),
            topic: topic.to_owned(),
            queue_id: ALL_QUEUES,
            timestamp_ms,
            is_force: true,
            ..ResetOffsetRequestHeader::default()
        };
        let mut queues = BTreeMap::new();
        for address in self.brokers_of(topic).await? {
            let reset: ResetOffsetBody = self
                .ask::<InvokeBrokerToResetOffset, _>(&address, &header)
                .await?;
            queues.extend(reset.offset_table);
        }
        Ok(queues)
    }

    /// Lets a group go on at an offset of one queue, and tells its members.
    ///
    /// # Errors
    /// The queue's broker is not known, does not answer, or refuses: the queue may not have the offset.
    pub async fn reset_offset(
        &self,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), AdminError> {
        let header = ResetOffsetRequestHeader {
            group: group.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            offset: Some(offset),
            is_force: true,
            ..ResetOffsetRequestHeader::default()
        };
        let address = queue_offsets::address(&self.link, queue).await?;
        self.call::<InvokeBrokerToResetOffset>(&address, &header, "")
            .await
    }

    /// Lets another group go on where a group is, in one topic or in all that it consumes. The members of
    /// the other must not be running, or they commit their own offsets again.
    ///
    /// # Errors
    /// No broker knows the group, or one does not answer or refuses.
    pub async fn clone_offsets(
        &self,
        group: &str,
        to_group: &str,
        topic: Option<&str>,
    ) -> Result<(), AdminError> {
        let header = CloneGroupOffsetRequestHeader {
            src_group: group.to_owned(),
            dest_group: to_group.to_owned(),
            topic: topic.map(str::to_owned),
            offline: true,
        };
        for address in self.brokers_of_group(group).await? {
            self.call::<CloneGroupOffset>(&address, &header, "").await?;
        }
        Ok(())
    }

    /// The topics of which a group has offsets.
    ///
    /// # Errors
    /// No broker knows the group, or one does not answer.
    pub async fn topics_of_group(&self, group: &str) -> Result<BTreeSet<String>, AdminError> {
        let header = QueryTopicsByConsumerRequestHeader {
            group: group.to_owned(),
        };
        let mut topics = BTreeSet::new();
        for address in self.brokers_of_group(group).await? {
            let list: TopicList = self
                .ask::<QueryTopicsByConsumer, _>(&address, &header)
                .await?;
            topics.extend(list.topic_list);
        }
        Ok(topics)
    }

    /// Says on every broker of a topic how the push consumers of a group get its messages, if they let
    /// the brokers divide the queues: by pulls, or by pops of queues that up to `shared_by` members share
    /// (0: all).
    ///
    /// # Errors
    /// There is no such topic, or a broker does not answer or refuses; those before it have changed then.
    pub async fn set_request_mode(
        &self,
        group: &str,
        topic: &str,
        mode: MessageRequestMode,
        shared_by: u16,
    ) -> Result<(), AdminError> {
        let body = SetMessageRequestModeRequestBody {
            consumer_group: group.to_owned(),
            topic: topic.to_owned(),
            mode,
            pop_share_queue_num: i32::from(shared_by),
        };
        let body = fastjson::to_vec(&body).expect("names and numbers always encode");
        let body = Bytes::from(body);
        for address in self.brokers_of(topic).await? {
            self.call::<SetMessageRequestMode>(&address, &(), body.clone())
                .await?;
        }
        Ok(())
    }

    /// How a broker treats a group.
    ///
    /// # Errors
    /// It does not answer, or does not know the group.
    pub async fn group_config(
        &self,
        address: &str,
        group: &str,
    ) -> Result<GroupConfig, AdminError> {
        let header = GetSubscriptionGroupConfigRequestHeader {
            group: group.to_owned(),
        };
        self.ask::<GetSubscriptionGroupConfig, _>(address, &header)
            .await
    }
}
