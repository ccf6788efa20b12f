//! The index: finds messages by key. Derived from the log by the dispatch thread; [`recovery`] brings
//! it in step with the log after a crash.
//!
//! Files are filled one after the other. A message's keys may lie in two of them.

pub(crate) mod file;
pub(crate) mod recovery;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::local_time::LocalTime;
use thrustmq_proto_compat::message::tags_code::{continue_hash, string_hash};

use crate::api::QueryRequest;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::layout::names_in;

use file::{Entry, IndexFile, IndexSize, Search, Taken, Wanted};
use recovery::{Kept, Trusted};

/// Index files, oldest first.
#[derive(Debug)]
pub(crate) struct Index {
    disk: Disk,
    dir: PathBuf,
    size: IndexSize,
    clock: Clock,
    files: RwLock<Vec<Arc<IndexFile>>>,
    /// Files that are none. They stay until nobody vouches for the index any more.
    unusable: Vec<PathBuf>,
}

/// Keys of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) topic: &'a str,
    pub(crate) unique_key: Option<&'a str>,
    /// Separated by blanks.
    pub(crate) keys: &'a str,
}

impl Keys<'_> {
    /// What the entries of a message hold of its keys, in the entries' order.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = u32> {
        // Most messages have none, and looking for blanks costs more than looking for that.
        let plain = Some(self.keys).filter(|keys| !keys.is_empty());
        let plain = plain.into_iter().flat_map(|keys| keys.split(' '));
        let plain = plain.filter(|key| !key.is_empty());
        let keys = self.unique_key.into_iter().chain(plain);
        keys.map(|key| key_hash(self.topic, key))
    }
}

impl Index {
    /// Opens the files of a directory. If one of them is damaged the whole index has to be built
    /// again: see [`Index::is_damaged`].
    pub(crate) fn open(
        disk: Disk,
        dir: PathBuf,
        size: IndexSize,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let mut files = Vec::new();
        let mut unusable = Vec::new();
        for name in names_in(&disk, &dir)? {
            let path = dir.join(name);
            match IndexFile::open(&disk, &path, size) {
                Ok(file) => files.push(Arc::new(file)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(?path, %error, "index file is unusable: the index is built again");
                    unusable.push(path);
                }
                Err(error) => return Err(OpenError::io("open", path)(error)),
            }
        }
        let index = Self {
            disk,
            dir,
            size,
            clock,
            files: RwLock::new(files),
            unusable,
        };
        index
            .remove_where(IndexFile::is_empty)
            .map_err(OpenError::io("remove files of", &index.dir))?;
        Ok(index)
    }

    /// Physical offset of the last message indexed.
    pub(crate) fn end_offset(&self) -> Option<i64> {
        self.files().last().map(|file| file.end_offset())
    }

    /// Physical offset and time of the last message indexed, for query answers.
    pub(crate) fn last_update(&self) -> (i64, i64) {
        let files = self.files();
        let last = files.last();
        last.map_or((0, 0), |file| (file.end_offset(), file.end_timestamp()))
    }

    /// Brings the index in step with the disk after a crash: entries of messages that are not
    /// trusted go, and have to be put again. `store_time` knows the time of a message.
    pub(crate) fn recover(
        &self,
        trusted: Trusted,
        store_time: &dyn Fn(i64) -> Option<i64>,
    ) -> Result<Kept, OpenError> {
        let files = self.files().clone();
        for file in files.iter().rev() {
            if file.is_on_disk(trusted) {
                break;
            }
            let kept = file.recover(trusted, store_time);
            if kept.map_err(OpenError::io("recover", file.path()))? == Kept::Nothing {
                tracing::warn!(path = ?file.path(), "index file is damaged: the index is built again");
                return Ok(Kept::Nothing);
            }
        }
        self.remove_where(IndexFile::is_empty)
            .map_err(OpenError::io("remove files of", &self.dir))?;
        Ok(Kept::Trusted)
    }

