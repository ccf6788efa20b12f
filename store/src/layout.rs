//! Where files lie and how they are called; the lock on the directory and the mark of a running
//! store.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::error::OpenError;
use crate::options::StoreOptions;

/// Paths under the root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) commit_log: PathBuf,
    pub(crate) consume_queue: PathBuf,
    pub(crate) index: PathBuf,
    pub(crate) checkpoint: PathBuf,
    abort: PathBuf,
    lock: PathBuf,
}

impl Layout {
    pub(crate) fn of(options: &StoreOptions) -> Self {
        let root = options.root.clone();
        let commit_log = options.commit_log_dir.clone();
        Self {
            commit_log: commit_log.unwrap_or_else(|| root.join("commitlog")),
            consume_queue: root.join("consumequeue"),
            index: root.join("index"),
            checkpoint: root.join("checkpoint"),
            abort: root.join("abort"),
            lock: root.join("lock"),
            root,
        }
    }

    /// Makes the directories that are missing.
    pub(crate) fn make_directories(&self) -> Result<(), OpenError> {
        for dir in [
            &self.root,
            &self.commit_log,
            &self.consume_queue,
            &self.index,
        ] {
            fs::create_dir_all(dir).map_err(OpenError::io("create", dir))?;
        }
        Ok(())
    }

    /// Takes the directory for this process, until the returned lock is dropped.
    pub(crate) fn lock(&self) -> Result<DirectoryLock, OpenError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.lock)
            .map_err(OpenError::io("open", &self.lock))?;
        let in_use = || OpenError::InUse {
            root: self.root.clone(),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(error)) => {
                return Err(OpenError::io("lock", &self.lock)(error));
            }
        }
        // Java locks by fcntl, which knows nothing of the lock above; that one is needed as well,
        // since fcntl's do not exclude a second store in the same process.
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Err(in_use()),
            Err(error) => return Err(OpenError::io("lock", &self.lock)(error.into())),
        }
        file.set_len(0)
            .and_then(|()| file.write_all(b"lock"))
            .map_err(OpenError::io("write", &self.lock))?;
        Ok(DirectoryLock { _file: file })
    }

    /// Whether the store was not closed cleanly.
    pub(crate) fn was_aborted(&self) -> bool {
        self.abort.exists()
    }

    /// Marks the store as running.
    pub(crate) fn mark_running(&self) -> Result<(), OpenError> {
        fs::write(&self.abort, std::process::id().to_string())
            .and_then(|()| sync_directory(&self.root))
            .map_err(OpenError::io("write", &self.abort))
    }

    /// Marks the store as cleanly closed.
    pub(crate) fn mark_closed(&self) -> io::Result<()> {
        fs::remove_file(&self.abort)?;
        sync_directory(&self.root)
    }
}

/// Held while the store is open.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

/// Name of a file that begins at an offset: 20 digits.
pub(crate) fn offset_name(offset: i64) -> String {
    format!("{offset:020}")
}

/// The offset at which a file of this name begins; nothing for foreign files.
pub(crate) fn offset_of_name(name: &str) -> Option<i64> {
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok()).flatten()
}

/// Whether a topic can be a directory's name without leading out of its place.
pub(crate) fn is_directory_name(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['/', '\0']) && !topic.starts_with('.')
}

/// Makes new and removed names in a directory durable.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Names in a directory, sorted; none if there is no such directory.
pub(crate) fn names_in(dir: &Path) -> Result<Vec<String>, OpenError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(OpenError::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(OpenError::io("list", dir))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// How full the disk of a directory is, percent, rounded up; 0 if it cannot be told.
pub(crate) fn disk_used_percent(dir: &Path) -> u32 {
    let Ok(disk) = rustix::fs::statvfs(dir) else {
        return 0;
    };
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    let usable = used.saturating_add(disk.f_bavail).max(1);
    let percent = used.saturating_mul(100).div_ceil(usable);
    u32::try_from(percent).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_their_offset() {
        assert_eq!(offset_name(1 << 30), "00000000001073741824");
        assert_eq!(offset_of_name("00000000001073741824"), Some(1 << 30));
        for foreign in ["", "1", "0000000000107374182x", "000000000010737418240"] {
            assert_eq!(offset_of_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_directory_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::of(&StoreOptions {
            root: dir.path().into(),
            ..StoreOptions::default()
        });
        let lock = layout.lock().unwrap();
        assert!(matches!(layout.lock(), Err(OpenError::InUse { .. })));
        drop(lock);
        layout.lock().unwrap();
        assert_eq!(fs::read(dir.path().join("lock")).unwrap(), b"lock");
    }

    #[test]
    fn disks_are_between_empty_and_full() {
        assert!((1..=100).contains(&disk_used_percent(Path::new("/"))));
        assert_eq!(disk_used_percent(Path::new("/no/such/directory")), 0);
    }
}
