//! Restoring the consume queues from their files, and whether they fit the log.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use crate::commit_log::reader::Step;
use crate::consume_queue::ConsumeQueue;
use crate::consume_queue::search::Restore;
use crate::error::OpenError;

use super::Recovery;

/// Most threads that restore queues.
const RESTORING_MAX: usize = 4;
/// Fewer queues are not worth a thread.
const RESTORED_AT_ONCE: usize = 500;

/// The last message that any queue knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueuesEnd {
    /// Where its record ends; the log's begin if there is none.
    pub(super) end: i64,
    /// When it was stored, milliseconds; 0 if there is none.
    pub(super) timestamp: i64,
    /// The log holds it.
    pub(super) fits: bool,
}

impl Recovery<'_> {
    /// Consume queues that the checkpoint counted are not there, or were not built to the end.
    pub(super) fn queues_are_missing(&self) -> bool {
        let Some(offsets) = self.checkpoint.offsets else {
            return false;
        };
        let found = self.queues.count();
        if !self.aborted {
            return found != offsets.queues || offsets.derived < self.on_disk();
        }
        let marks = self.deletions.all().into_iter().map(|(_, mark)| mark);
        let since = marks.filter(|mark| mark.end >= offsets.derived);
        let deleted: i64 = since.map(|mark| mark.queues).sum();
        found.saturating_add(deleted) < offsets.queues
    }

    /// Returns the queues that had something behind their end.
    pub(super) fn restore_queues(
        &self,
        cut_at: Option<i64>,
    ) -> Result<Vec<Arc<ConsumeQueue>>, OpenError> {
        let restore = Restore {
            cut_at,
            log_min: self.log.min(),
        };
        let queues = self.queues.all();
        let part = queues.len().div_ceil(RESTORING_MAX).max(RESTORED_AT_ONCE);
        let mut cut = Vec::new();
        thread::scope(|scope| {
            // The first part is this thread's.
            let mut parts = queues.chunks(part);
            let first = parts.next().unwrap_or_default();
            let spawn = |part: &'_ [Arc<ConsumeQueue>]| {
                let part = part.to_vec();
                let thread = thread::Builder::new().name("store-restore".to_owned());
                thread.spawn_scoped(scope, move || restore_part(&part, restore))
            };
            let others: io::Result<Vec<_>> = parts.map(spawn).collect();
            let others = others.map_err(OpenError::io("start thread", "store-restore"))?;
            cut.extend(restore_part(first, restore)?);
            for other in others {
                let done = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                cut.extend(done?);
            }
            Ok::<(), OpenError>(())
        })?;
        self.remove_deleted_topics()?;
        Ok(cut)
    }

    /// What was not written over behind the end of queues that were cut goes, durably.
    pub(super) fn clear_rests(&self, queues_cut: Vec<Arc<ConsumeQueue>>) -> Result<(), OpenError> {
        let mut cleared = Vec::new();
        for queue in queues_cut {
            let done = queue.clear_rest();
            if done.map_err(OpenError::io("clear the end of queue of", &*queue.topic))? {
                cleared.push(queue);
            }
        }
        let synced = self.queues.sync(&cleared);
        synced.map_err(OpenError::io("flush queues of", &self.options.root))
    }

    /// A crash may have come between the mark of a deletion and the removal of the queues.
    fn remove_deleted_topics(&self) -> Result<(), OpenError> {
        for (topic, mark) in self.deletions.all() {
            let ids = self.queues.queues_of(&topic);
            let mut queues = ids.iter().filter_map(|id| self.queues.find(&topic, *id));
            // An empty queue whose begin has expired is of the life that the log still knows.
            let lowest = if mark.end > self.log.min() { -1 } else { 0 };
            let is_of_it = |last: i64| (lowest..mark.end).contains(&last);
            if !ids.is_empty() && queues.all(|queue| is_of_it(queue.last_physical_offset())) {
                let removed = self.queues.remove_topic(&topic);
                removed.map_err(OpenError::io("remove queues of", &*topic))?;
            }
        }
        Ok(())
    }

    pub(super) fn queues_end(&self) -> Result<QueuesEnd, OpenError> {
        let queues = self.queues.all();
        let last = queues
            .iter()
            .map(|queue| queue.last_physical_offset())
            .max();
        let physical_offset = last.unwrap_or(-1);
        let min = self.log.min();
        let none = QueuesEnd {
            end: min.max(physical_offset.saturating_add(1)),
            timestamp: 0,
            fits: physical_offset < min,
        };
        let Some(file) = self.log.files.find(physical_offset) else {
            return Ok(none);
        };
        self.look_at(&file, physical_offset, |step| match step {
            Step::Record(view) => QueuesEnd {
                end: physical_offset + view.record_bytes as i64,
                timestamp: view.store_timestamp,
                fits: true,
            },
            Step::NextFile | Step::Stop(_) => none,
        })
    }

    /// Whether the queues end where the log has a record. Without offsets, the walk finds out.
    pub(super) fn queues_fit(&self, queues_end: QueuesEnd) -> bool {
        let Some(offsets) = self.checkpoint.offsets else {
            return queues_end.fits || !self.log.files.is_empty();
        };
        let end = offsets.closed.filter(|_| !self.aborted);
        queues_end.fits && end.is_none_or(|end| queues_end.end <= end)
    }
}

/// Returns the queues that had something behind their end.
fn restore_part(
    queues: &[Arc<ConsumeQueue>],
    restore: Restore,
) -> Result<Vec<Arc<ConsumeQueue>>, OpenError> {
    let mut cut = Vec::new();
    for queue in queues {
        if queue.restore(restore)? {
            cut.push(Arc::clone(queue));
        }
    }
    Ok(cut)
}
