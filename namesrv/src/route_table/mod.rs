//! The four tables: topic → queues, broker → addresses, cluster → brokers, address → liveness.
//!
//! All under one lock that is private to this file; the processors and the scan call [`RouteTable`], the
//! submodules work on [`Tables`]. No I/O and no clock: callers pass the time, and act on the notices
//! that come back. Invariants:
//! - a broker is in the broker table exactly while it has an address, and in a cluster exactly while it is there;
//! - an address of a broker has a liveness that names the broker;
//! - a topic has at least one queue, and only queues of brokers that are there.

mod leave;
mod list;
#[cfg(test)]
mod model_test;
mod pick;
mod register;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thrustmq_proto_compat::body::{
    BrokerMemberGroup, ClusterInfo, DataVersion, QueueData, TopicList, TopicQueueMappingInfo,
    TopicRouteData,
};

pub(crate) use leave::{Leaving, Silent};
pub(crate) use list::{TopicFilter, WritePermission};
pub(crate) use pick::{NoRoute, keep_zone};
pub(crate) use register::{NotYetKnown, Registered, Registration, Topics};

/// The id of a broker group's master.
pub(crate) const MASTER_ID: i64 = 0;
/// The permission bits of a queue.
pub(crate) const PERM_READ: i32 = 4;
pub(crate) const PERM_WRITE: i32 = 2;

/// The connection that a broker registered through.
pub(crate) trait Connection: Send + Sync + fmt::Debug {
    /// A number that no other connection of this process has.
    fn id(&self) -> u64;
    /// Closes it; its routes go when the close is reported.
    fn close(&self, why: &'static str);
}

/// Where a broker process can be reached. Two clusters may use the same private address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BrokerAddress {
    pub(crate) cluster: String,
    pub(crate) address: String,
}

/// One member of a broker group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) id: i64,
    pub(crate) at: BrokerAddress,
}

/// What the members of a group are told when their lowest id changes (905).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MinBrokerIdNotice {
    pub(crate) broker_name: String,
    pub(crate) min_broker_id: i64,
    pub(crate) min_broker_address: String,
    pub(crate) offline_broker_address: Option<String>,
    pub(crate) ha_address: Option<String>,
    /// Whom to tell.
    pub(crate) recipients: Vec<String>,
}

/// A topic's queues at one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queues {
    read: i32,
    write: i32,
    perm: i32,
    sys_flag: i32,
}

/// A broker group.
#[derive(Debug)]
struct Broker {
    cluster: String,
    addresses: BTreeMap<i64, String>,
    zone: Option<String>,
    acting_master: bool,
    /// Counts how often topics were taken from this broker other than by its own registrations, so
    /// that the next one is read in full even if nothing in it has changed.
    topics_taken: u64,
}

impl Broker {
    fn min_id(&self) -> Option<i64> {
        self.addresses.keys().next().copied()
    }

    fn has_master(&self) -> bool {
        self.addresses.contains_key(&MASTER_ID)
    }
}

/// What keeps a member's routes alive.
#[derive(Debug)]
struct Liveness {
    name: Arc<str>,
    id: i64,
    updated_ms: i64,
    silence_ms_max: i64,
    data_version: DataVersion,
    connection: Arc<dyn Connection>,
    ha_address: String,
    filter_servers: Vec<String>,
    /// Of the latest registration; no two have the same.
    number: u64,
    /// Of the body that was read last.
    fingerprint: u64,
    /// `topics_taken` of the broker when that body's topics went into the table; `None` if they did not.
    applied_at: Option<u64>,
}

#[derive(Debug, Default)]
struct Tables {
    topics: HashMap<String, BTreeMap<Arc<str>, Queues>>,
    brokers: BTreeMap<Arc<str>, Broker>,
    clusters: BTreeMap<String, BTreeSet<Arc<str>>>,
    live: HashMap<BrokerAddress, Liveness>,
    /// Static topics: topic → broker → its part. As in Java, kept while brokers come and go.
    mappings: HashMap<String, BTreeMap<String, TopicQueueMappingInfo>>,
    /// How many registrations there were.
    registrations: u64,
}

