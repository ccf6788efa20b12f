//! The store: a commit log on mapped files, with consume queues and an index derived from it.
//!
//! It knows files and offsets, no sockets and no request codes. [`Store`] is the whole interface, but
//! for [`MappedFile`], which the bare server of `bench/` writes to; the modules stand in dependency
//! order, leaves first.
#![deny(unsafe_code)]

mod disk;

mod api;
mod error;
mod options;

mod file_reader;
mod layout;
mod light;
#[allow(unsafe_code)]
mod mapped_file;
mod wakeup;

mod offset;

mod append_pace;
mod counters;
mod deletions;
mod file_queue;
mod flush_waiters;
mod retention_state;

mod checkpoint;
mod commit_log;
mod consume_queue;
mod index;

mod record_properties;
mod unreadable;

mod touch;

mod shared;

mod append;
mod append_light;
mod dispatch;
mod flush;
mod read;
mod records;
mod recovery;
mod retention;
mod search;
mod upkeep;
mod walk;

mod running;

mod open;
mod store;

mod timer;

pub mod offline;

pub use api::{
    AppendLatency, Appended, AppendedBatch, Arrival, ArrivalListener, Boundary, FlushCallback,
    FlushOutcome, NewBatchItem, NewMessage, PUT_LATENCY_LIMITS_MS, QueryOutcome, QueryRequest,
    QueueEntry, QueueRange, ReadOutcome, ReadRequest, ReadStatus, RecordFilter, RecoverySummary,
    StoreCounters, Watermarks,
};
pub use disk::{Disk, DiskAction, DiskOperation, DiskWatcher};
pub use error::{AppendError, DiskFull, DiskPlace, NotWritable, OpenError, ReadError};
pub use light::light_queue_offset;
pub use mapped_file::{MappedFile, Place};
pub use options::{FlushMode, ReadLimit, RetentionOptions, StoreOptions};
pub use store::Store;
pub use timer::{
    TIMER_WHEEL_SLOTS, TimerBounds, TimerCheckpoint, TimerFiles, TimerOptions, TimerRecovered,
    TimerUnit, WaitingOfTopic,
};
