//! How members come in: rules 1 to 7 of 07-namesrv, in Java's order (RouteInfoManager.registerBroker).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use thrustmq_proto_compat::body::{DataVersion, QueueData, TopicConfig, TopicQueueMappingInfo};

use super::{
    Broker, BrokerAddress, Connection, Leaving, Liveness, MASTER_ID, Member, MinBrokerIdNotice,
    PERM_WRITE, Queues, Tables,
};

/// A registration without the topics.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) member: Member,
    pub(crate) ha_address: String,
    pub(crate) zone: Option<String>,
    /// `None` from brokers that are too old to know of acting masters.
    pub(crate) acting_master: Option<bool>,
    /// The member is dropped after so long without a sign of life, milliseconds.
    pub(crate) silence_ms_max: i64,
    /// [`super::RouteTable::fingerprint`] of the body.
    pub(crate) fingerprint: u64,
    /// When it came, milliseconds.
    pub(crate) now_ms: i64,
    pub(crate) connection: Arc<dyn Connection>,
}

/// What a registration's body says.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    pub(crate) data_version: DataVersion,
    pub(crate) configs: Vec<TopicConfig>,
    pub(crate) mappings: BTreeMap<String, TopicQueueMappingInfo>,
    /// `None` leaves what was registered before.
    pub(crate) filter_servers: Option<Vec<String>>,
    /// Whether the broker has no topics but these: others go from the table.
    pub(crate) delete_absent: bool,
}

/// What the member is answered, and whom to tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) master_address: Option<String>,
    pub(crate) ha_address: Option<String>,
    pub(crate) notice: Option<MinBrokerIdNotice>,
}

/// A single topic came from a member that has not registered in full (rule 3).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotYetKnown;

/// What taking a place in the group came to.
enum Place {
    Taken {
        name: Arc<str>,
        is_first: bool,
        is_new_min: bool,
    },
    /// Somebody with a newer state has it (rule 2).
    Refused,
}

impl Tables {
    pub(super) fn renew(&mut self, registration: &Registration) -> Option<Registered> {
        let member = &registration.member;
        let broker = self.brokers.get_mut(member.name.as_str())?;
        let live = self.live.get_mut(&member.at)?;
        let is_same_place = *live.name == *member.name
            && live.id == member.id
            && broker.addresses.get(&member.id) == Some(&member.at.address);
        let is_same_body = live.fingerprint == registration.fingerprint
            && broker.acting_master == registration.acting_master.unwrap_or(false);
        let is_applied = live.applied_at == Some(broker.topics_taken);
        if !(is_same_place && is_same_body)
            || (speaks_for_group(broker, registration) && !is_applied)
        {
            return None;
        }
        broker.zone.clone_from(&registration.zone);
        self.registrations += 1;
        live.number = self.registrations;
        live.updated_ms = registration.now_ms;
        live.silence_ms_max = registration.silence_ms_max;
        live.connection = Arc::clone(&registration.connection);
        live.ha_address.clone_from(&registration.ha_address);
        Some(self.answer(member, None))
    }

    pub(super) fn register(
        &mut self,
        registration: Registration,
        topics: Topics,
    ) -> Result<Registered, NotYetKnown> {
        let member = &registration.member;
        if topics.configs.len() == 1 && !self.is_member(&member.name, member.id) {
            tracing::info!(
                broker = member.name,
                id = member.id,
                address = member.at.address,
                "single topic of a broker that has not registered"
            );
            return Err(NotYetKnown);
        }
        self.leave_former_group(member, registration.now_ms);
        let state_version = topics.data_version.state_version;
        let Place::Taken {
            name,
            is_first,
            is_new_min,
        } = self.take_place(&registration, state_version)
        else {
            return Ok(Registered::default());
        };
        let is_changed = is_first || self.is_changed(&member.at, &topics.data_version);
        let applied_at = self.apply_topics(&name, &registration, &topics, is_changed);
        let notice = is_new_min
            .then(|| self.new_min_notice(&registration))
            .flatten();
        let member = registration.member.clone();
        self.keep_alive(name, registration, topics, applied_at);
        Ok(self.answer(&member, notice))
    }

