//! Consumer groups of this broker, and topics that are forbidden to them: `subscriptionGroup.json`.
//!
//! Every pull looks its group up (a read lock and an `Arc`). A group that nobody created comes into
//! being with its first consumer, where `autoCreateSubscriptionGroup` allows it. The data version
//! moves exactly when something changes. A change is written by the thread `metadata-writer`; an
//! answer that promises it waits for that.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thrustmq_proto_compat::body::{DataVersion, SubscriptionGroupConfig, SubscriptionGroupWrapper};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::names;

use crate::config::LiveConfig;
use crate::metadata_file::LoadError;
use crate::metadata_writer::{ChangedFile, MetadataWriter};
use crate::topic::attributes::{self, AttributeError};

/// Bit that keeps a group from reading a topic.
const FORBIDDEN_READ: i32 = 1 << 2;

type Forbidden = BTreeMap<String, BTreeMap<String, i32>>;

/// All groups at a moment.
#[derive(Debug, Clone)]
pub(crate) struct GroupSnapshot {
    pub(crate) groups: BTreeMap<String, Arc<SubscriptionGroupConfig>>,
    pub(crate) forbidden: Forbidden,
    pub(crate) data_version: DataVersion,
}

#[derive(Debug)]
struct Table {
    groups: HashMap<Arc<str>, Arc<SubscriptionGroupConfig>>,
    forbidden: Forbidden,
    data_version: DataVersion,
}

/// The groups of this broker.
#[derive(Debug)]
pub(crate) struct GroupTable {
    table: RwLock<Table>,
    /// While nothing is forbidden, a pull needs not look.
    has_forbidden: AtomicBool,
    /// Whether groups of light queues are there without being created.
    has_light_queues: bool,
    config: LiveConfig,
    clock: Clock,
    file: ChangedFile,
}

impl GroupTable {
    /// The broker's own groups, and over them what `subscriptionGroup.json` of a store's root
    /// directory holds.
    ///
    /// # Errors
    /// The file and its predecessor are there and can not be read.
    pub(crate) fn open(
        root_dir: &Path,
        config: LiveConfig,
        clock: Clock,
        writer: &MetadataWriter,
    ) -> Result<Self, LoadError> {
        let file = ChangedFile::new(root_dir, "subscriptionGroup.json", writer);
        let loaded = file.load(fastjson::from_slice::<SubscriptionGroupWrapper>)?;
        let loaded = loaded.unwrap_or_default();
        let own = names::BROKER_GROUPS.iter().map(|name| named(name));
        let groups = own.chain(loaded.subscription_group_table.into_values());
        Ok(Self {
            has_forbidden: AtomicBool::new(!loaded.forbidden_table.is_empty()),
            table: RwLock::new(Table {
                groups: groups.map(keyed).collect(),
                forbidden: loaded.forbidden_table,
                data_version: loaded.data_version,
            }),
            has_light_queues: config.current().light_queues,
            config,
            clock,
            file,
        })
    }

    fn is_of_light_queues(&self, group: &str) -> bool {
        self.has_light_queues && names::is_light_queue(group)
    }

    /// One group; an unknown one is created where that is allowed and its name is valid.
    pub(crate) fn find(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        if let Some(config) = self.find_existing(group) {
            return Some(config);
        }
        let config = self.config.current();
        let is_allowed = config.auto_create_group
            || (config.create_system_group && names::is_system_group(group));
        if !is_allowed || names::check_group(group).is_err() {
            return None;
        }
        Some(self.create(group))
    }

    /// One group, if it is there.
    pub(crate) fn find_existing(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        if self.is_of_light_queues(group) {
            return Some(Arc::new(named(group)));
        }
        self.read().groups.get(group).cloned()
    }

    /// Whether there is such a group.
    pub(crate) fn contains(&self, group: &str) -> bool {
        self.is_of_light_queues(group) || self.read().groups.contains_key(group)
    }

    /// Whether a group may not read a topic.
    pub(crate) fn is_read_forbidden(&self, group: &str, topic: &str) -> bool {
        self.has_forbidden.load(Ordering::Acquire)
            && self.read().forbidden_bits(group, topic) & FORBIDDEN_READ != 0
    }

    /// Forbids a group to read a topic, or allows it again.
    pub(crate) fn set_read_forbidden(&self, group: &str, topic: &str, is_forbidden: bool) {
        {
            let mut table = self.write();
            let before = table.forbidden_bits(group, topic);
            let bits = if is_forbidden {
                before | FORBIDDEN_READ
            } else {
                before & !FORBIDDEN_READ
            };
            if bits == before {
                return;
            }
            table.set_forbidden_bits(group, topic, bits);
            table.data_version.next(0, self.clock.now_ms());
            let has_forbidden = !table.forbidden.is_empty();
            self.has_forbidden.store(has_forbidden, Ordering::Release);
        }
        self.file.note_change();
    }

    /// All groups.
    pub(crate) fn snapshot(&self) -> GroupSnapshot {
        let table = self.read();
        let groups = table.groups.iter();
        GroupSnapshot {
            groups: groups
                .map(|(name, config)| (name.to_string(), config.clone()))
                .collect(),
            forbidden: table.forbidden.clone(),
            data_version: table.data_version.clone(),
        }
    }

    /// Creates or replaces groups, all or none. The attributes of each are changes to those it has.
    pub(crate) fn upsert_all(
        &self,
        configs: Vec<SubscriptionGroupConfig>,
    ) -> Result<(), AttributeError> {
        let configs: Result<Vec<_>, _> = configs
            .into_iter()
            .map(|config| self.with_attributes(config))
            .collect();
        let mut is_changed = false;
        for config in configs? {
            is_changed |= self.replace(config);
        }
        if is_changed {
            self.file.note_change();
        }
        Ok(())
    }

