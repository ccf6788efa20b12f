//! What the store's threads and its callers share.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Wake, Waker};

use thrustmq_proto_compat::clock::Clock;

use crate::api::{ArrivalListener, RecoverySummary, Watermarks};
use crate::append_pace::AppendPace;
use crate::commit_log::CommitLog;
use crate::commit_log::appender::Appender;
use crate::consume_queue::segment::EntryAccess;
use crate::consume_queue::table::ConsumeQueues;
use crate::counters::Counters;
use crate::deletions::Deletions;
use crate::dispatch::{self, DispatchWanted};
use crate::error::{DiskFull, DiskPlace, NotWritable};
use crate::file_reader::Wait;
use crate::flush_waiters::FlushWaiters;
use crate::index::Index;
use crate::layout::Layout;
use crate::offset::Progress;
use crate::options::{FlushMode, StoreOptions};
use crate::retention_state::Retention;
use crate::touch::Touching;
use crate::unreadable::Unreadable;
use crate::wakeup::Wakeup;

/// The parts of an open store.
pub(crate) struct Shared {
    pub(crate) options: StoreOptions,
    pub(crate) layout: Layout,
    pub(crate) clock: Clock,
    pub(crate) opened_ms: i64,
    pub(crate) recovered: RecoverySummary,
    /// Bytes at the end of the log that are taken to be in memory.
    pub(crate) memory_bytes: i64,
    /// End of the log when it was opened: what lies before comes from the disk.
    pub(crate) opened_end: i64,
    pub(crate) progress: Arc<Progress>,
    pub(crate) log: Arc<CommitLog>,
    pub(crate) appender: Appender,
    pub(crate) queues: ConsumeQueues,
    pub(crate) deletions: Deletions,
    pub(crate) index: Option<Index>,
    pub(crate) arrivals: Arc<dyn ArrivalListener>,
    pub(crate) counters: Counters,
    pub(crate) append_pace: AppendPace,
    pub(crate) health: Health,
    pub(crate) unreadable: Unreadable,
    pub(crate) flush_waiters: FlushWaiters,
    pub(crate) dispatch_wanted: DispatchWanted,
    /// Has whoever appended go on with it, at the end of his turn.
    pub(crate) follower: Waker,
    pub(crate) wake_flush: Arc<Wakeup>,
    pub(crate) wake_checkpoint: Wakeup,
    pub(crate) wake_retention: Wakeup,
    pub(crate) touching: Touching,
    /// Flushes under way: who writes to a map meanwhile may have to wait for the disk.
    pub(crate) flushing: AtomicU32,
    /// Held while records are dispatched, and while a topic is deleted.
    pub(crate) dispatching: Mutex<()>,
    pub(crate) retention: Retention,
    /// Option that may change: above this an append under way makes others fail, milliseconds.
    pub(crate) page_cache_busy_ms: AtomicI64,
}

impl Shared {
    /// End of what consumers may see: with a synchronous flush, only what a power cut cannot take.
    #[inline]
    pub(crate) fn visible_end(&self) -> i64 {
        match self.options.flush {
            FlushMode::Sync => self.progress.flushed(),
            FlushMode::Async { .. } => self.progress.written(),
        }
    }

    /// Has somebody go on with what was appended.
    #[inline]
    pub(crate) fn wake_follower(self: &Arc<Self>) {
        match self.options.flush {
            // Consumers see flushed messages only: the flush thread wakes dispatch.
            FlushMode::Sync if self.wake_flush.is_needed() => {
                let follower = Waker::from(Arc::clone(&self.wake_flush));
                if !self.arrivals.wake_when_done(&follower) {
                    self.wake_flush.notify();
                }
            }
            FlushMode::Async { .. } => {
                if !self.arrivals.wake_when_done(&self.follower) {
                    self.dispatch_wanted.notify();
                }
            }
            FlushMode::Sync => {}
        }
    }

    /// Notes that a flush is under way for as long as `flush` runs.
    pub(crate) fn while_flushing<R>(&self, flush: impl FnOnce() -> R) -> R {
        self.flushing.fetch_add(1, Ordering::Relaxed);
        let flushed = flush();
        self.flushing.fetch_sub(1, Ordering::Relaxed);
        flushed
    }

    /// How far each part has come.
    pub(crate) fn watermarks(&self) -> Watermarks {
        self.progress.watermarks(self.options.flush)
    }

    /// Whether so old an offset is taken to be in memory.
    pub(crate) fn is_recent(&self, physical_offset: i64) -> bool {
        physical_offset >= self.recent_from()
    }

    /// Whether a record is read from the map as it is: this process appended it a short while ago.
    /// Everything else is read from the disk, and checked.
    pub(crate) fn is_young(&self, physical_offset: i64) -> bool {
        physical_offset >= self.opened_end && self.is_recent(physical_offset)
    }

    /// How queue entries are read at this moment.
    pub(crate) fn entry_access(&self, wait: Wait) -> EntryAccess {
        let recent_from = self.recent_from();
        EntryAccess { recent_from, wait }
    }

    fn recent_from(&self) -> i64 {
        self.progress.written().saturating_sub(self.memory_bytes)
    }
}

/// Wakes nobody: the thread that appended goes on with it itself, if it is little.
pub(crate) struct Follower(pub(crate) Weak<Shared>);

impl Wake for Follower {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            dispatch::follow(&shared);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("root", &self.layout.root)
            .field("watermarks", &self.watermarks())
            .finish_non_exhaustive()
    }
}

/// Whether the store can take messages.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// 0 if all is well. The flags, and of a disk that is too full how full it is and may be.
    state: AtomicU32,
    /// Why dispatch failed, as `errno` numbers it.
    dispatch_os_error: AtomicI32,
}

