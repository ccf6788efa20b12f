//! Opening a directory: finds the end of the log, and brings queues and index in step with it.
//!
//! Runs before any thread of the store. After a clean close hardly anything is read. After a crash
//! the log is walked from the offset for which the checkpoint vouches, at most some seconds of
//! writing before the end; a torn tail is cut off, and what is derived from there on is built again.
//! What was on the disk and is no longer sound is refused, before anything is changed.
//!
//! Directories whose checkpoint names no offsets, as Java's, go by store times.

mod damage;
mod queues;
mod tail;
mod walk;

use std::io;
use std::sync::Arc;

use thrustmq_proto_compat::message::record::RecordError;

use crate::api::RecoverySummary;
use crate::checkpoint::{Checkpoint, CheckpointFile, SafeOffsets};
use crate::commit_log::CommitLog;
use crate::commit_log::queue_offsets::QueueOffsets;
use crate::commit_log::reader::Step;
use crate::consume_queue::table::ConsumeQueues;
use crate::deletions::Deletions;
use crate::error::OpenError;
use crate::file_queue::QueueFile;
use crate::index::Index;
use crate::index::recovery::{Kept, Trusted};
use crate::offset::Mark;
use crate::options::StoreOptions;

use queues::QueuesEnd;
use walk::{Plan, Purpose, Walked};

/// What recovery works on.
#[derive(Debug)]
pub(crate) struct Recovery<'a> {
    pub(crate) options: &'a StoreOptions,
    pub(crate) log: &'a CommitLog,
    pub(crate) queues: &'a ConsumeQueues,
    pub(crate) index: Option<&'a Index>,
    pub(crate) deletions: &'a Deletions,
    pub(crate) checkpoint_file: &'a mut CheckpointFile,
    /// What the file held.
    pub(crate) checkpoint: Checkpoint,
    /// The store was not closed cleanly.
    pub(crate) aborted: bool,
}

/// A directory that is ready to be used.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// First byte of the log.
    pub(crate) min: i64,
    /// End of the log.
    pub(crate) end: Mark,
    /// Next entry number of each queue.
    pub(crate) queue_offsets: QueueOffsets,
    pub(crate) summary: RecoverySummary,
}

