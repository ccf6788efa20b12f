//! Consume queues: for each queue of each topic the places of its messages, 20 bytes an entry.
//!
//! Derived from the log by the dispatch thread, the only writer; read by everyone up to `next`.

pub(crate) mod entry;
pub(crate) mod search;
pub(crate) mod segment;
pub(crate) mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::api::{QueueEntry, QueueRange};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::file_queue::FileQueue;
use crate::mapped_file::Place;

use entry::{BLANK_ENTRY, ENTRY_BYTES};
use segment::{EntryAccess, YoungEntries};

const ENTRY: i64 = ENTRY_BYTES as i64;

/// What became of an entry that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is the new last entry.
    Added,
    /// It is there already, or is of an earlier life of the queue.
    Known,
    /// Another message has its number: the queue began anew, after its topic was deleted.
    Restarted,
    /// Entries before it are missing; nothing was put.
    Gap,
}

/// One queue of one topic.
#[derive(Debug)]
pub(crate) struct ConsumeQueue {
    pub(crate) topic: Box<str>,
    pub(crate) queue_id: i32,
    files: FileQueue,
    /// First entry that points into the log.
    min: AtomicI64,
    /// One behind the last entry.
    next: AtomicI64,
    /// Physical offset of the last entry; entries come in the log's order.
    last_physical_offset: AtomicI64,
    young: YoungEntries,
    /// Bytes before this are on the disk.
    flushed: AtomicI64,
    /// Whether it stands in the table's list of queues to flush.
    pub(crate) dirty: AtomicBool,
    removed: AtomicBool,
}

/// Where a queue lies.
#[derive(Debug, Clone)]
pub(crate) struct QueueLocation {
    pub(crate) disk: Disk,
    pub(crate) topic: Box<str>,
    pub(crate) queue_id: i32,
    pub(crate) dir: PathBuf,
    pub(crate) file_bytes: usize,
    /// Entries of records among so many bytes at the end of the log are read from memory.
    pub(crate) memory_bytes: i64,
}

impl ConsumeQueue {
    /// A queue without entries; its first file is made with its first entry.
    pub(crate) fn new(location: QueueLocation) -> Self {
        let QueueLocation {
            disk,
            dir,
            file_bytes,
            ..
        } = location.clone();
        let files = FileQueue::empty(disk, dir, file_bytes, Place::Sparse);
        Self::of(location, files)
    }

    /// The queue that lies in a directory.
    pub(crate) fn open(location: QueueLocation) -> Result<Self, OpenError> {
        let QueueLocation {
            disk,
            dir,
            file_bytes,
            ..
        } = location.clone();
        let files = FileQueue::open(disk, dir, file_bytes, Place::Sparse)?;
        Ok(Self::of(location, files))
    }

    fn of(location: QueueLocation, files: FileQueue) -> Self {
        Self {
            topic: location.topic,
            queue_id: location.queue_id,
            files,
            min: AtomicI64::new(0),
            next: AtomicI64::new(0),
            last_physical_offset: AtomicI64::new(-1),
            young: YoungEntries::new(location.memory_bytes),
            flushed: AtomicI64::new(0),
            dirty: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        }
    }

    /// Where its files lie.
    pub(crate) fn dir(&self) -> &Path {
        self.files.dir()
    }

    /// Whether it lies on the disk at all.
    pub(crate) fn has_files(&self) -> bool {
        self.files.first().is_some()
    }

    /// Entries that can be read.
    pub(crate) fn range(&self) -> QueueRange {
        // The end first: a queue whose head moves on meanwhile must not look negative.
        let max = self.next();
        let min = self.min.load(Ordering::Acquire).min(max);
        QueueRange { min, max }
    }

    /// One behind the last entry.
    #[inline]
    pub(crate) fn next(&self) -> i64 {
        self.next.load(Ordering::Acquire)
    }

