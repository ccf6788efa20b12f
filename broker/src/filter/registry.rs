//! SQL92 subscriptions by topic and group, as `consumerFilter.json` keeps them (Java's
//! `ConsumerFilterManager`): heartbeats register them, a group without consumers leaves them dead, and
//! a day later they are forgotten.
//!
//! Nobody is served from it: consumers are by what their heartbeats say (`member/`). It is what tools are
//! shown (321), and what a Java broker finds in the directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::body::{
    ConsumerFilterData, ConsumerFilterSerializeWrapper, FilterDataMapByTopic, SubscriptionData,
};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;

use super::bloom::Bloom;
use super::is_tag_type;
use crate::metadata_file::{LoadError, MetadataFile};

/// Filters that are kept at a time. Consumers name topics and groups, so this is what keeps the file
/// and the table small; further members are still served by what their heartbeats say.
const FILTERS_MAX: usize = 10_000;
/// Who was alive at a stop is taken to have died this long before the start.
const DEAD_BEFORE_START_MS: i64 = 30_000;

struct Registered {
    data: ConsumerFilterData,
}

impl Registered {
    fn is_dead(&self) -> bool {
        self.data.dead_time >= self.data.born_time
    }

    fn die(&mut self, at_ms: i64) {
        self.data.dead_time = at_ms.max(self.data.born_time);
        self.data.dead = true;
    }

    fn revive(&mut self) {
        self.data.dead_time = 0;
        self.data.dead = false;
    }
}

#[derive(Default)]
struct Table {
    /// By topic and group.
    topics: BTreeMap<String, BTreeMap<String, Registered>>,
    count: usize,
    is_changed: bool,
}

/// What a group's consumers say of one topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) subscription: &'a SubscriptionData,
    /// Whether its expression compiles.
    pub(crate) is_sound: bool,
}

/// The table and its file.
pub(crate) struct FilterRegistry {
    table: Mutex<Table>,
    file: MetadataFile,
    bloom: Bloom,
    clock: Clock,
}

impl FilterRegistry {
    /// Reads what is there. All consumers count as dead until they register again.
    ///
    /// # Errors
    /// The file is there and can not be read.
    pub(crate) fn open(root_dir: &Path, bloom: Bloom, clock: Clock) -> Result<Self, LoadError> {
        let file = MetadataFile::new(root_dir, "consumerFilter.json");
        let loaded = file.load(fastjson::from_slice::<ConsumerFilterSerializeWrapper>)?;
        let registry = Self {
            table: Mutex::default(),
            file,
            bloom,
            clock,
        };
        registry.take_over(loaded.unwrap_or_default());
        Ok(registry)
    }

