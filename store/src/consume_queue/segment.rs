//! Entries of a queue as they are read: the young from the map, the old from the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::api::QueueEntry;
use crate::error::ReadError;
use crate::file_queue::QueueFile;
use crate::file_reader::Wait;
use crate::mapped_file::MappedFile;

use super::entry::{self, ENTRY_BYTES};
use super::{ConsumeQueue, ENTRY};

/// How entries are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryAccess {
    /// Entries of records from here on are in memory, if this process put them.
    pub(crate) recent_from: i64,
    /// Whether older entries may be waited for.
    pub(crate) wait: Wait,
}

impl EntryAccess {
    /// Everything from the disk.
    pub(crate) const DISK: Self = Self {
        recent_from: i64::MAX,
        wait: Wait::Disk,
    };
}

/// From which entry on a queue's entries are young: this process put them, and they were the last
/// ones while the log grew by so many bytes. The dispatch thread writes, readers read.
#[derive(Debug)]
pub(crate) struct YoungEntries {
    log_bytes: i64,
    from: AtomicI64,
    /// Takes the place of `from` when the log has grown by half of the bytes.
    next_from: AtomicI64,
    next_physical_offset: AtomicI64,
}

const NO_OFFSET: i64 = -1;

impl YoungEntries {
    pub(crate) fn new(log_bytes: i64) -> Self {
        Self {
            log_bytes,
            from: AtomicI64::new(0),
            next_from: AtomicI64::new(0),
            next_physical_offset: AtomicI64::new(NO_OFFSET),
        }
    }

    /// Entries before a number are old. Recovery only.
    pub(crate) fn restart(&self, number: i64) {
        self.from.store(number, Ordering::Release);
        self.next_from.store(number, Ordering::Release);
        self.next_physical_offset
            .store(NO_OFFSET, Ordering::Release);
    }

    /// An entry was put.
    #[inline]
    pub(crate) fn added(&self, number: i64, physical_offset: i64) {
        let next = self.next_physical_offset.load(Ordering::Relaxed);
        if next == NO_OFFSET {
            self.next_physical_offset
                .store(physical_offset, Ordering::Relaxed);
        } else if physical_offset - next > self.log_bytes / 2 {
            let from = self.next_from.swap(number, Ordering::AcqRel);
            self.from.store(from, Ordering::Release);
            self.next_physical_offset
                .store(physical_offset, Ordering::Relaxed);
        }
    }

    fn holds(&self, number: i64) -> bool {
        number >= self.from.load(Ordering::Acquire)
    }
}

/// Neighbouring entries in one file.
#[derive(Debug)]
pub(crate) struct Segment {
    bytes: SegmentBytes,
    entries: usize,
}

#[derive(Debug)]
enum SegmentBytes {
    Mapped { map: Arc<MappedFile>, at: usize },
    Read(Vec<u8>),
}

impl Segment {
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Whether the entries come from memory, not from the disk.
    pub(crate) fn is_young(&self) -> bool {
        matches!(self.bytes, SegmentBytes::Mapped { .. })
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<QueueEntry> {
        if index >= self.entries {
            return None;
        }
        let from = index * ENTRY_BYTES;
        let bytes = match &self.bytes {
            SegmentBytes::Mapped { map, at } => map.slice(at + from, ENTRY_BYTES)?,
            SegmentBytes::Read(bytes) => bytes.get(from..)?,
        };
        bytes.first_chunk().map(entry::decode)
    }
}

impl ConsumeQueue {
    /// One entry.
    pub(crate) fn get(
        &self,
        queue_offset: i64,
        access: EntryAccess,
    ) -> Result<Option<QueueEntry>, ReadError> {
        let segment = self.segment(queue_offset, 1, access)?;
        Ok(segment.and_then(|segment| segment.get(0)))
    }

    /// Entries from a number on, at most so many and none of another file; nothing if the first is
    /// not there.
    pub(crate) fn segment(
        &self,
        queue_offset: i64,
        entries_max: usize,
        access: EntryAccess,
    ) -> Result<Option<Segment>, ReadError> {
        let next = self.next();
        if queue_offset < 0 || queue_offset >= next {
            return Ok(None);
        }
        let position = queue_offset * ENTRY;
        let Some(file) = self.files.find(position) else {
            return Ok(None);
        };
        let end = file.end().min(next * ENTRY);
        let entries = (((end - position) / ENTRY) as usize).min(entries_max);
        let at = (position - file.start) as usize;
        if self.is_young(queue_offset, access) {
            let map = file.map();
            let map = map.map_err(ReadError::disk(file.path(), at as u64))?;
            let bytes = SegmentBytes::Mapped { map, at };
            return Ok(Some(Segment { bytes, entries }));
        }
        let Some(reader) = file.reader()? else {
            return self.missing(&file, queue_offset);
        };
        let length = entries * ENTRY_BYTES;
        let bytes = reader.read(at as u64, ENTRY_BYTES, length, access.wait)?;
        Ok(Some(Segment {
            entries: bytes.len() / ENTRY_BYTES,
            bytes: SegmentBytes::Read(bytes),
        }))
    }

    fn is_young(&self, queue_offset: i64, access: EntryAccess) -> bool {
        self.young.holds(queue_offset)
            && self.last_physical_offset.load(Ordering::Relaxed) >= access.recent_from
    }

    /// A file may go at any time with its topic or behind the queue's head, but not otherwise.
    fn missing(&self, file: &QueueFile, queue_offset: i64) -> Result<Option<Segment>, ReadError> {
        if self.is_removed() || queue_offset < self.range().min {
            return Ok(None);
        }
        let not_found = std::io::ErrorKind::NotFound.into();
        Err(ReadError::disk(file.path(), 0)(not_found))
    }

    /// An entry that cannot be right, as an error.
    pub(crate) fn damaged(&self, queue_offset: i64, reason: String) -> ReadError {
        self.files
            .damaged(queue_offset.saturating_mul(ENTRY), reason)
    }
}
