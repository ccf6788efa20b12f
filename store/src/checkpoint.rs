//! The checkpoint file: store times up to which log, queues and index are on the disk.
//!
//! Recovery after a crash starts from it. It never names a time later than what is flushed.

use std::io;
use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;

const FILE_BYTES: u64 = 4096;
/// Messages of the last moments may lie behind a flush that names their time.
const SAFETY_MARGIN_MS: i64 = 3_000;

/// Content of the file; all 0 if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// The log is on the disk up to this store time.
    pub(crate) log_timestamp: i64,
    /// The consume queues are.
    pub(crate) queues_timestamp: i64,
    /// The index is; 0 if there is none.
    pub(crate) index_timestamp: i64,
    /// Replication's; kept as found.
    pub(crate) master_flushed_offset: i64,
    /// Replication's; kept as found.
    pub(crate) confirm_offset: i64,
}

impl Checkpoint {
    /// Log and queues, and the index if there is one, are on the disk up to this store time, for
    /// sure.
    pub(crate) fn safe_timestamp(&self, indexed: bool) -> i64 {
        let index = if indexed {
            self.index_timestamp
        } else {
            i64::MAX
        };
        let flushed = self.log_timestamp.min(self.queues_timestamp).min(index);
        flushed.saturating_sub(SAFETY_MARGIN_MS).max(0)
    }

    fn fields(&self) -> [i64; 5] {
        [
            self.log_timestamp,
            self.queues_timestamp,
            self.index_timestamp,
            self.master_flushed_offset,
            self.confirm_offset,
        ]
    }
}

/// The file, open for writing by the checkpoint thread.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    file: DiskFile,
    last: Checkpoint,
}

impl CheckpointFile {
    /// Opens or makes the file; a damaged one reads as 0, which costs time at recovery only.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Self, OpenError> {
        let file = disk.create(path).map_err(OpenError::io("open", path))?;
        let is_new = file
            .length()
            .map_err(OpenError::io("read length of", path))?
            == 0;
        file.set_length(FILE_BYTES)
            .map_err(OpenError::io("grow", path))?;
        if is_new {
            // A disk that is full later must not keep the checkpoint back.
            let reserved = file.reserve(0, FILE_BYTES).and_then(|()| file.sync());
            reserved.map_err(OpenError::io("grow", path))?;
            let dir = path.parent().unwrap_or(path);
            let synced = disk.sync_directory(dir);
            synced.map_err(OpenError::io("sync", dir))?;
        }
        let last = read(&file).map_err(OpenError::io("read", path))?;
        Ok(Self { file, last })
    }

    /// What the file holds.
    pub(crate) fn last(&self) -> Checkpoint {
        self.last
    }

    /// Writes and flushes, if anything changed.
    pub(crate) fn write(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        if checkpoint == self.last {
            return Ok(());
        }
        let mut bytes = [0; 40];
        for (place, field) in bytes.chunks_exact_mut(8).zip(checkpoint.fields()) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        self.file.write_all_at(&bytes, 0)?;
        self.file.sync()?;
        self.last = checkpoint;
        Ok(())
    }
}

fn read(file: &DiskFile) -> io::Result<Checkpoint> {
    let mut bytes = [0; 40];
    file.read_exact_at(&mut bytes, 0)?;
    let mut fields = bytes.chunks_exact(8).map(|chunk| {
        let number = chunk
            .first_chunk::<8>()
            .map_or(0, |bytes| i64::from_be_bytes(*bytes));
        number.max(0)
    });
    let mut next = || fields.next().unwrap_or(0);
    Ok(Checkpoint {
        log_timestamp: next(),
        queues_timestamp: next(),
        index_timestamp: next(),
        master_flushed_offset: next(),
        confirm_offset: next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        let checkpoint = Checkpoint {
            log_timestamp: 10_000,
            queues_timestamp: 9_000,
            index_timestamp: 8_000,
            master_flushed_offset: 7,
            confirm_offset: 6,
        };
        let mut file = CheckpointFile::open(&Disk::default(), &path).unwrap();
        assert_eq!(file.last(), Checkpoint::default());
        file.write(checkpoint).unwrap();
        drop(file);
        assert_eq!(
            CheckpointFile::open(&Disk::default(), &path)
                .unwrap()
                .last(),
            checkpoint
        );
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096);
        assert_eq!(checkpoint.safe_timestamp(false), 6_000);
        assert_eq!(checkpoint.safe_timestamp(true), 5_000);
    }
}
