//! The file layer: everything that the store asks of the file system passes through a [`Disk`].
//!
//! Tests give it a [`DiskWatcher`], which sees each operation before and after it is done, and can
//! make it fail. Copying into a map is no operation: what passes here is the rest, from creating a
//! file to flushing its map. Without a watcher an operation costs what the system call costs.

mod file;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use file::DiskFile;

/// What is done to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DiskAction {
    /// A directory is made; its name is not durable before its parent is synced.
    MakeDirectory,
    /// A file that is there is opened.
    Open,
    /// A file is opened, and made if it is not there.
    Create,
    /// The length of a file, or whether it is there, is asked.
    Length,
    /// A file is cut or grows.
    SetLength,
    /// A range of a file gets its blocks.
    Reserve,
    /// A range of a file becomes zeros.
    Clear,
    /// A file is mapped.
    Map,
    /// A range of a map is forced to the disk.
    FlushMap,
    /// A range of a file is read.
    Read,
    /// A range of a file is read as far as it is in memory. What fails so is read again, waiting.
    ReadInMemory,
    /// A range of a file is written.
    Write,
    /// Content and length of a file are forced to the disk.
    Sync,
    /// The names in a directory are forced to the disk.
    SyncDirectory,
    /// All of the file system is forced to the disk.
    SyncFileSystem,
    /// A file is removed.
    Remove,
    /// An empty directory, or one with all that is in it, is removed.
    RemoveDirectory,
    /// A file gets another name.
    Rename,
    /// The names in a directory are read.
    List,
}

/// One operation on the file system.
#[derive(Debug, Clone, Copy)]
pub struct DiskOperation<'a> {
    /// What is done.
    pub action: DiskAction,
    /// File or directory that it is done to.
    pub path: &'a Path,
    /// First byte concerned.
    pub from: u64,
    /// One behind the last byte concerned; 0 if it is about no bytes. A new length stands here.
    pub to: u64,
    /// What is written; the new name when renaming. Otherwise empty.
    pub content: &'a [u8],
}

impl<'a> DiskOperation<'a> {
    fn on(action: DiskAction, path: &'a Path) -> Self {
        Self {
            action,
            path,
            from: 0,
            to: 0,
            content: &[],
        }
    }

    fn on_bytes(action: DiskAction, path: &'a Path, from: u64, to: u64) -> Self {
        Self {
            from,
            to,
            ..Self::on(action, path)
        }
    }
}

/// Looks on, and may forbid.
pub trait DiskWatcher: Send + Sync {
    /// Called before an operation, which is not done if this is an error. A short write is made by
    /// writing a part here and giving an error.
    ///
    /// # Errors
    /// What the operation shall fail with.
    fn before(&self, operation: &DiskOperation<'_>) -> io::Result<()>;

    /// Called after an operation that succeeded.
    fn after(&self, operation: &DiskOperation<'_>);

    /// How full the disk of a directory shall be, percent; `None`: as full as it is.
    fn used_percent(&self, _dir: &Path) -> Option<u32> {
        None
    }
}

/// The file system. Clones have the same watcher.
#[derive(Clone, Default)]
pub struct Disk {
    watcher: Option<Arc<dyn DiskWatcher>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("watched", &self.watcher.is_some())
            .finish()
    }
}

impl Disk {
    /// The file system with somebody who looks on.
    pub fn watched(watcher: Arc<dyn DiskWatcher>) -> Self {
        Self {
            watcher: Some(watcher),
        }
    }

    fn run<T>(
        &self,
        operation: DiskOperation<'_>,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(watcher) = &self.watcher else {
            return act();
        };
        watcher.before(&operation)?;
        let done = act()?;
        watcher.after(&operation);
        Ok(done)
    }

