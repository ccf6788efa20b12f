//! How far each group has consumed each queue: `consumerOffset.json`, or `lmqConsumerOffset.json`.
//!
//! Handlers commit and query (two read locks and an atomic); startup.rs calls
//! [`OffsetTable::flush`] every `flushConsumerOffsetInterval`, which writes only what has changed.
//! A pending reset outranks the committed offset until the next pull of its queue has taken it
//! (05-producers-consumers §5.4); resets and pull positions are not written to disk.

mod offset_file;
mod queue_offsets;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use thrustmq_proto_compat::body::{ConsumerOffsetSerializeWrapper, DataVersion};
use thrustmq_proto_compat::clock::Clock;

use crate::config::BrokerConfig;
use crate::metadata_file::LoadError;
use offset_file::OffsetFile;
use queue_offsets::GroupOffsets;

type ByGroup = HashMap<Arc<str>, Arc<GroupOffsets>>;

/// A queue as one group sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupQueue<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) queue_id: i32,
}

/// What became of the commit of a pop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Popped {
    Committed,
    /// The group goes on at this offset instead.
    Reset(i64),
}

/// The offsets of all groups.
#[derive(Debug)]
pub(crate) struct OffsetTable {
    topics: RwLock<HashMap<Arc<str>, ByGroup>>,
    /// Resets that no pull has taken: while it is 0, a pull needs to look for none.
    pending_resets: AtomicUsize,
    commits: AtomicU64,
    is_changed: AtomicBool,
    version_step: u64,
    data_version: Mutex<DataVersion>,
    file: OffsetFile,
    clock: Clock,
}

impl OffsetTable {
    /// Reads the table of a store's root directory. The data version moves every `version_step`
    /// commits.
    ///
    /// # Errors
    /// The file and its predecessor are there and can not be read.
    pub(crate) fn open(
        root_dir: &Path,
        config: &BrokerConfig,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let file = OffsetFile::new(root_dir, config.light_queues);
        let version_step = config.consumer_offset_version_step;
        let loaded = file.load()?;
        let table = Self {
            topics: RwLock::default(),
            pending_resets: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            is_changed: AtomicBool::new(false),
            version_step: version_step.max(1),
            data_version: Mutex::new(loaded.data_version.unwrap_or_default()),
            file,
            clock,
        };
        for (key, offsets) in loaded.offset_table {
            match key.split_once('@') {
                Some((topic, group)) => table.of(topic, group).committed.replace(offsets),
                None => tracing::warn!(key, "consumer offset without a group is skipped"),
            }
        }
        Ok(table)
    }

    /// Where a group goes on: a pending reset, or what it has committed.
    pub(crate) fn query(&self, queue: GroupQueue<'_>) -> Option<i64> {
        let offsets = self.find(queue.topic, queue.group)?;
        let reset = if self.has_resets() {
            offsets.reset(queue.queue_id)
        } else {
            None
        };
        reset.or_else(|| offsets.committed.get(queue.queue_id))
    }

    /// What a group has been given of a queue; what it goes on with if it has pulled nothing.
    pub(crate) fn query_pulled(&self, queue: GroupQueue<'_>) -> Option<i64> {
        let offsets = self.find(queue.topic, queue.group)?;
        let pulled = offsets.pulled.get(queue.queue_id);
        pulled.or_else(|| self.query(queue))
    }

    /// Notes what a group has consumed. Going backwards is allowed, as consumers may; `client`
    /// is who did it, for the log.
    pub(crate) fn commit(
        &self,
        queue: GroupQueue<'_>,
        offset: i64,
        client: impl std::fmt::Display,
    ) {
        let before = self
            .of(queue.topic, queue.group)
            .committed
            .set(queue.queue_id, offset);
        if let Some(before) = before.filter(|before| offset < *before) {
            let GroupQueue {
                group,
                topic,
                queue_id,
            } = queue;
            tracing::info!(%client, group, topic, queue_id, offset, before, "consumer offset goes backwards");
        }
        if before == Some(offset) {
            return;
        }
        self.count_commit();
    }

    /// Notes what a group has consumed, unless it has consumed more already: for acknowledgements,
    /// which may overtake each other.
    pub(crate) fn advance(&self, queue: GroupQueue<'_>, offset: i64) {
        let offsets = self.of(queue.topic, queue.group);
        if offsets.committed.raise(queue.queue_id, offset) {
            self.count_commit();
        }
    }

    /// Notes where a group goes on after a pop, which an operator may have sent elsewhere meanwhile.
    pub(crate) fn commit_popped(
        &self,
        queue: GroupQueue<'_>,
        offset: i64,
        client: impl std::fmt::Display,
    ) -> Popped {
        self.commit(queue, offset, client);
        // A reset notes itself before it commits: whichever commit comes last is the reset's.
        let reset = self.has_resets().then(|| {
            let offsets = self.find(queue.topic, queue.group)?;
            offsets.reset(queue.queue_id)
        });
        let Some(reset) = reset.flatten() else {
            return Popped::Committed;
        };
        self.commit(queue, reset, "a reset");
        Popped::Reset(reset)
    }

