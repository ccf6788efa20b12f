//! What can go wrong, one enum an operation.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thrustmq_proto_compat::message::record::{EncodeError, RecordError};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has this directory open.
    #[error("store {root} is in use by another process: its file `lock` is locked")]
    InUse {
        /// The directory.
        root: PathBuf,
    },
    /// A file or directory cannot be read, written or mapped.
    #[error("{action} {path}")]
    Io {
        /// Verb, as in "create".
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file's length is not the configured one.
    #[error(
        "{path} has {found} bytes, configured are {expected}: start with the size it was made with{}",
        advice(repair.as_deref())
    )]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The configured bytes.
        expected: u64,
        /// Root of the store, if it is a file of the log, which cannot be built again.
        repair: Option<PathBuf>,
    },
    /// Files do not follow each other.
    #[error(
        "{path} does not follow the file before it: a file is missing{}",
        advice(repair.as_deref())
    )]
    Gap {
        /// The file behind the gap.
        path: PathBuf,
        /// Root of the store, if it is a file of the log, which cannot be built again.
        repair: Option<PathBuf>,
    },
    /// The log holds something else where a record was on the disk.
    #[error(
        "{path} is damaged at byte {offset_in_file}, physical offset {physical_offset}: {reason}{}",
        advice(Some(root))
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file the record should begin.
        offset_in_file: u64,
        /// Where in the log that is.
        physical_offset: i64,
        /// What lies there instead.
        reason: Box<str>,
        /// Root of the store.
        root: PathBuf,
    },
    /// Options that cannot work together.
    #[error("option {option}: {problem}")]
    Options {
        /// Field of [`crate::StoreOptions`].
        option: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Whom to ask about a damaged log.
fn advice(root: Option<&Path>) -> String {
    root.map_or_else(String::new, |root| {
        let root = root.display();
        format!("; `thrustmq store repair {root}` tells what can be saved")
    })
}

impl OpenError {
    /// Names the repair in errors about files of the log.
    pub(crate) fn of_log(mut self, root: &Path) -> Self {
        if let Self::WrongLength { repair, .. } | Self::Gap { repair, .. } = &mut self {
            *repair = Some(root.to_owned());
        }
        self
    }

    /// For `map_err` on file operations.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// A disk that is too full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the disk of the {place} is {used_percent} % full, allowed are {limit_percent} %")]
pub struct DiskFull {
    /// How full it is, percent.
    pub used_percent: u32,
    /// How full it may be, percent.
    pub limit_percent: u32,
    /// What lies on it.
    pub place: DiskPlace,
}

/// What of the store lies on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskPlace {
    /// The commit log.
    CommitLog,
    /// Everything else.
    ConsumeQueues,
}

impl fmt::Display for DiskPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommitLog => "commit log",
            Self::ConsumeQueues => "consume queues",
        })
    }
}

/// Why appends are refused at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWritable {
    /// A disk is fuller than `disk_warning_percent`.
    #[error("{0}")]
    DiskFull(DiskFull),
    /// The disk refused to take bytes: what the page cache holds is no longer to be trusted.
    #[error("a flush to the disk failed")]
    FlushFailed,
    /// Consume queues or index cannot be written.
    #[error("consume queues or index cannot be written: {}", os_error_text(*os_error))]
    DispatchFailed {
        /// What the system said, as `errno` numbers it; 0 if it was not the system.
        os_error: i32,
    },
    /// A thread of the store panicked; only opening it again helps.
    #[error("a thread of the store has died")]
    ThreadDied,
}

fn os_error_text(os_error: i32) -> String {
    if os_error == 0 {
        return "see the broker's log".to_owned();
    }
    io::Error::from_raw_os_error(os_error).to_string()
}

/// Why a message was not stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Body, topic or the whole have an illegal length.
    #[error("message is illegal: {reason}")]
    Illegal {
        /// What is wrong.
        reason: String,
    },
    /// Properties do not fit a record.
    #[error("properties take {bytes} bytes, allowed are 32767")]
    PropertiesTooLong {
        /// Their bytes.
        bytes: usize,
    },
    /// The store takes no messages at the moment.
    #[error("store is not writable: {0}")]
    NotWritable(#[from] NotWritable),
    /// No file to append to.
    #[error("create mapped file failed")]
    CreateFile {
        /// The system's answer.
        source: io::Error,
    },
    /// An append has been holding the lock for too long.
    #[error("page cache is busy: an append has taken {held_ms} ms")]
    PageCacheBusy {
        /// For how long, milliseconds.
        held_ms: i64,
    },
    /// The message names light queues that would be too many.
    #[error("more than {queues_max} light queues")]
    TooManyLightQueues {
        /// So many may be.
        queues_max: usize,
    },
    /// [`crate::Store::shutdown`] was called.
    #[error("store is shut down")]
    ShutDown,
}

impl From<EncodeError> for AppendError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::PropertiesTooLong { bytes } => Self::PropertiesTooLong { bytes },
            EncodeError::TopicLength { .. } | EncodeError::BodyTooLong { .. } => Self::Illegal {
                reason: error.to_string(),
            },
        }
    }
}

/// Why stored bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is not within the log.
    #[error("offset {physical_offset} is outside the log, which goes from {min} to {end}")]
    OutOfRange {
        /// As asked.
        physical_offset: i64,
        /// First byte of the log.
        min: i64,
        /// End of the log.
        end: i64,
    },
    /// No record begins there.
    #[error("no record at offset {physical_offset}")]
    NoRecord {
        /// As asked.
        physical_offset: i64,
        /// What lies there instead.
        source: RecordError,
    },
    /// The disk would have to be waited for, which the caller does not want.
    #[error("not in memory")]
    NotInMemory,
    /// The disk does not give the bytes.
    #[error("cannot read {path} at byte {position}: {source}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// What lies there is not what was stored.
    #[error(
        "{path} is damaged at byte {position}: {reason}; \
         `thrustmq store repair DIR` tells what can be saved"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// What lies there instead.
        reason: String,
    },
}

impl ReadError {
    /// For `map_err` on file operations.
    pub(crate) fn disk(path: &Path, position: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk {
            path: path.to_owned(),
            position,
            source,
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Disk { source, .. } => source.kind(),
            ReadError::Damaged { .. } => io::ErrorKind::InvalidData,
            ReadError::NotInMemory => io::ErrorKind::WouldBlock,
            ReadError::OutOfRange { .. } | ReadError::NoRecord { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
