//! The log as a whole, from the walks through its files: what is lost, and where it ends.

use std::path::PathBuf;

use thrustmq_proto_compat::message::record::RecordError;

use super::directory::{OffsetFile, usual_length};
use super::finding::{FindingKind, Findings};
use super::log_walk::{Ending, FileWalk};

/// A log file and what a walk found in it.
#[derive(Debug, Clone)]
pub(super) struct WalkedFile {
    pub(super) file: OffsetFile,
    pub(super) walk: FileWalk,
}

/// Bytes of the log that hold no record, though sound ones follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Physical offset of the first.
    pub(super) from: i64,
    /// Physical offset behind the last; never beyond the file of the first.
    pub(super) to: i64,
    pub(super) cause: LostCause,
    /// Store time of the last record before it.
    pub(super) timestamp_before: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LostCause {
    /// No record is there.
    Damaged(RecordError),
    /// No file is there.
    NoFile,
}

/// What is known of the log after all its files were walked.
#[derive(Debug)]
pub(super) struct LogCheck {
    /// Bytes of one file.
    pub(super) file_bytes: u64,
    pub(super) files: Vec<WalkedFile>,
    /// Places in the middle, in order.
    pub(super) lost: Vec<Lost>,
    /// Files of another length, or with a name between two others'.
    pub(super) misfits: Vec<PathBuf>,
    /// Physical offset behind the last sound record or filler.
    pub(super) end: i64,
    /// Behind the end is something that is no record.
    pub(super) tail: Option<RecordError>,
    /// Number of files up to the one that holds the end.
    pub(super) files_to_end: usize,
    pub(super) records: u64,
}

impl LogCheck {
    pub(super) fn new(files: Vec<WalkedFile>) -> Self {
        let plain: Vec<OffsetFile> = files.iter().map(|walked| walked.file.clone()).collect();
        let mut check = Self {
            file_bytes: usual_length(&plain),
            lost: Vec::new(),
            misfits: Vec::new(),
            end: plain.first().map_or(0, |first| first.start),
            tail: None,
            files_to_end: 0,
            records: files.iter().map(|walked| walked.walk.records).sum(),
            files: Vec::new(),
        };
        let first = check.end;
        let (fitting, strange): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|walked| check.is_in_row(first, walked.file.start));
        let of_other_length =
            |walked: &&WalkedFile| ![0, check.file_bytes].contains(&walked.file.length);
        let misfits = strange.iter().chain(fitting.iter().filter(of_other_length));
        check.misfits = misfits.map(|walked| walked.file.path.clone()).collect();
        check.files = fitting;
        check.find_end();
        check.find_lost();
        check
    }

    fn is_in_row(&self, first: i64, start: i64) -> bool {
        let bytes = i64::try_from(self.file_bytes).unwrap_or(i64::MAX).max(1);
        (start - first) % bytes == 0
    }

    pub(super) fn end_of_file(&self, file: &OffsetFile) -> i64 {
        file.start.saturating_add_unsigned(self.file_bytes)
    }

    fn find_end(&mut self) {
        let last = self
            .files
            .iter()
            .rposition(|walked| walked.walk.is_sound_anywhere());
        self.files_to_end = last.map_or(0, |last| last + 1);
        let mut tail = None;
        if let Some(walked) = last.and_then(|last| self.files.get(last)) {
            self.end = match walked.walk.ending {
                Ending::Filler => self.end_of_file(&walked.file),
                Ending::Unwritten => walked.walk.sound_end,
                Ending::Damaged(reason) => {
                    tail = Some(reason);
                    walked.walk.sound_end
                }
            };
        }
        let behind = self.files.iter().skip(self.files_to_end);
        let unsound = behind.filter_map(|walked| match walked.walk.ending {
            Ending::Damaged(reason) => Some(reason),
            Ending::Filler | Ending::Unwritten => None,
        });
        self.tail = tail.or(unsound.into_iter().next());
    }

    fn find_lost(&mut self) {
        let mut lost = Vec::new();
        let mut expected = self.files.first().map_or(0, |walked| walked.file.start);
        let mut timestamp_before = 0;
        for (number, walked) in self.files.iter().take(self.files_to_end).enumerate() {
            let WalkedFile { file, walk } = walked;
            while expected < file.start {
                let to = expected.saturating_add_unsigned(self.file_bytes.max(1));
                lost.push(Lost {
                    from: expected,
                    to: to.min(file.start),
                    cause: LostCause::NoFile,
                    timestamp_before,
                });
                expected = to;
            }
            for region in &walk.regions {
                lost.push(Lost {
                    from: region.from,
                    to: region.to,
                    cause: LostCause::Damaged(region.reason),
                    timestamp_before: timestamp_before.max(region.timestamp_before),
                });
            }
            timestamp_before = timestamp_before.max(walk.last_timestamp);
            expected = self.end_of_file(file);
            let reason = match walk.ending {
                Ending::Filler => None,
                Ending::Unwritten => Some(RecordError::Unwritten),
                Ending::Damaged(reason) => Some(reason),
            };
            let is_last = number + 1 == self.files_to_end;
            if let Some(reason) = reason.filter(|_| !is_last && walk.sound_end < expected) {
                lost.push(Lost {
                    from: walk.sound_end,
                    to: expected,
                    cause: LostCause::Damaged(reason),
                    timestamp_before,
                });
            }
        }
        self.lost = lost;
    }

    /// Whether an offset lies in bytes that hold no record.
    pub(super) fn is_lost(&self, physical_offset: i64) -> bool {
        let behind = self
            .lost
            .partition_point(|lost| lost.from <= physical_offset);
        let before = behind.checked_sub(1).and_then(|index| self.lost.get(index));
        physical_offset >= self.end || before.is_some_and(|lost| physical_offset < lost.to)
    }

    /// The file that holds an offset, and where in it.
    pub(super) fn place_of(&self, physical_offset: i64) -> Option<(&OffsetFile, u64)> {
        let behind = self
            .files
            .partition_point(|walked| walked.file.start <= physical_offset);
        let file = &self.files.get(behind.checked_sub(1)?)?.file;
        Some((file, u64::try_from(physical_offset - file.start).ok()?))
    }

    /// Tells all but the end, which is damaged only if something should be there.
    pub(super) fn tell(&self, findings: &mut Findings) {
        for path in &self.misfits {
            findings.add(FindingKind::MisfitFile, path, 0, &|| {
                format!(
                    "its length or its name does not fit the other files, of {} bytes each",
                    self.file_bytes
                )
            });
        }
        for lost in &self.lost {
            let Some((file, at)) = self.place_of(lost.from) else {
                continue;
            };
            match lost.cause {
                LostCause::NoFile => {
                    findings.add(FindingKind::MissingLogFile, &file.path, at, &|| {
                        format!(
                            "the file behind it is missing, from {} to {} of the log",
                            lost.from, lost.to
                        )
                    })
                }
                LostCause::Damaged(reason) => {
                    findings.add(FindingKind::DamagedLog, &file.path, at, &|| {
                        let bytes = lost.to - lost.from;
                        format!(
                            "{bytes} bytes at {} of the log are no record: {reason}",
                            lost.from
                        )
                    })
                }
            }
        }
    }
}
