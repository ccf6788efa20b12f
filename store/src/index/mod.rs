//! The index: finds messages by key. Derived from the log by the dispatch thread.

pub(crate) mod file;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::local_time::LocalTime;
use thrustmq_proto_compat::message::tags_code::{continue_hash, string_hash};

use crate::api::QueryRequest;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::layout::names_in;

use file::{IndexFile, IndexSize, Wanted};

/// Index files, oldest first.
#[derive(Debug)]
pub(crate) struct Index {
    disk: Disk,
    dir: PathBuf,
    size: IndexSize,
    clock: Clock,
    files: RwLock<Vec<Arc<IndexFile>>>,
    /// Files up to this physical offset are full and on the disk.
    flushed_full: AtomicI64,
}

/// Keys of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) topic: &'a str,
    pub(crate) unique_key: Option<&'a str>,
    /// Separated by blanks.
    pub(crate) keys: &'a str,
}

impl Index {
    /// Opens the files of a directory; one that cannot be mapped is removed, to be built again.
    pub(crate) fn open(
        disk: Disk,
        dir: PathBuf,
        size: IndexSize,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let mut files = Vec::new();
        for name in names_in(&disk, &dir)? {
            let path = dir.join(name);
            match IndexFile::open(&disk, &path, size) {
                Ok(file) if !file.is_empty() => files.push(Arc::new(file)),
                Ok(_) => disk.remove(&path).map_err(OpenError::io("remove", path))?,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(?path, %error, "index file is unusable and is built again");
                    disk.remove(&path).map_err(OpenError::io("remove", path))?;
                }
                Err(error) => return Err(OpenError::io("open", path)(error)),
            }
        }
        Ok(Self {
            disk,
            dir,
            size,
            clock,
            files: RwLock::new(files),
            flushed_full: AtomicI64::new(-1),
        })
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

    /// Forgets the messages at an offset and behind it, which a crash may have left half-written.
    /// Recovery only.
    pub(crate) fn cut(&self, physical_offset: i64) -> Result<(), OpenError> {
        for file in self.files().clone().iter().rev() {
            file.cut(physical_offset);
            if !file.is_empty() && file.end_offset() < physical_offset && file.is_full() {
                // Files before a full one end before it, and were flushed before it was begun.
                break;
            }
        }
        self.remove_where(IndexFile::is_empty)
            .map_err(OpenError::io("remove files of", &self.dir))
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

    /// Removes all files; recovery only.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        self.remove_where(|_| true)
    }

    fn remove_where(&self, expired: impl Fn(&IndexFile) -> bool) -> io::Result<()> {
        let files = self.files().clone();
        for file in files.iter().filter(|file| expired(file)) {
            self.disk.remove(file.path())?;
            self.files_mut().retain(|kept| !Arc::ptr_eq(kept, file));
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
        let plain = keys.keys.split(' ').filter(|key| !key.is_empty());
        for key in keys.unique_key.into_iter().chain(plain) {
            let hash = key_hash(keys.topic, key);
            if begun && self.has(hash, physical_offset) {
                continue;
            }
            while !self.writable_file()?.put(hash, physical_offset, timestamp) {}
        }
        Ok(())
    }

    /// Whether the newest messages of this hash include the one at an offset.
    fn has(&self, key_hash: u32, physical_offset: i64) -> bool {
        const NEWEST: usize = 4;
        let wanted = Wanted {
            key_hash,
            begin_ms: 0,
            end_ms: i64::MAX,
            found_max: NEWEST,
        };
        let files = self.files().clone();
        files.iter().rev().take(2).any(|file| {
            let mut found = Vec::new();
            file.find(wanted, &mut found);
            found.contains(&physical_offset)
        })
    }

    /// The last file, or a new one if it is full.
    fn writable_file(&self) -> io::Result<Arc<IndexFile>> {
        if let Some(last) = self.files().last().filter(|last| !last.is_full()) {
            return Ok(Arc::clone(last));
        }
        // Two files of one millisecond would be one file.
        let mut now_ms = self.clock.now_ms();
        let mut path = self.dir.join(LocalTime::at(now_ms).digits());
        while self.disk.exists(&path)? {
            now_ms += 1;
            path = self.dir.join(LocalTime::at(now_ms).digits());
        }
        self.disk.make_directories(&self.dir)?;
        let file = Arc::new(IndexFile::open(&self.disk, &path, self.size)?);
        // Its name must last once a checkpoint promises what is in it.
        self.disk.sync_directory(&self.dir)?;
        self.files_mut().push(Arc::clone(&file));
        Ok(file)
    }

    /// Physical offsets of messages that have the key, or one of the same hash.
    pub(crate) fn find(&self, request: &QueryRequest<'_>, found_max: usize) -> Vec<i64> {
        let wanted = Wanted {
            key_hash: key_hash(request.topic, request.key),
            begin_ms: request.begin_ms,
            end_ms: request.end_ms,
            found_max,
        };
        let mut found = Vec::new();
        let files = self.files().clone();
        for file in files.iter().rev() {
            if file.overlaps(request.begin_ms, request.end_ms) {
                file.find(wanted, &mut found);
            }
            if found.len() >= found_max || file.begin_timestamp() < request.begin_ms {
                break;
            }
        }
        found
    }

    /// Forces full files to the disk, each once.
    pub(crate) fn flush_full(&self) -> io::Result<()> {
        let files = self.files().clone();
        let flushed = self.flushed_full.load(Ordering::Acquire);
        let full = files.iter().filter(|file| file.is_full());
        for file in full.filter(|file| file.end_offset() > flushed) {
            file.flush()?;
            self.flushed_full
                .fetch_max(file.end_offset(), Ordering::AcqRel);
        }
        Ok(())
    }

    /// Forces all files to the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.flush_full()?;
        let last = self.files().last().cloned();
        last.map_or(Ok(()), |last| last.flush())
    }

