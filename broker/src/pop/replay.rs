//! Leases as the journal tells them: all of it after a start, and later what Java's brokers sent
//! through the timer.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use thrustmq_proto_compat::body::{AckMsg, BatchAckMsg, PopCheckPoint};
use thrustmq_proto_compat::fastjson::{self, BodyError};
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody};

use super::Pop;
use super::journal::{ACK_TAG, BATCH_ACK_TAG, CHECKPOINT_TAG, Journal, REVIVE_GROUP};
use super::queue_state::{Grant, Handle, Lease};
use super::table::QueueKey;
use crate::offset::{GroupQueue, OffsetTable};

/// Java's brokers bring an acknowledgement when its lease is due, or a little later. One may have had
/// the directory meanwhile: so it is for our own leases of before a start too.
const LATE_ACK_MS: i64 = 3_000;
/// Messages of a checkpoint at most: more are none of ours, nor of Java's.
const MESSAGES_MAX: usize = 64;

/// How far each queue was popped.
type Reached = HashMap<Arc<QueueKey>, i64>;

/// A record of the journal.
struct Entry<'a> {
    body: &'a [u8],
    tag: &'a str,
    journal_queue: i32,
    journal_offset: i64,
}

impl Pop {
    /// Reads the journal from where it is needed, and takes the groups' offsets to the end of what
    /// was popped: these reach the disk later than the journal does. To be called once, when the
    /// store's queues are complete and nobody pops.
    pub(crate) fn replay(&self, offsets: &OffsetTable) {
        let mut reached = Reached::new();
        let mut records = 0_u64;
        for queue_id in self.journal.store.queues_of(&self.journal.topic) {
            for offset in self.replayed(queue_id, offsets) {
                records += 1;
                self.apply(queue_id, offset, &mut reached);
            }
        }
        for (key, end) in reached {
            let queue = GroupQueue {
                group: &key.group,
                topic: &key.topic,
                queue_id: key.queue_id,
            };
            let end = end.min(self.journal.store.queue_range(&key.topic, key.queue_id).max);
            if offsets.query(queue).is_none_or(|offset| offset < end) {
                offsets.commit(queue, end, "the journal of leases");
            }
        }
        if records > 0 {
            let leases = self.table.lease_total();
            tracing::info!(records, leases, "leases of popped messages are known again");
        }
    }

    /// What a start reads of a queue of the journal.
    pub(super) fn replayed(&self, queue_id: i32, offsets: &OffsetTable) -> Range<i64> {
        let Journal { store, topic, .. } = &self.journal;
        let range = store.queue_range(topic, queue_id);
        let done = offsets.query(self.journal_offsets(queue_id));
        let from = done.map_or(range.min, |done| done.saturating_add(1));
        from.max(range.min)..range.max
    }

    /// Applies a record that came through a timer.
    pub(super) fn apply_late(&self, journal_queue: i32, journal_offset: i64) {
        self.apply(journal_queue, journal_offset, &mut Reached::new());
    }

