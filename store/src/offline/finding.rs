//! What a check found, kept within bounds: the first findings in full, of all only the number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Findings that are kept in full.
const KEPT_MAX: usize = 100;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Bytes of the log that are no record, with sound ones behind them.
    DamagedLog,
    /// The log ends earlier than it once did.
    DamagedTail,
    /// A log file that is not there, with others behind it.
    MissingLogFile,
    /// A file whose length or name does not fit the others.
    MisfitFile,
    /// A queue entry that does not describe the record at its place.
    QueueEntry,
    /// A record that has no entry in its queue.
    MissingQueueEntry,
    /// An index entry that does not belong to a key of the record at its place.
    IndexEntry,
    /// A key of a record that the index does not have.
    MissingIndexEntry,
    /// A chain of the index that leads elsewhere.
    IndexChain,
}

impl FindingKind {
    /// What is wrong, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::DamagedLog => "damaged places in the log",
            Self::DamagedTail => "damaged end of the log",
            Self::MissingLogFile => "missing log files",
            Self::MisfitFile => "files that do not fit the others",
            Self::QueueEntry => "queue entries without their record",
            Self::MissingQueueEntry => "records without a queue entry",
            Self::IndexEntry => "index entries without their record",
            Self::MissingIndexEntry => "keys that are not in the index",
            Self::IndexChain => "broken chains in the index",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in the file, bytes.
    pub offset: u64,
    /// What is wrong.
    pub kind: FindingKind,
    /// What is wrong, told.
    pub text: String,
}

/// All that is wrong.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The first of them, by file and offset.
    pub first: Vec<Finding>,
    /// How many there are of each kind.
    pub counts: BTreeMap<FindingKind, u64>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: FindingKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub(super) fn add(
        &mut self,
        kind: FindingKind,
        path: &Path,
        offset: u64,
        text: &dyn Fn() -> String,
    ) {
        *self.counts.entry(kind).or_default() += 1;
        if self.first.len() < KEPT_MAX {
            self.first.push(Finding {
                path: path.to_owned(),
                offset,
                kind,
                text: text(),
            });
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.first.extend(other.first);
        self.first.sort_unstable();
        self.first.truncate(KEPT_MAX);
    }
}
