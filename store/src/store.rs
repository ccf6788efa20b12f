//! The store's interface: opening, appending, reading, closing.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::Placement;
use thrustmq_proto_compat::message::sys_flag;

use crate::api::{
    Appended, AppendedBatch, ArrivalListener, Boundary, FlushCallback, FlushOutcome, NewBatchItem,
    NewMessage, QueryOutcome, QueryRequest, QueueEntry, QueueRange, ReadOutcome, ReadRequest,
    StoreCounters, Watermarks,
};
use crate::commit_log::appender::{EncodedRecords, Target};
use crate::error::{AppendError, NotWritable, OpenError, ReadError};
use crate::layout::{DirectoryLock, disk_used_percent};
use crate::options::{FlushMode, StoreOptions};
use crate::shared::Shared;
use crate::{flush, open, read, retention, search};

/// What a thread keeps of its encoding buffer between appends, bytes.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

thread_local! {
    static ENCODED: RefCell<EncodedRecords> = RefCell::default();
}

/// An open store directory. Shared as `Arc<Store>`; all methods may be called from any thread.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

/// What ends when the store is closed.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) flush: JoinHandle<()>,
    pub(crate) dispatch: JoinHandle<()>,
    pub(crate) checkpoint: JoinHandle<()>,
    pub(crate) retention: JoinHandle<()>,
    pub(crate) _lock: DirectoryLock,
}

impl Store {
    /// Opens the directory, recovers it and starts the store's threads.
    ///
    /// # Errors
    /// The directory is in use, its files do not fit the options, or the system refuses.
    pub fn open(
        options: StoreOptions,
        clock: Clock,
        arrivals: Arc<dyn ArrivalListener>,
    ) -> Result<Self, OpenError> {
        let open::Opened { shared, running } = open::open(options, clock, arrivals)?;
        Ok(Self {
            shared,
            running: Mutex::new(Some(running)),
        })
    }

    /// Stores a message; returns when it is in the page cache, never waits for the disk.
    ///
    /// # Errors
    /// The message is illegal, or the store takes none at the moment.
    pub fn append(&self, message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        let stored = self.append_with(message, |records| {
            self.check_body(message.body.len())?;
            records.push(message)?;
            Ok(())
        })?;
        let record_bytes = stored.lengths_sum;
        let Placement {
            queue_offset,
            physical_offset,
            store_timestamp,
        } = stored.first;
        Ok(Appended {
            physical_offset,
            queue_offset,
            record_bytes: record_bytes as i32,
            store_timestamp,
            end_offset: physical_offset + record_bytes,
        })
    }

