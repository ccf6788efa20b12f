//! The store's interface.

use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;

use crate::api::*;
use crate::{AppendError, OpenError, ReadError, StoreOptions};

/// An open store directory.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the directory, recovers it and starts the store's threads.
    pub fn open(
        _options: StoreOptions,
        _clock: Clock,
        _arrivals: Arc<dyn ArrivalListener>,
    ) -> Result<Self, OpenError> {
        Ok(Self {})
    }
    /// Stores a message; returns when it is in the page cache, never waits for the disk.
    pub fn append(&self, _message: &NewMessage<'_>) -> Result<Appended, AppendError> {
        Err(AppendError::ShutDown)
    }
    /// Stores messages one behind the other; body, flag and properties of `common` are not used.
    pub fn append_batch(
        &self,
        _common: &NewMessage<'_>,
        _items: &[NewBatchItem<'_>],
    ) -> Result<AppendedBatch, AppendError> {
        Err(AppendError::ShutDown)
    }
    /// Calls back when everything before `end_offset` is on the disk, or not in time.
    pub fn when_flushed(&self, _end_offset: i64, callback: FlushCallback) {
        callback(FlushOutcome::Failed);
    }
    /// Reads messages of a queue.
    pub fn read(&self, _request: &ReadRequest<'_>) -> ReadOutcome {
        ReadOutcome {
            status: ReadStatus::NoMatchedLogicQueue,
            next_offset: 0,
            min_offset: 0,
            max_offset: 0,
            records: Vec::new(),
            records_bytes: 0,
            message_count: 0,
            suggest_slave: false,
        }
    }
    /// First entry and end of a queue; both 0 if there is no such queue.
    pub fn queue_range(&self, _topic: &str, _queue_id: i32) -> QueueRange {
        QueueRange::default()
    }
    /// Queues of the topic that hold or held messages, ascending.
    pub fn queues_of(&self, _topic: &str) -> Vec<i32> {
        Vec::new()
    }
    /// Topics that hold or held messages.
    pub fn topics(&self) -> Vec<String> {
        Vec::new()
    }
    /// The queue offset that belongs to a time.
    pub fn offset_by_time(
        &self,
        _topic: &str,
        _queue_id: i32,
        _timestamp_ms: i64,
        _boundary: Boundary,
    ) -> i64 {
        0
    }
    /// When the message of a queue entry was stored, milliseconds.
    pub fn store_time_at(&self, _topic: &str, _queue_id: i32, _queue_offset: i64) -> Option<i64> {
        None
    }
    /// When the queue's first message was stored, milliseconds.
    pub fn earliest_store_time(&self, _topic: &str, _queue_id: i32) -> Option<i64> {
        None
    }
    /// When the log's first message was stored, milliseconds.
    pub fn earliest_store_time_of_log(&self) -> Option<i64> {
        None
    }
    /// The record at a physical offset.
    pub fn record_at(&self, physical_offset: i64) -> Result<Bytes, ReadError> {
        Err(ReadError::OutOfRange {
            physical_offset,
            min: 0,
            end: 0,
        })
    }
    /// Finds messages by key.
    pub fn query(&self, _request: &QueryRequest<'_>) -> QueryOutcome {
        QueryOutcome::default()
    }
    /// The queue entry: physical offset, bytes and tags code.
    pub fn queue_entry(
        &self,
        _topic: &str,
        _queue_id: i32,
        _queue_offset: i64,
    ) -> Option<QueueEntry> {
        None
    }
    /// Whether the message of a queue entry is so young that it should still be in memory.
    pub fn is_in_memory(&self, _topic: &str, _queue_id: i32, _queue_offset: i64) -> bool {
        false
    }
    /// Forgets the topic's queues; its records stay in the log until they expire.
    pub fn delete_topic(&self, _topic: &str) {}
    /// Deletes expired files now, whatever the hour; returns how many log files went.
    pub fn delete_expired(&self) -> usize {
        0
    }
    /// Deletes consume-queue and index files that point before the log only.
    pub fn delete_expired_queues(&self) {}
    /// How far each part has come.
    pub fn watermarks(&self) -> Watermarks {
        Watermarks {
            min: 0,
            flushed: 0,
            dispatched: 0,
            written: 0,
        }
    }
    /// How full the log's disk is, percent.
    pub fn disk_used_percent(&self) -> u32 {
        0
    }
    /// Why appends are refused, if they are.
    pub fn not_writable(&self) -> Option<crate::NotWritable> {
        None
    }
    /// For how long an append has been holding the lock, if that is too long, milliseconds.
    pub fn page_cache_busy_ms(&self) -> Option<i64> {
        None
    }
    /// What was counted since opening.
    pub fn counters(&self) -> StoreCounters {
        StoreCounters::default()
    }
    /// Flushes everything, ends the threads and marks the directory as cleanly closed.
    pub fn shutdown(&self) {}
}
