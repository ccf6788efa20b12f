//! What a verification knows of the queues before it reads the log: where each begins and ends, what
//! was on the disk for sure, and when an entry fits its record. Not changed once made; all threads
//! share it.

use std::collections::{BTreeMap, HashMap};

use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::record::RecordView;

use crate::api::QueueEntry;
use crate::checkpoint::read_checkpoint;
use crate::deletions::Deletions;
use crate::error::OpenError;
use crate::layout::Layout;
use crate::options::StoreOptions;
use crate::record_properties::{KnownProperties, tags_code_of};

use super::queue_files::{QueueOnDisk, Queues, end_of, find_queues};

/// What all threads know of the queues.
#[derive(Debug)]
pub(super) struct QueueFacts {
    pub(super) queues: Queues,
    /// First entry of each queue that points into the log, and its physical offset.
    pub(super) begins: HashMap<Box<str>, TopicBegin>,
    pub(super) log_min: i64,
    /// Behind the last record that any queue has an entry of.
    pub(super) queues_end: i64,
    /// The store was not closed: its next start makes what is missing at the end.
    pub(super) aborted: bool,
    /// The log was on the disk before this, as the checkpoint says; 0 if it does not.
    pub(super) on_disk: i64,
    pub(super) deletions: Deletions,
    delay_levels_ms: Vec<i64>,
}

/// Where the entries of a topic begin; its records before are of an earlier life of the topic.
#[derive(Debug)]
pub(super) struct TopicBegin {
    pub(super) physical_offset: i64,
    queues: BTreeMap<i32, QueueBegin>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct QueueBegin {
    pub(super) number: i64,
    pub(super) physical_offset: i64,
}

impl QueueFacts {
    pub(super) fn of(layout: &Layout, log_min: i64) -> Result<Self, OpenError> {
        let queues = find_queues(&layout.consume_queue)?;
        let checkpoint = read_checkpoint(&layout.checkpoint)?;
        let offsets = checkpoint.and_then(|checkpoint| checkpoint.offsets);
        let closed = offsets.and_then(|offsets| offsets.closed);
        let mut begins = HashMap::new();
        let mut queues_end = log_min;
        for (topic, of_topic) in &queues {
            let mut begin = TopicBegin {
                physical_offset: i64::MAX,
                queues: BTreeMap::new(),
            };
            for (queue_id, queue) in of_topic {
                let number = queue.range(log_min)?.min;
                let first = queue.entries(number, 1)?;
                let physical_offset = first
                    .first()
                    .map_or(i64::MAX, |entry| entry.physical_offset);
                begin.physical_offset = begin.physical_offset.min(physical_offset);
                let of_queue = QueueBegin {
                    number,
                    physical_offset,
                };
                begin.queues.insert(*queue_id, of_queue);
                let last = queue.last(log_min)?;
                queues_end = queues_end.max(last.map_or(log_min, |last| end_of(&last)));
            }
            begins.insert(topic.clone(), begin);
        }
        Ok(Self {
            queues,
            begins,
            log_min,
            queues_end,
            aborted: layout.was_aborted()? || offsets.is_some() && closed.is_none(),
            on_disk: offsets.map_or(0, |offsets| closed.unwrap_or(offsets.flushed)),
            deletions: Deletions::open(layout.disk.clone(), layout.deleted_topics.clone())?,
            delay_levels_ms: StoreOptions::default().delay_levels_ms,
        })
    }

    pub(super) fn queue(&self, topic: &str, queue_id: i32) -> Option<&QueueOnDisk> {
        self.queues.get(topic)?.get(&queue_id)
    }

    pub(super) fn begin(&self, topic: &str, queue_id: i32) -> Option<QueueBegin> {
        self.begins.get(topic)?.queues.get(&queue_id).copied()
    }

    /// Whether an entry says of a record what it should.
    pub(super) fn describes(
        &self,
        entry: &QueueEntry,
        view: &RecordView<'_>,
        known: &KnownProperties<'_>,
    ) -> bool {
        let at_place = entry.physical_offset == view.physical_offset
            && usize::try_from(entry.record_bytes) == Ok(view.record_bytes);
        // Times of delivery depend on the broker's delay levels, and codes below all hashes are
        // places in Java's extended queues.
        let is_free = view.topic == names::SCHEDULE_TOPIC || entry.tags_code < i64::from(i32::MIN);
        at_place && (is_free || entry.tags_code == tags_code_of(view, known, &self.delay_levels_ms))
    }
}
