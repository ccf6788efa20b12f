//! What operators ask and change: lists of topics, clusters and members, write permissions, topics dropped.

use std::collections::BTreeSet;

use thrustmq_proto_compat::body::{BrokerMemberGroup, ClusterInfo, TopicList};

use super::{PERM_READ, PERM_WRITE, Tables};

/// Which topics to list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TopicFilter<'a> {
    All,
    /// Those with queues at a broker of the cluster.
    Cluster(&'a str),
    /// Those whose system flag is like this.
    Flag(fn(i32) -> bool),
}

/// What happens to the write permission of a broker's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WritePermission {
    Wipe,
    /// To read and write, whatever else there was.
    Restore,
}

impl Tables {
    pub(super) fn topics(&self, filter: TopicFilter<'_>) -> TopicList {
        let topics = self.topics.iter();
        let names = topics.filter(|(_, brokers)| match filter {
            TopicFilter::All => true,
            TopicFilter::Cluster(cluster) => {
                let names = self.clusters.get(cluster);
                names.is_some_and(|names| brokers.keys().any(|b| names.contains(b)))
            }
            // Java looks at any one broker's flag: all brokers of a topic should have the same.
            TopicFilter::Flag(has) => brokers.values().next().is_some_and(|q| has(q.sys_flag)),
        });
        TopicList {
            topic_list: names.map(|(topic, _)| topic.clone()).collect(),
            broker_addr: None,
        }
    }

    pub(super) fn system_topics(&self) -> TopicList {
        let mut names = BTreeSet::new();
        for (cluster, brokers) in &self.clusters {
            names.insert(cluster.clone());
            names.extend(brokers.iter().map(ToString::to_string));
        }
        let first = self.brokers.values().next();
        let address = first.and_then(|b| b.addresses.values().next());
        TopicList {
            topic_list: names,
            broker_addr: address.cloned(),
        }
    }

    pub(super) fn cluster_info(&self) -> ClusterInfo {
        let brokers = self.brokers.iter();
        let clusters = self.clusters.iter();
        ClusterInfo {
            broker_addr_table: brokers.map(|(n, b)| (n.to_string(), b.data(n))).collect(),
            cluster_addr_table: clusters
                .map(|(c, names)| (c.clone(), names.iter().map(ToString::to_string).collect()))
                .collect(),
        }
    }

    pub(super) fn member_group(&self, cluster: &str, broker: &str) -> BrokerMemberGroup {
        let members = self.brokers.get(broker);
        BrokerMemberGroup {
            cluster: cluster.to_owned(),
            broker_name: broker.to_owned(),
            broker_addrs: members.map(|b| b.addresses.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(brokers) = self.topics.get_mut(topic) else {
            return;
        };
        let of_cluster = cluster.map(|c| self.clusters.get(c).cloned().unwrap_or_default());
        brokers.retain(|name, _| {
            let stays = of_cluster
                .as_ref()
                .is_some_and(|names| !names.contains(name));
            if !stays && let Some(broker) = self.brokers.get_mut(name) {
                broker.topics_taken += 1;
            }
            stays
        });
        if brokers.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub(super) fn set_write_permission(
        &mut self,
        broker: &str,
        permission: WritePermission,
    ) -> usize {
        let mut topics = 0;
        for queues in self.topics.values_mut().filter_map(|b| b.get_mut(broker)) {
            queues.perm = match permission {
                WritePermission::Wipe => queues.perm & !PERM_WRITE,
                WritePermission::Restore => PERM_READ | PERM_WRITE,
            };
            topics += 1;
        }
        topics
    }
}
