//! Opening a directory: finds the end of the log, and brings queues and index in step with it.
//!
//! Runs before any thread of the store. After a clean close little is read. After a crash the log
//! is walked from the last place that the checkpoint vouches for, a torn tail is cut off, and all
//! that is derived from there on is built again.

use thrustmq_proto_compat::message::record::{CheckBody, RecordError, RecordView};

use crate::api::QueueEntry;
use crate::checkpoint::Checkpoint;
use crate::commit_log::CommitLog;
use crate::commit_log::appender::QueueOffsets;
use crate::commit_log::reader::{Step, step};
use crate::consume_queue::entry::is_blank;
use crate::consume_queue::table::ConsumeQueues;
use crate::consume_queue::{ConsumeQueue, Put};
use crate::dispatch::Targets;
use crate::error::OpenError;
use crate::file_queue::QueueFile;
use crate::index::Index;
use crate::index::recovery::{Kept, Trusted};
use crate::mapped_file::maps;
use crate::offset::Mark;
use crate::options::StoreOptions;

/// With more maps than that the queues' are let go; a process may have some 65,000.
const MAPS_MAX: usize = 30_000;

/// What recovery works on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery<'a> {
    pub(crate) options: &'a StoreOptions,
    pub(crate) log: &'a CommitLog,
    pub(crate) queues: &'a ConsumeQueues,
    pub(crate) index: Option<&'a Index>,
    pub(crate) checkpoint: Checkpoint,
    /// The store was not closed cleanly.
    pub(crate) aborted: bool,
    /// Some queues could not be opened: all are built again.
    pub(crate) queues_damaged: bool,
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
}

/// Where a walk through the log begins, and what it may take for granted.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Begin of a log file.
    from: i64,
    /// Queues were complete up to here: a topic without any was deleted.
    complete_until: i64,
    /// There are no queues yet: all are built, and what the log no longer knows stays blank.
    rebuild: bool,
}

/// How a walk through the log ended.
#[derive(Debug)]
enum Walk {
    /// All is dispatched up to the end of the log.
    Done {
        end: Mark,
        stop: Option<RecordError>,
    },
    /// Entries are missing before the place where the walk began.
    Gap,
}

