//! What would make a damaged directory one that opens, and what is lost with it.
//!
//! The log's damaged places are filled with records that no queue and no index takes, so that all
//! that is sound keeps its place; queue entries of lost messages become blank, so that no number is
//! used twice. Queues, index and checkpoint that are damaged go: the next start builds them again.

use std::fmt;
use std::path::{Path, PathBuf};

use thrustmq_proto_compat::clock::Clock;

use crate::consume_queue::entry::{BLANK_ENTRY, ENTRY_BYTES};
use crate::error::OpenError;
use crate::layout::{Layout, offset_name};

use super::block::OnRead;
use super::directory::{DirectoryOptions, SharedLock};
use super::finding::{FindingKind, Findings};
use super::log_check::{LogCheck, LostCause};
use super::log_walk::Ending;
use super::queue_files::{QueueOnDisk, points_into};
use super::repair_write::Writer;
use super::verify::{Checked, Verification, check};

/// A repair, done or only planned.
#[derive(Debug, Clone)]
pub struct Repair {
    /// What was found before.
    pub verification: Verification,
    /// What has to be changed, in this order.
    pub changes: Vec<Change>,
    /// Messages that are lost, as far as queues know them.
    pub lost: Vec<LostMessages>,
    /// Bytes of the log that hold no record any more.
    pub lost_bytes: u64,
    /// Where a copy lies of all that was changed; nothing if it is only planned.
    pub copy: Option<PathBuf>,
}

/// Messages of one queue that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostMessages {
    /// Topic.
    pub topic: String,
    /// Queue within the topic.
    pub queue_id: i32,
    /// How many.
    pub messages: u64,
    /// Number of the first in its queue.
    pub first: i64,
    /// Number of the last in its queue.
    pub last: i64,
}

/// One change to a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A log file gets the length of the others.
    SetLength {
        /// The file.
        path: PathBuf,
        /// Its new length, bytes.
        bytes: u64,
    },
    /// Damaged bytes of the log become records that nobody is served.
    Fill {
        /// The file.
        path: PathBuf,
        /// Where in the file, bytes.
        at: u64,
        /// How many bytes.
        bytes: u64,
        /// Where in the log.
        physical_offset: i64,
        /// Store time of the records, milliseconds.
        timestamp: i64,
    },
    /// A log file ends early: the log goes on in the next. A file that is missing is made.
    EndFile {
        /// The file.
        path: PathBuf,
        /// Where in the file, bytes.
        at: u64,
        /// Length of the file, bytes.
        file_bytes: u64,
    },
    /// The log ends here: what lies behind in the file becomes zeros.
    Cut {
        /// The file.
        path: PathBuf,
        /// Where in the file, bytes.
        at: u64,
    },
    /// The entry of a lost message becomes blank, or goes, at the end of its queue.
    Entry {
        /// The file.
        path: PathBuf,
        /// Where in the file, bytes.
        at: u64,
        /// What becomes of it.
        entry: [u8; ENTRY_BYTES],
    },
    /// A file or directory is moved to the copy.
    MoveAway {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
}

impl Change {
    /// The file or directory that changes.
    pub fn path(&self) -> &Path {
        match self {
            Self::SetLength { path, .. }
            | Self::Fill { path, .. }
            | Self::EndFile { path, .. }
            | Self::Cut { path, .. }
            | Self::Entry { path, .. }
            | Self::MoveAway { path, .. } => path,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::SetLength { bytes, .. } => write!(f, "{path}: set its length to {bytes} bytes"),
            Self::Fill { at, bytes, .. } => {
                write!(f, "{path} at {at}: replace {bytes} damaged bytes by filler")
            }
            Self::EndFile { at: 0, .. } => write!(f, "{path}: make it a file of filler alone"),
            Self::EndFile { at, .. } => write!(f, "{path} at {at}: end the file with filler"),
            Self::Cut { at, .. } => write!(f, "{path} at {at}: cut off what is behind"),
            Self::Entry { at, entry, .. } if *entry == BLANK_ENTRY => {
                write!(f, "{path} at {at}: blank the entry of a lost message")
            }
            Self::Entry { at, .. } => write!(f, "{path} at {at}: remove the last entry"),
            Self::MoveAway { reason, .. } => write!(f, "{path}: move it away, {reason}"),
        }
    }
}

/// Plans what would make a directory one that opens, and does it if given the time: then all that is
/// changed is copied first, into `repair-<time>` in the directory. For `on_read` see
/// [`super::verify`].
///
/// # Errors
/// There is no store in the directory, one runs on it, or a file cannot be read or written.
pub fn repair(
    options: &DirectoryOptions,
    write: Option<&Clock>,
    on_read: OnRead<'_>,
) -> Result<Repair, OpenError> {
    let layout = options.layout()?;
    match write {
        None => {
            let _lock = SharedLock::take(&layout)?;
            plan(options, &layout, on_read)
        }
        Some(clock) => {
            let _lock = layout.lock()?;
            let mut repair = plan(options, &layout, on_read)?;
            if !repair.changes.is_empty() {
                repair.copy = Some(Writer::new(&layout, clock)?.write(&repair)?);
            }
            Ok(repair)
        }
    }
}

