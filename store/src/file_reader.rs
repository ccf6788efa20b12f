//! Positioned reads into own memory, for whatever may lie on the disk only.
//!
//! A map would stop the thread that touches it, and a bad block would end the process; here the
//! caller says whether it may wait, and a bad block is an error.

use std::io;

use crate::disk::DiskFile;
use crate::error::ReadError;

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Only what is in memory: others wait for this thread.
    Never,
    /// As long as it takes.
    Disk,
}

/// A file that is open for reading; it can be read on when it is unlinked.
#[derive(Debug)]
pub(crate) struct FileReader(DiskFile);

impl FileReader {
    pub(crate) fn new(file: DiskFile) -> Self {
        Self(file)
    }

    /// Reads at least `needed` bytes of the `length` at a position, and no more than are in memory
    /// if it may not wait.
    pub(crate) fn read(
        &self,
        position: u64,
        needed: usize,
        length: usize,
        wait: Wait,
    ) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; length];
        let read = match wait {
            // Whatever the reason, the one who may wait will see it as well.
            Wait::Never => self.0.read_in_memory_at(&mut bytes, position).unwrap_or(0),
            Wait::Disk => self.read_all(&mut bytes, position).or_else(|_| {
                // A bad block behind the needed bytes is for those who need it.
                let needed = bytes.get_mut(..needed).unwrap_or_default();
                self.read_all(needed, position)
            })?,
        };
        bytes.truncate(read);
        match wait {
            _ if read >= needed => Ok(bytes),
            Wait::Never => Err(ReadError::NotInMemory),
            Wait::Disk => {
                let end = io::ErrorKind::UnexpectedEof.into();
                Err(ReadError::disk(self.0.path(), position)(end))
            }
        }
    }

    fn read_all(&self, bytes: &mut [u8], position: u64) -> Result<usize, ReadError> {
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, position + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::disk(self.0.path(), position)(error)),
            }
        }
        Ok(read)
    }
}
