//! Where the timer goes on after a start: from checkpoint, log and queue to the first message to read
//! and the first slot to deliver.

use thrustmq_store::{QueueRange, ReadError, Store, TimerRecovered};

use super::Timer;
use super::message::{self, Waiting};

/// Where to go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// First message of the timer topic to read.
    pub(super) queue_offset: i64,
    /// First slot that is not delivered.
    pub(super) read_ms: i64,
    /// Messages before this one whose slot lies before `noted_read_ms` are delivered.
    pub(super) noted_queue_offset: i64,
    pub(super) noted_read_ms: i64,
    /// Messages before this one may have been delivered without that being noted.
    pub(super) queue_end: i64,
}

impl Start {
    /// Decides; the store's queues have to be complete.
    pub(super) fn decide(
        recovered: &TimerRecovered,
        range: QueueRange,
        behind_last_unit: Option<i64>,
        now_slot_ms: i64,
    ) -> Self {
        let noted = recovered.checkpoint.unwrap_or_default();
        let is_new = recovered.checkpoint.is_none() && recovered.last_unit.is_none();
        let wanted = match behind_last_unit {
            Some(behind) if recovered.is_log_short => behind,
            Some(behind) => behind.max(noted.queue_offset),
            // The log was lost: what waited is read again.
            None if recovered.is_log_short => range.min,
            None => noted.queue_offset,
        };
        Self {
            queue_offset: wanted.clamp(range.min, range.max.max(range.min)),
            read_ms: if is_new && range.max == 0 {
                now_slot_ms
            } else {
                recovered.read_ms
            },
            noted_queue_offset: noted.queue_offset,
            noted_read_ms: noted.read_ms,
            queue_end: range.max,
        }
    }

    /// Whether a message of the queue was delivered before the checkpoint.
    pub(super) fn is_delivered(&self, queue_offset: i64, out_ms: i64) -> bool {
        queue_offset < self.noted_queue_offset && out_ms < self.noted_read_ms
    }
}

/// One behind the queue offset of the last message that is in the log.
pub(super) fn behind_last_unit(
    store: &Store,
    recovered: &TimerRecovered,
) -> Result<Option<i64>, ReadError> {
    let Some(unit) = recovered.last_unit else {
        return Ok(None);
    };
    let record = match store.record_at(unit.physical_offset) {
        Ok(record) => record,
        Err(error @ ReadError::Disk { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    let view = message::view(&record).ok();
    Ok(view.map(|view| view.queue_offset.saturating_add(1)))
}

/// Counts what waits, by the names of the topics.
pub(super) fn count_waiting(timer: &Timer, store: &Store, recovered: &TimerRecovered, now_ms: i64) {
    for waiting in recovered.waiting.values() {
        let Ok(record) = store.record_at(waiting.physical_offset) else {
            continue;
        };
        let waits = message::view(&record)
            .ok()
            .and_then(|view| Waiting::of(&view.properties_text()).ok());
        if let Some(waits) = waits {
            timer.metrics.add(&waits.real_topic, waiting.count, now_ms);
        }
    }
}
