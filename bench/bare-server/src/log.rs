//! The bare server's log: bodies one behind the other in mapped files, the next file when one is full.
//! Nothing is flushed, and nothing is read again.
//!
//! A file loses its name as soon as it is mapped, so that it is gone with the process, however that ends.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use thrustmq_store::{Disk, MappedFile, Place};

/// As long as a log's file.
pub(crate) const FILE_BYTES: usize = 1 << 30;
/// Older ones go: a measurement writes more than a disk should lose to it.
const FILES_MAX: usize = 4;

/// What all connections write to.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file_bytes: usize,
    /// The last one is written to.
    files: Mutex<VecDeque<MappedFile>>,
}

impl Log {
    /// A log whose files take their room in this directory.
    pub(crate) fn create(directory: &Path, file_bytes: usize) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let log = Self {
            path: directory.join("log"),
            file_bytes,
            files: Mutex::new(VecDeque::new()),
        };
        log.add_file(&mut log.files.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(log)
    }

    /// Copies bodies behind what is there, under one lock.
    pub(crate) fn append(&self, bodies: &[&[u8]]) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for body in bodies {
            let has_room = |file: &MappedFile| file.bytes_left() >= body.len();
            if !files.back().is_some_and(has_room) {
                self.add_file(&mut files)?;
            }
            let file = files.back().ok_or(io::ErrorKind::NotFound)?;
            file.append(body)?;
        }
        Ok(())
    }

    fn add_file(&self, files: &mut VecDeque<MappedFile>) -> io::Result<()> {
        let disk = Disk::default();
        let file = MappedFile::create(&disk, &self.path, self.file_bytes, Place::Reserved)?;
        fs::remove_file(&self.path)?;
        files.push_back(file);
        if files.len() > FILES_MAX {
            files.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_followed_by_the_next_and_none_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::create(dir.path(), 10).unwrap();
        let left = |log: &Log| -> Vec<usize> {
            let files = log.files.lock().unwrap();
            files.iter().map(MappedFile::bytes_left).collect()
        };
        log.append(&[b"four", b"five5", b"two"]).unwrap();
        assert_eq!(left(&log), [1, 7]);
        for _ in 0..4 {
            log.append(&[b"nine byte"]).unwrap();
        }
        assert_eq!(left(&log), [1, 1, 1, 1]);
        assert!(log.append(&[b"more than ten"]).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