    /// Whether some of its files are none: it has to be built again.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.unusable.is_empty()
    }

    /// Whether there is no file.
    pub(crate) fn is_empty(&self) -> bool {
        self.files().is_empty()
    }

    /// Removes the files whose messages all lie before an offset, but never the last.
    pub(crate) fn remove_before(&self, log_min: i64) -> io::Result<()> {
        let last = self.files().last().cloned();
        let is_last =
            |file: &IndexFile| last.as_ref().is_some_and(|last| last.path() == file.path());
        self.remove_where(|file| file.end_offset() < log_min && !is_last(file))
    }

    /// Removes all files, for good, when nobody vouches for them any more; recovery only.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        for path in &self.unusable {
            self.disk.remove(path)?;
        }
        self.remove_where(|_| true)?;
        self.disk.sync_directory(&self.dir)
    }

    fn remove_where(&self, is_removed: impl Fn(&IndexFile) -> bool) -> io::Result<()> {
        let mut removed = self.files().clone();
        removed.retain(|file| is_removed(file));
        for file in &removed {
            self.disk.remove(file.path())?;
            self.files_mut().retain(|kept| !Arc::ptr_eq(kept, file));
        }
        // One that came back behind newer files would be taken for the newest.
        if !removed.is_empty() {
            self.disk.sync_directory(&self.dir)?;
        }
        Ok(())
    }

    /// Indexes a message, unless it is older than the last one indexed.
    pub(crate) fn put(
        &self,
        keys: &Keys<'_>,
        physical_offset: i64,
        timestamp: i64,
    ) -> io::Result<()> {
        let end = self.end_offset();
        if end.is_some_and(|end| physical_offset < end) {
            return Ok(());
        }
        // A crash may have come between two keys of the last one.
        let begun = end == Some(physical_offset);
        for hash in keys.hashes() {
            if begun && self.has(hash, physical_offset) {
                continue;
            }
            let entry = Entry {
                key_hash: hash,
                physical_offset,
                store_timestamp: timestamp,
            };
            while self.writable_file()?.put(entry)? == Taken::No {}
        }
        Ok(())
    }

    /// Whether the message at the end of the index has an entry of this hash.
    fn has(&self, key_hash: u32, physical_offset: i64) -> bool {
        let wanted = Wanted {
            key_hash,
            begin_ms: i64::MIN,
            end_ms: i64::MAX,
        };
        let files = self.files().clone();
        let last = files.iter().rev();
        last.take_while(|file| file.end_offset() >= physical_offset)
            .any(|file| {
                let mut newest = None;
                file.find(wanted, &mut |offset| {
                    newest = Some(offset);
                    Search::Enough
                });
                newest == Some(physical_offset)
            })
    }

    /// The last file, or a new one if it is full.
    fn writable_file(&self) -> io::Result<Arc<IndexFile>> {
        if let Some(last) = self.files().last().filter(|last| !last.is_full()) {
            return Ok(Arc::clone(last));
        }
        let file = Arc::new(self.new_file()?);
        self.files_mut().push(Arc::clone(&file));
        Ok(file)
    }

    fn new_file(&self) -> io::Result<IndexFile> {
        let mut name = LocalTime::at(self.clock.now_ms()).digits();
        // The next start orders files by their names, and clocks are put back. Two files of one
        // millisecond would be one file.
        if let Some(last) = self.files().last().and_then(|last| name_of(last))
            && name <= last
        {
            name = name_behind(&last);
        }
        let mut path = self.dir.join(&name);
        while self.disk.exists(&path)? {
            name = name_behind(&name);
            path = self.dir.join(&name);
        }
        for changed in self.disk.make_directories(&self.dir)? {
            self.disk.sync_directory(&changed)?;
        }
        let file = IndexFile::open(&self.disk, &path, self.size)?;
        // The checkpoint will vouch for entries, which a file without a name does not have.
        self.disk.sync_directory(&self.dir)?;
        Ok(file)
    }

    /// Gives the physical offsets of messages that may have the key to `visit`, newest first, until
    /// it has enough. Among them are messages with other keys of the same hash, and such as are up
    /// to a second out of the time asked for.
    pub(crate) fn find(&self, request: &QueryRequest<'_>, visit: &mut dyn FnMut(i64) -> Search) {
        let wanted = Wanted {
            key_hash: key_hash(request.topic, request.key),
            begin_ms: request.begin_ms,
            end_ms: request.end_ms,
        };
        let files = self.files().clone();
        for file in files.iter().rev() {
            let overlaps = file.overlaps(request.begin_ms, request.end_ms);
            if overlaps && file.find(wanted, visit) == Search::Enough {
                break;
            }
            if file.begin_timestamp() < request.begin_ms {
                break;
            }
        }
    }

    /// Forces the entries that were added to the disk, but not the slots that lead to them.
    pub(crate) fn flush_entries(&self) -> io::Result<()> {
        let files = self.files().clone();
        files.iter().try_for_each(|file| file.flush_entries())
    }

    /// Forces everything to the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let files = self.files().clone();
        files.iter().try_for_each(|file| file.flush())
    }

    fn files(&self) -> RwLockReadGuard<'_, Vec<Arc<IndexFile>>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn files_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<IndexFile>>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(file: &IndexFile) -> Option<String> {
    Some(file.path().file_name()?.to_str()?.to_owned())
}

/// The name that follows one. Names are the digits of a time; nobody reads a time from them.
fn name_behind(name: &str) -> String {
    match name.parse::<u64>() {
        Ok(number) => format!("{:0width$}", number.saturating_add(1), width = name.len()),
        Err(_) => format!("{name}0"),
    }
}

/// Java's hash of `topic#key`, without its sign; `i32::MIN` has no counterpart and becomes 0.
fn key_hash(topic: &str, key: &str) -> u32 {
    let hash = continue_hash(continue_hash(string_hash(topic), "#"), key);
    hash.checked_abs().unwrap_or(0) as u32
}
