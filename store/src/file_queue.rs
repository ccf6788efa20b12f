//! Files of equal size, each named by the offset at which it begins, that together hold one long
//! sequence of bytes. The commit log is one, every consume queue is one.
//!
//! The list grows by its one appender and shrinks at its head by retention. Files are mapped when
//! first used and unmapped when idle, so that many queues fit a process.

mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::Disk;
use crate::error::{OpenError, ReadError};
use crate::layout::{names_in, offset_name, offset_of_name};
use crate::mapped_file::Place;

pub(crate) use file::QueueFile;

/// The files of one sequence, in order and without a gap.
#[derive(Debug)]
pub(crate) struct FileQueue {
    disk: Disk,
    dir: PathBuf,
    file_bytes: usize,
    place: Place,
    files: RwLock<Vec<Arc<QueueFile>>>,
    /// Directories with new names that may not be durable.
    unsynced: Mutex<Vec<PathBuf>>,
}

impl FileQueue {
    /// A sequence without files.
    pub(crate) fn empty(disk: Disk, dir: PathBuf, file_bytes: usize, place: Place) -> Self {
        Self {
            disk,
            dir,
            file_bytes,
            place,
            files: RwLock::default(),
            unsynced: Mutex::default(),
        }
    }

    /// The files of a directory; each counts as full until recovery says otherwise.
    pub(crate) fn open(
        disk: Disk,
        dir: PathBuf,
        file_bytes: usize,
        place: Place,
    ) -> Result<Self, OpenError> {
        let queue = Self::empty(disk, dir, file_bytes, place);
        let mut files = queue.files_in_directory()?;
        queue.drop_unfinished(&mut files)?;
        for (file, next) in files.iter().zip(files.iter().skip(1)) {
            if file.end() != next.start {
                let path = next.path().to_owned();
                return Err(OpenError::Gap { path, repair: None });
            }
        }
        *queue.files_mut() = files;
        Ok(queue)
    }

    fn files_in_directory(&self) -> Result<Vec<Arc<QueueFile>>, OpenError> {
        let names = names_in(&self.disk, &self.dir)?;
        let starts = names.iter().filter_map(|name| offset_of_name(name));
        let file = |start| Arc::new(QueueFile::of(self, start, self.file_bytes));
        Ok(starts.map(file).collect())
    }

    /// A crash while making a file leaves it empty; that file goes. Any other length is an error.
    fn drop_unfinished(&self, files: &mut Vec<Arc<QueueFile>>) -> Result<(), OpenError> {
        while let Some(last) = files.last() {
            let length = last.length()?;
            if length > 0 {
                break;
            }
            last.remove()
                .map_err(OpenError::io("remove", last.path()))?;
            files.pop();
        }
        for file in files {
            let found = file.length()?;
            let expected = self.file_bytes as u64;
            if found != expected {
                let path = file.path().to_owned();
                return Err(OpenError::WrongLength {
                    path,
                    found,
                    expected,
                    repair: None,
                });
            }
        }
        Ok(())
    }

    /// Whether there are no files.
    pub(crate) fn is_empty(&self) -> bool {
        self.files().is_empty()
    }

    /// Where the files lie.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that holds an offset.
    #[inline]
    pub(crate) fn find(&self, offset: i64) -> Option<Arc<QueueFile>> {
        let files = self.files();
        let before = offset.checked_sub(files.first()?.start)?;
        let index = usize::try_from(before).ok()? / self.file_bytes;
        files.get(index).cloned()
    }

    pub(crate) fn first(&self) -> Option<Arc<QueueFile>> {
        self.files().first().cloned()
    }

    pub(crate) fn last(&self) -> Option<Arc<QueueFile>> {
        self.files().last().cloned()
    }

    /// A snapshot of the list.
    pub(crate) fn all(&self) -> Vec<Arc<QueueFile>> {
        self.files().clone()
    }

    /// Where the file begins that holds this offset, there or not.
    pub(crate) fn start_of_file(&self, offset: i64) -> i64 {
        offset - offset.rem_euclid(self.file_bytes as i64)
    }

    /// Where the file ends that holds this offset, there or not.
    pub(crate) fn end_of_file(&self, offset: i64) -> i64 {
        self.start_of_file(offset)
            .saturating_add(self.file_bytes as i64)
    }

    /// What is wrong at an offset, as an error.
    pub(crate) fn damaged(&self, offset: i64, reason: String) -> ReadError {
        let start = self.start_of_file(offset);
        ReadError::Damaged {
            path: self.dir.join(offset_name(start)),
            position: offset.abs_diff(start),
            reason,
        }
    }

