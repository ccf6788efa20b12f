//! What callers hand to the store and get from it.

use std::task::Waker;

use bytes::Bytes;

use thrustmq_proto_compat::message::batch::BatchItem;
pub use thrustmq_proto_compat::message::record::NewMessage;

/// Where a message was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Byte position in the commit log.
    pub physical_offset: i64,
    /// Entry number in its queue; 0 for prepared and rolled-back transaction records.
    pub queue_offset: i64,
    /// Bytes of the record.
    pub record_bytes: i32,
    /// Time of storing, milliseconds.
    pub store_timestamp: i64,
    /// End of the record: what has to be flushed and replicated for it to be safe.
    pub end_offset: i64,
    /// How long storing took, milliseconds, the wait for others included.
    pub took_ms: i64,
}

/// Where the messages of a batch were stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendedBatch {
    /// Byte position of each record, in order.
    pub physical_offsets: Vec<i64>,
    /// Entry number of the first; the others follow it.
    pub queue_offset: i64,
    /// Bytes of all records.
    pub record_bytes: i64,
    /// Time of storing, milliseconds.
    pub store_timestamp: i64,
    /// End of the last record.
    pub end_offset: i64,
    /// How long storing took, milliseconds, the wait for others included.
    pub took_ms: i64,
}

/// The part of a batch that differs from message to message.
pub type NewBatchItem<'a> = BatchItem<'a>;

/// A message that has just become visible in its queue.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: i32,
    /// Its entry number.
    pub queue_offset: i64,
    /// Byte position in the commit log.
    pub physical_offset: i64,
    /// Bytes of its record.
    pub record_bytes: i32,
    /// Tags code of its entry.
    pub tags_code: i64,
    /// Time of storing, milliseconds.
    pub store_timestamp: i64,
    /// Its properties in text form.
    pub properties: &'a str,
}

/// Told of every message that becomes visible, on the dispatch thread: it must return at once.
pub trait ArrivalListener: Send + Sync {
    /// The message can be read now.
    fn arrived(&self, arrival: &Arrival<'_>);

    /// Called by whoever appends: `follower` sees to it that the message becomes visible, and is to be
    /// woken once the caller has done all that he does at a time and holds no lock, since it may make
    /// messages visible itself. `false`: there will be no such moment.
    fn wake_when_done(&self, follower: &Waker) -> bool {
        let _ = follower;
        false
    }
}

/// What became of the wish to have bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushOutcome {
    /// They are on the disk.
    Flushed,
    /// Not within `flush_wait_ms_max`; they may still get there.
    TimedOut,
    /// The disk refused them.
    Failed,
}

/// Called once when a flush has come about, or not; it must return at once.
pub type FlushCallback = Box<dyn FnOnce(FlushOutcome) + Send>;

/// Chooses the messages of a read.
pub trait RecordFilter {
    /// First look, at the queue entry alone.
    fn by_tags_code(&self, tags_code: i64) -> bool;

    /// Second look, at the stored record.
    fn by_record(&self, _record: &[u8]) -> bool {
        true
    }
}

/// What to read of a queue.
#[derive(Clone, Copy)]
pub struct ReadRequest<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: i32,
    /// First entry to look at.
    pub offset: i64,
    /// Most messages to return.
    pub messages_max: usize,
    /// Most bytes to return; the first message is returned in any case.
    pub bytes_max: usize,
    /// Which messages to return; all if absent.
    pub filter: Option<&'a dyn RecordFilter>,
}

impl std::fmt::Debug for ReadRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadRequest")
            .field("topic", &self.topic)
            .field("queue_id", &self.queue_id)
            .field("offset", &self.offset)
            .field("filtered", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}

/// How a read ended, in Java's ten cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// There are messages.
    Found,
    /// Messages, but none that the filter takes.
    NoMatchedMessage,
    /// The log no longer holds what the queue points at.
    MessageWasRemoving,
    /// The queue's file cannot be read at this offset.
    OffsetFoundNull,
    /// The offset lies beyond the end.
    OffsetOverflowBadly,
    /// The offset is the end: nothing new.
    OffsetOverflowOne,
    /// The offset lies before the first entry.
    OffsetTooSmall,
    /// No such queue.
    NoMatchedLogicQueue,
    /// The queue never held a message.
    NoMessageInQueue,
    /// The broker moved the consumer's offset; never set by the store itself.
    OffsetReset,
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct ReadOutcome {
    /// How it ended.
    pub status: ReadStatus,
    /// Offset to ask for next.
    pub next_offset: i64,
    /// First entry of the queue.
    pub min_offset: i64,
    /// End of the queue.
    pub max_offset: i64,
    /// The records; young ones borrow the mapped files.
    pub records: Vec<Bytes>,
    /// Bytes of all records.
    pub records_bytes: usize,
    /// Number of messages.
    pub message_count: usize,
    /// The reader lags so far behind that a replica should serve it.
    pub suggest_slave: bool,
}

