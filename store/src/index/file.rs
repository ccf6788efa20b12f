//! One index file: a hash table from keys to places in the log.
//!
//! Header, then slots, each the newest entry of a chain, then entries, each with the one before it.
//! Entry numbers begin at 1; 0 ends a chain.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use crate::disk::Disk;
use crate::mapped_file::MappedCells;

const HEADER_BYTES: usize = 40;
const SLOT_BYTES: usize = 4;
const ENTRY_BYTES: usize = 20;

const BEGIN_TIMESTAMP_AT: usize = 0;
const END_TIMESTAMP_AT: usize = 8;
const BEGIN_OFFSET_AT: usize = 16;
const END_OFFSET_AT: usize = 24;
const USED_SLOTS_AT: usize = 32;
const NEXT_ENTRY_AT: usize = 36;

/// Slots and entries of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexSize {
    pub(crate) slots: u32,
    pub(crate) entries: u32,
}

impl IndexSize {
    pub(crate) fn file_bytes(self) -> usize {
        HEADER_BYTES + self.slots as usize * SLOT_BYTES + self.entries as usize * ENTRY_BYTES
    }
}

/// What a search in the index is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) key_hash: u32,
    pub(crate) begin_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) found_max: usize,
}

/// A mapped index file. Written by the dispatch thread only.
#[derive(Debug)]
pub(crate) struct IndexFile {
    path: PathBuf,
    size: IndexSize,
    cells: MappedCells,
    /// Times and offsets of the header, which as pairs of cells could be read half-written.
    begin_timestamp: AtomicI64,
    end_timestamp: AtomicI64,
    end_offset: AtomicI64,
    /// Number of the next entry; entries before it can be read.
    next_entry: AtomicU32,
}

