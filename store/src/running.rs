//! What runs while a store is open, and in which order it ends.

use std::thread::JoinHandle;

use crate::layout::DirectoryLock;
use crate::shared::Shared;

/// What ends when the store is closed.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) flush: JoinHandle<()>,
    pub(crate) dispatch: JoinHandle<()>,
    pub(crate) checkpoint: JoinHandle<()>,
    pub(crate) retention: JoinHandle<()>,
    pub(crate) touch: JoinHandle<()>,
    pub(crate) _lock: DirectoryLock,
}

impl Running {
    /// Refuses further appends, flushes everything, ends the threads and marks the directory as
    /// cleanly closed.
    pub(crate) fn end(self, shared: &Shared) {
        shared.appender.close();
        shared.touching.stop();
        finish("touch", self.touch);
        shared.wake_retention.stop();
        finish("retention", self.retention);
        shared.wake_flush.stop();
        finish("flush", self.flush);
        shared.dispatch_wanted.stop();
        finish("dispatch", self.dispatch);
        shared.wake_checkpoint.stop();
        finish("checkpoint", self.checkpoint);
        shared.flush_waiters.fail_all();
        let marks = shared.watermarks();
        let derived_failed = shared.health.has_derived_flush_failed();
        if derived_failed || marks.dispatched != marks.written || marks.flushed != marks.written {
            tracing::warn!(
                ?marks,
                "store closed with work undone: it will be recovered"
            );
            return;
        }
        if let Err(error) = shared.layout.mark_closed() {
            tracing::warn!(%error, "cannot mark the store as closed: it will be recovered");
        }
    }
}

fn finish(thread: &str, handle: JoinHandle<()>) {
    if handle.join().is_err() {
        tracing::error!(thread, "thread of the store panicked");
    }
}
