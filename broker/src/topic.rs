//! Topics of this broker: `topics.json`.
//!
//! Every send and pull looks its topic up (a read lock and an `Arc`); few things change one: admin
//! commands, and sending or consuming what is not there yet. Whoever changes one tells the name
//! servers: the table knows none. The data version moves exactly when a topic changes. A change is
//! written by the thread `metadata-writer`; an answer that promises it waits for that.

pub(crate) mod attributes;
mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::HashMap;
use thrustmq_proto_compat::body::{DataVersion, TopicConfig, TopicConfigSerializeWrapper};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::names;

use crate::config::LiveConfig;
use crate::metadata_file::LoadError;
use crate::metadata_writer::{ChangedFile, MetadataWriter};
use attributes::AttributeError;

/// Queues that a topic may have: the store keeps a directory each.
pub(crate) const QUEUES_MAX: i32 = 65_536;

/// Topics created from this one take over its permissions.
pub(crate) const PERM_INHERIT: i32 = 1;
/// Messages may be sent.
pub(crate) const PERM_WRITE: i32 = 2;
/// Messages may be consumed.
pub(crate) const PERM_READ: i32 = 4;

/// A topic that a producer sends to before anyone created it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AutoTopic<'a> {
    pub(crate) topic: &'a str,
    /// Topic to take the settings from: `TBW102`, or another that may be inherited from.
    pub(crate) default_topic: &'a str,
    /// Queues that the producer wants.
    pub(crate) queues: i32,
    pub(crate) sys_flag: i32,
}

/// A topic that is there after a call, and whether the call made or changed it: then the name
/// servers want to know.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) is_changed: bool,
}

/// All topics at a moment.
#[derive(Debug, Clone)]
pub(crate) struct TopicSnapshot {
    pub(crate) topics: BTreeMap<String, Arc<TopicConfig>>,
    pub(crate) data_version: DataVersion,
}

#[derive(Debug)]
struct Table {
    topics: HashMap<Arc<str>, Arc<TopicConfig>>,
    data_version: DataVersion,
}

/// The topics of this broker.
#[derive(Debug)]
pub(crate) struct TopicTable {
    table: RwLock<Table>,
    /// Names that belong to this broker beside those that are RocketMQ's everywhere.
    own_names: BTreeSet<String>,
    has_light_queues: bool,
    config: LiveConfig,
    clock: Clock,
    file: ChangedFile,
}

/// As Java's `LmqTopicConfigManager` has them.
fn light_queue(name: &str) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: PERM_READ | PERM_WRITE,
        ..TopicConfig::default()
    }
}

impl TopicTable {
    /// The system topics, and over them what `topics.json` of a store's root directory holds.
    ///
    /// # Errors
    /// The file and its predecessor are there and can not be read.
    pub(crate) fn open(
        root_dir: &Path,
        config: LiveConfig,
        clock: Clock,
        writer: &MetadataWriter,
    ) -> Result<Self, LoadError> {
        let file = ChangedFile::new(root_dir, "topics.json", writer);
        let loaded = file.load(fastjson::from_slice::<TopicConfigSerializeWrapper>)?;
        let loaded = loaded.unwrap_or_default();
        let system = system::system_topics(&config.current());
        let own_names = system
            .iter()
            .map(|topic| topic.topic_name.clone())
            .collect();
        let of_file = loaded.topic_config_table.into_values();
        let topics = system.into_iter().chain(of_file);
        Ok(Self {
            table: RwLock::new(Table {
                topics: topics.map(keyed).collect(),
                data_version: loaded.data_version,
            }),
            own_names,
            has_light_queues: config.current().light_queues,
            config,
            clock,
            file,
        })
    }

    /// One topic. A light queue is one that nobody has to create.
    pub(crate) fn find(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        if self.is_light_queue(topic) {
            return Some(Arc::new(light_queue(topic)));
        }
        self.read().topics.get(topic).cloned()
    }