    /// Registers what a group subscribes to by SQL92; what it has left is dead from now on.
    pub(crate) fn register<'a>(&self, group: &str, said: impl Iterator<Item = Said<'a>> + Clone) {
        let now_ms = self.clock.now_ms();
        let mut table = self.lock();
        for one in said.clone() {
            let expression_type = one.subscription.expression_type.as_deref();
            if !is_tag_type(expression_type) && !one.subscription.sub_string.is_empty() {
                self.register_one(&mut table, group, one);
            }
        }
        let is_left = |topic: &str| !said.clone().any(|one| one.subscription.topic == topic);
        kill(&mut table, group, now_ms, is_left);
    }

    /// The group has no consumers any more.
    pub(crate) fn unregister(&self, group: &str) {
        kill(&mut self.lock(), group, self.clock.now_ms(), |_| true);
    }

    /// What is registered for a group in a topic.
    pub(crate) fn data(&self, topic: &str, group: &str) -> Option<ConsumerFilterData> {
        let table = self.lock();
        let registered = table.topics.get(topic)?.get(group)?;
        Some(registered.data.clone())
    }

    /// Forgets what has been dead for longer than `kept_ms`, and writes the file if anything changed.
    pub(crate) fn persist(&self, kept_ms: i64) {
        let content = {
            let mut table = self.lock();
            table.forget_dead_since(self.clock.now_ms().saturating_sub(kept_ms));
            if !std::mem::take(&mut table.is_changed) {
                return;
            }
            table.content()
        };
        if !self.file.store_json_or_log(|| content) {
            self.lock().is_changed = true;
        }
    }

    fn take_over(&self, loaded: ConsumerFilterSerializeWrapper) {
        let died_ms = self.clock.now_ms() - DEAD_BEFORE_START_MS;
        let mut table = self.lock();
        for (topic, of_topic) in loaded.filter_data_by_topic {
            for (group, mut data) in of_topic.group_filter_data {
                data.bloom_filter_data = Some(self.bloom.positions(&format!("{group}#{topic}")));
                let mut registered = Registered { data };
                if registered.data.dead_time == 0 {
                    registered.die(died_ms);
                }
                table.insert(&topic, &group, registered);
            }
        }
        table.is_changed = false;
    }

    /// By Java's rules: only a larger version changes what is registered, an equal one revives it,
    /// and what does not compile takes the old one away, so that the client is told.
    fn register_one(&self, table: &mut Table, group: &str, said: Said<'_>) {
        let subscription = said.subscription;
        let topic = &subscription.topic;
        let version = subscription.sub_version;
        let known = table.topics.get_mut(topic).and_then(|of| of.get_mut(group));
        if let Some(known) = known {
            if version < known.data.client_version {
                return;
            }
            let says_the_same = known.data.expression == subscription.sub_string
                && Some(known.data.expression_type.as_str())
                    == subscription.expression_type.as_deref();
            if version == known.data.client_version || says_the_same {
                known.data.client_version = version;
                known.revive();
                table.is_changed = true;
                return;
            }
        }
        if !said.is_sound {
            return table.remove(topic, group);
        }
        let data = ConsumerFilterData {
            bloom_filter_data: Some(self.bloom.positions(&format!("{group}#{topic}"))),
            born_time: self.clock.now_ms(),
            client_version: version,
            consumer_group: group.to_owned(),
            dead: false,
            dead_time: 0,
            expression: subscription.sub_string.clone(),
            expression_type: subscription.expression_type.clone().unwrap_or_default(),
            topic: topic.clone(),
        };
        table.insert(topic, group, Registered { data });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a group's filters dead, of the topics that are meant.
fn kill(table: &mut Table, group: &str, now_ms: i64, is_meant: impl Fn(&str) -> bool) {
    for (topic, groups) in &mut table.topics {
        if let Some(registered) = groups.get_mut(group)
            && !registered.is_dead()
            && is_meant(topic)
        {
            registered.die(now_ms);
            table.is_changed = true;
        }
    }
}

impl Table {
    fn insert(&mut self, topic: &str, group: &str, registered: Registered) {
        let groups = self.topics.get(topic);
        let is_new = !groups.is_some_and(|groups| groups.contains_key(group));
        if is_new && self.count >= FILTERS_MAX {
            tracing::warn!(
                topic,
                group,
                "too many SQL92 filters: this one is not kept across a restart"
            );
            return;
        }
        self.count += usize::from(is_new);
        let groups = self.topics.entry(topic.to_owned()).or_default();
        groups.insert(group.to_owned(), registered);
        self.is_changed = true;
    }

    fn remove(&mut self, topic: &str, group: &str) {
        let removed = self.topics.get_mut(topic).and_then(|of| of.remove(group));
        if removed.is_some() {
            self.count -= 1;
            self.is_changed = true;
        }
    }

    fn forget_dead_since(&mut self, forgotten_ms: i64) {
        let before = self.count;
        let mut count = 0;
        self.topics.retain(|_, groups| {
            groups.retain(|_, registered| {
                !registered.is_dead() || registered.data.dead_time > forgotten_ms
            });
            count += groups.len();
            !groups.is_empty()
        });
        self.count = count;
        self.is_changed |= count != before;
    }

    fn content(&self) -> ConsumerFilterSerializeWrapper {
        let of_topic = |(topic, groups): (&String, &BTreeMap<String, Registered>)| {
            let group_filter_data = groups
                .iter()
                .map(|(group, registered)| (group.clone(), registered.data.clone()))
                .collect();
            let of_topic = FilterDataMapByTopic {
                group_filter_data,
                topic: topic.clone(),
            };
            (topic.clone(), of_topic)
        };
        ConsumerFilterSerializeWrapper {
            filter_data_by_topic: self.topics.iter().map(of_topic).collect(),
        }
    }
}

impl std::fmt::Debug for FilterRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterRegistry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "config/consumerFilter.json";
    const DAY_MS: i64 = 86_400_000;

    fn sql(topic: &str, expression: &str, version: i64) -> SubscriptionData {
        SubscriptionData {
            topic: topic.into(),
            sub_string: expression.into(),
            expression_type: Some("SQL92".into()),
            sub_version: version,
            ..SubscriptionData::default()
        }
    }

    fn said(subscription: &SubscriptionData) -> Said<'_> {
        Said {
            subscription,
            is_sound: subscription.sub_string != "wrong",
        }
    }

    struct Fixture {
        dir: tempfile::TempDir,
        clock: Clock,
        registry: FilterRegistry,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let clock = Clock::by_hand(1_000_000);
            let registry = open(dir.path(), &clock);
            Self {
                dir,
                clock,
                registry,
            }
        }

        fn register(&self, subscriptions: &[SubscriptionData]) {
            self.registry.register("g", subscriptions.iter().map(said));
        }

        fn written(&self) -> String {
            self.registry.persist(DAY_MS);
            std::fs::read_to_string(self.dir.path().join(FILE)).unwrap()
        }
    }

    fn open(dir: &Path, clock: &Clock) -> FilterRegistry {
        FilterRegistry::open(dir, Bloom::new(20, 32), clock.clone()).unwrap()
    }

    /// The text is what Java 5.5.0 writes, but for the times.
    #[test]
    fn the_file_is_javas() {
        let fixture = Fixture::new();
        fixture.register(&[sql("t", "a > 5", 7)]);
        let java = r#"{"filterDataByTopic":{"t":{"groupFilterData":{"g":{"bloomFilterData":{"bitNum":112,"bitPos":[22,87,58]},"bornTime":1000000,"clientVersion":7,"consumerGroup":"g","dead":false,"deadTime":0,"expression":"a > 5","expressionType":"SQL92","topic":"t"}},"topic":"t"}}}"#;
        assert_eq!(fixture.written(), java);
        fixture.clock.advance_ms(60_000);
        let again = open(fixture.dir.path(), &fixture.clock);
        let data = again.data("t", "g").unwrap();
        assert_eq!((data.dead, data.dead_time), (true, 1_030_000));
    }

    #[test]
    fn versions_decide() {
        let fixture = Fixture::new();
        let data = || fixture.registry.data("t", "g");
        fixture.register(&[sql("t", "a = 1", 7)]);
        fixture.register(&[sql("t", "a = 2", 6)]);
        fixture.register(&[sql("t", "a = 3", 7)]);
        assert_eq!(data().unwrap().expression, "a = 1");
        fixture.clock.advance_ms(5);
        fixture.register(&[sql("t", "a = 1", 8)]);
        let same = data().unwrap();
        assert_eq!((same.client_version, same.born_time), (8, 1_000_000));
        fixture.register(&[sql("t", "a = 2", 9)]);
        let changed = data().unwrap();
        assert_eq!((changed.client_version, changed.born_time), (9, 1_000_005));
        fixture.register(&[sql("t", "wrong", 10)]);
        assert_eq!(data(), None);
    }

    #[test]
    fn who_leaves_is_dead_and_a_day_later_forgotten() {
        let fixture = Fixture::new();
        let is_dead = |topic| fixture.registry.data(topic, "g").map(|data| data.dead);
        fixture.register(&[sql("t", "a = 1", 7), sql("u", "a = 1", 7)]);
        fixture.register(&[sql("t", "a = 1", 7)]);
        assert_eq!((is_dead("t"), is_dead("u")), (Some(false), Some(true)));
        fixture.registry.unregister("g");
        assert_eq!(is_dead("t"), Some(true));
        fixture.register(&[sql("t", "a = 1", 7)]);
        assert_eq!(is_dead("t"), Some(false));
        fixture.clock.advance_ms(DAY_MS);
        assert!(!fixture.written().contains(r#""u""#));
        assert_eq!((is_dead("t"), is_dead("u")), (Some(false), None));
    }
}
