//! The thread `pop-revive`: gives messages whose leases ran out to their group again, and says from
//! where on the journal is still needed.
//!
//! A message is put into the group's retry topic, then the journal is told that its lease has ended.
//! This thread alone does that, one message at a time: so what a crash came between is the last
//! message of its retry topic, and is found there after the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names::is_retry_topic;
use thrustmq_proto_compat::message::properties::{self, Properties};
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordView};
use thrustmq_store::Store;

use super::Pop;
use super::names::{TopicKind, normal_topic};
use super::queue_state::Taken;
use super::table::QueueKey;
use crate::config::LiveConfig;
use crate::group::GroupTable;
use crate::namesrv_link::NamesrvLink;
use crate::offset::{GroupQueue, OffsetTable};
use crate::stats::BrokerStats;
use crate::topic::{PERM_READ, PERM_WRITE, TopicTable};

/// Messages of one queue before others have their turn.
const TURN_MESSAGES_MAX: usize = 64;
/// Time between two looks at what is needed of the journal.
const UPKEEP_MS: i64 = 1_000;
/// Records that a start may have to read, of each queue of the journal, before leases that are older
/// are written again: some 100,000 are read in a second.
const REPLAY_RECORDS_MAX: i64 = 100_000;
/// Records that are written again at a time.
const WRITTEN_AGAIN_MAX: usize = 256;
/// Java's pauses before a message is tried again that could not be put, seconds.
const RETRY_SECONDS: [i64; 17] = [
    10, 20, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200,
];

/// The last message that a retry topic held when this process first put one there.
#[derive(Debug, PartialEq, Eq)]
struct LastRetried {
    unique_key: String,
    reconsume_times: i32,
    store_timestamp: i64,
}

/// Those of the retry topics.
type LastMessages = HashMap<String, Option<LastRetried>>;

/// What the thread works with.
pub(crate) struct Revival<'a> {
    pub(crate) pop: &'a Pop,
    pub(crate) store: &'a Store,
    pub(crate) topics: &'a TopicTable,
    pub(crate) groups: &'a GroupTable,
    pub(crate) offsets: &'a OffsetTable,
    pub(crate) stats: &'a Arc<BrokerStats>,
    pub(crate) namesrv: &'a NamesrvLink,
    pub(crate) config: &'a LiveConfig,
    pub(crate) clock: &'a Clock,
}