    /// Notes what a group has been given.
    pub(crate) fn record_pull(&self, queue: GroupQueue<'_>, next_offset: i64) {
        let offsets = self.of(queue.topic, queue.group);
        offsets.pulled.set(queue.queue_id, next_offset);
    }

    /// Sends a group to an offset: it is committed at once, and the next pull is told.
    pub(crate) fn assign_reset(&self, queue: GroupQueue<'_>, offset: i64) {
        let offsets = self.of(queue.topic, queue.group);
        if offsets.put_reset(queue.queue_id, offset) {
            self.pending_resets.fetch_add(1, Ordering::AcqRel);
        }
        offsets.committed.set(queue.queue_id, offset);
        self.mark_changed();
    }

    /// Whether a reset waits for the next pull of the queue.
    pub(crate) fn has_reset(&self, queue: GroupQueue<'_>) -> bool {
        self.has_resets()
            && self
                .find(queue.topic, queue.group)
                .is_some_and(|offsets| offsets.reset(queue.queue_id).is_some())
    }

    /// The reset that the puller of a queue has to be told, once.
    pub(crate) fn take_reset(&self, queue: GroupQueue<'_>) -> Option<i64> {
        if !self.has_resets() {
            return None;
        }
        let offset = self
            .find(queue.topic, queue.group)?
            .take_reset(queue.queue_id)?;
        self.pending_resets.fetch_sub(1, Ordering::AcqRel);
        Some(offset)
    }

    /// Topics that a group has committed offsets of; to have pulled is not enough.
    pub(crate) fn topics_of(&self, group: &str) -> BTreeSet<String> {
        let topics = self.topics.read().expect("no panics");
        let of_group = topics
            .iter()
            .filter(|(_, groups)| groups.get(group).is_some_and(has_committed));
        of_group.map(|(topic, _)| topic.to_string()).collect()
    }

    /// Groups that have committed offsets of a topic; to have pulled is not enough.
    pub(crate) fn groups_of(&self, topic: &str) -> BTreeSet<String> {
        let topics = self.topics.read().expect("no panics");
        let groups = topics.get(topic).into_iter().flatten();
        let committed = groups.filter(|(_, offsets)| has_committed(offsets));
        committed.map(|(group, _)| group.to_string()).collect()
    }

    /// The committed offsets of a topic, of each group by queue.
    pub(crate) fn of_topic(&self, topic: &str) -> BTreeMap<String, BTreeMap<i32, i64>> {
        let topics = self.topics.read().expect("no panics");
        let groups = topics.get(topic).into_iter().flatten();
        let committed = groups.map(|(group, offsets)| (group.to_string(), offsets.committed.all()));
        committed.collect()
    }

    /// Forgets a topic.
    pub(crate) fn remove_topic(&self, topic: &str) {
        let removed = self.topics.write().expect("no panics").remove(topic);
        self.forget(removed.into_iter().flat_map(HashMap::into_values));
    }

    /// Forgets a group.
    pub(crate) fn remove_group(&self, group: &str) {
        let mut removed = Vec::new();
        self.topics.write().expect("no panics").retain(|_, groups| {
            removed.extend(groups.remove(group));
            !groups.is_empty()
        });
        self.forget(removed);
    }

    /// Gives one group the committed offsets of another, in one topic.
    pub(crate) fn clone_group(&self, source: &str, target: &str, topic: &str) {
        if let Some(offsets) = self.find(topic, source) {
            let all = offsets.committed.all();
            self.of(topic, target).committed.replace(all);
            self.mark_changed();
        }
    }

    /// The table as `consumerOffset.json` has it.
    pub(crate) fn snapshot(&self) -> ConsumerOffsetSerializeWrapper {
        let mut offset_table = BTreeMap::new();
        for (topic, groups) in self.topics.read().expect("no panics").iter() {
            for (group, offsets) in groups {
                let committed = offsets.committed.all();
                if !committed.is_empty() {
                    offset_table.insert(format!("{topic}@{group}"), committed);
                }
            }
        }
        ConsumerOffsetSerializeWrapper {
            offset_table,
            data_version: Some(self.data_version.lock().expect("no panics").clone()),
        }
    }

    /// Writes the table to disk if it has changed since it was last written.
    pub(crate) fn flush(&self) {
        if !self.is_changed.swap(false, Ordering::AcqRel) {
            return;
        }
        if !self.file.store(|| self.snapshot()) {
            self.mark_changed();
        }
    }

    fn find(&self, topic: &str, group: &str) -> Option<Arc<GroupOffsets>> {
        self.topics
            .read()
            .expect("no panics")
            .get(topic)?
            .get(group)
            .cloned()
    }

    fn of(&self, topic: &str, group: &str) -> Arc<GroupOffsets> {
        if let Some(offsets) = self.find(topic, group) {
            return offsets;
        }
        let mut topics = self.topics.write().expect("no panics");
        let groups = topics.entry(topic.into()).or_default();
        groups.entry(group.into()).or_default().clone()
    }