    fn files(&self) -> RwLockReadGuard<'_, Vec<Arc<IndexFile>>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn files_mut(&self) -> RwLockWriteGuard<'_, Vec<Arc<IndexFile>>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Java's hash of `topic#key`, without its sign; `i32::MIN` has no counterpart and becomes 0.
fn key_hash(topic: &str, key: &str) -> u32 {
    let hash = continue_hash(continue_hash(string_hash(topic), "#"), key);
    hash.checked_abs().unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(dir: &std::path::Path) -> Index {
        let size = IndexSize {
            slots: 7,
            entries: 5,
        };
        let clock = Clock::by_hand(1_700_000_000_000);
        Index::open(Disk::default(), dir.into(), size, clock).unwrap()
    }

    fn put(index: &Index, keys: &str, offset: i64, timestamp: i64) {
        let keys = Keys {
            topic: "t",
            unique_key: Some("u"),
            keys,
        };
        index.put(&keys, offset, timestamp).unwrap();
    }

    fn find(index: &Index, key: &str) -> Vec<i64> {
        let request = QueryRequest {
            topic: "t",
            key,
            messages_max: 64,
            begin_ms: 0,
            end_ms: i64::MAX,
        };
        index.find(&request, 64)
    }

    #[test]
    fn hashes_are_those_of_the_joined_text() {
        assert_eq!(
            key_hash("topic", "key"),
            string_hash("topic#key").unsigned_abs()
        );
    }

    #[test]
    fn messages_are_found_across_files_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(dir.path());
        for number in 0..6 {
            put(&index, "a  b", number * 100, 1_000 * number);
        }
        let used = |index: &Index| index.files().iter().map(|file| file.used()).sum::<u32>();
        let before = used(&index);
        put(&index, "a  b", 500, 5_000);
        assert_eq!(used(&index), before, "the last one is there already");
        put(&index, "late", 200, 9_000);
        assert_eq!(find(&index, "a"), [500, 400, 300, 200, 100, 0]);
        assert_eq!(find(&index, "u").len(), 6);
        assert!(
            find(&index, "late").is_empty(),
            "older than the last one indexed"
        );
        assert_eq!(names_in(&Disk::default(), dir.path()).unwrap().len(), 5);
        assert_eq!(index.last_update(), (500, 5_000));
    }

    #[test]
    fn files_go_at_either_end() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(dir.path());
        for number in 0..6 {
            put(&index, "a", number * 100, 1_000 * number);
        }
        index.flush().unwrap();
        index.remove_before(400).unwrap();
        assert_eq!(find(&index, "a"), [500, 400]);
        index.cut(500).unwrap();
        assert_eq!(find(&index, "a"), [400]);
        put(&index, "a", 450, 9_000);
        assert_eq!(find(&index, "a"), [450, 400]);
        index.cut(400).unwrap();
        assert!(index.is_empty());
        assert!(names_in(&Disk::default(), dir.path()).unwrap().is_empty());
    }
}
