//! The store's interface: opening, appending, reading, closing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::RecordView;

use crate::api::{
    AppendLatency, Appended, AppendedBatch, ArrivalListener, Boundary, FlushCallback, FlushOutcome,
    NewBatchItem, NewMessage, QueryOutcome, QueryRequest, QueueEntry, QueueRange, ReadOutcome,
    ReadRequest, RecoverySummary, StoreCounters, Watermarks,
};
use crate::deletions::Mark;
use crate::error::{AppendError, NotWritable, OpenError, ReadError};
use crate::file_reader::Wait;
use crate::options::{RetentionOptions, StoreOptions};
use crate::running::Running;
use crate::shared::Shared;
use crate::{append, flush, open, read, retention, search, walk};

/// An open store directory. Shared as `Arc<Store>`; all methods may be called from any thread.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
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
        append::append(&self.shared, message)
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
        append::append_batch(&self.shared, common, items)
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

    /// Reads messages of a queue, from the disk if need be. What comes from there is checked: what
    /// is not sound, or not the message that the queue means, is never given. The read ends before
    /// it, and the one that begins with it fails, as often as it is tried.
    ///
    /// # Errors
    /// The first message cannot be read.
    pub fn read(&self, request: &ReadRequest<'_>) -> Result<ReadOutcome, ReadError> {
        self.read_waiting(request, Wait::Disk)
    }

    /// As [`Store::read`], but never waits for the disk: what is in memory is given.
    ///
    /// # Errors
    /// Also [`ReadError::NotInMemory`]: a thread that may wait should read.
    pub fn read_in_memory(&self, request: &ReadRequest<'_>) -> Result<ReadOutcome, ReadError> {
        self.read_waiting(request, Wait::Never)
    }

    fn read_waiting(
        &self,
        request: &ReadRequest<'_>,
        wait: Wait,
    ) -> Result<ReadOutcome, ReadError> {
        let begin_ms = self.shared.clock.now_ms();
        let outcome = self.reported(read::read(&self.shared, request, wait))?;
        let took_ms = self.shared.clock.now_ms() - begin_ms;
        let messages = outcome.message_count as u64;
        self.shared.counters.get(messages, took_ms);
        Ok(outcome)
    }

    /// The result as it is; somebody is told of what should not be.
    fn reported<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(error) = &result {
            self.shared.unreadable.report(error);
        }
        result
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

    /// One entry of a queue; nothing if there is none, or it cannot be read.
    pub fn queue_entry(&self, topic: &str, queue_id: i32, queue_offset: i64) -> Option<QueueEntry> {
        let queue = self.shared.queues.find(topic, queue_id)?;
        if queue_offset < queue.range().min {
            return None;
        }
        let access = self.shared.entry_access(Wait::Disk);
        let entry = self.reported(queue.get(queue_offset, access));
        entry.ok().flatten()
    }

    /// The record of a queue entry; nothing if there is no such entry, or the log no longer holds
    /// its message.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn record_of(
        &self,
        topic: &str,
        queue_id: i32,
        queue_offset: i64,
    ) -> Result<Option<Bytes>, ReadError> {
        let Some(queue) = self.shared.queues.find(topic, queue_id) else {
            return Ok(None);
        };
        self.reported(read::read_one(&self.shared, &queue, queue_offset))
    }

    /// The queue offset that belongs to a time, milliseconds. For times before the first message
    /// and after the last see [`Boundary`]: the lower boundary is then the first entry and the end,
    /// the upper one 0 and the last entry.
    ///
    /// # Errors
    /// A message that has to be looked at cannot be read.
    pub fn offset_by_time(
        &self,
        topic: &str,
        queue_id: i32,
        timestamp_ms: i64,
        boundary: Boundary,
    ) -> Result<i64, ReadError> {
        let shared = &self.shared;
        self.reported(search::offset_by_time(
            shared,
            topic,
            queue_id,
            timestamp_ms,
            boundary,
        ))
    }

    /// When the message of a queue entry was stored, milliseconds.
    pub fn store_time_at(&self, topic: &str, queue_id: i32, queue_offset: i64) -> Option<i64> {
        let entry = self.queue_entry(topic, queue_id, queue_offset)?;
        let time = self.reported(search::store_time(&self.shared, &entry));
        time.ok().flatten()
    }

    /// When the queue's first message was stored, milliseconds.
    pub fn earliest_store_time(&self, topic: &str, queue_id: i32) -> Option<i64> {
        let range = self.queue_range(topic, queue_id);
        self.store_time_at(topic, queue_id, range.min)
    }

    /// When the log's first message was stored, milliseconds.
    pub fn earliest_store_time_of_log(&self) -> Option<i64> {
        let time = self.shared.log.store_time(self.shared.progress.min());
        self.reported(time).ok().flatten()
    }

    /// The record at a physical offset.
    ///
    /// # Errors
    /// The offset lies outside the log, no record begins there, or it cannot be read.
    pub fn record_at(&self, physical_offset: i64) -> Result<Bytes, ReadError> {
        self.reported(search::record_at(&self.shared, physical_offset, Wait::Disk))
    }

    /// As [`Store::record_at`], but never waits for the disk.
    ///
    /// # Errors
    /// Also [`ReadError::NotInMemory`].
    pub fn record_in_memory(&self, physical_offset: i64) -> Result<Bytes, ReadError> {
        search::record_at(&self.shared, physical_offset, Wait::Never)
    }

    /// Shows every record between `from`, where one begins, and the end of the log, in order. Reads the
    /// maps, unchecked: for what was written a short while ago, or is read before anything is served.
    ///
    /// # Errors
    /// Something else than a record lies there.
    pub fn walk(&self, from: i64, visit: impl FnMut(&RecordView<'_>)) -> Result<(), ReadError> {
        self.reported(walk::walk(&self.shared, from, visit))
    }

    /// Finds messages by key; nothing if the index is switched off.
    ///
    /// # Errors
    /// A message that may be one of them cannot be read.
    pub fn query(&self, request: &QueryRequest<'_>) -> Result<QueryOutcome, ReadError> {
        self.reported(search::query(&self.shared, request))
    }

    /// Whether the message of a queue entry is so young that it should still be in memory.
    pub fn is_in_memory(&self, topic: &str, queue_id: i32, queue_offset: i64) -> bool {
        let entry = self.queue_entry(topic, queue_id, queue_offset);
        entry.is_some_and(|entry| self.shared.is_recent(entry.physical_offset))
    }

    /// Forgets the topic's queues, so that a topic of that name begins anew; its records stay in
    /// the log until they expire.
    pub fn delete_topic(&self, topic: &str) {
        let shared = &self.shared;
        let dispatching = shared.dispatching.lock();
        let nothing_is_dispatched = dispatching.unwrap_or_else(PoisonError::into_inner);
        if shared.appender.knows_topic(topic) || shared.queues.has_topic(topic) {
            self.remove_topic(topic);
        }
        drop(nothing_is_dispatched);
        // Who appended meanwhile has left it to us.
        shared.dispatch_wanted.notify();
    }

    fn remove_topic(&self, topic: &str) {
        let shared = &self.shared;
        let mark = Mark {
            queues: shared.queues.count_of(topic),
            end: shared.appender.forget_topic(topic),
        };
        if let Err(error) = shared.deletions.add(topic, mark, shared.progress.min()) {
            tracing::error!(%error, topic, "cannot note that a topic is deleted: it may come back");
        }
        if let Err(error) = shared.queues.remove_topic(topic) {
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
        self.shared.watermarks()
    }

    /// What opening the directory took.
    pub fn recovered(&self) -> RecoverySummary {
        self.shared.recovered
    }

    /// How full the disk of queues and index is, percent.
    pub fn queue_disk_used_percent(&self) -> u32 {
        let layout = &self.shared.layout;
        layout.disk.used_percent(&layout.consume_queue)
    }

    /// How full the log's disk is, percent.
    pub fn disk_used_percent(&self) -> u32 {
        let layout = &self.shared.layout;
        layout.disk.used_percent(&layout.commit_log)
    }

    /// Why appends are refused, if they are.
    pub fn not_writable(&self) -> Option<NotWritable> {
        self.shared.health.not_writable()
    }

    /// Changes what is deleted when, from the next look on.
    pub fn set_retention(&self, options: RetentionOptions) {
        self.shared.retention.set_options(options);
    }

    /// Changes how long an append may hold the log before others fail, milliseconds.
    pub fn set_page_cache_busy_ms(&self, limit_ms: i64) {
        let limit = &self.shared.page_cache_busy_ms;
        limit.store(limit_ms, Ordering::Relaxed);
    }

    /// Whether appends will not have to wait for pages of the log, nor for its next file: these were made ready
    /// ahead. Where the system does not offer that, always.
    pub fn is_ready_to_append(&self) -> bool {
        let end = self.shared.progress.written();
        self.shared.touching.is_ready(end)
    }

    /// What appends take at the moment.
    pub fn append_latency(&self) -> AppendLatency {
        let now_ms = self.shared.clock.now_ms();
        AppendLatency {
            average_us: self.shared.append_pace.average_us(now_ms),
            in_progress_ms: self.shared.appender.lock_held_ms(),
        }
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
        running.end(&self.shared);
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
