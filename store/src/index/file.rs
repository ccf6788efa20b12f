//! One index file: a hash table from keys to places in the log.
//!
//! Header, then slots, each the newest entry of a chain, then entries, each with the one before it.
//! Entry numbers begin at 1; 0 ends a chain. The dispatch thread writes, the checkpoint thread
//! forces to the disk, anyone reads.
//!
//! Entries are written in order, slots at random places. Thus entries go to the disk each second and
//! slots seldom; [`super::recovery`] makes up for what the slots lack after a crash.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};

use crate::disk::Disk;
use crate::mapped_file::MappedCells;

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const SLOT_BYTES: usize = 4;
pub(super) const ENTRY_BYTES: usize = 20;

pub(super) const BEGIN_TIMESTAMP_AT: usize = 0;
pub(super) const END_TIMESTAMP_AT: usize = 8;
pub(super) const BEGIN_OFFSET_AT: usize = 16;
pub(super) const END_OFFSET_AT: usize = 24;
const USED_SLOTS_AT: usize = 32;
pub(super) const NEXT_ENTRY_AT: usize = 36;

/// Entries get their disk blocks in such steps.
const BLOCKS_AHEAD_BYTES: usize = 1 << 20;

/// Nothing was flushed since the file was opened.
const NEVER: u32 = 0;

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
}

/// Whether a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    On,
    Enough,
}

/// What the header says of the last entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) next_entry: u32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
}

/// One key of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) key_hash: u32,
    pub(crate) physical_offset: i64,
    pub(crate) store_timestamp: i64,
}

/// Whether an entry was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// The file is full.
    No,
}

/// A mapped index file.
#[derive(Debug)]
pub(crate) struct IndexFile {
    path: PathBuf,
    pub(super) size: IndexSize,
    pub(super) cells: MappedCells,
    /// Times and offsets of the header, which as pairs of cells could be read half-written.
    begin_timestamp: AtomicI64,
    end_timestamp: AtomicI64,
    end_offset: AtomicI64,
    /// Number of the next entry; entries before it can be read.
    next_entry: AtomicU32,
    /// Entries before this number have their slots set.
    linked: AtomicU32,
    /// End of the bytes that have their blocks on the disk; 0 as long as nobody has looked.
    reserved: AtomicUsize,
    /// Entries before this number are on the disk, with the header.
    entries_flushed: AtomicU32,
    /// Everything that belongs to entries before this number is, their slots as well.
    slots_flushed: AtomicU32,
}