impl Recovery<'_> {
    /// Recovers the directory.
    pub(crate) fn run(&self) -> Result<Recovered, OpenError> {
        let mut plan = if self.queues_damaged {
            self.forget_derived()?
        } else if self.aborted {
            self.restore_after_crash()?
        } else {
            self.restore_after_close()?
        };
        let mut walk = self.walk(&plan)?;
        if matches!(walk, Walk::Gap) {
            tracing::warn!("consume queues do not fit the log and are built again");
            plan = self.forget_derived()?;
            walk = self.walk(&plan)?;
        }
        let Walk::Done { end, stop } = walk else {
            unreachable!("building anew fills gaps");
        };
        self.tell(plan.from, end, stop);
        let damaged = stop.is_some_and(|stop| stop != RecordError::Unwritten);
        self.cut_log(plan.from, end.end, self.aborted || damaged)?;
        let min = self.log.min().min(end.end);
        let queue_offsets = self.finish_queues(min, end.end)?;
        Ok(Recovered {
            min,
            end,
            queue_offsets,
        })
    }

    fn tell(&self, from: i64, end: Mark, stop: Option<RecordError>) {
        let reason = stop.filter(|stop| *stop != RecordError::Unwritten);
        match reason {
            Some(reason) => {
                tracing::warn!(from, end = end.end, %reason, "log recovered, its tail was damaged")
            }
            None => tracing::info!(from, end = end.end, aborted = self.aborted, "log recovered"),
        }
    }

    /// Drops queues and index, to be built from the log's begin.
    fn forget_derived(&self) -> Result<Plan, OpenError> {
        let dir = &self.options.root;
        self.queues
            .remove_all()
            .map_err(OpenError::io("remove queues of", dir))?;
        if let Some(index) = self.index {
            index
                .remove_all()
                .map_err(OpenError::io("remove index of", dir))?;
        }
        Ok(Plan {
            from: self.log.min(),
            complete_until: 0,
            rebuild: true,
        })
    }

    /// All that was written is there: the walk only has to find the end.
    fn restore_after_close(&self) -> Result<Plan, OpenError> {
        let mut queues_end = self.log.min();
        for queue in self.queues.all() {
            queue.restore()?;
            let last = queue.last()?.filter(|last| !is_blank(last));
            queues_end = queues_end.max(last.map_or(0, |last| end_of(&last)));
            queue.unmap_free();
        }
        Ok(Plan {
            from: self.walk_start(queues_end, self.index_start()),
            complete_until: queues_end,
            rebuild: self.queues.is_empty(),
        })
    }

    /// What is younger than the checkpoint may be half-written: it goes, and is built again.
    fn restore_after_crash(&self) -> Result<Plan, OpenError> {
        let indexed = self.index.is_some_and(|index| !index.is_empty());
        let safe = self.checkpoint.safe_timestamp(indexed);
        let files = self.log.files.all();
        let is_safe = |file: &&std::sync::Arc<QueueFile>| {
            let stored = self.log.store_time(file.start).ok().flatten();
            stored.is_some_and(|stored| stored <= safe)
        };
        let first = files.iter().rev().find(is_safe).or(files.first());
        let start = first.map_or(0, |file| file.start);
        for queue in self.queues.all() {
            queue.cut(|entry| entry.physical_offset < start)?;
            queue.unmap_free();
        }
        let mut index_start = self.index_start();
        if let Some(index) = self.index {
            let trusted = Trusted {
                entries: start,
                slots: start,
            };
            let kept = index.recover(trusted, &|offset| {
                self.log.store_time(offset).ok().flatten()
            })?;
            if kept == Kept::Nothing {
                index_start = Some(self.log.min());
            }
        }
        Ok(Plan {
            from: self.walk_start(start, index_start),
            complete_until: 0,
            rebuild: self.queues.is_empty(),
        })
    }

    /// An index that was there at the last checkpoint must not be missing.
    fn index_start(&self) -> Option<i64> {
        let index = self.index?;
        let checkpoint = self.checkpoint;
        let was_there = checkpoint.index_timestamp > 0 || checkpoint == Checkpoint::default();
        (was_there && index.is_empty()).then(|| self.log.min())
    }

    /// Begin of the file from which on queues or index lack something.
    fn walk_start(&self, queues_start: i64, index_start: Option<i64>) -> i64 {
        let min = self.log.min();
        let start = index_start.map_or(queues_start, |start| start.min(queues_start));
        let files = &self.log.files;
        let file = files.find(start.max(min)).or_else(|| files.last());
        file.map_or(min, |file| file.start)
    }

    fn walk(&self, plan: &Plan) -> Result<Walk, OpenError> {
        let mut end = Mark {
            end: plan.from,
            timestamp: self.checkpoint.log_timestamp,
        };
        for file in self
            .log
            .files
            .all()
            .iter()
            .filter(|file| file.start >= plan.from)
        {
            let map = file.map_for_recovery();
            let map = map.map_err(OpenError::io("map", file.path()))?;
            let bytes = map.slice(0, map.written()).unwrap_or_default();
            end.end = file.start;
            loop {
                let rest = bytes
                    .get((end.end - file.start) as usize..)
                    .unwrap_or_default();
                match step(rest, end.end, self.check_body()) {
                    Step::Record(view) if self.aborted && view.ends_in_zeros() => {
                        let stop = Some(RecordError::Truncated {
                            need: view.record_bytes,
                            have: view.record_bytes - 1,
                        });
                        return Ok(Walk::Done { end, stop });
                    }
                    Step::Record(view) => {
                        if self.dispatch(&view, plan)? == Some(Put::Gap) {
                            return Ok(Walk::Gap);
                        }
                        end.end += view.record_bytes as i64;
                        end.timestamp = end.timestamp.max(view.store_timestamp);
                    }
                    Step::NextFile => {
                        end.end = file.end();
                        break;
                    }
                    Step::Stop(stop) => {
                        let stop = Some(stop);
                        return Ok(Walk::Done { end, stop });
                    }
                }
            }
        }
        Ok(Walk::Done { end, stop: None })
    }

    fn check_body(&self) -> CheckBody {
        match (
            self.aborted && self.options.check_crc_on_recovery,
            self.options.force_record_checksum,
        ) {
            (false, _) => CheckBody::Skip,
            (true, false) => CheckBody::Crc,
            (true, true) => CheckBody::CrcDemanded,
        }
    }

    /// Dispatches one record.
    fn dispatch(&self, view: &RecordView<'_>, plan: &Plan) -> Result<Option<Put>, OpenError> {
        if !plan.rebuild && self.is_of_deleted_topic(view, plan) {
            return Ok(None);
        }
        let targets = Targets {
            queues: self.queues,
            index: self.index,
            delay_levels_ms: &self.options.delay_levels_ms,
        };
        if maps() > MAPS_MAX {
            self.queues.unmap_free();
        }
        let text = view.properties_text();
        let mut dispatched = targets.dispatch(view, &text);
        let is_gap = dispatched
            .as_ref()
            .is_ok_and(|dispatched| dispatched.put == Some(Put::Gap));
        if is_gap && plan.rebuild {
            dispatched = targets.dispatch_after_gap(view, &text);
        }
        let dispatched =
            dispatched.map_err(OpenError::io("write queues of", &self.options.root))?;
        Ok(dispatched.put)
    }

    /// Whether the record was left behind by a topic that has no queues any more.
    fn is_of_deleted_topic(&self, view: &RecordView<'_>, plan: &Plan) -> bool {
        let old = view.physical_offset < plan.complete_until || view.queue_offset > 0;
        old && !self.queues.has_topic(view.topic)
    }

    /// Makes the log end where its last sound record does, for good.
    fn cut_log(&self, from: i64, end: i64, clear: bool) -> Result<(), OpenError> {
        let files = &self.log.files;
        let Some(first) = files.first() else {
            return Ok(());
        };
        // The first file stays, even if empty: it holds the offset at which the log goes on.
        let removed = files.remove_from(end.max(first.start + 1));
        removed.map_err(OpenError::io("remove log files of", &self.options.root))?;
        let Some(last) = files.last() else {
            return Ok(());
        };
        let written = (end - last.start) as usize;
        if clear {
            let cleared = last.clear_rest(written);
            cleared.map_err(OpenError::io("clear the end of", last.path()))?;
        }
        last.restore(written);
        let flushed = if self.aborted {
            files.flush_inherited(from, end)
        } else {
            files.flush(from, end)
        };
        flushed.map_err(OpenError::io("flush log files of", &self.options.root))
    }

    /// Cuts what points beyond the log, and finds head and end of each queue.
    fn finish_queues(&self, min: i64, end: i64) -> Result<QueueOffsets, OpenError> {
        let mut offsets = QueueOffsets::default();
        for queue in self.queues.all() {
            self.finish_queue(&queue, min, end)?;
            offsets.set(&queue.topic, queue.queue_id, queue.next());
            queue.unmap_free();
        }
        Ok(offsets)
    }

    fn finish_queue(&self, queue: &ConsumeQueue, min: i64, end: i64) -> Result<(), OpenError> {
        let within = |entry: &QueueEntry| is_blank(entry) || end_of(entry) <= end;
        if queue.last()?.is_some_and(|last| !within(&last)) {
            queue.cut(within)?;
        }
        let dropped = queue.drop_before(min);
        dropped.map_err(OpenError::io("remove files of", &*queue.topic))?;
        Ok(())
    }
}

fn end_of(entry: &QueueEntry) -> i64 {
    entry
        .physical_offset
        .saturating_add(i64::from(entry.record_bytes))
}
