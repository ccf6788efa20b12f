//! The thread `store-checkpoint`: flushes what is derived, writes the checkpoint, prepares the next
//! log file and unmaps idle files.

use std::io;
use std::time::Duration;

use crate::checkpoint::{Checkpoint, CheckpointFile};
use crate::flush::settle_waiters;
use crate::index::Index;
use crate::mapped_file::maps;
use crate::shared::Shared;

/// A queue with fewer new bytes waits for the thorough flush.
const DIRTY_BYTES_MIN: i64 = 2 * 4096;

/// With more maps than that all free ones go, long before the system's limit of some 65,000.
const MAPS_MAX: usize = 30_000;

/// What the thread remembers from round to round.
#[derive(Debug)]
struct Upkeep {
    file: CheckpointFile,
    next: Checkpoint,
    thorough_ms: i64,
    unmapped_ms: i64,
}

/// Runs until the store is closed; the last round flushes everything.
pub(crate) fn run(shared: &Shared, file: CheckpointFile) {
    let now_ms = shared.clock.now_ms();
    let mut upkeep = Upkeep {
        next: file.last(),
        file,
        thorough_ms: now_ms,
        unmapped_ms: now_ms,
    };
    let interval = Duration::from_millis(shared.options.consume_queue_flush_interval_ms.max(1));
    loop {
        let stopping = shared.wake_checkpoint.is_stopping();
        if let Err(error) = shared.appender.prepare_next_file() {
            tracing::warn!(%error, "cannot prepare the next log file");
        }
        settle_waiters(shared);
        if let Err(error) = upkeep.round(shared, stopping) {
            tracing::error!(%error, "flush of queues, index or checkpoint failed");
        }
        if stopping {
            return;
        }
        shared.wake_checkpoint.wait(interval, || {
            shared.appender.should_prepare(shared.progress.written())
        });
    }
}

impl Upkeep {
    fn round(&mut self, shared: &Shared, last: bool) -> io::Result<()> {
        let now_ms = shared.clock.now_ms();
        let thorough_every_ms = shared.options.consume_queue_flush_thorough_ms as i64;
        // Taken before the flushes: they cover at least what was there then.
        let log_timestamp = shared.progress.flushed_timestamp();
        let dispatched = shared.progress.dispatched_mark();
        if last || now_ms - self.thorough_ms >= thorough_every_ms {
            shared.queues.flush(0)?;
            self.next.queues_timestamp = dispatched.timestamp;
            if let Some(index) = &shared.index {
                index.flush()?;
                // 0 says that there is none: recovery must not look for it.
                let timestamp = if index.is_empty() {
                    0
                } else {
                    dispatched.timestamp
                };
                self.next.index_timestamp = timestamp;
            }
            self.thorough_ms = now_ms;
        } else {
            shared.queues.flush(DIRTY_BYTES_MIN)?;
            shared.index.as_ref().map_or(Ok(()), Index::flush_entries)?;
        }
        self.next.log_timestamp = log_timestamp;
        self.file.write(self.next)?;
        if maps() > MAPS_MAX {
            shared.queues.unmap_free();
        } else if now_ms - self.unmapped_ms >= shared.options.unmap_idle_ms {
            unmap_idle(shared);
            self.unmapped_ms = now_ms;
        }
        Ok(())
    }
}

fn unmap_idle(shared: &Shared) {
    shared.log.files.unmap_idle();
    for queue in shared.queues.all() {
        queue.unmap_idle();
    }
}
