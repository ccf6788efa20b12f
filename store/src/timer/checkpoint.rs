//! `config/timercheck`: how far the timer has come.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::OpenError;

/// Bytes that count.
const BYTES: usize = 56;
/// Java maps a page.
const FILE_BYTES: u64 = 4096;

/// How far the timer has come: everything before these marks is done, or stands in log and wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimerCheckpoint {
    /// Slots before this time are delivered, milliseconds.
    pub read_ms: i64,
    /// End of the timer log on the disk.
    pub log_flushed: i64,
    /// Messages of the timer topic before this one are in the timer.
    pub queue_offset: i64,
    /// The same of the master, for replicas.
    pub master_queue_offset: i64,
    /// Data version: the state it belongs to.
    pub state_version: i64,
    /// Data version: when it changed, milliseconds.
    pub version_ms: i64,
    /// Data version: how often it changed.
    pub version: i64,
}

impl TimerCheckpoint {
    /// The bytes of the file, which replicas ask for.
    pub fn encode(&self) -> [u8; BYTES] {
        let numbers = [
            self.read_ms,
            self.log_flushed,
            self.queue_offset,
            self.master_queue_offset,
            self.state_version,
            self.version_ms,
            self.version,
        ];
        let mut bytes = [0; BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// What is missing is 0.
    fn decode(bytes: &[u8]) -> Self {
        let mut numbers = bytes
            .chunks_exact(8)
            .filter_map(|bytes| bytes.first_chunk().copied())
            .map(i64::from_be_bytes);
        let mut next = || numbers.next().unwrap_or(0);
        Self {
            read_ms: next(),
            log_flushed: next(),
            queue_offset: next(),
            master_queue_offset: next(),
            state_version: next(),
            version_ms: next(),
            version: next(),
        }
    }
}

/// The file, made when it is first written.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    disk: Disk,
    path: PathBuf,
}

impl CheckpointFile {
    pub(crate) fn new(disk: Disk, root: &Path) -> Self {
        let path = root.join("config").join("timercheck");
        Self { disk, path }
    }

    /// What the file holds; nothing if there is none.
    pub(crate) fn read(&self) -> Result<Option<TimerCheckpoint>, OpenError> {
        let read = || {
            if !self.disk.exists(&self.path)? {
                return Ok(None);
            }
            let mut bytes = [0; BYTES];
            let file = self.disk.open_to_read(&self.path)?;
            let count = file.read_at(&mut bytes, 0)?;
            let bytes = bytes.get(..count).unwrap_or_default();
            Ok(Some(TimerCheckpoint::decode(bytes)))
        };
        read().map_err(OpenError::io("read", &self.path))
    }

    /// Writes and flushes.
    pub(crate) fn write(&self, checkpoint: &TimerCheckpoint) -> io::Result<()> {
        let is_new = !self.disk.exists(&self.path)?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        if is_new {
            self.disk.make_directories(dir)?;
        }
        let file = self.disk.create(&self.path)?;
        if file.length()? < FILE_BYTES {
            file.set_length(FILE_BYTES)?;
        }
        file.write_all_at(&checkpoint.encode(), 0)?;
        file.sync()?;
        if is_new {
            self.disk.sync_directory(dir)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(Disk::default(), root.path());
        assert_eq!(file.read().unwrap(), None);
        let checkpoint = TimerCheckpoint {
            read_ms: 1,
            log_flushed: 2,
            queue_offset: 3,
            master_queue_offset: 4,
            state_version: 5,
            version_ms: 6,
            version: 7,
        };
        file.write(&checkpoint).unwrap();
        assert_eq!(file.read().unwrap(), Some(checkpoint));
        let bytes = std::fs::read(root.path().join("config/timercheck")).unwrap();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(
            &bytes[..16],
            &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
        );
    }
}