    /// Whether there is such a topic.
    pub(crate) fn contains(&self, topic: &str) -> bool {
        self.is_light_queue(topic) || self.is_created(topic)
    }

    fn is_light_queue(&self, topic: &str) -> bool {
        self.has_light_queues && names::is_light_queue(topic)
    }

    fn is_created(&self, topic: &str) -> bool {
        self.read().topics.contains_key(topic)
    }

    /// Whether messages of the topic must be consumed in order.
    pub(crate) fn is_ordered(&self, topic: &str) -> bool {
        self.read()
            .topics
            .get(topic)
            .is_some_and(|config| config.order)
    }

    /// Whether the name is RocketMQ's own, here or everywhere.
    pub(crate) fn is_system(&self, topic: &str) -> bool {
        names::is_system_topic(topic) || self.own_names.contains(topic)
    }

    /// Names of system topics.
    pub(crate) fn system_names(&self) -> BTreeSet<String> {
        let everywhere = names::SYSTEM_TOPICS.iter().map(|name| (*name).to_owned());
        everywhere.chain(self.own_names.iter().cloned()).collect()
    }

    /// All topics.
    pub(crate) fn snapshot(&self) -> TopicSnapshot {
        // Sends wait for whoever waits for this lock: sorting and copying names come after it.
        let (topics, data_version) = {
            let table = self.read();
            let topics: Vec<_> = table.topics.values().cloned().collect();
            (topics, table.data_version.clone())
        };
        let topics = topics.into_iter();
        TopicSnapshot {
            topics: topics
                .map(|config| (config.topic_name.clone(), config))
                .collect(),
            data_version,
        }
    }

    /// Moves on with every change.
    pub(crate) fn data_version(&self) -> DataVersion {
        self.read().data_version.clone()
    }

    /// Moves the data version though no topic has changed: the broker's permission has.
    pub(crate) fn touch(&self) {
        let now_ms = self.clock.now_ms();
        self.write().data_version.next(0, now_ms);
        self.file.note_change();
    }

    /// Creates the topic of a first message from its default topic. `None` if there is no such
    /// default, nothing may be inherited from it, or topics are not created on their own.
    pub(crate) fn create_for_send(&self, wanted: AutoTopic<'_>) -> Option<Outcome> {
        if let Some(config) = self.find(wanted.topic) {
            return Some(unchanged(config));
        }
        let is_template = wanted.default_topic == names::AUTO_CREATE_TOPIC;
        if is_template && !self.config.current().auto_create_topic {
            return None;
        }
        let default = self.find(wanted.default_topic)?;
        if default.perm & PERM_INHERIT == 0 {
            return None;
        }
        let queues = wanted.queues.min(default.write_queue_nums).max(0);
        Some(self.create_if_absent(TopicConfig {
            topic_name: wanted.topic.to_owned(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: default.perm & !PERM_INHERIT,
            topic_filter_type: default.topic_filter_type,
            topic_sys_flag: wanted.sys_flag,
            ..TopicConfig::default()
        }))
    }

    /// Creates a group's retry or dead-letter topic. One that is there only follows in whether it
    /// is ordered.
    pub(crate) fn create_for_group(&self, wanted: TopicConfig) -> Outcome {
        match self.find(&wanted.topic_name) {
            Some(config) if config.order == wanted.order => unchanged(config),
            Some(config) => {
                let mut config = TopicConfig::clone(&config);
                config.order = wanted.order;
                self.put(config)
            }
            None => self.create_if_absent(wanted),
        }
    }

    /// Creates a topic unless there is one of its name.
    pub(crate) fn create_if_absent(&self, config: TopicConfig) -> Outcome {
        let created = {
            let mut table = self.write();
            if let Some(known) = table.topics.get(config.topic_name.as_str()) {
                return unchanged(known.clone());
            }
            let (name, created) = keyed(config);
            table.topics.insert(name, created.clone());
            table.data_version.next(0, self.clock.now_ms());
            created
        };
        tracing::info!(
            topic = created.topic_name,
            queues = created.write_queue_nums,
            perm = created.perm,
            "topic is created"
        );
        self.file.note_change();
        Outcome {
            config: created,
            is_changed: true,
        }
    }

    /// Creates or replaces a topic. Its attributes are changes, `+key` and `-key`, to those it has.
    pub(crate) fn upsert(&self, config: TopicConfig) -> Result<Outcome, AttributeError> {
        Ok(self.put(self.with_attributes(config)?))
    }

    /// Creates or replaces topics, all or none.
    pub(crate) fn upsert_all(
        &self,
        configs: Vec<TopicConfig>,
    ) -> Result<Vec<Outcome>, AttributeError> {
        let configs: Result<Vec<_>, _> = configs
            .into_iter()
            .map(|config| self.with_attributes(config))
            .collect();
        let outcomes: Vec<_> = configs?
            .into_iter()
            .map(|config| self.replace(config))
            .collect();
        if outcomes.iter().any(|outcome| outcome.is_changed) {
            self.file.note_change();
        }
        Ok(outcomes)
    }

    /// Marks topics as ordered that the name server says are.
    pub(crate) fn mark_ordered<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        for topic in topics {
            if let Some(config) = self.find(topic).filter(|config| !config.order) {
                let mut config = TopicConfig::clone(&config);
                config.order = true;
                self.put(config);
            }
        }
    }

