//! How far each part of the store has come: the watermarks and their one writer each.
//!
//! `min ≤ flushed ≤ written` and `dispatched ≤ confirm ≤ written`; each only grows while the store is
//! open.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::api::Watermarks;
use crate::options::FlushMode;

/// The watermarks, as physical offsets.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    min: AtomicI64,
    flushed: AtomicI64,
    flushed_timestamp: AtomicI64,
    dispatched: AtomicI64,
    dispatched_timestamp: AtomicI64,
    written: AtomicI64,
    written_timestamp: AtomicI64,
}

/// An end of the log and a store time: no message up to that time lies behind the end, but for
/// those of the same millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Physical offset.
    pub(crate) end: i64,
    /// Store time, milliseconds.
    pub(crate) timestamp: i64,
}

impl Progress {
    /// Sets everything, before any thread of the store runs.
    pub(crate) fn restore(&self, min: i64, end: Mark) {
        self.min.store(min, Ordering::Release);
        for mark in [&self.flushed, &self.dispatched, &self.written] {
            mark.store(end.end, Ordering::Release);
        }
        let times = [
            &self.flushed_timestamp,
            &self.dispatched_timestamp,
            &self.written_timestamp,
        ];
        for time in times {
            time.store(end.timestamp, Ordering::Release);
        }
    }

    #[inline]
    pub(crate) fn min(&self) -> i64 {
        self.min.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn flushed(&self) -> i64 {
        self.flushed.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn dispatched(&self) -> i64 {
        self.dispatched.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn written(&self) -> i64 {
        self.written.load(Ordering::Acquire)
    }

    /// The end of the log with a time before it.
    pub(crate) fn written_mark(&self) -> Mark {
        // The time first: it is stored after its end.
        let timestamp = self.written_timestamp.load(Ordering::Acquire);
        Mark {
            end: self.written(),
            timestamp,
        }
    }

    /// The end of what is dispatched with a time before it.
    pub(crate) fn dispatched_mark(&self) -> Mark {
        let timestamp = self.dispatched_timestamp.load(Ordering::Acquire);
        Mark {
            end: self.dispatched(),
            timestamp,
        }
    }

    /// Called under the append lock only.
    #[inline]
    pub(crate) fn advance_written(&self, mark: Mark) {
        debug_assert!(
            mark.end >= self.written.load(Ordering::Relaxed),
            "log shrinks"
        );
        self.written.store(mark.end, Ordering::Release);
        self.written_timestamp
            .store(mark.timestamp, Ordering::Release);
    }

    /// Called by the flush thread only.
    pub(crate) fn advance_flushed(&self, mark: Mark) {
        debug_assert!(mark.end >= self.flushed(), "flushed goes back");
        debug_assert!(mark.end <= self.written(), "flushed beyond the log");
        debug_assert!(mark.end >= self.min(), "flushed before the log");
        self.flushed.store(mark.end, Ordering::Release);
        self.flushed_timestamp
            .store(mark.timestamp, Ordering::Release);
    }

    /// Store time up to which the log is on the disk.
    pub(crate) fn flushed_timestamp(&self) -> i64 {
        self.flushed_timestamp.load(Ordering::Acquire)
    }

    /// Called by the dispatch thread only.
    #[inline]
    pub(crate) fn advance_dispatched(&self, mark: Mark) {
        debug_assert!(mark.end >= self.dispatched(), "dispatched goes back");
        debug_assert!(mark.end <= self.written(), "dispatched beyond the log");
        self.dispatched.store(mark.end, Ordering::Release);
        self.dispatched_timestamp
            .store(mark.timestamp, Ordering::Release);
    }

    /// Called by retention only.
    pub(crate) fn advance_min(&self, min: i64) {
        debug_assert!(min >= self.min(), "log grows at its head");
        debug_assert!(min <= self.flushed(), "deleted what was not flushed");
        self.min.store(min, Ordering::Release);
    }

    /// All of them; read so that the order among them holds.
    pub(crate) fn watermarks(&self, flush: FlushMode) -> Watermarks {
        let min = self.min();
        let dispatched = self.dispatched();
        let flushed = self.flushed();
        let written = self.written();
        let confirm = match flush {
            FlushMode::Sync => flushed,
            FlushMode::Async { .. } => written,
        };
        Watermarks {
            min,
            flushed,
            dispatched,
            confirm,
            written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_advance_apart() {
        let progress = Progress::default();
        let mark = |end, timestamp| Mark { end, timestamp };
        progress.restore(100, mark(200, 5));
        progress.advance_written(mark(300, 6));
        progress.advance_dispatched(mark(250, 6));
        progress.advance_flushed(mark(280, 6));
        progress.advance_min(150);
        let expected = Watermarks {
            min: 150,
            flushed: 280,
            dispatched: 250,
            confirm: 280,
            written: 300,
        };
        assert_eq!(progress.watermarks(FlushMode::Sync), expected);
        let all_visible = Watermarks {
            confirm: 300,
            ..expected
        };
        let in_background = FlushMode::Async { interval_ms: 1 };
        assert_eq!(progress.watermarks(in_background), all_visible);
        assert_eq!(progress.dispatched_mark(), mark(250, 6));
        assert_eq!(progress.written_mark(), mark(300, 6));
        assert_eq!(progress.flushed_timestamp(), 6);
    }
}
