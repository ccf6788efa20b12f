//! Where files lie and how they are called; the lock on the directory and the mark of a running
//! store.

use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::disk::{Disk, DiskFile};
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
    pub(crate) disk: Disk,
    pub(crate) deleted_topics: PathBuf,
    pub(crate) abort: PathBuf,
    pub(crate) lock: PathBuf,
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
            deleted_topics: root.join("deletedTopics"),
            abort: root.join("abort"),
            lock: root.join("lock"),
            disk: options.disk.clone(),
            root,
        }
    }

    /// Makes the directories that are missing, durably. Those that are there may have been made by a
    /// process that was killed before it came to that.
    pub(crate) fn make_directories(&self) -> Result<(), OpenError> {
        self.make_missing()?;
        for dir in [&self.root, &self.commit_log] {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            match self.disk.sync_directory(parent) {
                // Whoever may not look into it did not make anything there either.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced.map_err(OpenError::io("sync", parent))?,
            }
        }
        Ok(())
    }

    fn make_missing(&self) -> Result<(), OpenError> {
        for dir in [
            &self.root,
            &self.commit_log,
            &self.consume_queue,
            &self.index,
        ] {
            let made = self.disk.make_directories(dir);
            for changed in made.map_err(OpenError::io("create", dir))? {
                let synced = self.disk.sync_directory(&changed);
                synced.map_err(OpenError::io("sync", changed))?;
            }
        }
        Ok(())
    }

    /// Takes the directory for this process, until the returned lock is dropped.
    pub(crate) fn lock(&self) -> Result<DirectoryLock, OpenError> {
        let file = self.disk.create(&self.lock);
        let file = file.map_err(OpenError::io("open", &self.lock))?;
        let in_use = || OpenError::InUse {
            root: self.root.clone(),
        };
        match file.as_file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(error)) => {
                return Err(OpenError::io("lock", &self.lock)(error));
            }
        }
        // Java locks by fcntl, which knows nothing of the lock above; that one is needed as well,
        // since fcntl's do not exclude a second store in the same process.
        match fcntl_lock(file.as_file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Err(in_use()),
            Err(error) => return Err(OpenError::io("lock", &self.lock)(error.into())),
        }
        file.set_length(0)
            .and_then(|()| file.write_all_at(b"lock", 0))
            .map_err(OpenError::io("write", &self.lock))?;
        Ok(DirectoryLock { _file: file })
    }

    /// Whether the store was not closed cleanly.
    pub(crate) fn was_aborted(&self) -> Result<bool, OpenError> {
        let exists = self.disk.exists(&self.abort);
        exists.map_err(OpenError::io("look for", &self.abort))
    }

    /// Marks the store as running.
    pub(crate) fn mark_running(&self) -> Result<(), OpenError> {
        let process = std::process::id().to_string();
        let marked = self.disk.replace_file(&self.abort, process.as_bytes());
        marked.map_err(OpenError::io("write", &self.abort))
    }

    /// Marks the store as cleanly closed.
    pub(crate) fn mark_closed(&self) -> io::Result<()> {
        self.disk.remove(&self.abort)?;
        self.disk.sync_directory(&self.root)
    }
}

/// Held while the store is open.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: DiskFile,
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

/// Whether a topic can be a directory's name without leading out of its place, and a word of a line.
pub(crate) fn is_directory_name(topic: &str) -> bool {
    let foreign = |c: char| c == '/' || c.is_control();
    // Nearly all topics are such, and bytes are looked at in half the time that characters take.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    let is_clean = topic.bytes().all(is_plain) || !topic.contains(foreign);
    is_clean && !topic.is_empty() && !topic.starts_with('.')
}

/// Names in a directory, sorted; none if there is no such directory.
pub(crate) fn names_in(disk: &Disk, dir: &Path) -> Result<Vec<String>, OpenError> {
    disk.list(dir).map_err(OpenError::io("list", dir))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::disk::{DiskAction, DiskOperation, DiskWatcher};

    /// Beside plain bytes and beside a character that is none.
    #[test]
    fn every_character_is_judged_alike_in_names() {
        for c in (0..0x200).filter_map(char::from_u32) {
            let may_stand = c != '/' && !c.is_control();
            assert_eq!(is_directory_name(&format!("topic{c}")), may_stand, "{c:?}");
            assert_eq!(is_directory_name(&format!("é{c}")), may_stand, "{c:?}");
            let may_begin = may_stand && c != '.';
            assert_eq!(is_directory_name(&c.to_string()), may_begin, "{c:?}");
        }
        assert!(!is_directory_name(""));
    }

    #[test]
    fn names_hold_their_offset() {
        assert_eq!(offset_name(1 << 30), "00000000001073741824");
        assert_eq!(offset_of_name("00000000001073741824"), Some(1 << 30));
        for foreign in ["", "1", "0000000000107374182x", "000000000010737418240"] {
            assert_eq!(offset_of_name(foreign), None, "{foreign}");
        }
    }

    /// Notes which directories' names were made durable.
    #[derive(Default)]
    struct Synced(Mutex<Vec<PathBuf>>);

    impl DiskWatcher for Synced {
        fn before(&self, _operation: &DiskOperation<'_>) -> io::Result<()> {
            Ok(())
        }

        fn after(&self, operation: &DiskOperation<'_>) {
            if operation.action == DiskAction::SyncDirectory {
                self.0.lock().unwrap().push(operation.path.to_owned());
            }
        }
    }

    #[test]
    fn directories_that_a_killed_process_made_are_made_durable() {
        let dir = tempfile::tempdir().unwrap();
        let (root, log) = (dir.path().join("store"), dir.path().join("other/log"));
        for path in [&root, &log] {
            std::fs::create_dir_all(path).unwrap();
        }
        let synced = Arc::new(Synced::default());
        let layout = Layout::of(&StoreOptions {
            root,
            commit_log_dir: Some(log),
            disk: Disk::watched(synced.clone()),
            ..StoreOptions::default()
        });
        layout.make_directories().unwrap();
        let synced = synced.0.lock().unwrap();
        for parent in [dir.path(), &dir.path().join("other")] {
            assert!(synced.iter().any(|path| path == parent), "{synced:?}");
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
        assert_eq!(std::fs::read(dir.path().join("lock")).unwrap(), b"lock");
    }
}
