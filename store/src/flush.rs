//! Making the log durable: the thread `store-flush`.
//!
//! One flush serves everybody whose bytes were written when it began.

use std::time::Duration;

use crate::offset::Mark;
use crate::options::FlushMode;
use crate::shared::Shared;

/// The thread `store-flush`. Ends when all is flushed.
pub(crate) fn run(shared: &Shared) {
    let (interval, sync) = match shared.options.flush {
        FlushMode::Async { interval_ms } => (Duration::from_millis(interval_ms.max(1)), false),
        FlushMode::Sync => (Duration::from_secs(1), true),
    };
    let mut last_flush_ms = shared.clock.now_ms();
    loop {
        let stopping = shared.wake_flush.is_stopping();
        let now_ms = shared.clock.now_ms();
        let written = shared.progress.written_mark();
        let dirty_bytes = written.end - shared.progress.flushed();
        let due = stopping
            || sync
            || !shared.flush_waiters.is_empty()
            || dirty_bytes >= shared.options.flush_bytes_min
            || now_ms - last_flush_ms >= shared.options.flush_delay_ms_max;
        if due && dirty_bytes > 0 && !shared.health.has_flush_failed() {
            flush_to(shared, written);
            last_flush_ms = now_ms;
        }
        settle_waiters(shared);
        if stopping {
            return;
        }
        shared.wake_flush.wait(interval, || {
            let behind = shared.progress.written() > shared.progress.flushed();
            !shared.flush_waiters.is_empty() || (sync && behind)
        });
    }
}

fn flush_to(shared: &Shared, mark: Mark) {
    let from = shared.progress.flushed();
    match shared.while_flushing(|| shared.log.files.flush(from, mark.end)) {
        Ok(()) => {
            shared.progress.advance_flushed(mark);
            shared.dispatch_wanted.notify();
        }
        Err(error) => {
            tracing::error!(%error, from, to = mark.end, "flush of the log failed: the store takes no more messages");
            shared.health.flush_failed();
        }
    }
}

/// Calls back whoever need not wait any longer. Also called by another thread, in case that a flush
/// hangs.
pub(crate) fn settle_waiters(shared: &Shared) {
    if shared.health.has_flush_failed() {
        shared.flush_waiters.fail_all();
    } else {
        let flushed = shared.progress.flushed();
        shared
            .flush_waiters
            .complete(flushed, shared.clock.now_ms());
    }
}
