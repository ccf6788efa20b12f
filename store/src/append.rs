//! Storing messages: checks, one encoding outside the append lock, one copy inside it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thrustmq_proto_compat::message::record::{Checksum, Placement};
use thrustmq_proto_compat::message::sys_flag;

use crate::api::{Appended, AppendedBatch, NewBatchItem, NewMessage};
use crate::append_light;
use crate::commit_log::appender::{EncodedRecords, Target};
use crate::error::AppendError;
use crate::light;
use crate::shared::Shared;

/// What a thread keeps of its encoding buffer between appends, bytes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

thread_local! {
    static ENCODED: RefCell<EncodedRecords> = RefCell::default();
}

/// Where records went.
pub(crate) struct Stored {
    first: Placement,
    messages: u64,
    lengths_sum: i64,
    took_ms: i64,
}

pub(crate) fn append(
    shared: &Arc<Shared>,
    message: &NewMessage<'_>,
) -> Result<Appended, AppendError> {
    if let Some(queues_max) = shared.options.light_queues_max
        && light::is_mentioned(message.properties)
        && light::allows(message.topic)
    {
        return append_light::append(shared, message, queues_max);
    }
    store(shared, message, |records, target| {
        check_body(shared, message.body.len())?;
        records.push(message, checksum(shared))?;
        shared.appender.append(records, target)
    })
    .map(appended)
}

pub(crate) fn appended(stored: Stored) -> Appended {
    let Placement {
        queue_offset,
        physical_offset,
        store_timestamp,
    } = stored.first;
    Appended {
        physical_offset,
        queue_offset,
        record_bytes: stored.lengths_sum as i32,
        store_timestamp,
        end_offset: physical_offset + stored.lengths_sum,
        took_ms: stored.took_ms,
    }
}

pub(crate) fn append_batch(
    shared: &Arc<Shared>,
    common: &NewMessage<'_>,
    items: &[NewBatchItem<'_>],
) -> Result<AppendedBatch, AppendError> {
    let mut physical_offsets = Vec::with_capacity(items.len());
    let stored = store(shared, common, |records, target| {
        if items.is_empty() {
            let reason = "batch without messages".to_owned();
            return Err(AppendError::Illegal { reason });
        }
        check_body(shared, items.iter().map(|item| item.body.len()).sum())?;
        for item in items {
            let properties = of_batch(shared, item.properties);
            let message = NewMessage {
                flag: item.flag,
                body: item.body,
                properties: &properties,
                ..*common
            };
            records.push(&message, checksum(shared))?;
        }
        // Relative to the first, whose place is not known yet.
        let mut at = 0;
        for length in records.lengths() {
            physical_offsets.push(at);
            at += *length as i64;
        }
        shared.appender.append(records, target)
    })?;
    let first = stored.first;
    for offset in &mut physical_offsets {
        *offset += first.physical_offset;
    }
    Ok(AppendedBatch {
        physical_offsets,
        queue_offset: first.queue_offset,
        record_bytes: stored.lengths_sum,
        store_timestamp: first.store_timestamp,
        end_offset: first.physical_offset + stored.lengths_sum,
        took_ms: stored.took_ms,
    })
}

/// Properties of a message of a batch: those go to no light queues.
fn of_batch<'a>(shared: &Shared, properties: &'a str) -> Cow<'a, str> {
    let may_have = shared.options.light_queues_max.is_some() && light::is_mentioned(properties);
    if may_have {
        light::without_offsets(properties)
    } else {
        Cow::Borrowed(properties)
    }
}

/// For how long an append has been holding the lock, if that is too long, milliseconds.
pub(crate) fn page_cache_busy_ms(shared: &Shared) -> Option<i64> {
    let held_ms = shared.appender.lock_held_ms();
    let limit_ms = shared.page_cache_busy_ms.load(Ordering::Relaxed);
    (held_ms > limit_ms).then_some(held_ms)
}

/// Encodes and appends with this thread's buffer, and wakes whoever follows the log.
pub(crate) fn store(
    shared: &Arc<Shared>,
    message: &NewMessage<'_>,
    write: impl FnOnce(&mut EncodedRecords, Target<'_>) -> Result<Placement, AppendError>,
) -> Result<Stored, AppendError> {
    let begin_ms = shared.clock.now_ms();
    let mut stored = ENCODED.with_borrow_mut(|records| {
        records.clear(BUFFER_BYTES_KEPT);
        check_writable(shared)?;
        let target = Target {
            topic: message.topic,
            queue_id: message.queue_id,
            has_queue_entry: sys_flag::has_queue_entry(message.sys_flag),
            begun_ms: begin_ms,
        };
        Ok(Stored {
            first: write(records, target)?,
            messages: records.lengths().len() as u64,
            lengths_sum: records.lengths().iter().sum::<usize>() as i64,
            took_ms: 0,
        })
    });
    match &mut stored {
        Ok(stored) => tell(shared, stored, begin_ms),
        Err(_) => shared.counters.put_failed(),
    }
    stored
}

fn check_writable(shared: &Shared) -> Result<(), AppendError> {
    if let Some(cause) = shared.health.not_writable() {
        return Err(cause.into());
    }
    match page_cache_busy_ms(shared) {
        Some(held_ms) => Err(AppendError::PageCacheBusy { held_ms }),
        None => Ok(()),
    }
}

pub(crate) fn checksum(shared: &Shared) -> Checksum {
    if shared.options.record_checksum {
        Checksum::Append
    } else {
        Checksum::Omit
    }
}

pub(crate) fn check_body(shared: &Shared, bytes: usize) -> Result<(), AppendError> {
    let bytes_max = shared.options.message_bytes_max as usize;
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(AppendError::Illegal {
        reason: format!("body takes {bytes} bytes, allowed are {bytes_max}"),
    })
}

/// Wakes and counts.
fn tell(shared: &Arc<Shared>, stored: &mut Stored, begin_ms: i64) {
    shared.wake_follower();
    let end = stored.first.physical_offset + stored.lengths_sum;
    if shared.appender.should_prepare(end) {
        shared.wake_checkpoint.notify();
    }
    shared.touching.appended(end);
    let now_ms = shared.clock.now_ms();
    stored.took_ms = now_ms - begin_ms;
    let bytes = stored.lengths_sum as u64;
    shared.counters.put(stored.messages, bytes, stored.took_ms);
    // Without the wait for others' appends: those are counted themselves.
    shared
        .append_pace
        .note(stored.first.store_timestamp, now_ms);
}