impl IndexFile {
    /// Maps the file, making it first if it is not there.
    pub(crate) fn open(disk: &Disk, path: &Path, size: IndexSize) -> io::Result<Self> {
        let cells = MappedCells::open(disk, path, size.file_bytes())?;
        let next_entry = cells.get(NEXT_ENTRY_AT).clamp(1, size.entries);
        Ok(Self {
            path: path.to_owned(),
            size,
            begin_timestamp: AtomicI64::new(cells.get_i64(BEGIN_TIMESTAMP_AT)),
            end_timestamp: AtomicI64::new(cells.get_i64(END_TIMESTAMP_AT)),
            end_offset: AtomicI64::new(cells.get_i64(END_OFFSET_AT)),
            next_entry: AtomicU32::new(next_entry),
            linked: AtomicU32::new(next_entry),
            reserved: AtomicUsize::new(0),
            entries_flushed: AtomicU32::new(NEVER),
            slots_flushed: AtomicU32::new(NEVER),
            cells,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn begin_timestamp(&self) -> i64 {
        self.begin_timestamp.load(Ordering::Acquire)
    }

    /// Physical offset of the first message indexed here, as the header says.
    pub(super) fn begin_offset(&self) -> i64 {
        self.cells.get_i64(BEGIN_OFFSET_AT)
    }

    pub(crate) fn end_timestamp(&self) -> i64 {
        self.end_timestamp.load(Ordering::Acquire)
    }

    /// Physical offset of the last message indexed here.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset.load(Ordering::Acquire)
    }

    /// Number of the next entry.
    pub(super) fn next_entry(&self) -> u32 {
        self.next_entry.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next_entry() <= 1
    }

    pub(crate) fn is_full(&self) -> bool {
        self.next_entry() >= self.size.entries
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// The disk is full; then nothing has changed.
    pub(crate) fn put(&self, entry: Entry) -> io::Result<Taken> {
        let number = self.next_entry.load(Ordering::Relaxed);
        if number >= self.size.entries {
            return Ok(Taken::No);
        }
        self.take_blocks(self.entry_at(number) + ENTRY_BYTES)?;
        if number <= 1 {
            self.begin_timestamp
                .store(entry.store_timestamp, Ordering::Release);
            self.cells
                .set_i64(BEGIN_TIMESTAMP_AT, entry.store_timestamp);
            self.cells.set_i64(BEGIN_OFFSET_AT, entry.physical_offset);
        }
        let slot_at = self.slot_at(entry.key_hash);
        let previous = self.cells.get(slot_at);
        let previous = if previous < number { previous } else { 0 };
        let at = self.entry_at(number);
        self.cells.set(at, entry.key_hash);
        self.cells.set_i64(at + 4, entry.physical_offset);
        self.cells
            .set(at + 12, self.seconds_since_begin(entry.store_timestamp));
        self.cells.set(at + 16, previous);
        if previous == 0 {
            let used = self.cells.get(USED_SLOTS_AT);
            self.cells.set(USED_SLOTS_AT, used.saturating_add(1));
        }
        self.set_end(End {
            next_entry: number + 1,
            offset: entry.physical_offset,
            timestamp: entry.store_timestamp,
        });
        // Behind all else, since it leads readers to the entry.
        self.cells.set(slot_at, number);
        self.linked.store(number + 1, Ordering::Release);
        Ok(Taken::Yes)
    }

    fn set_end(&self, end: End) {
        self.cells.set_i64(END_TIMESTAMP_AT, end.timestamp);
        self.cells.set_i64(END_OFFSET_AT, end.offset);
        self.cells.set(NEXT_ENTRY_AT, end.next_entry);
        self.end_timestamp.store(end.timestamp, Ordering::Release);
        self.end_offset.store(end.offset, Ordering::Release);
        self.next_entry.store(end.next_entry, Ordering::Release);
    }

    /// Sets the header as it is when all entries are linked. Recovery only.
    pub(super) fn restore_header(&self, end: End, used_slots: u32) {
        self.set_end(end);
        self.cells.set(USED_SLOTS_AT, used_slots);
        self.linked.store(end.next_entry, Ordering::Release);
    }

    /// Takes disk blocks for header, slots and the entries before a position, and some ahead.
    pub(super) fn take_blocks(&self, end: usize) -> io::Result<()> {
        let reserved = self.reserved.load(Ordering::Relaxed);
        if end <= reserved {
            return Ok(());
        }
        let to = end.saturating_add(BLOCKS_AHEAD_BYTES);
        let to = to.min(self.size.file_bytes());
        self.cells.reserve(reserved, to)?;
        self.reserved.store(to, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the physical offsets of entries that match to `visit`, newest first, until it has
    /// enough.
    pub(crate) fn find(&self, wanted: Wanted, visit: &mut dyn FnMut(i64) -> Search) -> Search {
        if self.is_empty() {
            return Search::On; // its slots may have no blocks
        }
        let next = self.next_entry();
        let mut number = self.cells.get(self.slot_at(wanted.key_hash));
        // Chains lead backwards only, so they end; a damaged one is cut where it does not.
        while number > 0 && number < next {
            let at = self.entry_at(number);
            // The entry's time is cut to seconds since the file's begin.
            let since_ms = i64::from(self.cells.get(at + 12)) * 1_000;
            let time_ms = self.begin_timestamp().saturating_add(since_ms);
            if time_ms < wanted.begin_ms.saturating_sub(1_000) {
                break;
            }
            let matches = self.cells.get(at) == wanted.key_hash && time_ms <= wanted.end_ms;
            if matches && visit(self.cells.get_i64(at + 4)) == Search::Enough {
                return Search::Enough;
            }
            let previous = self.cells.get(at + 16);
            if previous >= number {
                break;
            }
            number = previous;
        }
        Search::On
    }

    /// Whether messages of this span may be in here.
    pub(crate) fn overlaps(&self, begin_ms: i64, end_ms: i64) -> bool {
        !self.is_empty() && begin_ms <= self.end_timestamp() && end_ms >= self.begin_timestamp()
    }

    /// Forces the entries added since the last time, and the header, to the disk. The first time it
    /// is everything: recovery may have changed slots that nothing will change again.
    pub(crate) fn flush_entries(&self) -> io::Result<()> {
        let next = self.next_entry();
        let flushed = self.entries_flushed.load(Ordering::Acquire);
        if flushed == next {
            return Ok(());
        }
        if flushed == NEVER {
            return self.flush();
        }
        self.cells
            .flush(self.entry_at(flushed), self.entry_at(next))?;
        self.cells.flush(0, HEADER_BYTES)?;
        self.entries_flushed.store(next, Ordering::Release);
        Ok(())
    }

    /// Forces everything to the disk, unless it is there.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let linked = self.linked.load(Ordering::Acquire);
        if self.slots_flushed.load(Ordering::Acquire) == linked {
            return Ok(());
        }
        self.cells.flush(0, self.size.file_bytes())?;
        self.entries_flushed.store(linked, Ordering::Release);
        self.slots_flushed.store(linked, Ordering::Release);
        Ok(())
    }

    fn seconds_since_begin(&self, store_timestamp: i64) -> u32 {
        let begin = self.begin_timestamp.load(Ordering::Relaxed);
        let since_ms = store_timestamp.saturating_sub(begin);
        (since_ms / 1_000).clamp(0, i64::from(i32::MAX)) as u32
    }

    fn slot_at(&self, key_hash: u32) -> usize {
        slot_at(key_hash % self.size.slots)
    }

    pub(super) fn entry_at(&self, number: u32) -> usize {
        let entries_at = HEADER_BYTES + self.size.slots as usize * SLOT_BYTES;
        entries_at + number as usize * ENTRY_BYTES
    }
}

/// Byte position of a slot.
pub(super) fn slot_at(slot: u32) -> usize {
    HEADER_BYTES + slot as usize * SLOT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: IndexSize = IndexSize {
        slots: 3,
        entries: 6,
    };

    fn open(path: &Path, size: IndexSize) -> io::Result<IndexFile> {
        IndexFile::open(&Disk::default(), path, size)
    }

    fn entry(key_hash: u32, physical_offset: i64, store_timestamp: i64) -> Entry {
        Entry {
            key_hash,
            physical_offset,
            store_timestamp,
        }
    }

    fn found(file: &IndexFile, key_hash: u32, begin_ms: i64, end_ms: i64) -> Vec<i64> {
        let wanted = Wanted {
            key_hash,
            begin_ms,
            end_ms,
        };
        let mut found = Vec::new();
        file.find(wanted, &mut |offset| {
            found.push(offset);
            Search::On
        });
        found
    }

    #[test]
    fn entries_are_found_newest_first_and_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let file = open(&path, SIZE).unwrap();
        assert!(file.is_empty());
        // 4 and 1 share a slot.
        for (hash, offset, time) in [(4, 100, 10_000), (1, 200, 11_000), (4, 300, 15_000)] {
            assert_eq!(file.put(entry(hash, offset, time)).unwrap(), Taken::Yes);
        }
        for file in [&file, &open(&path, SIZE).unwrap()] {
            assert_eq!(found(file, 4, 0, i64::MAX), [300, 100]);
            assert_eq!(found(file, 4, 0, 14_000), [100]);
            assert_eq!(found(file, 4, 13_000, 20_000), [300]);
            assert_eq!(found(file, 1, i64::MIN, i64::MAX), [200]);
            assert!(found(file, 2, 0, i64::MAX).is_empty());
            assert_eq!(
                (file.begin_timestamp(), file.end_timestamp()),
                (10_000, 15_000)
            );
            assert_eq!(file.end_offset(), 300);
            assert!(file.overlaps(15_000, 16_000) && !file.overlaps(15_001, 16_000));
        }
    }

    #[test]
    fn a_search_ends_when_it_has_enough() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("0"), SIZE).unwrap();
        for offset in [100, 200, 300] {
            file.put(entry(1, offset, 10_000)).unwrap();
        }
        let wanted = Wanted {
            key_hash: 1,
            begin_ms: 0,
            end_ms: i64::MAX,
        };
        let mut seen = Vec::new();
        let search = file.find(wanted, &mut |offset| {
            seen.push(offset);
            if offset <= 200 {
                Search::Enough
            } else {
                Search::On
            }
        });
        assert_eq!((search, seen), (Search::Enough, vec![300, 200]));
    }

    #[test]
    fn a_full_file_takes_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("0"), SIZE).unwrap();
        // Entry 0 is never used.
        for number in 1..6 {
            let taken = file.put(entry(number, i64::from(number), 1_000));
            assert_eq!(taken.unwrap(), Taken::Yes);
        }
        assert!(file.is_full());
        assert_eq!(file.put(entry(9, 9, 1_000)).unwrap(), Taken::No);
        assert_eq!(found(&file, 5, 0, i64::MAX), [5]);
    }

    #[test]
    fn a_damaged_chain_ends() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("0"), SIZE).unwrap();
        for offset in [100, 200, 300] {
            file.put(entry(1, offset, 10_000)).unwrap();
        }
        file.cells.set(file.entry_at(2) + 16, 3);
        assert_eq!(found(&file, 1, 0, i64::MAX), [300, 200]);
        file.cells.set(file.slot_at(1), 4);
        assert!(found(&file, 1, 0, i64::MAX).is_empty());
        file.cells.set_i64(BEGIN_TIMESTAMP_AT, i64::MAX);
        file.put(entry(1, 400, i64::MIN)).unwrap();
        let again = open(file.path(), SIZE).unwrap();
        assert_eq!(found(&again, 1, i64::MIN, i64::MAX), [400]);
    }

    #[test]
    fn blocks_are_taken_before_they_are_written() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0");
        let size = IndexSize {
            slots: 100_000,
            entries: 1_000_000,
        };
        let file = open(&path, size).unwrap();
        file.put(entry(7, 0, 1_000)).unwrap();
        let taken = std::fs::metadata(&path).unwrap().blocks() * 512;
        let needed = file.entry_at(2) as u64;
        assert!((needed..needed + (2 << 20)).contains(&taken), "{taken}");
    }
}