    /// Makes a file without adding it to the list. What lies there already is nobody's.
    pub(crate) fn make(&self, start: i64) -> io::Result<Arc<QueueFile>> {
        let mut changed = self.disk.make_directories(&self.dir)?;
        changed.push(self.dir.clone());
        let file = Arc::new(QueueFile::of(self, start, 0));
        file.remove()?;
        file.create()?;
        match self.place {
            // A log file has to be found after a power cut, whatever is written to it.
            Place::Reserved | Place::Written => {
                self.disk.open(file.path())?.sync()?;
                self.sync_directories(&changed)?;
            }
            // What is derived only has to be found once a checkpoint promises it.
            Place::Sparse => self.unsynced().extend(changed),
        }
        Ok(file)
    }

    fn sync_directories(&self, changed: &[PathBuf]) -> io::Result<()> {
        changed
            .iter()
            .try_for_each(|dir| self.disk.sync_directory(dir))
    }

    /// Directories that hold new names since the last call: whoever wants them to last has to sync
    /// them.
    pub(crate) fn take_unsynced(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.unsynced())
    }

    /// Adds a file behind the last one.
    pub(crate) fn push(&self, file: Arc<QueueFile>) {
        let mut files = self.files_mut();
        let end = files.last().map(|last| last.end());
        assert!(end.is_none_or(|end| end == file.start), "file out of order");
        files.push(file);
    }

    /// Removes a file that was made and never added.
    pub(crate) fn discard(&self, file: &QueueFile) -> io::Result<()> {
        file.remove()
    }

    /// Removes the files that begin at an offset or behind it; recovery only.
    pub(crate) fn remove_from(&self, offset: i64) -> io::Result<usize> {
        let mut files = self.files_mut();
        let kept = files.partition_point(|file| file.start < offset);
        let removed = files.split_off(kept);
        drop(files);
        if removed.is_empty() {
            return Ok(0);
        }
        // From the end on, so that a crash meanwhile leaves no gap.
        removed.iter().rev().try_for_each(|file| file.remove())?;
        // What is cut off must not come back once the sequence has grown over it.
        self.disk.sync_directory(&self.dir)?;
        Ok(removed.len())
    }

    /// Removes the files that end at an offset or before it, but never the last, and at most so
    /// many. A file that cannot be removed stays, with those behind it, and can be tried again. None
    /// goes before the one in front of it is gone for good: after a power cut there is no gap.
    pub(crate) fn remove_before(&self, offset: i64, files_max: usize) -> io::Result<usize> {
        let files = self.all();
        let expired = files.partition_point(|file| file.end() <= offset);
        let count = expired.min(files.len().saturating_sub(1)).min(files_max);
        let mut removed = 0;
        let mut outcome = Ok(());
        for file in files.iter().take(count) {
            outcome = file
                .remove()
                .and_then(|()| self.disk.sync_directory(&self.dir));
            if outcome.is_err() {
                break;
            }
            removed += 1;
        }
        if let Some(kept) = files.get(removed) {
            self.files_mut().retain(|file| file.start >= kept.start);
        }
        outcome.map(|()| removed)
    }

    /// Removes all files and the directory.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        let removed = std::mem::take(&mut *self.files_mut());
        remove_all(&removed)?;
        self.disk.remove_directory(&self.dir)
    }

    /// Forces a range of offsets to the disk.
    pub(crate) fn flush(&self, from: i64, to: i64) -> io::Result<()> {
        for file in self.all() {
            if file.start < to && file.end() > from {
                file.flush(from, to)?;
            }
        }
        Ok(())
    }

    /// Forces a range of offsets to the disk that an earlier process wrote, of which nobody knows
    /// whether its flush failed. Recovery only.
    pub(crate) fn flush_inherited(&self, from: i64, to: i64) -> io::Result<()> {
        for file in self.all() {
            if file.start < to && file.end() > from {
                file.write_again(from, to)?;
            }
        }
        Ok(())
    }

    /// Unmaps the files that nobody holds at this moment.
    pub(crate) fn unmap_free(&self) {
        for file in self.all() {
            file.unmap_if_free();
        }
    }

    /// Unmaps the files that nobody used since the last call; returns how many.
    pub(crate) fn unmap_idle(&self) -> usize {
        self.all()
            .iter()
            .filter(|file| file.unmap_if_idle())
            .count()
    }

    fn unsynced(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> RwLockReadGuard<'_, Vec<Arc<QueueFile>>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn files_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<QueueFile>>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_all(files: &[Arc<QueueFile>]) -> io::Result<()> {
    files.iter().try_for_each(|file| file.remove())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::{DiskAction, DiskOperation, DiskWatcher};

    const BYTES: usize = 4096;

    fn three(dir: &Path) -> FileQueue {
        let queue = FileQueue::empty(Disk::default(), dir.into(), BYTES, Place::Sparse);
        for start in [8192, 12288, 16384] {
            queue.push(queue.make(start).unwrap());
        }
        queue
    }

    fn open(dir: &Path, file_bytes: usize) -> Result<FileQueue, OpenError> {
        FileQueue::open(Disk::default(), dir.into(), file_bytes, Place::Sparse)
    }

    fn starts(queue: &FileQueue) -> Vec<i64> {
        queue.all().iter().map(|file| file.start).collect()
    }

    #[test]
    fn offsets_find_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let queue = three(dir.path());
        let start = |offset| queue.find(offset).map(|file| file.start);
        assert_eq!(start(8191), None);
        assert_eq!(start(8192), Some(8192));
        assert_eq!(start(12287), Some(8192));
        assert_eq!(start(16384), Some(16384));
        assert_eq!(start(20480), None);
        assert_eq!(start(i64::MIN), None);
        assert_eq!(queue.start_of_file(16383), 12288);
    }

    #[test]
    fn a_reopened_queue_has_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        three(dir.path());
        fs::write(dir.path().join("foreign"), "x").unwrap();
        fs::write(dir.path().join(offset_name(20480)), "").unwrap();
        let queue = open(dir.path(), BYTES).unwrap();
        assert_eq!(starts(&queue), [8192, 12288, 16384]);
        assert!(!dir.path().join(offset_name(20480)).exists());
    }

    #[test]
    fn gaps_and_foreign_lengths_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        three(dir.path());
        let wrong = open(dir.path(), 2 * BYTES);
        assert!(matches!(wrong, Err(OpenError::WrongLength { .. })));
        fs::remove_file(dir.path().join(offset_name(12288))).unwrap();
        let gap = open(dir.path(), BYTES);
        assert!(matches!(gap, Err(OpenError::Gap { .. })));
    }

    #[test]
    fn removing_at_the_head_keeps_the_last_file() {
        let dir = tempfile::tempdir().unwrap();
        let queue = three(dir.path());
        assert_eq!(queue.remove_before(12287, 10).unwrap(), 0);
        assert_eq!(queue.remove_before(i64::MAX, 1).unwrap(), 1);
        assert_eq!(queue.remove_before(i64::MAX, 10).unwrap(), 1);
        assert_eq!(starts(&queue), [16384]);
        assert_eq!(queue.remove_from(16384).unwrap(), 1);
        queue.remove_all().unwrap();
        assert!(!dir.path().exists());
    }

    /// Notes which names go, and when that is durable.
    #[derive(Default)]
    struct Removals(Mutex<Vec<DiskAction>>);

    impl DiskWatcher for Removals {
        fn before(&self, _operation: &DiskOperation<'_>) -> io::Result<()> {
            Ok(())
        }

        fn after(&self, operation: &DiskOperation<'_>) {
            let action = operation.action;
            if matches!(action, DiskAction::Remove | DiskAction::SyncDirectory) {
                self.0.lock().unwrap().push(action);
            }
        }
    }

    #[test]
    fn no_file_goes_before_the_one_in_front_of_it_is_gone_for_good() {
        let dir = tempfile::tempdir().unwrap();
        three(dir.path());
        let removals = Arc::new(Removals::default());
        let disk = Disk::watched(removals.clone());
        let queue = FileQueue::open(disk, dir.path().into(), BYTES, Place::Sparse).unwrap();
        assert_eq!(queue.remove_before(i64::MAX, 10).unwrap(), 2);
        let (gone, durable) = (DiskAction::Remove, DiskAction::SyncDirectory);
        let seen = removals.0.lock().unwrap();
        assert_eq!(*seen, [gone, durable, gone, durable]);
    }

    #[test]
    fn an_unmapped_file_keeps_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let queue = three(dir.path());
        let file = queue.last().unwrap();
        file.map().unwrap().append(b"data").unwrap();
        assert_eq!(queue.unmap_idle(), 0, "all were used");
        assert_eq!(queue.unmap_idle(), 3);
        assert_eq!(file.map().unwrap().written(), 4);
        assert_eq!(file.map().unwrap().slice(0, 4), Some(&b"data"[..]));
    }

    #[test]
    fn clearing_the_rest_keeps_what_counts() {
        let dir = tempfile::tempdir().unwrap();
        let queue = three(dir.path());
        let file = queue.last().unwrap();
        file.map().unwrap().append(b"kept torn").unwrap();
        file.clear_rest(4).unwrap();
        file.restore(4);
        assert_eq!(file.map().unwrap().slice(0, 5), None);
        let all = file.map_for_recovery().unwrap();
        assert_eq!(all.slice(0, 9), Some(&b"kept\0\0\0\0\0"[..]));
        assert_eq!(all.written(), BYTES);
    }
}
