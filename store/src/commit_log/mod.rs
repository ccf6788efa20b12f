//! The commit log: all messages of all topics, one behind the other. Ground state of the store;
//! queues, index and checkpoint are derived from it.
//!
//! [`appender`] writes, [`reader`] reads what is young and walks, [`cold`] reads what is old.

pub(crate) mod appender;
pub(crate) mod cold;
pub(crate) mod queue_offsets;
pub(crate) mod reader;

use std::sync::Arc;

use crate::error::OpenError;
use crate::file_queue::FileQueue;
use crate::layout::Layout;
use crate::mapped_file::Place;
use crate::options::{FlushMode, StoreOptions};

/// The files of the log.
#[derive(Debug)]
pub(crate) struct CommitLog {
    pub(crate) files: FileQueue,
    pub(crate) file_bytes: usize,
}

impl CommitLog {
    /// Finds the files; how much of the last counts is left to recovery.
    pub(crate) fn open(layout: &Layout, options: &StoreOptions) -> Result<Arc<Self>, OpenError> {
        let file_bytes = usize::try_from(options.commit_log_file_bytes).unwrap_or(usize::MAX);
        let dir = layout.commit_log.clone();
        let place = match options.flush {
            FlushMode::Async { .. } => Place::Reserved,
            FlushMode::Sync => Place::Written,
        };
        let files = FileQueue::open(layout.disk.clone(), dir, file_bytes, place);
        Ok(Arc::new(Self {
            files: files.map_err(|error| error.of_log(&layout.root))?,
            file_bytes,
        }))
    }

    /// Behind the last byte of the last file.
    pub(crate) fn files_end(&self) -> i64 {
        self.files.last().map_or(0, |file| file.end())
    }

    /// First byte of the log.
    pub(crate) fn min(&self) -> i64 {
        self.files.first().map_or(0, |file| file.start)
    }
}
