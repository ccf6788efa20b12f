//! Reading, after a start, which transactions are open: the half queue and the op queue from where they
//! were done, and the end of the log.

use std::collections::BTreeMap;

use bytes::Bytes;
use thrustmq_proto_compat::message::names::{HALF_TOPIC, OP_HALF_TOPIC, TRANSACTION_GROUP};
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordView};
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_store::ReadError;

use super::half::{Half, TransactionKey, prepared_queue_offset};
use super::message::{DONE_TAG, HALF_QUEUE, RealPlace};
use super::operations::{Batch, half_offsets};
use super::rebuild::{ReadTo, Rebuild};
use crate::broker::Broker;
use crate::offset::GroupQueue;

/// What was read.
pub(super) struct Loaded {
    pub(super) rebuild: Rebuild,
    pub(super) read_to: ReadTo,
    /// Open transactions of each real topic.
    pub(super) open_of_topics: BTreeMap<String, i64>,
}

/// The half or op queue, as the broker's own group sees it.
pub(super) fn own_queue(topic: &str) -> GroupQueue<'_> {
    GroupQueue {
        group: TRANSACTION_GROUP,
        topic,
        queue_id: HALF_QUEUE,
    }
}

/// Reads everything. All of the log must be in the queues.
///
/// # Errors
/// Something of it cannot be read: it is not known then what is open.
pub(super) fn load(broker: &Broker) -> Result<Loaded, ReadError> {
    let mut rebuild = Rebuild::default();
    let ops = Unread::of(broker, OP_HALF_TOPIC);
    // The last one that is done already says from where on commits may be without a mark.
    let from = ops.from.saturating_sub(1).max(ops.min);
    for_each(broker, OP_HALF_TOPIC, from..ops.end, |view| {
        rebuild.operation(view.queue_offset, batch_in(view));
    })?;
    let halves = Unread::of(broker, HALF_TOPIC);
    let mut topics = Vec::new();
    for_each(broker, HALF_TOPIC, halves.from..halves.end, |view| {
        let text = view.properties_text();
        let half = Half::of(view, &text);
        let topic = RealPlace::in_properties(&text).map(|real| real.topic.to_owned());
        topics.push((half.key.clone(), topic.unwrap_or_default()));
        rebuild.half(half, prepared_queue_offset(&text));
    })?;
    if let Some(from) = rebuild.commits_from() {
        broker.store.walk(from, |view| {
            if sys_flag::transaction_type(view.sys_flag) == sys_flag::TRANSACTION_COMMIT {
                rebuild.commit(&TransactionKey::of(view, &view.properties_text()));
            }
        })?;
    }
    Ok(Loaded {
        open_of_topics: count_open(&rebuild, topics),
        rebuild,
        read_to: ReadTo {
            half_end: halves.end,
            op_end: ops.end,
        },
    })
}

fn count_open(
    rebuild: &Rebuild,
    mut topics: Vec<(TransactionKey, String)>,
) -> BTreeMap<String, i64> {
    topics.sort_unstable();
    topics.dedup_by(|one, other| one.0 == other.0);
    let mut counts = BTreeMap::new();
    for (key, topic) in topics {
        if rebuild.is_open(&key) {
            *counts.entry(topic).or_default() += 1;
        }
    }
    counts
}

/// What of a queue has to be read.
struct Unread {
    min: i64,
    from: i64,
    end: i64,
}

impl Unread {
    fn of(broker: &Broker, topic: &str) -> Self {
        let range = broker.store.queue_range(topic, HALF_QUEUE);
        let noted = broker.offsets.query(own_queue(topic)).unwrap_or(range.min);
        let from = noted.clamp(range.min, range.max.max(range.min));
        if from != noted {
            tracing::info!(
                topic,
                noted,
                from,
                "offset of transactions lies outside its queue and is corrected"
            );
        }
        Self {
            min: range.min,
            from,
            end: range.max,
        }
    }
}

fn for_each(
    broker: &Broker,
    topic: &str,
    offsets: std::ops::Range<i64>,
    mut visit: impl FnMut(&RecordView<'_>),
) -> Result<(), ReadError> {
    for offset in offsets {
        if broker.transactions.is_stopped() {
            break;
        }
        let Some(record) = broker.store.record_of(topic, HALF_QUEUE, offset)? else {
            continue;
        };
        if let Some(view) = view_of(&record) {
            visit(&view);
        }
    }
    Ok(())
}

/// Records that the store gives are sound.
fn view_of(record: &Bytes) -> Option<RecordView<'_>> {
    let checked = record::check(record, CheckBody::Skip);
    checked
        .inspect_err(
            |error| tracing::warn!(%error, "record of a transaction is unreadable and is skipped"),
        )
        .ok()
}

fn batch_in(view: &RecordView<'_>) -> Batch {
    let text = view.properties_text();
    let is_known = properties::get(&text, name::TAGS) == Some(DONE_TAG);
    if !is_known {
        let offset = view.queue_offset;
        tracing::warn!(
            offset,
            "op message has another tag than ours and is skipped"
        );
    }
    Batch {
        half_offsets: if is_known {
            half_offsets(view.body)
        } else {
            Vec::new()
        },
        vouched: view.prepared_transaction_offset.max(0),
    }
}
