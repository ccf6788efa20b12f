//! What in the log was sound once and is no longer: such a log is refused, with the place, and
//! nothing is changed.
//!
//! Where the checkpoint names offsets, they decide. Otherwise what lies behind a bad place does: it
//! shows that the place was written.

use std::path::PathBuf;

use thrustmq_proto_compat::message::record::RecordError;

use crate::commit_log::reader::Step;
use crate::error::OpenError;
use crate::file_queue::QueueFile;
use crate::layout::offset_name;

use super::Recovery;
use super::queues::QueuesEnd;
use super::walk::Walked;

impl Recovery<'_> {
    /// The log was on the disk before this offset, for sure; 0 if nobody knows.
    pub(super) fn on_disk(&self) -> i64 {
        self.checkpoint.offsets.map_or(0, |offsets| {
            if self.aborted {
                offsets.flushed
            } else {
                offsets.closed.unwrap_or(offsets.flushed)
            }
        })
    }

    /// Refuses logs of which files are missing at the end, or which begin a file with something
    /// else than its first record.
    pub(super) fn check_files(&self) -> Result<(), OpenError> {
        let files_end = self.log.files_end();
        let on_disk = self.on_disk();
        if files_end < on_disk {
            return Err(self.file_missing(files_end));
        }
        for file in self.log.files.all() {
            if self.checkpoint.offsets.is_some() && file.start >= on_disk {
                break;
            }
            let stop = self.look_at(&file, file.start, |step| match step {
                Step::Record(_) | Step::NextFile => None,
                Step::Stop(stop) => Some(stop),
            })?;
            if let Some(stop) = stop
                && self.is_damage(file.start, 0)?
            {
                return Err(self.damaged_at(&file, file.start, &stop));
            }
        }
        Ok(())
    }

    /// Whether something unsound at an offset was once sound, and is not the torn end of the log.
    fn is_damage(&self, at: i64, queues_end: i64) -> Result<bool, OpenError> {
        if self.checkpoint.offsets.is_some() {
            return Ok(at < self.on_disk());
        }
        if !self.aborted && queues_end > at {
            return Ok(true);
        }
        // A file that was on the disk shows that all before it was. Of what was stored in the last
        // millisecond that was flushed, a part need not have been.
        let flushed_ms = if self.aborted {
            self.checkpoint.log_timestamp.saturating_sub(1)
        } else {
            i64::MAX
        };
        for file in self.log.files.all() {
            if file.start > at {
                let stored_ms = self.look_at(&file, file.start, |step| match step {
                    Step::Record(view) => Some(view.store_timestamp),
                    Step::NextFile | Step::Stop(_) => None,
                })?;
                if stored_ms.is_some_and(|stored_ms| stored_ms <= flushed_ms) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(super) fn refuse_damage(
        &self,
        walked: &Walked,
        queues_end: QueuesEnd,
    ) -> Result<(), OpenError> {
        let at = walked.end.end;
        let Some(stop) = &walked.stop else {
            let is_missing = !self.aborted && queues_end.end > at && !self.log.files.is_empty();
            return if is_missing {
                Err(self.file_missing(at))
            } else {
                Ok(())
            };
        };
        match self.log.files.find(at) {
            Some(file) if self.is_damage(at, queues_end.end)? => {
                Err(self.damaged_at(&file, at, stop))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn file_missing(&self, start: i64) -> OpenError {
        let path = self.log.files.dir().join(offset_name(start));
        self.damaged(path, 0, start, "the file is missing")
    }

    fn damaged_at(&self, file: &QueueFile, at: i64, stop: &RecordError) -> OpenError {
        let offset_in_file = (at - file.start) as u64;
        self.damaged(file.path().into(), offset_in_file, at, &stop.to_string())
    }

    fn damaged(
        &self,
        path: PathBuf,
        offset_in_file: u64,
        physical_offset: i64,
        reason: &str,
    ) -> OpenError {
        OpenError::Damaged {
            path,
            offset_in_file,
            physical_offset,
            reason: reason.into(),
            root: self.options.root.clone(),
        }
    }
}
