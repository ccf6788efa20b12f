//! The answer to a client's question where a topic is (RouteInfoManager.pickupTopicRouteData).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thrustmq_proto_compat::body::{BrokerData, QueueData, TopicRouteData};

use super::{Broker, BrokerAddress, MASTER_ID, PERM_WRITE, Queues, Tables};

/// Topics that brokers use among themselves; their real members are never replaced.
const MEMBER_GROUP_TOPIC_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// Why a topic has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// No broker at all has registered.
    NoBroker,
    /// None of the brokers has the topic.
    NoTopic {
        /// How many brokers there are.
        brokers: usize,
    },
}

impl Tables {
    pub(super) fn pick(&self, topic: &str, acting_master: bool) -> Result<TopicRouteData, NoRoute> {
        let Some(queues) = self.topics.get(topic) else {
            return Err(self.no_route());
        };
        let mut route = TopicRouteData {
            topic_queue_mapping_by_broker: self.mappings.get(topic).cloned(),
            ..TopicRouteData::default()
        };
        for (name, queues) in queues {
            route.queue_datas.push(queues.data(name));
            if let Some(broker) = self.brokers.get(name) {
                route.broker_datas.push(broker.data(name));
                self.add_filter_servers(broker, &mut route);
            }
        }
        if route.broker_datas.is_empty() {
            return Err(self.no_route());
        }
        if acting_master && !topic.starts_with(MEMBER_GROUP_TOPIC_PREFIX) {
            show_acting_masters(&mut route, queues);
        }
        Ok(route)
    }

    fn no_route(&self) -> NoRoute {
        match self.brokers.len() {
            0 => NoRoute::NoBroker,
            brokers => NoRoute::NoTopic { brokers },
        }
    }

    fn add_filter_servers(&self, broker: &Broker, route: &mut TopicRouteData) {
        for address in broker.addresses.values() {
            let at = BrokerAddress {
                cluster: broker.cluster.clone(),
                address: address.clone(),
            };
            let live = self.live.get(&at);
            if let Some(live) = live.filter(|l| !l.filter_servers.is_empty()) {
                let servers = live.filter_servers.clone();
                route.filter_server_table.insert(at.address, servers);
            }
        }
    }
}

impl Queues {
    fn data(&self, broker: &Arc<str>) -> QueueData {
        QueueData {
            broker_name: broker.to_string(),
            read_queue_nums: self.read,
            write_queue_nums: self.write,
            perm: self.perm,
            topic_sys_flag: self.sys_flag,
        }
    }
}

impl Broker {
    pub(super) fn data(&self, name: &Arc<str>) -> BrokerData {
        BrokerData {
            cluster: self.cluster.clone(),
            broker_name: name.to_string(),
            broker_addrs: self.addresses.clone(),
            zone_name: self.zone.clone(),
            enable_acting_master: self.acting_master,
        }
    }
}

/// Shows the lowest slave under the master's id, where the master is gone and its queues are read-only.
fn show_acting_masters(route: &mut TopicRouteData, queues: &BTreeMap<Arc<str>, Queues>) {
    for broker in &mut route.broker_datas {
        let is_writable = queues
            .get(broker.broker_name.as_str())
            .is_none_or(|q| q.perm & PERM_WRITE != 0);
        let has_master = broker.broker_addrs.contains_key(&MASTER_ID);
        if !broker.enable_acting_master || has_master || is_writable {
            continue;
        }
        if let Some((_, address)) = broker.broker_addrs.pop_first() {
            broker.broker_addrs.insert(MASTER_ID, address);
        }
    }
}

/// Leaves only the brokers of a zone, and those of other zones that have lost their master: their slaves
/// still hold messages for everybody.
pub(crate) fn keep_zone(route: &mut TopicRouteData, zone: &str) {
    let mut removed = BTreeSet::new();
    route.broker_datas.retain(|broker| {
        let is_near = broker
            .zone_name
            .as_deref()
            .is_some_and(|z| z.eq_ignore_ascii_case(zone));
        let stays = is_near || !broker.broker_addrs.contains_key(&MASTER_ID);
        if !stays {
            removed.insert(broker.broker_name.clone());
            for address in broker.broker_addrs.values() {
                route.filter_server_table.remove(address);
            }
        }
        stays
    });
    route
        .queue_datas
        .retain(|queue| !removed.contains(&queue.broker_name));
}
