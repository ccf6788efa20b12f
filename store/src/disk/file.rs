//! An open file of the file layer: reading, writing, its blocks, its length, its sync. Each operation
//! passes by the watcher of the [`Disk`] that opened it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use super::{Disk, DiskAction, DiskOperation};

/// An open file.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    path: Box<Path>,
    disk: Disk,
}

impl DiskFile {
    pub(super) fn new(disk: Disk, path: &Path, file: File) -> Self {
        let path = path.into();
        Self { file, path, disk }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// For locks, which are not the file layer's.
    pub(crate) fn as_file(&self) -> &File {
        &self.file
    }

    pub(crate) fn length(&self) -> io::Result<u64> {
        self.run(DiskAction::Length, |file| Ok(file.metadata()?.len()))
    }

    /// Cuts the file, or adds zeros.
    pub(crate) fn set_length(&self, bytes: u64) -> io::Result<()> {
        let operation = DiskOperation::on_bytes(DiskAction::SetLength, &self.path, 0, bytes);
        self.disk.run(operation, || self.file.set_len(bytes))
    }

    /// Takes the blocks of a range, so that writing there cannot fail for lack of room; file systems
    /// that cannot do so leave it sparse.
    pub(crate) fn reserve(&self, from: u64, to: u64) -> io::Result<()> {
        use rustix::io::Errno;
        let operation = DiskOperation::on_bytes(DiskAction::Reserve, &self.path, from, to);
        let length = to.saturating_sub(from);
        self.disk.run(operation, || {
            if cfg!(miri) {
                // It knows no blocks.
                return Ok(());
            }
            let take = || fallocate(&self.file, FallocateFlags::empty(), from, length);
            match rustix::io::retry_on_intr(take) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Makes all bytes from one on zeros, and gives their blocks back; the length stays.
    pub(crate) fn clear_from(&self, from: u64) -> io::Result<()> {
        let to = self.length()?;
        if from >= to {
            return Ok(());
        }
        let operation = DiskOperation::on_bytes(DiskAction::Clear, &self.path, from, to);
        self.disk.run(operation, || {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.file, mode, from, to - from).or_else(|_| {
                // Cutting and growing clears as well, on file systems without holes.
                self.file.set_len(from)?;
                self.file.set_len(to)
            })
        })
    }

    /// Maps the file; `map` does it.
    pub(crate) fn map<T>(&self, map: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        self.run(DiskAction::Map, map)
    }

    /// Fills the buffer with the bytes at a position.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let to = at.saturating_add(buffer.len() as u64);
        let operation = DiskOperation::on_bytes(DiskAction::Read, &self.path, at, to);
        let file = &self.file;
        self.disk.run(operation, || file.read_exact_at(buffer, at))
    }

    /// Reads bytes at a position, as many as there are and the system gives at once.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let to = at.saturating_add(buffer.len() as u64);
        let operation = DiskOperation::on_bytes(DiskAction::Read, &self.path, at, to);
        let read = || self.file.read_at(buffer, at);
        self.disk.run(operation, read)
    }

    /// As [`DiskFile::read_at`], but only what is in memory.
    pub(crate) fn read_in_memory_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        use rustix::io::{ReadWriteFlags, preadv2};
        let to = at.saturating_add(buffer.len() as u64);
        let operation = DiskOperation::on_bytes(DiskAction::ReadInMemory, &self.path, at, to);
        let mut buffers = [io::IoSliceMut::new(buffer)];
        let mut read = || preadv2(&self.file, &mut buffers, at, ReadWriteFlags::NOWAIT);
        self.disk
            .run(operation, || Ok(rustix::io::retry_on_intr(&mut read)?))
    }

    pub(crate) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let to = at.saturating_add(bytes.len() as u64);
        let operation = DiskOperation {
            content: bytes,
            ..DiskOperation::on_bytes(DiskAction::Write, &self.path, at, to)
        };
        self.disk
            .run(operation, || self.file.write_all_at(bytes, at))
    }

    /// Forces content and length to the disk, not the name.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.run(DiskAction::Sync, File::sync_data)
    }

    fn run<T>(
        &self,
        action: DiskAction,
        act: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        let operation = DiskOperation::on(action, &self.path);
        self.disk.run(operation, || act(&self.file))
    }
}