impl Recovery<'_> {
    /// Recovers the directory.
    ///
    /// # Errors
    /// The log is damaged, or the system refuses. The log is as it was then.
    pub(crate) fn run(mut self) -> Result<Recovered, OpenError> {
        self.settle_how_it_ended()?;
        self.check_files()?;
        let queues_lost = self.queues.are_damaged() || self.queues_are_missing();
        let cut_at = self.aborted.then(|| self.crash_start());
        let queues_cut = self.restore_queues(cut_at)?;
        let queues_end = self.queues_end()?;
        let mut plan = match cut_at {
            Some(start) => self.plan_after_crash(start, queues_end)?,
            None => self.plan_after_close(queues_end)?,
        };
        if queues_lost || !self.queues_fit(queues_end) {
            plan = self.rebuild(queues_end)?;
        }
        let mut walked = self.walk(&plan)?;
        if walked.gap {
            plan = self.rebuild(queues_end)?;
            walked = self.walk(&plan)?;
        }
        self.refuse_damage(&walked, queues_end)?;
        self.clear_rests(queues_cut)?;
        self.sync_names()?;
        self.finish(&plan, &walked)
    }

    /// Decides whether the store was closed cleanly, and whether the checkpoint's offsets count.
    fn settle_how_it_ended(&mut self) -> Result<(), OpenError> {
        match self.checkpoint.offsets {
            Some(SafeOffsets { closed: None, .. }) => self.aborted = true,
            Some(SafeOffsets {
                closed: Some(end), ..
            }) if !self.aborted && self.holds_record(end)? => {
                tracing::info!(
                    end,
                    "log goes on where it was closed: the checkpoint's offsets do not count"
                );
                self.checkpoint.offsets = None;
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// After a crash, everything derived is on the disk for what lies before this offset.
    fn crash_start(&self) -> i64 {
        let min = self.log.min();
        if let Some(offsets) = self.checkpoint.offsets {
            return offsets.flushed.min(offsets.derived).max(min);
        }
        let indexed = self.index.is_some_and(|index| !index.is_empty());
        let safe_ms = self.checkpoint.safe_timestamp(indexed);
        let files = self.log.files.all();
        let is_safe = |file: &&Arc<QueueFile>| {
            let stored_ms = self.store_time(file.start);
            stored_ms.is_some_and(|stored_ms| stored_ms <= safe_ms)
        };
        files
            .iter()
            .rev()
            .find(is_safe)
            .map_or(min, |file| file.start)
    }

    /// All that was written is there: the walk only has to find the end, if nobody knows it.
    fn plan_after_close(&mut self, queues_end: QueuesEnd) -> Result<Plan, OpenError> {
        let begin = if self.checkpoint.offsets.is_some() {
            queues_end.end
        } else {
            self.begin_of_file(queues_end.end)
        };
        let index_start = self.index_start()?;
        Ok(Plan {
            from: index_start.unwrap_or(begin).min(begin),
            complete_until: queues_end.end,
            timestamp: self.checkpoint.log_timestamp.max(queues_end.timestamp),
            purpose: Purpose::Continue,
        })
    }

    /// What is younger than the checkpoint may be half-written: it is built again.
    fn plan_after_crash(&mut self, start: i64, queues_end: QueuesEnd) -> Result<Plan, OpenError> {
        let mut index_start = self.index_start()?;
        if let Some(index) = self.index {
            let slots = self
                .checkpoint
                .offsets
                .map_or(start, |offsets| offsets.index_slots);
            let trusted = Trusted {
                entries: start,
                slots: slots.min(start),
            };
            let kept = index.recover(trusted, &|offset| self.store_time(offset))?;
            if kept == Kept::Nothing {
                index_start = Some(self.rebuild_index(index)?);
            }
        }
        Ok(Plan {
            from: index_start.unwrap_or(start).min(start),
            complete_until: 0,
            timestamp: self.checkpoint.log_timestamp.max(queues_end.timestamp),
            purpose: Purpose::Continue,
        })
    }

    /// An index that was there at the last checkpoint must not be missing: it is built again, as is
    /// one that is damaged.
    fn index_start(&mut self) -> Result<Option<i64>, OpenError> {
        let checkpoint = self.checkpoint;
        let was_there = checkpoint.index_timestamp > 0 || checkpoint == Checkpoint::default();
        let is_lost = |index: &&Index| index.is_damaged() || was_there && index.is_empty();
        let lost = self.index.filter(is_lost);
        lost.map(|index| self.rebuild_index(index)).transpose()
    }

    /// Drops the index, once nobody vouches for it any more. Returns from where on records have to be
    /// dispatched for it.
    fn rebuild_index(&mut self, index: &Index) -> Result<i64, OpenError> {
        self.distrust_derived()?;
        let removed = index.remove_all();
        removed.map_err(OpenError::io("remove index of", &self.options.root))?;
        Ok(self.log.min())
    }

    /// Takes back what the checkpoint promised of queues and index, before they are built again: if
    /// that is not brought to its end, it has to begin anew.
    fn distrust_derived(&mut self) -> Result<(), OpenError> {
        let mut checkpoint = self.checkpoint_file.last();
        checkpoint.queues_timestamp = 0;
        if let Some(offsets) = &mut checkpoint.offsets {
            offsets.derived = 0;
            offsets.index_slots = 0;
        }
        let written = self.checkpoint_file.write(checkpoint);
        written.map_err(OpenError::io("write the checkpoint of", &self.options.root))
    }

    /// When a record was stored, milliseconds; nothing if it cannot be read.
    fn store_time(&self, physical_offset: i64) -> Option<i64> {
        self.log.store_time(physical_offset).ok().flatten()
    }

    fn begin_of_file(&self, physical_offset: i64) -> i64 {
        let files = &self.log.files;
        let file = files.find(physical_offset).or_else(|| files.last());
        file.map_or_else(|| self.log.min(), |file| file.start)
    }

    /// Drops queues and index, to be built from the log's begin.
    fn rebuild(&mut self, queues_end: QueuesEnd) -> Result<Plan, OpenError> {
        let plan = Plan {
            from: self.log.min(),
            complete_until: 0,
            timestamp: self.checkpoint.log_timestamp,
            purpose: Purpose::Rebuild,
        };
        if self.checkpoint.offsets.is_none() && !self.aborted {
            // Only the queues show whether a bad place is the log's end: they must outlive a refusal.
            let walked = self.walk(&Plan {
                purpose: Purpose::Look,
                ..plan
            })?;
            self.refuse_damage(&walked, queues_end)?;
        }
        tracing::warn!("consume queues do not fit the log and are built again");
        self.distrust_derived()?;
        let dir = &self.options.root;
        let removed = self.queues.remove_all();
        removed.map_err(OpenError::io("remove queues of", dir))?;
        if let Some(index) = self.index {
            let removed = index.remove_all();
            removed.map_err(OpenError::io("remove index of", dir))?;
        }
        Ok(plan)
    }

    /// Names that a killed process made are found here, but need not be on the disk: nobody makes
    /// them again, and the next checkpoint will vouch for what they stand for.
    fn sync_names(&self) -> Result<(), OpenError> {
        if !self.aborted {
            return Ok(());
        }
        let log_dir = self.log.files.dir();
        let synced = self.options.disk.sync_directory(log_dir);
        synced.map_err(OpenError::io("sync", log_dir))?;
        let synced = self.queues.sync_names();
        synced.map_err(OpenError::io("sync queues of", &self.options.root))
    }

    fn finish(&self, plan: &Plan, walked: &Walked) -> Result<Recovered, OpenError> {
        let end = walked.end;
        let cut_bytes = self.cut_log(plan.from, end.end)?;
        let summary = RecoverySummary {
            after_crash: self.aborted,
            rebuilt: plan.purpose == Purpose::Rebuild,
            from: plan.from,
            end: end.end,
            walked_bytes: end.end - plan.from,
            walked_records: walked.records,
            cut_bytes,
        };
        tell(&summary, walked.stop.as_ref());
        let min = self.log.min().min(end.end);
        let fitted = self.deletions.fit(min, end.end);
        fitted.map_err(OpenError::io("write deleted topics of", &self.options.root))?;
        let mut queue_offsets = QueueOffsets::default();
        for queue in self.queues.all() {
            queue_offsets.set(&queue.topic, queue.queue_id, queue.next());
            queue.unmap_free();
        }
        Ok(Recovered {
            min,
            end,
            queue_offsets,
            summary,
        })
    }

    /// Whether a record begins at an offset.
    fn holds_record(&self, physical_offset: i64) -> Result<bool, OpenError> {
        match self.log.files.find(physical_offset) {
            Some(file) => self.look_at(&file, physical_offset, |step| {
                matches!(step, Step::Record(_))
            }),
            None => Ok(false),
        }
    }
}

fn tell(summary: &RecoverySummary, stop: Option<&RecordError>) {
    if summary.cut_bytes > 0 {
        let reason = stop.map(ToString::to_string);
        tracing::warn!(?summary, reason, "log recovered, its torn tail was cut off");
    } else {
        tracing::info!(?summary, "log recovered");
    }
}

/// What mapping or reading a log file fails with.
fn cannot_map(file: &QueueFile) -> impl FnOnce(io::Error) -> OpenError {
    OpenError::io("map", file.path())
}