impl Revival<'_> {
    /// Works until [`Pop::stop`].
    pub(crate) fn run(&self) {
        let mut needed = BTreeMap::new();
        let mut last = LastMessages::new();
        let mut upkeep_ms = self.clock.now_ms();
        while !self.pop.alarm.is_stopped() {
            self.pop.alarm.clear();
            self.apply_late();
            let is_done = self.revive_due(&mut last);
            let now_ms = self.clock.now_ms();
            if now_ms >= upkeep_ms || upkeep_ms > now_ms + UPKEEP_MS {
                self.release_journal(&mut needed);
                upkeep_ms = now_ms + UPKEEP_MS;
            }
            let next_ms = self.pop.table.next_due_ms().filter(|_| is_done);
            let next_ms = next_ms.unwrap_or(if is_done { i64::MAX } else { now_ms });
            self.pop.alarm.set_before(next_ms.min(upkeep_ms));
            self.pop.alarm.wait(|| self.clock.now_ms(), UPKEEP_MS);
        }
        // Nobody pops any more: what is needed now is needed after the next start.
        self.release_journal(&mut needed);
        self.release_journal(&mut needed);
    }

    /// Revives what is due as a process does that has just started.
    #[cfg(test)]
    pub(super) fn revive_once(&self) -> bool {
        self.revive_due(&mut LastMessages::new())
    }

    fn apply_late(&self) {
        for (journal_queue, journal_offset) in self.pop.take_late_records() {
            self.pop.apply_late(journal_queue, journal_offset);
        }
    }

    /// Revives what is due; whether that was all.
    fn revive_due(&self, last: &mut LastMessages) -> bool {
        while !self.pop.alarm.is_stopped() {
            let now_ms = self.clock.now_ms();
            let Some(due) = self.pop.table.take_due(now_ms, TURN_MESSAGES_MAX) else {
                return true;
            };
            for taken in due.leases {
                self.revive(&due.key, taken, last);
            }
        }
        false
    }

    fn revive(&self, key: &QueueKey, taken: Taken, last: &mut LastMessages) {
        let topic = normal_topic(&key.topic, &key.group);
        if !self.topics.contains(topic) || !self.groups.contains(&key.group) {
            return self.pop.finish_revived(key, taken);
        }
        match self.store.record_of(&key.topic, key.queue_id, taken.offset) {
            Ok(Some(record)) => match record::check(&record, CheckBody::Skip) {
                Ok(view) if self.is_delivered(key, &taken, &view, last) => {
                    self.pop.finish_revived(key, taken);
                }
                Ok(view) => self.deliver_again(key, taken, &view),
                Err(error) => self.try_later(key, taken, &error.to_string()),
            },
            Ok(None) => {
                let (topic, offset) = (&key.topic, taken.offset);
                tracing::info!(topic, offset, "a popped message is no longer stored");
                self.pop.finish_revived(key, taken);
            }
            Err(error) => self.try_later(key, taken, &error.to_string()),
        }
    }

    /// Whether the process before this one put the message into its retry topic, and was killed
    /// before it could tell the journal.
    fn is_delivered(
        &self,
        key: &QueueKey,
        taken: &Taken,
        view: &RecordView<'_>,
        last: &mut LastMessages,
    ) -> bool {
        let topic = self.retry_topic(key);
        let last = last
            .entry(topic)
            .or_insert_with_key(|topic| self.last_retried(topic));
        let Some(last) = last else {
            return false;
        };
        let properties = view.properties_text();
        properties::get(&properties, name::UNIQUE_KEY) == Some(last.unique_key.as_str())
            && last.reconsume_times == view.reconsume_times.saturating_add(1)
            && last.store_timestamp >= taken.lease.due_ms()
    }

    fn last_retried(&self, topic: &str) -> Option<LastRetried> {
        let end = self.store.queue_range(topic, 0).max;
        let record = self.store.record_of(topic, 0, end.checked_sub(1)?).ok()??;
        let view = record::check(&record, CheckBody::Skip).ok()?;
        Some(LastRetried {
            unique_key: properties::get(&view.properties_text(), name::UNIQUE_KEY)?.to_owned(),
            reconsume_times: view.reconsume_times,
            store_timestamp: view.store_timestamp,
        })
    }

    fn deliver_again(&self, key: &QueueKey, taken: Taken, view: &RecordView<'_>) {
        let topic = self.retry_topic(key);
        let properties = properties_of(view, taken.lease.pop_time_ms);
        let mut message = view.as_new(&properties);
        message.topic = &topic;
        message.queue_id = 0;
        message.born_host = self.pop.journal.host;
        message.store_host = self.pop.journal.host;
        message.reconsume_times = view.reconsume_times.saturating_add(1);
        message.prepared_transaction_offset = 0;
        match self.store.append(&message) {
            Ok(appended) => {
                self.pop.finish_revived(key, taken);
                let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
                self.stats.record_put(&topic, 0, 1, bytes);
            }
            Err(error) => self.try_later(key, taken, &error.to_string()),
        }
    }

    /// The topic in which the group gets the message again; it is made if need be.
    fn retry_topic(&self, key: &QueueKey) -> String {
        if is_retry_topic(&key.topic) {
            return key.topic.clone();
        }
        let kind = if self.config.current().retry_topic_v2 {
            TopicKind::RetryV2
        } else {
            TopicKind::RetryV1
        };
        let topic = kind.topic(&key.topic, &key.group);
        if !self.topics.contains(&topic) {
            let wanted = TopicConfig {
                topic_name: topic.clone(),
                read_queue_nums: 1,
                write_queue_nums: 1,
                perm: PERM_READ | PERM_WRITE,
                ..TopicConfig::default()
            };
            if self.topics.create_for_group(wanted).is_changed {
                self.namesrv.register_soon();
            }
            let queue = GroupQueue {
                group: &key.group,
                topic: &topic,
                queue_id: 0,
            };
            if self.offsets.query(queue).is_none() {
                self.offsets.commit(queue, 0, "the first retry");
            }
        }
        topic
    }

    fn try_later(&self, key: &QueueKey, mut taken: Taken, error: &str) {
        let attempt = usize::try_from(taken.lease.attempts).unwrap_or(usize::MAX);
        let pause = RETRY_SECONDS.get(attempt).or(RETRY_SECONDS.last());
        let pause_ms = pause.map_or(0, |seconds| seconds * 1_000);
        if attempt == 0 {
            let (topic, offset) = (&key.topic, taken.offset);
            tracing::warn!(
                topic,
                offset,
                error,
                pause_ms,
                "a popped message can not be delivered again, will try later"
            );
        }
        taken.lease.attempts = taken.lease.attempts.saturating_add(1);
        let due_ms = self.clock.now_ms().saturating_add(pause_ms);
        self.pop.give_back(key, taken, due_ms);
    }

    /// Notes from where on the journal is needed. What held at the last look is noted, not what holds
    /// now: so the offsets that are written to disk are never those of the journal without those of
    /// the groups that go with them.
    fn release_journal(&self, needed: &mut BTreeMap<i32, i64>) {
        let journal = &self.pop.journal;
        for queue_id in journal.store.queues_of(&journal.topic) {
            let end = journal.end(queue_id);
            let mut oldest = self.pop.table.oldest_needed(queue_id, end);
            for _ in 0..WRITTEN_AGAIN_MAX {
                if end - oldest <= REPLAY_RECORDS_MAX || !self.pop.write_again(queue_id, oldest) {
                    break;
                }
                oldest = self.pop.table.oldest_needed(queue_id, end);
            }
            if let Some(before) = needed.insert(queue_id, oldest)
                && before > 0
            {
                // As Java counts: the last record that is not needed.
                let queue = self.pop.journal_offsets(queue_id);
                if self.offsets.query(queue) != Some(before - 1) {
                    self.offsets
                        .commit(queue, before - 1, "the journal of leases");
                }
            }
        }
    }
}

/// The message's own, and when it was first popped.
fn properties_of(view: &RecordView<'_>, pop_time_ms: i64) -> String {
    let mut properties = Properties::parse(&view.properties_text());
    if view.reconsume_times == 0 || !properties.contains(name::FIRST_POP_TIME) {
        properties.set(name::FIRST_POP_TIME, pop_time_ms.to_string());
    }
    properties.to_text()
}
