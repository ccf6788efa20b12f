//! One file of a [`FileQueue`]: mapped when used, unmapped when idle. The list hands it out; who
//! holds its map keeps it mapped.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::FileQueue;
use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, ReadError};
use crate::file_reader::FileReader;
use crate::layout::offset_name;
use crate::mapped_file::{MappedFile, Place, Used};

/// One file of the sequence.
#[derive(Debug)]
pub(crate) struct QueueFile {
    /// Offset at which it begins.
    pub(crate) start: i64,
    disk: Disk,
    path: PathBuf,
    bytes: usize,
    place: Place,
    state: Mutex<FileState>,
}

#[derive(Debug)]
enum FileState {
    Mapped { file: Arc<MappedFile>, used: bool },
    Unmapped(Used),
}

impl QueueFile {
    /// A file of a sequence, of which so many bytes count; it need not be on the disk yet.
    pub(super) fn of(queue: &FileQueue, start: i64, written: usize) -> Self {
        Self {
            start,
            disk: queue.disk.clone(),
            path: queue.dir.join(offset_name(start)),
            bytes: queue.file_bytes,
            place: queue.place,
            state: Mutex::new(FileState::Unmapped(Used::written(written))),
        }
    }

    /// Offset behind its last byte.
    pub(crate) fn end(&self) -> i64 {
        self.start.saturating_add(self.bytes as i64)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file on the disk, and its map.
    pub(super) fn create(&self) -> io::Result<()> {
        let file = MappedFile::create(&self.disk, &self.path, self.bytes, self.place)?;
        *self.state() = FileState::Mapped {
            file: Arc::new(file),
            used: true,
        };
        Ok(())
    }

    /// The map, made now if it is not there.
    pub(crate) fn map(&self) -> io::Result<Arc<MappedFile>> {
        let mut state = self.state();
        match &mut *state {
            FileState::Mapped { file, used } => {
                *used = true;
                Ok(Arc::clone(file))
            }
            FileState::Unmapped(used) => {
                let file = Arc::new(self.open(*used)?);
                *state = FileState::Mapped {
                    file: Arc::clone(&file),
                    used: true,
                };
                Ok(file)
            }
        }
    }

    /// The file, to be read by position; nothing if it is not there any more.
    pub(crate) fn reader(&self) -> Result<Option<FileReader>, ReadError> {
        match self.disk.open_to_read(&self.path) {
            Ok(file) => Ok(Some(FileReader::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReadError::disk(&self.path, 0)(error)),
        }
    }

    /// The file without a map; recovery only.
    pub(crate) fn open_file(&self) -> io::Result<DiskFile> {
        self.disk.open(&self.path)
    }

    /// The whole file, whatever of it counts: for recovery, which finds that out.
    pub(crate) fn map_for_recovery(&self) -> io::Result<MappedFile> {
        self.open(Used::written(self.bytes))
    }

    fn open(&self, used: Used) -> io::Result<MappedFile> {
        MappedFile::open(&self.disk, &self.path, self.bytes, used, self.place)
    }

    /// Says how much of the file counts; recovery only.
    pub(crate) fn restore(&self, written: usize) {
        assert!(written <= self.bytes, "written {written} of {}", self.bytes);
        *self.state() = FileState::Unmapped(Used::written(written));
    }

    /// Clears what lies behind the bytes that count, so that it can never be taken for written.
    /// Of what is derived, the clearing is durable with the next flush of the file.
    pub(crate) fn clear_rest(&self, written: usize) -> io::Result<()> {
        if written == self.bytes {
            return Ok(());
        }
        let file = self.disk.open(&self.path)?;
        file.clear_from(written as u64)?;
        if self.place.is_whole() {
            file.sync()?;
        }
        Ok(())
    }

    /// Unmaps if nobody used it since the last call and nobody holds it.
    pub(super) fn unmap_if_idle(&self) -> bool {
        if let FileState::Mapped { used, .. } = &mut *self.state()
            && std::mem::take(used)
        {
            return false;
        }
        self.unmap_if_free()
    }

    /// Unmaps if nobody holds it.
    pub(super) fn unmap_if_free(&self) -> bool {
        let mut state = self.state();
        let used = match &*state {
            FileState::Mapped { file, .. } if Arc::strong_count(file) == 1 => file.used(),
            FileState::Mapped { .. } | FileState::Unmapped(_) => return false,
        };
        *state = FileState::Unmapped(used);
        true
    }

    /// Whether somebody holds the map, as answers do that are being sent.
    pub(crate) fn is_held(&self) -> bool {
        match &*self.state() {
            FileState::Mapped { file, .. } => Arc::strong_count(file) > 1,
            FileState::Unmapped(_) => false,
        }
    }

    /// Forces a range of offsets to the disk.
    pub(crate) fn flush(&self, from: i64, to: i64) -> io::Result<()> {
        let inside = |offset: i64| (offset.clamp(self.start, self.end()) - self.start) as usize;
        self.map()?.flush(inside(from), inside(to))
    }

    /// Writes a range of offsets again, as it is, and forces it to the disk. After a flush that failed
    /// the system takes the bytes in its memory for written: no other flush would write them.
    pub(super) fn write_again(&self, from: i64, to: i64) -> io::Result<()> {
        const STEP_BYTES: usize = 1 << 20;
        let inside = |offset: i64| (offset.clamp(self.start, self.end()) - self.start) as u64;
        let (mut at, to) = (inside(from), inside(to));
        let file = self.disk.open(&self.path)?;
        let mut buffer = vec![0; STEP_BYTES];
        while at < to {
            let step = (to - at).min(STEP_BYTES as u64);
            let bytes = buffer.get_mut(..step as usize).unwrap_or_default();
            file.read_exact_at(bytes, at)?;
            file.write_all_at(bytes, at)?;
            at += step;
        }
        file.sync()
    }

    pub(super) fn length(&self) -> Result<u64, OpenError> {
        let length = self.disk.length(&self.path);
        length.map_err(OpenError::io("read length of", &self.path))
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        self.disk.remove(&self.path)
    }

    fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
