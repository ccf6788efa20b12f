//! The thread `store-touch`: touches the pages that the log is about to fill, so that whoever appends,
//! and with it the append lock, does not wait for the kernel to find and zero them.
//!
//! Nothing is written: the pages are only made ready to be. They lie in a file that is there, whose
//! blocks are taken. Pages that it did not come to are touched by the append itself, as all would be
//! where the system does not offer this. A store to which nothing is appended touches nothing, and
//! neither does one whose log is not written through its map.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::options::FlushMode;
use crate::shared::Shared;
use crate::wakeup::Wakeup;

/// So far ahead of the log's end pages are touched: some 30 ms of the fastest appending.
const AHEAD_BYTES: i64 = 8 << 20;
/// It goes on when no more than this is left of them.
const LEFT_BYTES: i64 = 4 << 20;
/// Appends will not wait while so much is left: each thread that reads sends has read at most 64 KiB of them.
const READY_BYTES_MIN: i64 = 1 << 20;
/// What is touched at once.
const STEP_BYTES: i64 = 512 << 10;
const IDLE: Duration = Duration::from_secs(60);

/// When the thread is wanted.
#[derive(Debug, Default)]
pub(crate) struct Touching {
    wakeup: Wakeup,
    /// At this end of the log.
    at: AtomicI64,
    /// Pages are ready up to here.
    ready_to: AtomicI64,
}

impl Touching {
    /// The log ends here now.
    #[inline]
    pub(crate) fn appended(&self, end: i64) {
        if self.is_due(end) {
            self.wakeup.notify();
        }
    }

    /// Whether what is appended behind `end` soon will not wait for pages.
    #[inline]
    pub(crate) fn is_ready(&self, end: i64) -> bool {
        end.saturating_add(READY_BYTES_MIN) <= self.ready_to.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.wakeup.stop();
    }

    fn is_due(&self, end: i64) -> bool {
        end >= self.at.load(Ordering::Relaxed)
    }
}

/// Touches pages until the store closes.
pub(crate) fn run(shared: &Shared) {
    let touching = &shared.touching;
    if matches!(shared.options.flush, FlushMode::Sync) {
        touching.at.store(i64::MAX, Ordering::Relaxed);
        // The log is written, not mapped: no page has to be found.
        touching.ready_to.store(i64::MAX, Ordering::Relaxed);
        return;
    }
    let mut touched = shared.progress.written();
    // Not before the first append.
    touching.at.store(touched + 1, Ordering::Relaxed);
    while !touching.wakeup.is_stopping() {
        let end = shared.progress.written();
        if !touching.is_due(end) {
            touching
                .wakeup
                .wait(IDLE, || touching.is_due(shared.progress.written()));
            continue;
        }
        match touch_ahead(shared, touched.max(end), end.saturating_add(AHEAD_BYTES)) {
            Ok(reached) => {
                touched = reached.end;
                touching.ready_to.store(touched, Ordering::Relaxed);
                touching.at.store(reached.due_at, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::debug!(%error, "the log's pages are not touched ahead");
                touching.at.store(i64::MAX, Ordering::Relaxed);
                // Nobody can tell any more.
                touching.ready_to.store(i64::MAX, Ordering::Relaxed);
            }
        }
    }
}

/// How far pages are touched.
struct Reached {
    end: i64,
    /// At which end of the log to go on.
    due_at: i64,
}

fn touch_ahead(shared: &Shared, from: i64, to: i64) -> io::Result<Reached> {
    let mut end = from;
    while end < to {
        let Some(file) = shared.log.files.find(end) else {
            // The next file comes with the first append to it.
            return Ok(Reached {
                end,
                due_at: end + 1,
            });
        };
        let step_end = end.saturating_add(STEP_BYTES).min(file.end());
        let in_file = |offset: i64| (offset - file.start) as usize;
        file.map()?.touch(in_file(end), in_file(step_end))?;
        end = step_end;
    }
    Ok(Reached {
        end,
        due_at: end - LEFT_BYTES,
    })
}