fn plan(
    options: &DirectoryOptions,
    layout: &Layout,
    on_read: OnRead<'_>,
) -> Result<Repair, OpenError> {
    let checked = check(options, layout, on_read)?;
    let mut plan = Plan {
        changes: Vec::new(),
        lost: Vec::new(),
    };
    plan.mend_log(&checked.log, &layout.commit_log);
    plan.mend_derived(&checked, layout)?;
    for path in [&layout.checkpoint, &layout.abort] {
        let exists = layout.disk.exists(path);
        if !plan.changes.is_empty() && exists.map_err(OpenError::io("look for", path))? {
            let reason = "since it told of the directory as it was";
            plan.move_away(path, reason);
        }
    }
    let lost_bytes = checked.log.lost.iter().map(|lost| lost.to - lost.from);
    Ok(Repair {
        lost_bytes: u64::try_from(lost_bytes.sum::<i64>()).unwrap_or(0),
        verification: checked.verification,
        changes: plan.changes,
        lost: plan.lost,
        copy: None,
    })
}

struct Plan {
    changes: Vec<Change>,
    lost: Vec<LostMessages>,
}

impl Plan {
    fn mend_log(&mut self, log: &LogCheck, dir: &Path) {
        for path in &log.misfits {
            let in_row = log.files.iter().find(|walked| walked.file.path == *path);
            match in_row {
                Some(_) => self.changes.push(Change::SetLength {
                    path: path.clone(),
                    bytes: log.file_bytes,
                }),
                None => self.move_away(path, "since its name does not fit the other files"),
            }
        }
        for lost in &log.lost {
            let place = log
                .place_of(lost.from)
                .filter(|_| lost.cause != LostCause::NoFile);
            let (path, at) = match place {
                Some((file, at)) => (file.path.clone(), at),
                None => (dir.join(offset_name(lost.from)), 0),
            };
            let bytes = u64::try_from(lost.to - lost.from).unwrap_or(0);
            self.changes.push(if at + bytes >= log.file_bytes {
                Change::EndFile {
                    path,
                    at,
                    file_bytes: log.file_bytes,
                }
            } else {
                Change::Fill {
                    path,
                    at,
                    bytes,
                    physical_offset: lost.from,
                    timestamp: lost.timestamp_before,
                }
            });
        }
        if log.tail.is_some() {
            self.cut_tail(log);
        }
    }

    fn cut_tail(&mut self, log: &LogCheck) {
        // The first file stays, even if nothing in it is sound: it holds the log's begin.
        let kept = log.files_to_end.max(1);
        if let Some(last) = log.files.get(kept - 1)
            && matches!(last.walk.ending, Ending::Damaged(_))
        {
            let at = u64::try_from(last.walk.sound_end - last.file.start).unwrap_or(0);
            let path = last.file.path.clone();
            self.changes.push(Change::Cut { path, at });
        }
        for behind in log.files.iter().skip(kept) {
            self.move_away(&behind.file.path, "since it lies behind the log's end");
        }
    }

    fn mend_derived(&mut self, checked: &Checked, layout: &Layout) -> Result<(), OpenError> {
        let findings = &checked.verification.findings;
        let mut queues_damaged = findings.count(FindingKind::MissingQueueEntry) > 0;
        let mut entries = Vec::new();
        let mut topics: Vec<_> = checked.facts.queues.iter().collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        for queue in topics.into_iter().flat_map(|(_, queues)| queues.values()) {
            queues_damaged |= queue.misfit.is_some();
            self.lose_messages(queue, &checked.log, &mut entries)?;
        }
        // Each entry of a lost message was a finding; any other finding is the queue's own damage.
        queues_damaged |= findings.count(FindingKind::QueueEntry) != entries.len() as u64;
        if queues_damaged {
            let reason = "to be built again at the next start";
            self.move_away(&layout.consume_queue, reason);
        } else {
            self.changes.extend(entries);
        }
        if is_index_damaged(findings, &layout.index) {
            self.move_away(&layout.index, "to be built again at the next start");
        }
        Ok(())
    }

    /// Finds the entries of one queue whose messages are lost.
    fn lose_messages(
        &mut self,
        queue: &QueueOnDisk,
        log: &LogCheck,
        entries: &mut Vec<Change>,
    ) -> Result<(), OpenError> {
        let log_min = log.files.first().map_or(0, |first| first.file.start);
        let mut numbers = Vec::new();
        let mut behind = Vec::new();
        let mut kept_until = queue.first;
        queue.for_each(&mut |number, entry| {
            if entry.physical_offset >= log.end {
                behind.push(number);
                return Ok(());
            }
            // What points behind the log's end in front of this entry does so by damage.
            behind.clear();
            kept_until = number + 1;
            if points_into(entry, log_min) && log.is_lost(entry.physical_offset) {
                numbers.push(number);
            }
            Ok(())
        })?;
        numbers.extend(behind);
        for number in &numbers {
            let Some(place) = queue.place_of(*number) else {
                continue;
            };
            entries.push(Change::Entry {
                path: place.path.to_owned(),
                at: place.at,
                entry: if *number < kept_until {
                    BLANK_ENTRY
                } else {
                    [0; ENTRY_BYTES]
                },
            });
        }
        if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
            self.lost.push(LostMessages {
                topic: queue.topic.to_string(),
                queue_id: queue.queue_id,
                messages: numbers.len() as u64,
                first: *first,
                last: *last,
            });
        }
        Ok(())
    }

    fn move_away(&mut self, path: &Path, reason: &'static str) {
        self.changes.push(Change::MoveAway {
            path: path.to_owned(),
            reason,
        });
    }
}

fn is_index_damaged(findings: &Findings, dir: &Path) -> bool {
    let kinds = [
        FindingKind::IndexEntry,
        FindingKind::MissingIndexEntry,
        FindingKind::IndexChain,
    ];
    let misfit = |finding: &super::Finding| {
        finding.kind == FindingKind::MisfitFile && finding.path.starts_with(dir)
    };
    kinds.iter().any(|kind| findings.count(*kind) > 0) || findings.first.iter().any(misfit)
}
