//! The journal of leases: Java's checkpoint and acknowledgement records in the topic
//! `rmq_sys_REVIVE_LOG_<cluster>`.
//!
//! The commit log is the ground state of all leases: what is not written here did not happen. All
//! records of a queue and its group lie in one queue of the journal, since their order counts. Java's
//! brokers send such records through the timer, which brings them when they are due; here they are
//! written at once, carry [`WRITTEN_DIRECTLY`], and their delivery time is the time of writing, which
//! is what a Java broker that goes on with the directory takes it for.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use thrustmq_proto_compat::body::{AckMsg, BatchAckMsg, PopCheckPoint};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::message::names::REVIVE_TOPIC_PREFIX;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::tags_code::string_hash;
use thrustmq_store::{AppendError, Appended, NewMessage, Store};

use super::names::normal_topic;
use super::queue_state::{Lease, Taken};
use super::table::QueueKey;

/// Group whose offsets say from where on the journal is needed.
pub(crate) const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
/// Tag of records that hold leases.
pub(super) const CHECKPOINT_TAG: &str = "ck";
/// Tag of records that end a lease.
pub(super) const ACK_TAG: &str = "ack";
/// Tag of records that end several.
pub(super) const BATCH_ACK_TAG: &str = "bAck";
/// Property of records that did not come through a timer.
pub(super) const WRITTEN_DIRECTLY: &str = "POP_DIRECT";
/// Of checkpoints that were written again: they tell nothing of how far the group is.
const WRITTEN_AGAIN: &str = "0";

/// Messages of one pop, as the journal holds them.
#[derive(Debug)]
pub(super) struct Checkpoint<'a> {
    pub(super) start_offset: i64,
    pub(super) pop_time_ms: i64,
    pub(super) invisible_ms: i64,
    pub(super) offsets: &'a [i64],
    pub(super) is_written_again: bool,
}

/// A record that is sent through the timer.
#[derive(Debug)]
pub(crate) struct TimedRecord {
    pub(crate) body: Vec<u8>,
    /// With its time.
    pub(crate) properties: String,
}

/// The writer of the journal.
pub(crate) struct Journal {
    pub(crate) topic: String,
    pub(crate) queues: i32,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) broker_name: String,
    /// This broker, as its records say it.
    pub(crate) host: SocketAddr,
}

impl Journal {
    /// The journal's topic in a cluster.
    pub(super) fn topic_of(cluster: &str) -> String {
        format!("{REVIVE_TOPIC_PREFIX}{cluster}")
    }

    /// The queue of the journal that holds the leases of a group in a topic and its retry topics.
    pub(crate) fn queue_of(&self, group: &str, topic: &str) -> i32 {
        let topic = normal_topic(topic, group);
        string_hash(&format!("{group}@{topic}")).rem_euclid(self.queues.max(1))
    }

    /// The end of a queue of the journal.
    pub(super) fn end(&self, queue_id: i32) -> i64 {
        self.store.queue_range(&self.topic, queue_id).max
    }

    /// Writes that messages are on lease.
    pub(super) fn write_checkpoint(
        &self,
        key: &QueueKey,
        checkpoint: &Checkpoint<'_>,
    ) -> Result<Appended, AppendError> {
        let start = checkpoint.start_offset;
        let diff = |offset: &i64| i32::try_from(offset.saturating_sub(start)).unwrap_or(i32::MAX);
        let record = PopCheckPoint {
            broker_name: self.broker_name.clone(),
            consumer_group: key.group.clone(),
            offset_diffs: checkpoint.offsets.iter().map(diff).collect(),
            invisible_time: checkpoint.invisible_ms,
            count: i32::try_from(checkpoint.offsets.len()).unwrap_or(i32::MAX),
            pop_time: checkpoint.pop_time_ms,
            queue_id: key.queue_id,
            rewrites: checkpoint
                .is_written_again
                .then(|| WRITTEN_AGAIN.to_owned()),
            start_offset: start,
            topic: key.topic.clone(),
            ..PopCheckPoint::default()
        };
        self.append(key, CHECKPOINT_TAG, &record)
    }

    /// Writes that messages of one pop are done.
    pub(super) fn write_done(
        &self,
        key: &QueueKey,
        lease: &Lease,
        taken: &[Taken],
    ) -> Result<Appended, AppendError> {
        if let [one] = taken {
            return self.append(key, ACK_TAG, &self.ack(key, lease, one.offset));
        }
        let record = BatchAckMsg {
            ack_offset: -1,
            ack_offsets: taken.iter().map(|one| one.offset).collect(),
            broker_name: self.broker_name.clone(),
            consumer_group: key.group.clone(),
            pop_time: lease.pop_time_ms,
            queue_id: key.queue_id,
            start_offset: lease.start_offset,
            topic: key.topic.clone(),
        };
        self.append(key, BATCH_ACK_TAG, &record)
    }

    /// The record that one message is done, for the timer to bring when its lease is due: so Java's
    /// brokers send it, and behind their checkpoint it counts.
    pub(crate) fn timed_ack(&self, key: &QueueKey, lease: &Lease, offset: i64) -> TimedRecord {
        let record = self.ack(key, lease, offset);
        let mut text = String::new();
        properties::push(&mut text, name::TAGS, ACK_TAG);
        let due_ms = lease.due_ms().to_string();
        properties::push(&mut text, name::TIMER_DELIVER_MS, &due_ms);
        let AckMsg {
            topic,
            queue_id,
            consumer_group,
            pop_time,
            broker_name,
            ..
        } = &record;
        // As Java has it; it tells what was delivered before a kill from what was not.
        let unique = format!(
            "{topic}@{queue_id}@{offset}@{consumer_group}@{pop_time}@{broker_name}@{ACK_TAG}"
        );
        properties::push(&mut text, name::UNIQUE_KEY, &unique);
        TimedRecord {
            body: fastjson::to_vec(&record).expect("numbers and texts make JSON"),
            properties: text,
        }
    }

    fn ack(&self, key: &QueueKey, lease: &Lease, offset: i64) -> AckMsg {
        AckMsg {
            ack_offset: offset,
            broker_name: self.broker_name.clone(),
            consumer_group: key.group.clone(),
            pop_time: lease.pop_time_ms,
            queue_id: key.queue_id,
            start_offset: lease.start_offset,
            topic: key.topic.clone(),
        }
    }

    fn append(
        &self,
        key: &QueueKey,
        tag: &str,
        record: &impl Serialize,
    ) -> Result<Appended, AppendError> {
        let body = fastjson::to_vec(record).expect("numbers and texts make JSON");
        let now_ms = self.clock.now_ms();
        let mut text = String::new();
        properties::push(&mut text, name::TAGS, tag);
        properties::push(&mut text, name::TIMER_DELIVER_MS, &now_ms.to_string());
        properties::push(&mut text, WRITTEN_DIRECTLY, "1");
        self.store.append(&NewMessage {
            topic: &self.topic,
            queue_id: self.queue_of(&key.group, &key.topic),
            flag: 0,
            sys_flag: 0,
            born_timestamp: now_ms,
            born_host: self.host,
            store_host: self.host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: &text,
        })
    }
}