    /// The topics go into the table if the member speaks for its group (rules 4 and 5).
    fn apply_topics(
        &mut self,
        name: &Arc<str>,
        registration: &Registration,
        topics: &Topics,
        is_changed: bool,
    ) -> Option<u64> {
        let broker = self.brokers.get(name)?;
        if !speaks_for_group(broker, registration) {
            return None;
        }
        let applied_at = broker.topics_taken;
        let is_acting = registration.member.id != MASTER_ID && broker.acting_master;
        let perm_mask = if is_acting { !PERM_WRITE } else { !0 };
        if topics.delete_absent && topics.mappings.is_empty() {
            self.delete_absent(name, &topics.configs);
        }
        for config in &topics.configs {
            self.put_queues(name, config, is_changed, perm_mask);
        }
        if is_changed {
            self.put_mappings(&topics.mappings);
        }
        Some(applied_at)
    }

    fn is_member(&self, name: &str, id: i64) -> bool {
        let broker = self.brokers.get(name);
        broker.is_some_and(|b| b.addresses.contains_key(&id))
    }

    /// A process that comes back under another name leaves the group it was in.
    fn leave_former_group(&mut self, member: &Member, now_ms: i64) {
        let former = self
            .live
            .get(&member.at)
            .filter(|l| *l.name != *member.name);
        if let Some(live) = former {
            let former = Member {
                name: live.name.to_string(),
                id: live.id,
                at: member.at.clone(),
            };
            let number = Some(live.number);
            let leaving = Leaving::Asked {
                member: former,
                number,
            };
            self.leave(vec![leaving], now_ms);
        }
    }

    fn take_place(&mut self, registration: &Registration, state_version: i64) -> Place {
        let Member { name, id, at } = &registration.member;
        let known = self.brokers.get_key_value(name.as_str());
        let name = known.map_or_else(|| Arc::from(name.as_str()), |(name, _)| Arc::clone(name));
        let in_cluster = self.clusters.entry(at.cluster.clone()).or_default();
        in_cluster.insert(Arc::clone(&name));
        let broker = self
            .brokers
            .entry(Arc::clone(&name))
            .or_insert_with(|| Broker {
                cluster: at.cluster.clone(),
                addresses: BTreeMap::new(),
                zone: None,
                acting_master: false,
                topics_taken: 0,
            });
        broker.acting_master = registration.acting_master.unwrap_or(false);
        broker.zone.clone_from(&registration.zone);
        let is_new_min = *id < broker.min_id().unwrap_or(MASTER_ID);
        // A slave that became master must not stay under its old id (rule 1).
        broker
            .addresses
            .retain(|other, address| other == id || *address != at.address);
        let holder = broker
            .addresses
            .get(id)
            .filter(|holder| **holder != at.address);
        if let Some(holder) = holder {
            let holder = BrokerAddress {
                cluster: at.cluster.clone(),
                address: holder.clone(),
            };
            if is_newer(&self.live, &holder, state_version) {
                tracing::warn!(broker = %name, id, holder = holder.address, refused = at.address,
                    "broker id is held by another address with a newer state");
                self.live.remove(at);
                return Place::Refused;
            }
            self.live.remove(&holder);
        }
        let is_first = broker.addresses.insert(*id, at.address.clone()).is_none();
        Place::Taken {
            name,
            is_first,
            is_new_min,
        }
    }

    fn is_changed(&self, at: &BrokerAddress, data_version: &DataVersion) -> bool {
        let live = self.live.get(at);
        live.is_none_or(|l| l.data_version != *data_version)
    }

    fn put_queues(
        &mut self,
        name: &Arc<str>,
        config: &TopicConfig,
        is_changed: bool,
        perm_mask: i32,
    ) {
        let queues = Queues {
            read: config.read_queue_nums,
            write: config.write_queue_nums,
            perm: config.perm & perm_mask,
            sys_flag: config.topic_sys_flag,
        };
        let Some(brokers) = self.topics.get_mut(&config.topic_name) else {
            tracing::debug!(topic = config.topic_name, broker = %name, ?queues, "new topic");
            let brokers = BTreeMap::from([(Arc::clone(name), queues)]);
            self.topics.insert(config.topic_name.clone(), brokers);
            return;
        };
        if is_changed || !brokers.contains_key(name) {
            brokers.insert(Arc::clone(name), queues);
        }
    }

    fn put_mappings(&mut self, mappings: &BTreeMap<String, TopicQueueMappingInfo>) {
        for (topic, mapping) in mappings {
            let of_topic = self.mappings.entry(topic.clone()).or_default();
            of_topic.insert(mapping.bname.clone(), mapping.clone());
        }
    }