    pub(super) fn journal_offsets(&self, queue_id: i32) -> GroupQueue<'_> {
        GroupQueue {
            group: REVIVE_GROUP,
            topic: &self.journal.topic,
            queue_id,
        }
    }

    fn apply(&self, journal_queue: i32, journal_offset: i64, reached: &mut Reached) {
        let topic = &self.journal.topic;
        let record = match self
            .journal
            .store
            .record_of(topic, journal_queue, journal_offset)
        {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => {
                return tracing::error!(journal_queue, journal_offset, %error, "a record of the journal of leases can not be read");
            }
        };
        let applied = record::check(&record, CheckBody::Skip)
            .map_err(|error| error.to_string())
            .and_then(|view| {
                let text = view.properties_text();
                let entry = Entry {
                    body: view.body,
                    tag: properties::get(&text, name::TAGS).unwrap_or(""),
                    journal_queue,
                    journal_offset,
                };
                self.apply_entry(&entry, reached)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = applied {
            tracing::warn!(
                journal_queue,
                journal_offset,
                error,
                "a record of the journal of leases makes no sense and is passed over"
            );
        }
    }

    fn apply_entry(&self, entry: &Entry<'_>, reached: &mut Reached) -> Result<(), BodyError> {
        match entry.tag {
            CHECKPOINT_TAG => self.apply_checkpoint(entry, reached),
            ACK_TAG => {
                let ack: AckMsg = fastjson::from_slice(entry.body)?;
                let key = key(ack.consumer_group, ack.topic, ack.queue_id);
                self.apply_done(&key, ack.pop_time, &[ack.ack_offset]);
                Ok(())
            }
            BATCH_ACK_TAG => {
                let ack: BatchAckMsg = fastjson::from_slice(entry.body)?;
                let key = key(ack.consumer_group, ack.topic, ack.queue_id);
                self.apply_done(&key, ack.pop_time, &ack.ack_offsets);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn apply_checkpoint(&self, entry: &Entry<'_>, reached: &mut Reached) -> Result<(), BodyError> {
        let checkpoint: PopCheckPoint = fastjson::from_slice(entry.body)?;
        let offsets = offsets_of(&checkpoint);
        let lease = Lease {
            start_offset: checkpoint.start_offset,
            pop_time_ms: checkpoint.pop_time,
            invisible_ms: checkpoint.invisible_time,
            journal_offset: entry.journal_offset,
            attempts: 0,
        };
        let key = Arc::new(key(
            checkpoint.consumer_group,
            checkpoint.topic,
            checkpoint.queue_id,
        ));
        match offsets.iter().max() {
            // An operator sent the group elsewhere: what it popped before says nothing any more.
            None => {
                reached.remove(&key);
            }
            Some(last) if checkpoint.rewrites.is_none() => {
                let end = reached.entry(Arc::clone(&key)).or_default();
                *end = last.saturating_add(1).max(*end);
            }
            Some(_) => {}
        }
        let grant = Grant {
            lease,
            due_ms: lease.due_ms().saturating_add(LATE_ACK_MS),
            offsets: open_offsets(offsets, checkpoint.bit_map),
        };
        let due_ms = grant.due_ms;
        self.table.grant_recorded(&key, entry.journal_queue, grant);
        self.alarm.set_before(due_ms);
        Ok(())
    }

    fn apply_done(&self, key: &QueueKey, pop_time_ms: i64, offsets: &[i64]) {
        let handles = offsets.iter().map(|offset| Handle {
            offset: *offset,
            pop_time_ms,
        });
        let taken = self.table.take_acknowledged(key, handles);
        self.table.finish(key, taken.iter().map(|one| one.offset));
    }
}

fn key(group: String, topic: String, queue_id: i32) -> QueueKey {
    QueueKey {
        group,
        topic,
        queue_id,
    }
}

/// The messages of a checkpoint, done or not.
fn offsets_of(checkpoint: &PopCheckPoint) -> Vec<i64> {
    let count = usize::try_from(checkpoint.count)
        .unwrap_or(0)
        .min(MESSAGES_MAX);
    let start = checkpoint.start_offset;
    if checkpoint.offset_diffs.is_empty() {
        return (0..count as i64)
            .map(|place| start.saturating_add(place))
            .collect();
    }
    let diffs = checkpoint.offset_diffs.iter().take(count);
    diffs
        .map(|diff| start.saturating_add(i64::from(*diff)))
        .collect()
}

/// Without those whose bit says that they are done.
fn open_offsets(offsets: Vec<i64>, bit_map: i32) -> Vec<i64> {
    let is_open = |place: usize| {
        let bit = u32::try_from(place)
            .ok()
            .and_then(|place| bit_map.checked_shr(place));
        bit.is_none_or(|bits| bits & 1 == 0)
    };
    let numbered = offsets.into_iter().enumerate();
    numbered
        .filter(|(place, _)| is_open(*place))
        .map(|(_, offset)| offset)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_checkpoint_are_told_by_distance_or_by_number() {
        let mut checkpoint = PopCheckPoint {
            start_offset: 100,
            count: 3,
            offset_diffs: vec![0, 2, 5],
            ..PopCheckPoint::default()
        };
        assert_eq!(offsets_of(&checkpoint), [100, 102, 105]);
        assert_eq!(open_offsets(offsets_of(&checkpoint), 0b010), [100, 105]);
        checkpoint.offset_diffs.clear();
        assert_eq!(offsets_of(&checkpoint), [100, 101, 102]);
        checkpoint.count = -1;
        assert!(offsets_of(&checkpoint).is_empty());
    }
}
