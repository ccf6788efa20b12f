//! Reading one file in large blocks, and finding where it holds anything but zeros.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};

use crate::error::OpenError;

/// Bytes of one read.
const BLOCK_BYTES: usize = 4 << 20;

/// Told of bytes that were read for the first time.
pub type OnRead<'a> = &'a (dyn Fn(u64) + Sync);

/// A file, and the part of it that is in memory.
pub(super) struct BlockReader<'a> {
    file: File,
    path: PathBuf,
    /// Bytes of the file.
    length: u64,
    /// Where the buffer begins in the file.
    at: u64,
    buffer: Vec<u8>,
    /// End of what was ever read.
    read_end: u64,
    on_read: OnRead<'a>,
}

impl<'a> BlockReader<'a> {
    pub(super) fn open(path: &Path, on_read: OnRead<'a>) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(OpenError::io("open", path))?;
        let metadata = file.metadata();
        let length = metadata
            .map_err(OpenError::io("read length of", path))?
            .len();
        Ok(Self {
            file,
            path: path.to_owned(),
            length,
            at: 0,
            buffer: Vec::new(),
            read_end: 0,
            on_read,
        })
    }

    /// Tells of the bytes behind what was read, as if they had been.
    pub(super) fn pass_over_rest(&mut self) {
        self.tell_read(self.length);
    }

    fn tell_read(&mut self, end: u64) {
        if end > self.read_end {
            (self.on_read)(end - self.read_end);
            self.read_end = end;
        }
    }

    /// What lies at a place: at least `need` bytes, fewer only at the end of the file.
    pub(super) fn window(&mut self, at: u64, need: usize) -> Result<&[u8], OpenError> {
        let end = at.saturating_add(need as u64).min(self.length);
        let held_end = self.at + self.buffer.len() as u64;
        if at < self.at || end > held_end {
            self.read(at, need)?;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..).unwrap_or_default())
    }

    fn read(&mut self, at: u64, need: usize) -> Result<(), OpenError> {
        let left = self.length.saturating_sub(at);
        let bytes = (need.max(BLOCK_BYTES) as u64).min(left) as usize;
        self.buffer.clear();
        self.buffer.resize(bytes, 0);
        self.buffer.shrink_to(2 * BLOCK_BYTES);
        self.at = at;
        if let Err(error) = self.file.read_exact_at(&mut self.buffer, at) {
            self.buffer.clear();
            return Err(OpenError::io("read", &self.path)(error));
        }
        self.tell_read(at + bytes as u64);
        Ok(())
    }

    /// The first byte at a place or behind it that is not zero. Holes are not read.
    pub(super) fn first_written(&mut self, mut at: u64) -> Result<Option<u64>, OpenError> {
        while at < self.length {
            at = match seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(rustix::io::Errno::NXIO) => return Ok(None),
                // Not every file system knows its holes.
                Err(_) => at,
            };
            let window = self.window(at, 1)?;
            if let Some(found) = window.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + found as u64));
            }
            at += window.len().max(1) as u64;
        }
        Ok(None)
    }
}

impl std::fmt::Debug for BlockReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockReader")
            .field("path", &self.path)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_what_is_asked_for_and_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..BLOCK_BYTES + 1000).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut reader = BlockReader::open(&path, &|_| {}).unwrap();
        for (at, need) in [
            (0, 10),
            (BLOCK_BYTES - 5, 10),
            (7, BLOCK_BYTES + 5),
            (900, 3),
        ] {
            let window = reader.window(at as u64, need).unwrap();
            assert!(window.len() >= need, "{} at {at}", window.len());
            assert_eq!(window, &bytes[at..at + window.len()]);
        }
        assert_eq!(reader.window(bytes.len() as u64 - 2, 10).unwrap().len(), 2);
        assert!(reader.window(1 << 40, 10).unwrap().is_empty());
    }

    #[test]
    fn what_is_written_is_found_behind_holes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(50 << 20).unwrap();
        file.write_all_at(b"x", (30 << 20) + 77).unwrap();
        let mut reader = BlockReader::open(&path, &|_| {}).unwrap();
        assert_eq!(reader.first_written(5).unwrap(), Some((30 << 20) + 77));
        assert_eq!(reader.first_written((30 << 20) + 78).unwrap(), None);
        assert_eq!(reader.first_written(1 << 40).unwrap(), None);
    }
}