/// First entry and end of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueRange {
    /// First entry that can be read.
    pub min: i64,
    /// One behind the last entry.
    pub max: i64,
}

/// Which entry a search by time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first entry stored at that time or later.
    Lower,
    /// The last entry stored at that time or before.
    Upper,
}

/// What to look for by key.
#[derive(Debug, Clone, Copy)]
pub struct QueryRequest<'a> {
    /// Topic.
    pub topic: &'a str,
    /// One of the message's keys, or its unique key.
    pub key: &'a str,
    /// Most messages to return.
    pub messages_max: usize,
    /// Earliest store time, milliseconds.
    pub begin_ms: i64,
    /// Latest store time, milliseconds.
    pub end_ms: i64,
}

/// What a query by key found.
#[derive(Debug, Clone, Default)]
pub struct QueryOutcome {
    /// The records, oldest first.
    pub records: Vec<Bytes>,
    /// Store time of the last indexed message, milliseconds.
    pub index_last_update_timestamp: i64,
    /// Physical offset of the last indexed message.
    pub index_last_update_physical_offset: i64,
}

/// How far each part of the store has come, as physical offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// First byte of the log.
    pub min: i64,
    /// End of what is on the disk.
    pub flushed: i64,
    /// End of what queues and index know.
    pub dispatched: i64,
    /// End of what consumers may see: with a synchronous flush what is on the disk, else all.
    pub confirm: i64,
    /// End of the log.
    pub written: i64,
}

/// What appends take at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppendLatency {
    /// Average of the last few dozen appends, from taking the log's lock on, microseconds. It falls
    /// while nothing is appended.
    pub average_us: i64,
    /// For how long the append under way has been holding the lock, milliseconds; 0 if none is.
    pub in_progress_ms: i64,
}

/// What opening a directory took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoverySummary {
    /// The store had not been closed cleanly.
    pub after_crash: bool,
    /// Queues and index were built anew from the whole log.
    pub rebuilt: bool,
    /// Where reading the log began; what lies before is known to be sound.
    pub from: i64,
    /// End of the log.
    pub end: i64,
    /// Bytes of the log that were read.
    pub walked_bytes: i64,
    /// Records among them.
    pub walked_records: u64,
    /// Bytes behind the end that were no whole records and are gone.
    pub cut_bytes: i64,
}

/// Upper limits of the latency classes of [`StoreCounters::put_latency`], milliseconds; the last
/// class has none.
pub const PUT_LATENCY_LIMITS_MS: [i64; 12] = [
    0, 10, 50, 100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000,
];

/// What the store counted since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreCounters {
    /// When it was opened, milliseconds.
    pub opened_ms: i64,
    /// Messages stored.
    pub put_messages: u64,
    /// Their bytes.
    pub put_bytes: u64,
    /// Appends refused.
    pub put_failures: u64,
    /// Appends by duration; limits in [`PUT_LATENCY_LIMITS_MS`].
    pub put_latency: [u64; 13],
    /// Longest append, milliseconds.
    pub put_time_ms_max: i64,
    /// Longest read, milliseconds.
    pub get_time_ms_max: i64,
    /// Reads that found something.
    pub get_found: u64,
    /// Reads that found nothing.
    pub get_miss: u64,
    /// Messages read.
    pub get_messages: u64,
    /// For how long the append lock is being held at this moment, milliseconds.
    pub lock_held_ms: i64,
    /// Most bytes that dispatch has been behind.
    pub dispatch_behind_bytes_max: i64,
}

/// One entry of a consume queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueEntry {
    /// Byte position of the record in the commit log.
    pub physical_offset: i64,
    /// Bytes of the record.
    pub record_bytes: i32,
    /// Tags code, or the delivery time in milliseconds in SCHEDULE_TOPIC_XXXX.
    pub tags_code: i64,
}
