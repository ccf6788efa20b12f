//! A batch send: several messages of one topic and queue, stored one behind the other.

use std::borrow::Cow;

use thrustmq_proto_compat::field::FieldText;
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_remoting::Refusal;
use thrustmq_store::AppendedBatch;

use super::send::{Sending, Stored};
use super::send_answer::{Ids, SendAnswer};
use super::send_properties::Found;
use super::send_refusals::{append_refusal, illegal};
use crate::refusal;
use crate::stats::Put;

/// Longest topic of a batch.
const TOPIC_BYTES_MAX: usize = 127;
/// Most messages of a batch.
const MESSAGES_MAX: usize = 100_000;

pub(super) fn store<'r>(sending: &Sending<'_, 'r>) -> Result<Stored<'r>, Refusal> {
    let header = &sending.request.header;
    if header.topic.len() > TOPIC_BYTES_MAX {
        return Err(refusal::batch_topic_too_long(header.topic));
    }
    if names::is_retry_topic(header.topic) {
        return Err(refusal::batch_to_retry_topic(header.topic));
    }
    let common = header.properties.unwrap_or("");
    let found = Found::scan(common);
    let is_transaction = sys_flag::transaction_type(header.sys_flag) != 0;
    if found.delay_level > 0 || is_transaction {
        return Err(illegal(sending.config));
    }
    let body = sending.request.command.body.in_one_piece();
    let items = batch::decode(&body, MESSAGES_MAX).collect::<Result<Vec<_>, _>>();
    let items = items.map_err(|_| illegal(sending.config))?;
    if items.is_empty() {
        return Err(illegal(sending.config));
    }
    let appended = append(sending, &items)?;
    Ok(Stored {
        answer: answer(sending, &appended, found.unique_key),
        end_offset: appended.end_offset,
        no_wait: found.no_wait,
    })
}

/// Each message is stored with its own properties only: those of the batch say how to store it, and
/// its unique key would hide those of the messages (Java did so until ISSUE #9416).
fn append(sending: &Sending<'_, '_>, items: &[BatchItem<'_>]) -> Result<AppendedBatch, Refusal> {
    let broker = sending.broker;
    let message = sending.new_message();
    let appended = broker
        .store
        .append_batch(&message, items)
        .map_err(|error| {
            broker.stats.record_put_failure();
            append_refusal(sending.config, &error)
        })?;
    let messages = u64::try_from(items.len()).unwrap_or(u64::MAX);
    let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
    let put = Put {
        messages,
        bytes,
        took_ms: appended.took_ms,
    };
    broker
        .stats
        .record_timed_put(message.topic, message.queue_id, put);
    Ok(appended)
}

fn answer<'a>(
    sending: &Sending<'_, '_>,
    appended: &AppendedBatch,
    unique_key: Option<&'a str>,
) -> SendAnswer<'a> {
    let mut ids = String::with_capacity(appended.physical_offsets.len() * 33);
    for (index, physical_offset) in appended.physical_offsets.iter().enumerate() {
        if index > 0 {
            ids.push(',');
        }
        let id = OffsetId {
            store_host: sending.broker.advertised,
            physical_offset: *physical_offset,
        };
        id.write(&mut ids);
    }
    SendAnswer {
        ids: Ids::Many(ids),
        queue_id: sending.queue_id(),
        queue_offset: appended.queue_offset,
        unique_key: unique_key.map(Cow::Borrowed),
        recall_handle: None,
    }
}