    /// Puts an entry behind the last. Dispatch thread and recovery only.
    pub(crate) fn put(&self, queue_offset: i64, entry: &QueueEntry) -> io::Result<Put> {
        let next = self.next();
        if entry.physical_offset <= self.last_physical_offset.load(Ordering::Relaxed) {
            return Ok(Put::Known);
        }
        if queue_offset < next {
            return Ok(Put::Restarted);
        }
        if queue_offset > next {
            return Ok(Put::Gap);
        }
        self.push(&entry::encode(entry))?;
        self.last_physical_offset
            .store(entry.physical_offset, Ordering::Relaxed);
        self.young.added(queue_offset, entry.physical_offset);
        Ok(Put::Added)
    }

    /// Fills with blank entries up to a number; a fresh queue begins in the file of that number.
    pub(crate) fn fill_up_to(&self, queue_offset: i64) -> io::Result<()> {
        let end = queue_offset.saturating_mul(ENTRY);
        if self.files.first().is_none() {
            let start = self.files.start_of_file(end);
            self.files.push(self.files.make(start)?);
            self.next.store(start / ENTRY, Ordering::Release);
            self.flushed.store(start, Ordering::Release);
        }
        // Nobody is to read the blanks in front; those in the middle have messages before them.
        if self.last_physical_offset.load(Ordering::Relaxed) < 0 {
            self.min.fetch_max(queue_offset, Ordering::AcqRel);
        }
        while self.next() < queue_offset {
            self.push(&BLANK_ENTRY)?;
        }
        Ok(())
    }

    fn push(&self, bytes: &[u8; ENTRY_BYTES]) -> io::Result<()> {
        let next = self.next();
        let position = next * ENTRY;
        let file = match self.files.last() {
            Some(last) if position < last.end() => last,
            _ => {
                let made = self.files.make(self.files.start_of_file(position))?;
                self.files.push(Arc::clone(&made));
                made
            }
        };
        let at = file.map()?.append(bytes)?;
        debug_assert_eq!(file.start + at as i64, position, "entry out of place");
        self.next.store(next + 1, Ordering::Release);
        Ok(())
    }

    /// Number of the first entry of the file behind the one that holds this entry.
    pub(crate) fn begin_of_next_file(&self, queue_offset: i64) -> i64 {
        let next = self.files.end_of_file(queue_offset * ENTRY) / ENTRY;
        next.min(self.next())
    }

    /// Moves the head to the first entry that points at `log_min` or behind it, and removes the
    /// files before it.
    pub(crate) fn drop_before(&self, log_min: i64) -> io::Result<usize> {
        let first = self.files.first().map_or(0, |file| file.start / ENTRY);
        let from = first.max(self.min.load(Ordering::Acquire));
        let before = |entry: &QueueEntry| Ok(entry.physical_offset < log_min);
        let mut min = self.partition_point(from, self.next(), EntryAccess::DISK, before)?;
        while self
            .get(min, EntryAccess::DISK)?
            .as_ref()
            .is_some_and(entry::is_blank)
        {
            min += 1;
        }
        self.min.fetch_max(min, Ordering::AcqRel);
        self.files.remove_before(min * ENTRY, usize::MAX)
    }

    /// Forces all entries to the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let end = self.next();
        let flushed = self.flushed.load(Ordering::Acquire);
        self.files.flush(flushed, end * ENTRY)?;
        self.flushed_up_to(end);
        Ok(())
    }

    /// Directories whose new names are not durable yet, each time once.
    pub(crate) fn take_unsynced(&self) -> Vec<PathBuf> {
        self.files.take_unsynced()
    }

    /// Notes that the entries before a number are on the disk.
    pub(crate) fn flushed_up_to(&self, queue_offset: i64) {
        self.flushed
            .fetch_max(queue_offset * ENTRY, Ordering::AcqRel);
    }

    /// Unmaps files that nobody used since the last call.
    pub(crate) fn unmap_idle(&self) {
        self.files.unmap_idle();
    }

    /// Unmaps files that nobody holds at this moment.
    pub(crate) fn unmap_free(&self) {
        self.files.unmap_free();
    }

    /// Removes all files, for good.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.removed.store(true, Ordering::Release);
        self.files.remove_all()
    }

    /// Whether [`ConsumeQueue::remove`] was called.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