    fn delete_absent(&mut self, name: &Arc<str>, configs: &[TopicConfig]) {
        let present: HashSet<&str> = configs.iter().map(|c| c.topic_name.as_str()).collect();
        self.topics.retain(|topic, brokers| {
            if !present.contains(topic.as_str()) && brokers.remove(name).is_some() {
                tracing::info!(topic, broker = %name, "topic is gone from its broker");
            }
            !brokers.is_empty()
        });
    }

    fn keep_alive(
        &mut self,
        name: Arc<str>,
        registration: Registration,
        topics: Topics,
        applied_at: Option<u64>,
    ) {
        let before = self.live.remove(&registration.member.at);
        if before.is_none() {
            let member = &registration.member;
            tracing::info!(broker = %name, id = member.id, address = member.at.address,
                cluster = member.at.cluster, ha_address = registration.ha_address, "broker registered");
        }
        let filter_servers = topics.filter_servers;
        self.registrations += 1;
        let live = Liveness {
            number: self.registrations,
            name,
            id: registration.member.id,
            updated_ms: registration.now_ms,
            silence_ms_max: registration.silence_ms_max,
            data_version: topics.data_version,
            connection: registration.connection,
            ha_address: registration.ha_address,
            filter_servers: filter_servers
                .or(before.map(|l| l.filter_servers))
                .unwrap_or_default(),
            fingerprint: registration.fingerprint,
            applied_at,
        };
        self.live.insert(registration.member.at, live);
    }

    /// A slave learns its master (rule 6).
    fn answer(&self, member: &Member, notice: Option<MinBrokerIdNotice>) -> Registered {
        let mut registered = Registered {
            notice,
            ..Registered::default()
        };
        let broker = self.brokers.get(member.name.as_str());
        let master = broker.and_then(|b| b.addresses.get(&MASTER_ID));
        if let Some(master) = master.filter(|_| member.id != MASTER_ID) {
            let at = BrokerAddress {
                cluster: member.at.cluster.clone(),
                address: master.clone(),
            };
            if let Some(live) = self.live.get(&at) {
                registered.ha_address = Some(live.ha_address.clone());
                registered.master_address = Some(at.address);
            }
        }
        registered
    }

    /// The members that were there before learn of the new lowest id (rule 7).
    fn new_min_notice(&self, registration: &Registration) -> Option<MinBrokerIdNotice> {
        let broker = self.brokers.get(registration.member.name.as_str())?;
        let (min_id, min_address) = broker.addresses.iter().next()?;
        let others = broker.addresses.iter().filter(|(id, _)| *id != min_id);
        Some(MinBrokerIdNotice {
            broker_name: registration.member.name.clone(),
            min_broker_id: *min_id,
            min_broker_address: min_address.clone(),
            offline_broker_address: None,
            ha_address: Some(registration.ha_address.clone()),
            recipients: others.map(|(_, address)| address.clone()).collect(),
        })
    }

    pub(super) fn put_topic(&mut self, topic: &str, queues: &[QueueData]) -> bool {
        let mut named = Vec::with_capacity(queues.len());
        for queue in queues {
            let Some((name, _)) = self.brokers.get_key_value(queue.broker_name.as_str()) else {
                tracing::info!(
                    topic,
                    broker = queue.broker_name,
                    "topic of a broker that has not registered"
                );
                return false;
            };
            named.push((Arc::clone(name), Queues::from(queue)));
        }
        if !named.is_empty() {
            self.topics
                .entry(topic.to_owned())
                .or_default()
                .extend(named);
        }
        true
    }
}

impl From<&QueueData> for Queues {
    fn from(data: &QueueData) -> Self {
        Self {
            read: data.read_queue_nums,
            write: data.write_queue_nums,
            perm: data.perm,
            sys_flag: data.topic_sys_flag,
        }
    }
}

fn is_newer(
    live: &HashMap<BrokerAddress, Liveness>,
    holder: &BrokerAddress,
    state_version: i64,
) -> bool {
    let holder = live.get(holder);
    holder.is_some_and(|l| l.data_version.state_version > state_version)
}

/// The master does, or the lowest slave of those that know of acting masters.
fn speaks_for_group(broker: &Broker, registration: &Registration) -> bool {
    let id = registration.member.id;
    id == MASTER_ID || (registration.acting_master.is_some() && broker.min_id() == Some(id))
}