    /// Removes a topic; whether there was one.
    pub(crate) fn remove(&self, topic: &str) -> bool {
        {
            let mut table = self.write();
            if table.topics.remove(topic).is_none() {
                return false;
            }
            table.data_version.next(0, self.clock.now_ms());
        }
        tracing::info!(topic, "topic is removed");
        self.file.note_change();
        true
    }

    fn with_attributes(&self, mut config: TopicConfig) -> Result<TopicConfig, AttributeError> {
        let known = self.find(&config.topic_name);
        let current = known.as_ref().map(|known| &known.attributes);
        config.attributes = attributes::apply(attributes::OF_TOPICS, current, &config.attributes)?;
        Ok(config)
    }

    fn put(&self, config: TopicConfig) -> Outcome {
        let outcome = self.replace(config);
        if outcome.is_changed {
            self.file.note_change();
        }
        outcome
    }

    fn replace(&self, config: TopicConfig) -> Outcome {
        let mut table = self.write();
        let known = table.topics.get(config.topic_name.as_str());
        if let Some(known) = known.filter(|known| ***known == config) {
            return unchanged(known.clone());
        }
        let (name, config) = keyed(config);
        table.topics.insert(name, config.clone());
        table.data_version.next(0, self.clock.now_ms());
        tracing::info!(
            topic = config.topic_name,
            perm = config.perm,
            read_queues = config.read_queue_nums,
            write_queues = config.write_queue_nums,
            "topic is set"
        );
        Outcome {
            config,
            is_changed: true,
        }
    }

    /// Writes `topics.json` if a topic has changed since it was written.
    pub(crate) fn write_changes(&self) {
        self.file.write_if_changed(|| {
            let snapshot = self.snapshot();
            let topics = snapshot.topics.into_iter();
            let topics = topics.map(|(name, config)| (name, TopicConfig::clone(&config)));
            TopicConfigSerializeWrapper {
                topic_config_table: topics.collect(),
                data_version: snapshot.data_version,
            }
        });
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().expect("no holder of this lock panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().expect("no holder of this lock panics")
    }
}

fn keyed(config: TopicConfig) -> (Arc<str>, Arc<TopicConfig>) {
    (config.topic_name.as_str().into(), Arc::new(config))
}

fn unchanged(config: Arc<TopicConfig>) -> Outcome {
    Outcome {
        config,
        is_changed: false,
    }
}

#[cfg(test)]
mod tests;