    /// Removes a group; whether there was one.
    pub(crate) fn remove(&self, group: &str) -> bool {
        {
            let mut table = self.write();
            table.forbidden.remove(group);
            if table.groups.remove(group).is_none() {
                return false;
            }
            table.data_version.next(0, self.clock.now_ms());
        }
        tracing::info!(group, "group is removed");
        self.file.note_change();
        true
    }

    fn create(&self, group: &str) -> Arc<SubscriptionGroupConfig> {
        let created = {
            let mut table = self.write();
            if let Some(known) = table.groups.get(group) {
                return known.clone();
            }
            let (name, created) = keyed(named(group));
            table.groups.insert(name, created.clone());
            table.data_version.next(0, self.clock.now_ms());
            created
        };
        tracing::info!(group, "group is created");
        self.file.note_change();
        created
    }

    fn with_attributes(
        &self,
        mut config: SubscriptionGroupConfig,
    ) -> Result<SubscriptionGroupConfig, AttributeError> {
        let known = self.find_existing(&config.group_name);
        let current = known.as_ref().map(|known| &known.attributes);
        config.attributes = attributes::apply(attributes::OF_GROUPS, current, &config.attributes)?;
        Ok(config)
    }

    fn replace(&self, config: SubscriptionGroupConfig) -> bool {
        let mut table = self.write();
        let known = table.groups.get(config.group_name.as_str());
        if known.is_some_and(|known| **known == config) {
            return false;
        }
        let (name, config) = keyed(config);
        tracing::info!(group = config.group_name, "group is set");
        table.groups.insert(name, config);
        table.data_version.next(0, self.clock.now_ms());
        true
    }

    /// Writes `subscriptionGroup.json` if something has changed since it was written.
    pub(crate) fn write_changes(&self) {
        self.file.write_if_changed(|| {
            let snapshot = self.snapshot();
            let groups = snapshot.groups.into_iter();
            let groups =
                groups.map(|(name, config)| (name, SubscriptionGroupConfig::clone(&config)));
            SubscriptionGroupWrapper {
                subscription_group_table: groups.collect(),
                forbidden_table: snapshot.forbidden,
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

impl Table {
    fn forbidden_bits(&self, group: &str, topic: &str) -> i32 {
        let topics = self.forbidden.get(group);
        topics
            .and_then(|topics| topics.get(topic))
            .copied()
            .unwrap_or(0)
            .max(0)
    }

    fn set_forbidden_bits(&mut self, group: &str, topic: &str, bits: i32) {
        let topics = self.forbidden.entry(group.to_owned()).or_default();
        if bits > 0 {
            topics.insert(topic.to_owned(), bits);
        } else {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.forbidden.remove(group);
        }
    }
}

fn named(group: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        group_name: group.to_owned(),
        ..SubscriptionGroupConfig::default()
    }
}

fn keyed(config: SubscriptionGroupConfig) -> (Arc<str>, Arc<SubscriptionGroupConfig>) {
    (config.group_name.as_str().into(), Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    fn open(dir: &Path, auto_create_group: bool) -> GroupTable {
        let config = BrokerConfig {
            auto_create_group,
            ..BrokerConfig::default()
        };
        let clock = Clock::by_hand(1_000);
        let config = LiveConfig::new(config, None, clock.clone());
        GroupTable::open(dir, config, clock, &MetadataWriter::new()).unwrap()
    }

    #[test]
    fn a_first_consumer_creates_its_group_where_that_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let groups = open(dir.path(), true);
        assert_eq!(groups.find("g").unwrap().retry_max_times, 16);
        assert!(groups.find("no good").is_none());
        assert_eq!(groups.snapshot().data_version.counter, 1);
        groups.write_changes();
        let strict = open(dir.path(), false);
        assert!(strict.find("g").is_some());
        assert!(strict.find("h").is_none());
        assert!(strict.find("TOOLS_CONSUMER").is_some());
        assert!(strict.find("CID_RMQ_SYS_x").is_some());
    }

    #[test]
    fn groups_and_what_is_forbidden_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let groups = open(dir.path(), true);
        let mut config = named("g");
        config.retry_max_times = 3;
        groups.upsert_all(vec![config.clone()]).unwrap();
        groups.upsert_all(vec![config]).unwrap();
        groups.set_read_forbidden("g", "t", true);
        groups.write_changes();
        let reopened = open(dir.path(), true);
        assert_eq!(reopened.find("g").unwrap().retry_max_times, 3);
        assert!(reopened.is_read_forbidden("g", "t"));
        assert!(!reopened.is_read_forbidden("g", "u"));
        assert_eq!(reopened.snapshot().data_version.counter, 2);
        reopened.set_read_forbidden("g", "t", false);
        assert!(!reopened.is_read_forbidden("g", "t"));
    }

    #[test]
    fn a_removed_group_is_gone_with_what_is_forbidden_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let groups = open(dir.path(), false);
        groups.upsert_all(vec![named("g")]).unwrap();
        groups.set_read_forbidden("g", "t", true);
        assert!(groups.remove("g"));
        assert!(!groups.remove("g"));
        assert!(!groups.contains("g"));
        assert!(groups.snapshot().forbidden.is_empty());
    }

    #[test]
    fn groups_have_no_attributes_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let groups = open(dir.path(), true);
        let mut config = named("g");
        config.attributes.insert("+a".into(), "b".into());
        let error = groups.upsert_all(vec![config]).unwrap_err();
        assert_eq!(error.to_string(), "unsupported key: a");
        assert!(!groups.contains("g"));
    }
}
