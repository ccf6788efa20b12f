//! The files of a directory as they lie there, and the guard against a store that runs on it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::disk::Disk;
use crate::error::OpenError;
use crate::index::file::IndexSize;
use crate::layout::{Layout, names_in, offset_of_name};
use crate::options::StoreOptions;

/// Which directory, and what cannot be told from its files.
#[derive(Debug, Clone)]
pub struct DirectoryOptions {
    /// Directory of all files.
    pub root: PathBuf,
    /// Directory of the commit log, if it is not `root/commitlog`.
    pub commit_log_dir: Option<PathBuf>,
    /// Hash slots of one index file.
    pub index_slots: u32,
    /// Entries of one index file.
    pub index_entries: u32,
}

impl DirectoryOptions {
    /// A directory whose index files have Java's size.
    pub fn new(root: PathBuf) -> Self {
        let usual = StoreOptions::default();
        Self {
            root,
            commit_log_dir: None,
            index_slots: usual.index_slots,
            index_entries: usual.index_entries,
        }
    }

    pub(super) fn index_size(&self) -> IndexSize {
        IndexSize {
            slots: self.index_slots.max(1),
            entries: self.index_entries,
        }
    }

    /// Where its files lie.
    ///
    /// # Errors
    /// There is no such directory, or no store in it.
    pub(super) fn layout(&self) -> Result<Layout, OpenError> {
        let layout = Layout::of(&StoreOptions {
            root: self.root.clone(),
            commit_log_dir: self.commit_log_dir.clone(),
            ..StoreOptions::default()
        });
        fs::read_dir(&layout.root).map_err(OpenError::io("list", &layout.root))?;
        fs::read_dir(&layout.commit_log).map_err(OpenError::io("list", &layout.commit_log))?;
        Ok(layout)
    }
}

/// One file that is named by the offset at which it begins.
#[derive(Debug, Clone)]
pub(super) struct OffsetFile {
    pub(super) start: i64,
    pub(super) path: PathBuf,
    /// Bytes as the directory says.
    pub(super) length: u64,
    /// Bytes that it takes on the disk: less than its length if it has holes.
    pub(super) disk_bytes: u64,
}

/// The files of a directory that are named by offsets, in their order.
pub(super) fn offset_files(dir: &Path) -> Result<Vec<OffsetFile>, OpenError> {
    let mut files = Vec::new();
    for name in names_in(&Disk::default(), dir)? {
        let Some(start) = offset_of_name(&name) else {
            continue;
        };
        let path = dir.join(name);
        let size = FileSize::of(&path)?;
        files.push(OffsetFile {
            start,
            path,
            length: size.length,
            disk_bytes: size.disk_bytes,
        });
    }
    Ok(files)
}

/// What a file takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileSize {
    pub(super) length: u64,
    pub(super) disk_bytes: u64,
}

impl FileSize {
    pub(super) fn of(path: &Path) -> Result<Self, OpenError> {
        const BLOCK_BYTES: u64 = 512; // of stat, whatever the file system's are
        let metadata = fs::metadata(path).map_err(OpenError::io("read length of", path))?;
        Ok(Self {
            length: metadata.len(),
            disk_bytes: metadata.blocks().saturating_mul(BLOCK_BYTES),
        })
    }
}

/// The length that most files have, the smaller of two as frequent.
pub(super) fn usual_length(files: &[OffsetFile]) -> u64 {
    let count = |length: u64| files.iter().filter(|file| file.length == length).count();
    let lengths = files
        .iter()
        .map(|file| file.length)
        .filter(|length| *length > 0);
    let usual = lengths.max_by_key(|length| (count(*length), std::cmp::Reverse(*length)));
    usual.unwrap_or(0)
}

/// Held while a directory is looked at, so that no store starts on it meanwhile.
#[derive(Debug)]
pub(super) struct SharedLock {
    _file: Option<File>,
}

impl SharedLock {
    /// Fails if a store runs on the directory; writes nothing.
    pub(super) fn take(layout: &Layout) -> Result<Self, OpenError> {
        let path = &layout.lock;
        let file = match File::open(path) {
            Ok(file) => file,
            // No store ever ran here, as in a copy of the log alone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { _file: None });
            }
            Err(error) => return Err(OpenError::io("open", path)(error)),
        };
        let in_use = || OpenError::InUse {
            root: layout.root.clone(),
        };
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(in_use()),
            Err(fs::TryLockError::Error(error)) => return Err(OpenError::io("lock", path)(error)),
        }
        match fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(in_use()),
            Err(error) => Err(OpenError::io("lock", path)(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_is_refused_and_a_look_keeps_stores_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = DirectoryOptions::new(dir.path().into());
        assert!(options.layout().is_err(), "no commit log");
        options.commit_log_dir = Some(dir.path().into());
        let layout = options.layout().unwrap();
        SharedLock::take(&layout).unwrap();
        let running = layout.lock().unwrap();
        assert!(matches!(
            SharedLock::take(&layout),
            Err(OpenError::InUse { .. })
        ));
        drop(running);
        let look = SharedLock::take(&layout).unwrap();
        let second = SharedLock::take(&layout).unwrap();
        assert!(matches!(layout.lock(), Err(OpenError::InUse { .. })));
        drop((look, second));
        layout.lock().unwrap();
    }

    #[test]
    fn the_usual_length_is_that_of_most_files() {
        let file = |length| OffsetFile {
            start: 0,
            path: PathBuf::new(),
            length,
            disk_bytes: 0,
        };
        assert_eq!(usual_length(&[]), 0);
        assert_eq!(usual_length(&[file(7), file(5), file(0), file(5)]), 5);
        assert_eq!(usual_length(&[file(7), file(5)]), 5);
    }
}