/// The tables behind their lock.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    tables: RwLock<Tables>,
    fingerprints: RandomState,
}

impl RouteTable {
    /// A number that, in this process, stands for a registration's body and how it is encoded.
    pub(crate) fn fingerprint(&self, body: &[u8], is_compressed: bool, version: i32) -> u64 {
        self.fingerprints.hash_one((body, is_compressed, version))
    }

    /// Registers a member whose body was the same the last time: constant time, whatever the number
    /// of topics. `None` if the topics must be read after all.
    pub(crate) fn renew(&self, registration: &Registration) -> Option<Registered> {
        self.write().renew(registration)
    }

    /// Registers a member with the topics of its body.
    pub(crate) fn register(
        &self,
        registration: Registration,
        topics: Topics,
    ) -> Result<Registered, NotYetKnown> {
        self.write().register(registration, topics)
    }

    /// Puts the queues of one topic, if all their brokers are there.
    pub(crate) fn put_topic(&self, topic: &str, queues: &[QueueData]) -> bool {
        self.write().put_topic(topic, queues)
    }

    /// Refreshes a member's liveness; `None` if it is not registered.
    pub(crate) fn touch(&self, at: &BrokerAddress, now_ms: i64) -> Option<DataVersion> {
        let mut tables = self.write();
        let live = tables.live.get_mut(at)?;
        live.updated_ms = now_ms;
        Some(live.data_version.clone())
    }

    /// Whether a broker registered through this connection.
    pub(crate) fn is_broker_connection(&self, connection_id: u64) -> bool {
        let tables = self.read();
        tables
            .live
            .values()
            .any(|l| l.connection.id() == connection_id)
    }

    /// Members that have been silent for longer than they may.
    pub(crate) fn silent(&self, now_ms: i64) -> Vec<Silent> {
        self.read().silent(now_ms)
    }

    /// A member's own wish to leave, as it is registered now.
    pub(crate) fn asked(&self, member: Member) -> Leaving {
        let number = self.read().number(&member.at);
        Leaving::Asked { member, number }
    }

    /// Takes members out, all under one lock, so that many brokers leaving at once cost one pass over the topics.
    pub(crate) fn leave(&self, batch: Vec<Leaving>, now_ms: i64) -> Vec<MinBrokerIdNotice> {
        self.write().leave(batch, now_ms)
    }

    /// The route of a topic.
    pub(crate) fn pick(&self, topic: &str, acting_master: bool) -> Result<TopicRouteData, NoRoute> {
        self.read().pick(topic, acting_master)
    }

    /// Drops a topic, everywhere or in one cluster.
    pub(crate) fn delete_topic(&self, topic: &str, cluster: Option<&str>) {
        self.write().delete_topic(topic, cluster);
    }

    /// Takes or gives the write permission of all queues of a broker; how many topics it has.
    pub(crate) fn set_write_permission(&self, broker: &str, permission: WritePermission) -> usize {
        self.write().set_write_permission(broker, permission)
    }

    /// All topics that `filter` lets through.
    pub(crate) fn topics(&self, filter: TopicFilter<'_>) -> TopicList {
        self.read().topics(filter)
    }

    /// The topics that brokers make themselves: one for each cluster and each broker.
    pub(crate) fn system_topics(&self) -> TopicList {
        self.read().system_topics()
    }

    /// All clusters, brokers and addresses.
    pub(crate) fn cluster_info(&self) -> ClusterInfo {
        self.read().cluster_info()
    }

    /// The members of a broker group.
    pub(crate) fn member_group(&self, cluster: &str, broker: &str) -> BrokerMemberGroup {
        self.read().member_group(cluster, broker)
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}