const DISK_PERCENT: u32 = 0xFF;
const DISK_LIMIT_SHIFT: u32 = 16;
const DISK_OF_QUEUES: u32 = 0x0100_0000;
/// What stands there of the disk; not 0 if it is too full, for then it holds more than nothing.
const DISK: u32 = DISK_PERCENT | DISK_PERCENT << DISK_LIMIT_SHIFT | DISK_OF_QUEUES;
const FLUSH_FAILED: u32 = 0x100;
const DISPATCH_FAILED: u32 = 0x200;
const THREAD_DIED: u32 = 0x400;
const DERIVED_FLUSH_FAILED: u32 = 0x800;

impl Health {
    /// Why appends are refused.
    #[inline]
    pub(crate) fn not_writable(&self) -> Option<NotWritable> {
        let state = self.state.load(Ordering::Relaxed);
        if state == 0 {
            return None;
        }
        Some(if state & THREAD_DIED != 0 {
            NotWritable::ThreadDied
        } else if state & (FLUSH_FAILED | DERIVED_FLUSH_FAILED) != 0 {
            NotWritable::FlushFailed
        } else if state & DISPATCH_FAILED != 0 {
            let os_error = self.dispatch_os_error.load(Ordering::Relaxed);
            NotWritable::DispatchFailed { os_error }
        } else {
            NotWritable::DiskFull(disk_full_of(state))
        })
    }

    /// For good.
    pub(crate) fn thread_died(&self) {
        self.state.fetch_or(THREAD_DIED, Ordering::Relaxed);
    }

    /// For good: what the kernel dropped from its cache cannot be flushed again.
    pub(crate) fn flush_failed(&self) {
        self.state.fetch_or(FLUSH_FAILED, Ordering::Relaxed);
    }

    pub(crate) fn has_flush_failed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & FLUSH_FAILED != 0
    }

    /// For good, as above, of queues, index or checkpoint. The log itself is flushed still.
    pub(crate) fn derived_flush_failed(&self) {
        self.state.fetch_or(DERIVED_FLUSH_FAILED, Ordering::Relaxed);
    }

    pub(crate) fn has_derived_flush_failed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & DERIVED_FLUSH_FAILED != 0
    }

    /// Notes what the system said. Returns whether that is news.
    pub(crate) fn dispatch_failed(&self, os_error: i32) -> bool {
        self.dispatch_os_error.store(os_error, Ordering::Relaxed);
        let before = self.state.fetch_or(DISPATCH_FAILED, Ordering::Relaxed);
        before & DISPATCH_FAILED == 0
    }

    /// Returns whether that is news.
    pub(crate) fn dispatch_works(&self) -> bool {
        if self.state.load(Ordering::Relaxed) & DISPATCH_FAILED == 0 {
            return false;
        }
        self.state.fetch_and(!DISPATCH_FAILED, Ordering::Relaxed);
        true
    }

    /// Notes how full a disk is if that is too much. Returns whether it is news that it is, or is not.
    pub(crate) fn disk_full(&self, full: Option<DiskFull>) -> bool {
        let disk = full.map_or(0, disk_bits);
        let update = |state: u32| Some(state & !DISK | disk);
        let before = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
            .unwrap_or_else(|before| before);
        (before & DISK == 0) != (disk == 0)
    }
}

fn disk_bits(full: DiskFull) -> u32 {
    let place = match full.place {
        DiskPlace::CommitLog => 0,
        DiskPlace::ConsumeQueues => DISK_OF_QUEUES,
    };
    full.used_percent.clamp(1, 100) | full.limit_percent.min(100) << DISK_LIMIT_SHIFT | place
}

fn disk_full_of(state: u32) -> DiskFull {
    DiskFull {
        used_percent: state & DISK_PERCENT,
        limit_percent: state >> DISK_LIMIT_SHIFT & DISK_PERCENT,
        place: if state & DISK_OF_QUEUES == 0 {
            DiskPlace::CommitLog
        } else {
            DiskPlace::ConsumeQueues
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_cause_is_named() {
        let health = Health::default();
        assert_eq!(health.not_writable(), None);
        let mut full = DiskFull {
            used_percent: 93,
            limit_percent: 90,
            place: DiskPlace::CommitLog,
        };
        assert!(health.disk_full(Some(full)));
        full.used_percent = 94;
        full.place = DiskPlace::ConsumeQueues;
        assert!(!health.disk_full(Some(full)));
        let reason = health.not_writable();
        assert_eq!(reason, Some(NotWritable::DiskFull(full)));
        assert_eq!(
            reason.unwrap().to_string(),
            "the disk of the consume queues is 94 % full, allowed are 90 %"
        );
        assert!(health.dispatch_failed(5) && !health.dispatch_failed(28));
        let reason = health.not_writable();
        assert_eq!(reason, Some(NotWritable::DispatchFailed { os_error: 28 }));
        assert_eq!(
            reason.unwrap().to_string(),
            "consume queues or index cannot be written: No space left on device (os error 28)"
        );
        health.derived_flush_failed();
        assert_eq!(health.not_writable(), Some(NotWritable::FlushFailed));
        assert!(health.has_derived_flush_failed() && !health.has_flush_failed());
        health.flush_failed();
        assert!(health.has_flush_failed());
        assert!(health.dispatch_works() && !health.dispatch_works());
        assert!(health.disk_full(None) && !health.disk_full(None));
        assert_eq!(health.not_writable(), Some(NotWritable::FlushFailed));
        health.thread_died();
        assert_eq!(health.not_writable(), Some(NotWritable::ThreadDied));
    }
}
