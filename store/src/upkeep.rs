//! The thread `store-checkpoint`: flushes what is derived, writes the checkpoint, prepares the next
//! log file and unmaps idle files.
//!
//! The checkpoint names only what was flushed before it was written. After a flush that failed it
//! stays as it is: what the kernel dropped then cannot be flushed again.

use std::io;
use std::time::Duration;

use crate::checkpoint::{Checkpoint, CheckpointFile, SafeOffsets};
use crate::flush::settle_waiters;
use crate::mapped_file::{MAPS_MAX, maps};
use crate::shared::Shared;

/// What the thread remembers from round to round.
#[derive(Debug)]
struct Upkeep {
    file: CheckpointFile,
    /// When the index was last flushed whole; nothing before the first time.
    thorough_ms: Option<i64>,
    unmapped_ms: i64,
}

/// Runs until the store is closed; the last round flushes everything.
pub(crate) fn run(shared: &Shared, file: CheckpointFile) {
    let now_ms = shared.clock.now_ms();
    let mut upkeep = Upkeep {
        file,
        thorough_ms: None,
        unmapped_ms: now_ms,
    };
    let interval = Duration::from_millis(shared.options.consume_queue_flush_interval_ms.max(1));
    loop {
        let stopping = shared.wake_checkpoint.is_stopping();
        if let Err(error) = shared.appender.prepare_next_file() {
            tracing::warn!(%error, "cannot prepare the next log file");
        }
        settle_waiters(shared);
        if !shared.health.has_derived_flush_failed()
            && let Err(error) = shared.while_flushing(|| upkeep.checkpoint(shared, stopping))
        {
            tracing::error!(%error, "flush of queues, index or checkpoint failed: the store takes no more messages");
            shared.health.derived_flush_failed();
        }
        upkeep.unmap(shared);
        if stopping {
            return;
        }
        shared.wake_checkpoint.wait(interval, || {
            shared.appender.should_prepare(shared.progress.written())
        });
    }
}

impl Upkeep {
    /// Flushes what is derived and writes down how far everything is on the disk.
    fn checkpoint(&mut self, shared: &Shared, last: bool) -> io::Result<()> {
        // Taken before the flushes: they cover at least what was there then.
        let mut next = self.reached(shared, last);
        shared.queues.flush()?;
        self.flush_index(shared, &mut next, last)?;
        self.file.write(next)
    }

    /// How far everything has come. Of the index nothing is promised yet.
    fn reached(&self, shared: &Shared, last: bool) -> Checkpoint {
        let written_before = self.file.last();
        let log_timestamp = shared.progress.flushed_timestamp();
        let dispatched = shared.progress.dispatched_mark();
        let queues = shared.queues.count();
        let marks = shared.watermarks();
        let is_end = marks.flushed == marks.written && dispatched.end == marks.written;
        Checkpoint {
            log_timestamp,
            queues_timestamp: dispatched.timestamp,
            confirm_offset: marks.confirm.min(marks.flushed),
            offsets: Some(SafeOffsets {
                flushed: marks.flushed,
                derived: dispatched.end,
                index_slots: written_before
                    .offsets
                    .map_or(0, |offsets| offsets.index_slots),
                closed: (last && is_end).then_some(marks.written),
                queues,
            }),
            ..written_before
        }
    }

    /// Flushes the index's entries, and now and then, as they lie scattered, its slots. Java knows
    /// a time for both.
    fn flush_index(
        &mut self,
        shared: &Shared,
        next: &mut Checkpoint,
        last: bool,
    ) -> io::Result<()> {
        let Some(index) = shared.index.as_ref().filter(|index| !index.is_empty()) else {
            // Recovery must not look for it.
            next.index_timestamp = 0;
            return Ok(());
        };
        let now_ms = shared.clock.now_ms();
        let thorough_every_ms = shared.options.consume_queue_flush_thorough_ms as i64;
        let is_new = next.index_timestamp == 0;
        // The first time always: what an earlier process noted of the slots may lie behind the end
        // that recovery found, and must not vouch for what comes there now.
        let is_due = self
            .thorough_ms
            .is_none_or(|thorough_ms| now_ms - thorough_ms >= thorough_every_ms);
        if !last && !is_new && !is_due {
            return index.flush_entries();
        }
        index.flush()?;
        self.thorough_ms = Some(now_ms);
        next.index_timestamp = next.queues_timestamp;
        if let Some(offsets) = &mut next.offsets {
            offsets.index_slots = offsets.derived;
        }
        Ok(())
    }

    fn unmap(&mut self, shared: &Shared) {
        let now_ms = shared.clock.now_ms();
        if maps() > MAPS_MAX {
            shared.queues.unmap_free();
        } else if now_ms - self.unmapped_ms >= shared.options.unmap_idle_ms {
            unmap_idle(shared);
            self.unmapped_ms = now_ms;
        }
    }
}

fn unmap_idle(shared: &Shared) {
    shared.log.files.unmap_idle();
    for queue in shared.queues.all() {
        queue.unmap_idle();
    }
}