    /// Makes a directory and those above it that are missing. Returns the directories that hold a
    /// new name now, which is not durable yet.
    pub(crate) fn make_directories(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let make = DiskOperation::on(DiskAction::MakeDirectory, dir);
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        match self.run(make, || fs::create_dir(dir)) {
            Ok(()) => Ok(vec![parent.unwrap_or(Path::new(".")).to_owned()]),
            Err(_) if dir.is_dir() => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut changed = self.make_directories(parent.ok_or(error)?)?;
                changed.extend(self.make_directories(dir)?);
                Ok(changed)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a file that is there, for reading and writing.
    pub(crate) fn open(&self, path: &Path) -> io::Result<DiskFile> {
        self.open_as(DiskAction::Open, path, OpenOptions::new().write(true))
    }

    /// Opens a file that is there, for reading only.
    pub(crate) fn open_to_read(&self, path: &Path) -> io::Result<DiskFile> {
        self.open_as(DiskAction::Open, path, &mut OpenOptions::new())
    }

    /// Opens a file for reading and writing, and makes it if it is not there.
    pub(crate) fn create(&self, path: &Path) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        self.open_as(DiskAction::Create, path, options.write(true).create(true))
    }

    fn open_as(
        &self,
        action: DiskAction,
        path: &Path,
        options: &mut OpenOptions,
    ) -> io::Result<DiskFile> {
        let operation = DiskOperation::on(action, path);
        let file = self.run(operation, || options.read(true).open(path))?;
        Ok(DiskFile::new(self.clone(), path, file))
    }

    /// Whether there is a file or directory of this name.
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        let operation = DiskOperation::on(DiskAction::Length, path);
        self.run(operation, || fs::exists(path))
    }

    /// Bytes of a file.
    pub(crate) fn length(&self, path: &Path) -> io::Result<u64> {
        let operation = DiskOperation::on(DiskAction::Length, path);
        self.run(operation, || Ok(fs::metadata(path)?.len()))
    }

    /// Forces a range of a map to the disk; `flush` does it.
    pub(crate) fn flush_map(
        &self,
        path: &Path,
        range: std::ops::Range<usize>,
        flush: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let (from, to) = (range.start as u64, range.end as u64);
        let operation = DiskOperation::on_bytes(DiskAction::FlushMap, path, from, to);
        self.run(operation, flush)
    }

    /// Makes the names in a directory durable, those that came and those that went.
    pub(crate) fn sync_directory(&self, dir: &Path) -> io::Result<()> {
        let operation = DiskOperation::on(DiskAction::SyncDirectory, dir);
        self.run(operation, || File::open(dir)?.sync_all())
    }

    /// Makes everything durable that lies on the file system of a directory.
    pub(crate) fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        let operation = DiskOperation::on(DiskAction::SyncFileSystem, dir);
        self.run(operation, || Ok(rustix::fs::syncfs(File::open(dir)?)?))
    }

    /// Replaces a file as a whole and durably: after a crash there is the old one or the new one.
    pub(crate) fn replace_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        self.remove(&temporary)?;
        let file = self.create(&temporary)?;
        file.write_all_at(content, 0)?;
        file.sync()?;
        let operation = DiskOperation {
            content: path.as_os_str().as_bytes(),
            ..DiskOperation::on(DiskAction::Rename, &temporary)
        };
        self.run(operation, || fs::rename(&temporary, path))?;
        self.sync_directory(path.parent().unwrap_or(Path::new(".")))
    }

    /// Removes a file; well done if there is none.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let operation = DiskOperation::on(DiskAction::Remove, path);
        self.run(operation, || absent_is_fine(fs::remove_file(path)))
    }

    /// Removes an empty directory; well done if there is none.
    pub(crate) fn remove_directory(&self, dir: &Path) -> io::Result<()> {
        let operation = DiskOperation::on(DiskAction::RemoveDirectory, dir);
        self.run(operation, || absent_is_fine(fs::remove_dir(dir)))
    }

    /// Removes a directory with all that is in it; well done if there is none.
    pub(crate) fn remove_tree(&self, dir: &Path) -> io::Result<()> {
        let operation = DiskOperation::on(DiskAction::RemoveDirectory, dir);
        self.run(operation, || absent_is_fine(fs::remove_dir_all(dir)))
    }

    /// Names in a directory, sorted; none if there is no such directory.
    pub(crate) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let operation = DiskOperation::on(DiskAction::List, dir);
        self.run(operation, || match fs::read_dir(dir) {
            Ok(entries) => names_of(entries),
            Err(error) if is_no_directory(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        })
    }

    /// How full the disk of a directory is, percent, rounded up; 0 if it cannot be told.
    pub(crate) fn used_percent(&self, dir: &Path) -> u32 {
        if let Some(watcher) = &self.watcher
            && let Some(percent) = watcher.used_percent(dir)
        {
            return percent;
        }
        let Ok(disk) = rustix::fs::statvfs(dir) else {
            return 0;
        };
        let used = disk.f_blocks.saturating_sub(disk.f_bfree);
        let usable = used.saturating_add(disk.f_bavail).max(1);
        let percent = used.saturating_mul(100).div_ceil(usable);
        u32::try_from(percent).unwrap_or(100).min(100)
    }
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_no_directory(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Names that are no text are nobody's.
fn names_of(entries: fs::ReadDir) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests;