    fn forget(&self, removed: impl IntoIterator<Item = Arc<GroupOffsets>>) {
        for offsets in removed {
            let pending = offsets.pending_resets();
            self.pending_resets.fetch_sub(pending, Ordering::AcqRel);
            self.mark_changed();
        }
    }

    fn has_resets(&self) -> bool {
        self.pending_resets.load(Ordering::Acquire) > 0
    }

    fn mark_changed(&self) {
        // A store only where it changes something: committing threads share this byte.
        if !self.is_changed.load(Ordering::Relaxed) {
            self.is_changed.store(true, Ordering::Release);
        }
    }

    fn count_commit(&self) {
        self.mark_changed();
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if commits.is_multiple_of(self.version_step) {
            self.next_version();
        }
    }

    fn next_version(&self) {
        let now_ms = self.clock.now_ms();
        self.data_version.lock().expect("no panics").next(0, now_ms);
    }
}

fn has_committed(offsets: &Arc<GroupOffsets>) -> bool {
    !offsets.committed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: GroupQueue<'_> = GroupQueue {
        group: "g",
        topic: "t",
        queue_id: 2,
    };

    fn open(dir: &Path) -> OffsetTable {
        open_with(dir, false)
    }

    fn open_with(dir: &Path, light_queues: bool) -> OffsetTable {
        let config = BrokerConfig {
            consumer_offset_version_step: 2,
            light_queues,
            ..BrokerConfig::default()
        };
        OffsetTable::open(dir, &config, Clock::by_hand(7)).unwrap()
    }

    #[test]
    fn commits_survive_a_restart_once_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let table = open(dir.path());
        assert_eq!(table.query(QUEUE), None);
        table.commit(QUEUE, 10, "client");
        table.flush();
        table.commit(QUEUE, 11, "client");
        assert_eq!(open(dir.path()).query(QUEUE), Some(10));
        table.flush();
        assert_eq!(open(dir.path()).query(QUEUE), Some(11));
        let text = std::fs::read_to_string(dir.path().join("config/consumerOffset.json")).unwrap();
        assert!(text.contains("\"t@g\":{2:11}"), "{text}");
        assert!(text.contains("\"counter\":1"), "{text}");
    }

    #[test]
    fn groups_of_light_queues_stand_apart_in_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let before = open(dir.path());
        before.commit(QUEUE, 10, "client");
        before.flush();
        let light = GroupQueue {
            group: "%LMQ%g",
            topic: "%LMQ%a",
            queue_id: 0,
        };
        let table = open_with(dir.path(), true);
        assert_eq!(table.query(QUEUE), Some(10));
        table.commit(light, 4, "client");
        table.flush();
        let file = dir.path().join("config/lmqConsumerOffset.json");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(
            text.contains("\"lmqOffsetTable\":{\"%LMQ%a@%LMQ%g\":4}"),
            "{text}"
        );
        assert!(text.contains("\"offsetTable\":{\"t@g\":{2:10}}"), "{text}");
        let table = open_with(dir.path(), true);
        assert_eq!(
            (table.query(light), table.query(QUEUE)),
            (Some(4), Some(10))
        );
    }

    #[test]
    fn a_reset_outranks_commits_until_a_pull_takes_it() {
        let dir = tempfile::tempdir().unwrap();
        let table = open(dir.path());
        table.commit(QUEUE, 100, "client");
        table.assign_reset(QUEUE, 5);
        assert!(table.has_reset(QUEUE));
        table.commit(QUEUE, 101, "client");
        assert_eq!(table.query(QUEUE), Some(5));
        assert_eq!(table.take_reset(QUEUE), Some(5));
        assert_eq!(table.take_reset(QUEUE), None);
        assert_eq!(table.query(QUEUE), Some(101));
        table.assign_reset(QUEUE, 6);
        table.remove_group("g");
        assert!(!table.has_resets());
    }

    #[test]
    fn removing_and_cloning_touch_only_what_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let table = open(dir.path());
        let other = GroupQueue {
            group: "h",
            ..QUEUE
        };
        table.commit(QUEUE, 1, "client");
        table.clone_group("g", "h", "t");
        assert_eq!(table.query(other), Some(1));
        assert_eq!(table.groups_of("t").len(), 2);
        table.remove_group("g");
        assert_eq!(table.query(QUEUE), None);
        assert_eq!(table.topics_of("h").into_iter().collect::<Vec<_>>(), ["t"]);
        table.remove_topic("t");
        assert!(table.topics_of("h").is_empty());
    }

    #[test]
    fn pull_positions_fall_back_to_what_is_committed() {
        let dir = tempfile::tempdir().unwrap();
        let table = open(dir.path());
        table.commit(QUEUE, 3, "client");
        assert_eq!(table.query_pulled(QUEUE), Some(3));
        table.record_pull(QUEUE, 9);
        assert_eq!(table.query_pulled(QUEUE), Some(9));
        assert_eq!(table.query(QUEUE), Some(3));
        table.record_pull(
            GroupQueue {
                group: "tool",
                ..QUEUE
            },
            9,
        );
        assert_eq!(table.groups_of("t").into_iter().collect::<Vec<_>>(), ["g"]);
        assert!(table.topics_of("tool").is_empty());
    }
}