    /// Stores messages one behind the other, with consecutive queue offsets; all of them or none.
    /// Body, flag and properties of `common` are not used.
    ///
    /// # Errors
    /// As [`Store::append`]; also if there are no items, or if together they are larger than one
    /// message may be.
    pub fn append_batch(
        &self,
        common: &NewMessage<'_>,
        items: &[NewBatchItem<'_>],
    ) -> Result<AppendedBatch, AppendError> {
        let mut physical_offsets = Vec::with_capacity(items.len());
        let stored = self.append_with(common, |records| {
            if items.is_empty() {
                let reason = "batch without messages".to_owned();
                return Err(AppendError::Illegal { reason });
            }
            self.check_body(items.iter().map(|item| item.body.len()).sum())?;
            for item in items {
                records.push(&NewMessage {
                    flag: item.flag,
                    body: item.body,
                    properties: item.properties,
                    ..*common
                })?;
            }
            // Relative to the first, whose place is not known yet.
            let mut at = 0;
            for length in records.lengths() {
                physical_offsets.push(at);
                at += *length as i64;
            }
            Ok(())
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
        })
    }

    /// Encodes with this thread's buffer, appends, and wakes whoever follows the log.
    fn append_with(
        &self,
        message: &NewMessage<'_>,
        encode: impl FnOnce(&mut EncodedRecords) -> Result<(), AppendError>,
    ) -> Result<Stored, AppendError> {
        let begin_ms = self.shared.clock.now_ms();
        let stored = ENCODED.with_borrow_mut(|records| {
            records.clear(BUFFER_BYTES_KEPT);
            self.check_writable()?;
            encode(records)?;
            let target = Target {
                topic: message.topic,
                queue_id: message.queue_id,
                has_queue_entry: sys_flag::has_queue_entry(message.sys_flag),
            };
            Ok(Stored {
                first: self.shared.appender.append(records, target)?,
                messages: records.lengths().len() as u64,
                lengths_sum: records.lengths().iter().sum::<usize>() as i64,
            })
        });
        match &stored {
            Ok(stored) => self.appended(stored, begin_ms),
            Err(_) => self.shared.counters.put_failed(),
        }
        stored
    }

    fn check_writable(&self) -> Result<(), AppendError> {
        if let Some(cause) = self.shared.health.not_writable() {
            return Err(cause.into());
        }
        match self.page_cache_busy_ms() {
            Some(held_ms) => Err(AppendError::PageCacheBusy { held_ms }),
            None => Ok(()),
        }
    }

    fn check_body(&self, bytes: usize) -> Result<(), AppendError> {
        let bytes_max = self.shared.options.message_bytes_max as usize;
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(AppendError::Illegal {
            reason: format!("body takes {bytes} bytes, allowed are {bytes_max}"),
        })
    }

    fn appended(&self, stored: &Stored, begin_ms: i64) {
        let shared = &self.shared;
        match shared.options.flush {
            // Consumers see flushed messages only: the flush thread wakes dispatch.
            FlushMode::Sync => shared.wake_flush.notify(),
            FlushMode::Async { .. } => shared.wake_dispatch.notify(),
        }
        let end = stored.first.physical_offset + stored.lengths_sum;
        if shared.appender.should_prepare(end) {
            shared.wake_checkpoint.notify();
        }
        let took_ms = shared.clock.now_ms() - begin_ms;
        let bytes = stored.lengths_sum as u64;
        shared.counters.put(stored.messages, bytes, took_ms);
    }

    /// Calls back when everything before `end_offset` is on the disk, or is not in time. The
    /// callback runs on a thread of the store and must return at once; if the bytes are there
    /// already, it runs on the caller's.
    pub fn when_flushed(&self, end_offset: i64, callback: FlushCallback) {
        let shared = &self.shared;
        if shared.progress.flushed() >= end_offset {
            callback(FlushOutcome::Flushed);
            return;
        }
        let wait_ms = i64::try_from(shared.options.flush_wait_ms_max).unwrap_or(i64::MAX);
        let deadline_ms = shared.clock.now_ms().saturating_add(wait_ms);
        shared.flush_waiters.add(end_offset, deadline_ms, callback);
        if self.running().is_none() {
            // Closed meanwhile: nobody else would call back.
            flush::settle_waiters(shared);
            shared.flush_waiters.fail_all();
        }
        shared.wake_flush.notify();
    }

    /// Reads messages of a queue.
    pub fn read(&self, request: &ReadRequest<'_>) -> ReadOutcome {
        let begin_ms = self.shared.clock.now_ms();
        let outcome = read::read(&self.shared, request);
        let took_ms = self.shared.clock.now_ms() - begin_ms;
        let messages = outcome.message_count as u64;
        self.shared.counters.get(messages, took_ms);
        outcome
    }

    /// First entry and end of a queue; both 0 if there is no such queue.
    pub fn queue_range(&self, topic: &str, queue_id: i32) -> QueueRange {
        let queue = self.shared.queues.find(topic, queue_id);
        queue.map_or_else(QueueRange::default, |queue| queue.range())
    }

    /// Queues of the topic that hold or held messages, ascending.
    pub fn queues_of(&self, topic: &str) -> Vec<i32> {
        self.shared.queues.queues_of(topic)
    }

    /// Topics that hold or held messages.
    pub fn topics(&self) -> Vec<String> {
        self.shared.queues.topic_names()
    }

    /// One entry of a queue.
    pub fn queue_entry(&self, topic: &str, queue_id: i32, queue_offset: i64) -> Option<QueueEntry> {
        let queue = self.shared.queues.find(topic, queue_id)?;
        if queue_offset < queue.range().min {
            return None;
        }
        queue.get(queue_offset)
    }

    /// The queue offset that belongs to a time, milliseconds. For times before the first message
    /// and after the last see [`Boundary`]: the lower boundary is then the first entry and the end,
    /// the upper one 0 and the last entry.
    pub fn offset_by_time(
        &self,
        topic: &str,
        queue_id: i32,
        timestamp_ms: i64,
        boundary: Boundary,
    ) -> i64 {
        search::offset_by_time(&self.shared, topic, queue_id, timestamp_ms, boundary)
    }

    /// When the message of a queue entry was stored, milliseconds.
    pub fn store_time_at(&self, topic: &str, queue_id: i32, queue_offset: i64) -> Option<i64> {
        let entry = self.queue_entry(topic, queue_id, queue_offset)?;
        self.shared.log.store_time(entry.physical_offset)
    }

    /// When the queue's first message was stored, milliseconds.
    pub fn earliest_store_time(&self, topic: &str, queue_id: i32) -> Option<i64> {
        let range = self.queue_range(topic, queue_id);
        self.store_time_at(topic, queue_id, range.min)
    }

    /// When the log's first message was stored, milliseconds.
    pub fn earliest_store_time_of_log(&self) -> Option<i64> {
        self.shared.log.store_time(self.shared.progress.min())
    }

    /// The record at a physical offset.
    ///
    /// # Errors
    /// The offset lies outside the log, or no record begins there.
    pub fn record_at(&self, physical_offset: i64) -> Result<Bytes, ReadError> {
        search::record_at(&self.shared, physical_offset)
    }

    /// Finds messages by key; nothing if the index is switched off.
    pub fn query(&self, request: &QueryRequest<'_>) -> QueryOutcome {
        search::query(&self.shared, request)
    }

    /// Whether the message of a queue entry is so young that it should still be in memory.
    pub fn is_in_memory(&self, topic: &str, queue_id: i32, queue_offset: i64) -> bool {
        let entry = self.queue_entry(topic, queue_id, queue_offset);
        entry.is_some_and(|entry| self.shared.is_recent(entry.physical_offset))
    }

    /// Forgets the topic's queues, so that a topic of that name begins anew; its records stay in
    /// the log until they expire.
    pub fn delete_topic(&self, topic: &str) {
        self.shared.appender.forget_topic(topic);
        if let Err(error) = self.shared.queues.remove_topic(topic) {
            tracing::error!(%error, topic, "cannot remove the queues of a topic");
        }
    }

    /// Deletes expired log files now, whatever the hour; returns how many went.
    pub fn delete_expired(&self) -> usize {
        retention::delete_expired(&self.shared).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot delete expired files");
            0
        })
    }

    /// Deletes queue and index files that point before the log only.
    pub fn delete_expired_queues(&self) {
        if let Err(error) = retention::follow_log(&self.shared) {
            tracing::error!(%error, "cannot delete files of queues or index");
        }
    }

    /// How far each part has come.
    pub fn watermarks(&self) -> Watermarks {
        self.shared.progress.watermarks()
    }

    /// How full the log's disk is, percent.
    pub fn disk_used_percent(&self) -> u32 {
        disk_used_percent(&self.shared.layout.commit_log)
    }

    /// Why appends are refused, if they are.
    pub fn not_writable(&self) -> Option<NotWritable> {
        self.shared.health.not_writable()
    }

    /// For how long an append has been holding the lock, if that is too long, milliseconds.
    pub fn page_cache_busy_ms(&self) -> Option<i64> {
        let held_ms = self.shared.appender.lock_held_ms();
        (held_ms > self.shared.options.page_cache_busy_ms).then_some(held_ms)
    }

    /// What was counted since opening.
    pub fn counters(&self) -> StoreCounters {
        let lock_held_ms = self.shared.appender.lock_held_ms();
        self.shared
            .counters
            .read(self.shared.opened_ms, lock_held_ms)
    }

    /// Refuses further appends, flushes everything, ends the threads and marks the directory as
    /// cleanly closed. The second call does nothing.
    pub fn shutdown(&self) {
        let Some(running) = self.running().take() else {
            return;
        };
        let shared = &self.shared;
        shared.appender.close();
        shared.wake_retention.stop();
        finish("retention", running.retention);
        shared.wake_flush.stop();
        finish("flush", running.flush);
        shared.wake_dispatch.stop();
        finish("dispatch", running.dispatch);
        shared.wake_checkpoint.stop();
        finish("checkpoint", running.checkpoint);
        shared.flush_waiters.fail_all();
        let marks = shared.progress.watermarks();
        if marks.dispatched != marks.written || marks.flushed != marks.written {
            tracing::warn!(
                ?marks,
                "store closed with work undone: it will be recovered"
            );
            return;
        }
        if let Err(error) = shared.layout.mark_closed() {
            tracing::warn!(%error, "cannot mark the store as closed: it will be recovered");
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Where records went.
struct Stored {
    first: Placement,
    messages: u64,
    lengths_sum: i64,
}

fn finish(thread: &str, handle: JoinHandle<()>) {
    if handle.join().is_err() {
        tracing::error!(thread, "thread of the store panicked");
    }
}
