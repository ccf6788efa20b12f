//! The commit log: all messages of all topics, one behind the other. Ground state of the store;
//! queues, index and checkpoint are derived from it.
//!
//! [`appender`] writes, [`reader`] reads and walks.

pub(crate) mod appender;
pub(crate) mod reader;

use std::sync::Arc;

use crate::error::OpenError;
use crate::file_queue::FileQueue;
use crate::layout::Layout;
use crate::mapped_file::Place;
use crate::options::StoreOptions;

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
        Ok(Arc::new(Self {
            files: FileQueue::open(layout.disk.clone(), dir, file_bytes, Place::Reserved)?,
            file_bytes,
        }))
    }

    /// Where the file begins behind the one that holds this offset.
    pub(crate) fn begin_of_next_file(&self, physical_offset: i64) -> i64 {
        self.files.end_of_file(physical_offset)
    }

    /// First byte of the log.
    pub(crate) fn min(&self) -> i64 {
        self.files.first().map_or(0, |file| file.start)
    }
}
