//! Index files read without mapping them, for tools that look at a directory that no store has
//! open.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::file::{
    BEGIN_OFFSET_AT, BEGIN_TIMESTAMP_AT, END_OFFSET_AT, END_TIMESTAMP_AT, ENTRY_BYTES,
    HEADER_BYTES, IndexSize, NEXT_ENTRY_AT, SLOT_BYTES,
};

/// Entries or slots of one read.
const BLOCK: u32 = 16 << 10;

/// The header of an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexHeader {
    pub(crate) begin_timestamp: i64,
    pub(crate) end_timestamp: i64,
    pub(crate) begin_offset: i64,
    pub(crate) end_offset: i64,
    /// Number of the next entry; the first is 1.
    pub(crate) next_entry: u32,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScannedEntry {
    pub(crate) key_hash: u32,
    pub(crate) physical_offset: i64,
    /// Number of the entry before it in its chain.
    pub(crate) previous: u32,
}

/// A place where chains do not lead from each entry to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokenChain {
    /// Where in the file, bytes.
    pub(crate) at: u64,
    pub(crate) found: u32,
    pub(crate) expected: u32,
}

/// An index file that is open for reading.
#[derive(Debug)]
pub(crate) struct IndexOnDisk {
    pub(crate) path: PathBuf,
    pub(crate) header: IndexHeader,
    pub(crate) length: u64,
    file: File,
    size: IndexSize,
}

impl IndexOnDisk {
    pub(crate) fn open(path: &Path, size: IndexSize) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut bytes = [0; HEADER_BYTES];
        if length >= HEADER_BYTES as u64 {
            file.read_exact_at(&mut bytes, 0)?;
        }
        Ok(Self {
            path: path.to_owned(),
            header: IndexHeader {
                begin_timestamp: i64_at(&bytes, BEGIN_TIMESTAMP_AT),
                end_timestamp: i64_at(&bytes, END_TIMESTAMP_AT),
                begin_offset: i64_at(&bytes, BEGIN_OFFSET_AT),
                end_offset: i64_at(&bytes, END_OFFSET_AT),
                next_entry: u32_at(&bytes, NEXT_ENTRY_AT).max(1),
            },
            length,
            file,
            size,
        })
    }

    /// Whether it has the size that index files should have.
    pub(crate) fn fits(&self) -> bool {
        self.length == self.size.file_bytes() as u64 && self.header.next_entry <= self.size.entries
    }

    /// The entries from a number on, as many as one read gives; none behind the last.
    pub(crate) fn entries(&self, from: u32) -> io::Result<Vec<ScannedEntry>> {
        let count = self.header.next_entry.saturating_sub(from).min(BLOCK);
        self.read_entries(from, count)
    }

    fn read_entries(&self, from: u32, count: u32) -> io::Result<Vec<ScannedEntry>> {
        let mut bytes = vec![0; count as usize * ENTRY_BYTES];
        self.file.read_exact_at(&mut bytes, self.entry_at(from))?;
        let chunks = bytes.chunks_exact(ENTRY_BYTES);
        Ok(chunks
            .map(|entry| ScannedEntry {
                key_hash: u32_at(entry, 0),
                physical_offset: i64_at(entry, 4),
                previous: u32_at(entry, 16),
            })
            .collect())
    }

    /// Number of the first entry of a message at an offset or behind it.
    pub(crate) fn first_from(&self, physical_offset: i64) -> io::Result<u32> {
        let (mut low, mut high) = (1, self.header.next_entry);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.read_entries(middle, 1)?;
            if entry
                .first()
                .is_some_and(|entry| entry.physical_offset < physical_offset)
            {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Compares every chain with the one that the entries make in their order.
    pub(crate) fn check_chains(&self, report: &mut dyn FnMut(BrokenChain)) -> io::Result<()> {
        let mut newest = vec![0; self.size.slots as usize];
        let mut number = 1;
        while number < self.header.next_entry {
            let entries = self.entries(number)?;
            for entry in entries {
                let slot = (entry.key_hash % self.size.slots) as usize;
                let Some(newest) = newest.get_mut(slot) else {
                    continue;
                };
                if entry.previous != *newest {
                    report(BrokenChain {
                        at: self.entry_at(number) + 16,
                        found: entry.previous,
                        expected: *newest,
                    });
                }
                *newest = number;
                number += 1;
            }
        }
        self.check_slots(&newest, report)
    }

    fn check_slots(&self, newest: &[u32], report: &mut dyn FnMut(BrokenChain)) -> io::Result<()> {
        let mut at = HEADER_BYTES as u64;
        for expected in newest.chunks(BLOCK as usize) {
            let mut bytes = vec![0; expected.len() * SLOT_BYTES];
            self.file.read_exact_at(&mut bytes, at)?;
            for (slot, expected) in bytes.chunks_exact(SLOT_BYTES).zip(expected) {
                let found = u32_at(slot, 0);
                if found != *expected {
                    report(BrokenChain {
                        at,
                        found,
                        expected: *expected,
                    });
                }
                at += SLOT_BYTES as u64;
            }
        }
        Ok(())
    }

    /// Where an entry lies in the file.
    pub(crate) fn entry_at(&self, number: u32) -> u64 {
        let entries_at = HEADER_BYTES + self.size.slots as usize * SLOT_BYTES;
        (entries_at + number as usize * ENTRY_BYTES) as u64
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let place = bytes.get(at..).and_then(|rest| rest.first_chunk());
    place.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let place = bytes.get(at..).and_then(|rest| rest.first_chunk());
    place.map_or(0, |bytes| i64::from_be_bytes(*bytes))
}