impl IndexFile {
    /// Maps the file, making it first if it is not there.
    pub(crate) fn open(disk: &Disk, path: &Path, size: IndexSize) -> io::Result<Self> {
        let cells = MappedCells::open(disk, path, size.file_bytes())?;
        Ok(Self {
            path: path.to_owned(),
            size,
            begin_timestamp: AtomicI64::new(cells.get_i64(BEGIN_TIMESTAMP_AT)),
            end_timestamp: AtomicI64::new(cells.get_i64(END_TIMESTAMP_AT)),
            end_offset: AtomicI64::new(cells.get_i64(END_OFFSET_AT)),
            next_entry: AtomicU32::new(cells.get(NEXT_ENTRY_AT).clamp(1, size.entries)),
            cells,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn begin_timestamp(&self) -> i64 {
        self.begin_timestamp.load(Ordering::Acquire)
    }

    pub(crate) fn end_timestamp(&self) -> i64 {
        self.end_timestamp.load(Ordering::Acquire)
    }

    /// Physical offset of the last message indexed here.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next_entry.load(Ordering::Acquire) <= 1
    }

    pub(crate) fn is_full(&self) -> bool {
        self.next_entry.load(Ordering::Acquire) >= self.size.entries
    }

    /// Number of entries.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u32 {
        self.next_entry.load(Ordering::Acquire) - 1
    }

    /// Adds an entry; false if the file is full.
    pub(crate) fn put(&self, key_hash: u32, physical_offset: i64, store_timestamp: i64) -> bool {
        let number = self.next_entry.load(Ordering::Relaxed);
        if number >= self.size.entries {
            return false;
        }
        if number <= 1 {
            self.begin_timestamp
                .store(store_timestamp, Ordering::Release);
            self.cells.set_i64(BEGIN_TIMESTAMP_AT, store_timestamp);
            self.cells.set_i64(BEGIN_OFFSET_AT, physical_offset);
        }
        let slot_at = self.slot_at(key_hash);
        let previous = self.cells.get(slot_at);
        let previous = if previous < number { previous } else { 0 };
        let at = self.entry_at(number);
        self.cells.set(at, key_hash);
        self.cells.set_i64(at + 4, physical_offset);
        self.cells
            .set(at + 12, self.seconds_since_begin(store_timestamp));
        self.cells.set(at + 16, previous);
        if previous == 0 {
            let used = self.cells.get(USED_SLOTS_AT);
            self.cells.set(USED_SLOTS_AT, used.saturating_add(1));
        }
        self.cells.set_i64(END_TIMESTAMP_AT, store_timestamp);
        self.cells.set_i64(END_OFFSET_AT, physical_offset);
        self.cells.set(NEXT_ENTRY_AT, number + 1);
        self.end_timestamp.store(store_timestamp, Ordering::Release);
        self.end_offset.store(physical_offset, Ordering::Release);
        self.next_entry.store(number + 1, Ordering::Release);
        // Last, since it leads readers to the entry.
        self.cells.set(slot_at, number);
        true
    }

    /// Keeps the entries in front that point before an offset, and clears the others; slots are
    /// built again from the entries, since a crash may have left them pointing anywhere. Recovery
    /// only.
    pub(crate) fn cut(&self, physical_offset: i64) {
        for slot in 0..self.size.slots {
            self.cells.set(self.slot_at(slot), 0);
        }
        self.cells.set(USED_SLOTS_AT, 0);
        self.next_entry.store(1, Ordering::Release);
        let mut kept = true;
        let mut last_offset = 0;
        for number in 1..self.size.entries {
            let at = self.entry_at(number);
            let hash = self.cells.get(at);
            let offset = self.cells.get_i64(at + 4);
            let seconds = self.cells.get(at + 12);
            if (hash, offset, seconds) == (0, 0, 0) {
                break;
            }
            kept &= (last_offset..physical_offset).contains(&offset);
            if kept {
                let timestamp = self.begin_timestamp() + i64::from(seconds) * 1_000;
                self.put(hash, offset, timestamp);
                last_offset = offset;
            } else {
                self.clear_entry(number);
            }
        }
        if self.is_empty() {
            self.cells.set(NEXT_ENTRY_AT, 1);
        }
    }

    fn clear_entry(&self, number: u32) {
        let at = self.entry_at(number);
        for cell in (at..at + ENTRY_BYTES).step_by(4) {
            self.cells.set(cell, 0);
        }
    }

    /// Adds the physical offsets of entries that match, newest first.
    pub(crate) fn find(&self, wanted: Wanted, found: &mut Vec<i64>) {
        let next = self.next_entry.load(Ordering::Acquire);
        let mut number = self.cells.get(self.slot_at(wanted.key_hash));
        // Chains lead backwards only, so they end; a damaged one is cut where it does not.
        while number > 0 && number < next && found.len() < wanted.found_max {
            let at = self.entry_at(number);
            let time_ms = self.begin_timestamp() + i64::from(self.cells.get(at + 12)) * 1_000;
            if time_ms < wanted.begin_ms - 1_000 {
                break;
            }
            // The entry's time is cut to seconds since the file's begin.
            let in_time = time_ms <= wanted.end_ms;
            let offset = self.cells.get_i64(at + 4);
            if self.cells.get(at) == wanted.key_hash && in_time && !found.contains(&offset) {
                found.push(offset);
            }
            let previous = self.cells.get(at + 16);
            if previous >= number {
                break;
            }
            number = previous;
        }
    }

    /// Whether messages of this span may be in here.
    pub(crate) fn overlaps(&self, begin_ms: i64, end_ms: i64) -> bool {
        !self.is_empty() && begin_ms <= self.end_timestamp() && end_ms >= self.begin_timestamp()
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.cells.flush()
    }

    fn seconds_since_begin(&self, store_timestamp: i64) -> u32 {
        let since_ms = store_timestamp - self.begin_timestamp.load(Ordering::Relaxed);
        (since_ms / 1_000).clamp(0, i64::from(i32::MAX)) as u32
    }

    fn slot_at(&self, key_hash: u32) -> usize {
        HEADER_BYTES + (key_hash % self.size.slots) as usize * SLOT_BYTES
    }

    fn entry_at(&self, number: u32) -> usize {
        let entries_at = HEADER_BYTES + self.size.slots as usize * SLOT_BYTES;
        entries_at + number as usize * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: IndexSize = IndexSize {
        slots: 3,
        entries: 6,
    };

    fn open(path: &Path) -> io::Result<IndexFile> {
        IndexFile::open(&Disk::default(), path, SIZE)
    }

    fn wanted(key_hash: u32, begin_ms: i64, end_ms: i64) -> Wanted {
        Wanted {
            key_hash,
            begin_ms,
            end_ms,
            found_max: 10,
        }
    }

    fn found(file: &IndexFile, wanted: Wanted) -> Vec<i64> {
        let mut found = Vec::new();
        file.find(wanted, &mut found);
        found
    }

    #[test]
    fn entries_are_found_newest_first_and_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let file = open(&path).unwrap();
        assert!(file.is_empty());
        // 4 and 1 share a slot.
        for (hash, offset, time) in [(4, 100, 10_000), (1, 200, 11_000), (4, 300, 15_000)] {
            assert!(file.put(hash, offset, time));
        }
        for file in [&file, &open(&path).unwrap()] {
            assert_eq!(found(file, wanted(4, 0, i64::MAX)), [300, 100]);
            assert_eq!(found(file, wanted(4, 0, 14_000)), [100]);
            assert_eq!(found(file, wanted(4, 13_000, 20_000)), [300]);
            assert_eq!(found(file, wanted(1, 0, i64::MAX)), [200]);
            assert!(found(file, wanted(2, 0, i64::MAX)).is_empty());
            assert_eq!(
                (file.begin_timestamp(), file.end_timestamp()),
                (10_000, 15_000)
            );
            assert_eq!(file.end_offset(), 300);
            assert!(file.overlaps(15_000, 16_000) && !file.overlaps(15_001, 16_000));
        }
    }

    #[test]
    fn a_cut_file_holds_its_front_and_nothing_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let file = open(&path).unwrap();
        for (hash, offset, time) in [(4, 0, 10_000), (1, 200, 11_000), (4, 300, 15_000)] {
            file.put(hash, offset, time);
        }
        // As if the slot's page had not reached the disk.
        file.cells.set(file.slot_at(4), 0);
        file.cut(300);
        for file in [&file, &open(&path).unwrap()] {
            assert_eq!(found(file, wanted(4, 0, i64::MAX)), [0]);
            assert_eq!(found(file, wanted(1, 0, i64::MAX)), [200]);
            assert_eq!((file.used(), file.end_offset()), (2, 200));
        }
        file.cut(i64::MAX);
        assert_eq!(file.used(), 2, "nothing stale comes back");
        file.cut(0);
        assert!(file.is_empty());
        assert!(open(&path).unwrap().is_empty());
    }

    #[test]
    fn a_full_file_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("0")).unwrap();
        // Entry 0 is never used.
        for number in 1..6 {
            assert!(file.put(number, i64::from(number), 1_000));
        }
        assert!(file.is_full());
        assert!(!file.put(9, 9, 1_000));
        assert_eq!(found(&file, wanted(5, 0, i64::MAX)), [5]);
    }
}
