//! Binary searches over a queue's entries, and the restoring of a queue from its files.
//!
//! Restoring reads the files at a few places and maps none, since there may be many thousand queues.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::api::QueueEntry;
use crate::disk::DiskFile;
use crate::error::{OpenError, ReadError};
use crate::file_queue::QueueFile;

use super::entry::{self, ENTRY_BYTES};
use super::segment::EntryAccess;
use super::{ConsumeQueue, ENTRY};

/// So much of a file is read at once: all there is of most queues.
const FRONT_BYTES: usize = 4096;
/// After a power cut each of these is as it was before, or as it was to be.
const SECTOR_BYTES: usize = 512;

/// What a queue is restored to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restore {
    /// Entries that point before this are on the disk; what else there is counts as never written.
    /// `None` after a clean close: all there is counts.
    pub(crate) cut_at: Option<i64>,
    /// First byte of the log: entries that point before it are none any more.
    pub(crate) log_min: i64,
}

impl ConsumeQueue {
    /// The first number in `from..to` whose entry does not satisfy `before`; entries that do must
    /// stand in front of those that do not. An entry that is missing counts as satisfying.
    pub(crate) fn partition_point(
        &self,
        from: i64,
        to: i64,
        access: EntryAccess,
        before: impl Fn(&QueueEntry) -> Result<bool, ReadError>,
    ) -> Result<i64, ReadError> {
        let (mut low, mut high) = (from, to.max(from));
        while low < high {
            let middle = low + (high - low) / 2;
            // Blank entries, in the middle only after a repair, belong to the one behind them.
            let mut at = middle;
            let mut entry = self.get(at, access)?;
            while at + 1 < high && entry.as_ref().is_some_and(entry::is_blank) {
                at += 1;
                entry = self.get(at, access)?;
            }
            if entry.as_ref().map_or(Ok(true), &before)? {
                low = at + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Finds head and end of the queue in its files. Returns whether anything lies behind the end:
    /// unless it is written over, it is to be cleared. Recovery only.
    pub(crate) fn restore(&self, restore: Restore) -> Result<bool, OpenError> {
        let done = self.try_restore(restore);
        done.map_err(OpenError::io("restore queue in", self.files.dir()))
    }

    fn try_restore(&self, restore: Restore) -> io::Result<bool> {
        let files = self.files.all();
        let Some(first) = files.first() else {
            return Ok(false);
        };
        let keeps = |entry: &QueueEntry| {
            let before = restore.cut_at.is_none_or(|at| entry.physical_offset < at);
            entry::is_written(entry) && before
        };
        let mut end = first.start;
        let mut last_physical_offset = -1;
        let mut is_cut = false;
        let mut last_file = None;
        for file in files.iter().rev() {
            let entries = FileEntries::open(file)?;
            let kept = entries.count_front(keeps)?;
            if kept > 0 {
                end = file.start + kept as i64 * ENTRY;
                let last = entries.get(kept - 1)?;
                last_physical_offset = if entry::is_blank(&last) {
                    last_pointing(&files, end)?
                } else {
                    last.physical_offset
                };
                is_cut = restore.cut_at.is_some() && entries.has_bytes_behind(kept)?;
                last_file = Some(entries);
                break;
            }
        }
        // The first file of a queue that lost its begin stays, even if empty: it holds the number at
        // which the queue goes on.
        let is_empty_first = end == first.start && end > 0;
        if is_empty_first {
            is_cut = restore.cut_at.is_some() && FileEntries::open(first)?.has_bytes_behind(0)?;
        }
        self.files.remove_from(end + i64::from(is_empty_first))?;
        for file in self.files.all() {
            file.restore((end.min(file.end()) - file.start).max(0) as usize);
        }
        self.next.store(end / ENTRY, Ordering::Release);
        self.flushed.store(end, Ordering::Release);
        self.young.restart(end / ENTRY);
        self.last_physical_offset
            .store(last_physical_offset, Ordering::Release);
        self.restore_head(restore.log_min, last_file)?;
        Ok(is_cut)
    }

    /// As [`ConsumeQueue::drop_before`], without a map.
    fn restore_head(&self, log_min: i64, last: Option<FileEntries<'_>>) -> io::Result<()> {
        let mut last = last;
        let files = self.files.all();
        let start = files.first().map_or(0, |file| file.start);
        let mut min = start;
        for file in &files {
            let count = ((file.end().min(self.next() * ENTRY) - file.start) / ENTRY) as usize;
            // Most queues have one file, which is open already.
            let is_last = |last: &mut FileEntries<'_>| last.file.start == file.start;
            let entries = match last.take_if(is_last) {
                Some(last) => last,
                None => FileEntries::open(file)?,
            };
            let is_expired = |entry: &QueueEntry| entry.physical_offset < log_min;
            let expired = entries.partition_point(count, is_expired)?;
            min = file.start + expired as i64 * ENTRY;
            if expired < count {
                break;
            }
        }
        self.min.store(min / ENTRY, Ordering::Release);
        self.files.remove_before(min, usize::MAX).map(drop)
    }

    /// Whether the queue has no files.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Where the last entry points; -1 if there is none.
    pub(crate) fn last_physical_offset(&self) -> i64 {
        self.last_physical_offset.load(Ordering::Acquire)
    }

    /// Clears what lies behind the last entry; false if nothing does. Recovery only.
    pub(crate) fn clear_rest(&self) -> io::Result<bool> {
        let Some(file) = self.files.last() else {
            return Ok(false);
        };
        let count = ((self.next() * ENTRY - file.start) / ENTRY) as usize;
        let has_rest = FileEntries::open(&file)?.has_bytes_behind(count)?;
        if has_rest {
            file.clear_rest(count * ENTRY_BYTES)?;
        }
        Ok(has_rest)
    }

    /// Forces the last file to the disk, with what was cleared; recovery only.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let last = self.files.last();
        last.map_or(Ok(()), |last| last.open_file()?.sync())
    }
}

/// Where the last entry before `end` points that is not blank; -1 without any.
fn last_pointing(files: &[Arc<QueueFile>], end: i64) -> io::Result<i64> {
    for file in files.iter().rev().filter(|file| file.start < end) {
        let entries = FileEntries::open(file)?;
        let count = ((file.end().min(end) - file.start) / ENTRY) as usize;
        for index in (0..count).rev() {
            let entry = entries.get(index)?;
            if !entry::is_blank(&entry) {
                return Ok(entry.physical_offset);
            }
        }
    }
    Ok(-1)
}

/// The entries of a file, read without mapping it.
struct FileEntries<'a> {
    file: &'a Arc<QueueFile>,
    opened: DiskFile,
    front: Vec<u8>,
}

impl<'a> FileEntries<'a> {
    fn open(file: &'a Arc<QueueFile>) -> io::Result<Self> {
        let opened = file.open_file()?;
        let mut front = vec![0; FRONT_BYTES.min(bytes_of(file))];
        opened.read_exact_at(&mut front, 0)?;
        Ok(Self {
            file,
            opened,
            front,
        })
    }

    fn get(&self, index: usize) -> io::Result<QueueEntry> {
        let at = index * ENTRY_BYTES;
        let in_front = self.front.get(at..).and_then(|bytes| bytes.first_chunk());
        if let Some(bytes) = in_front {
            return Ok(entry::decode(bytes));
        }
        let mut bytes = [0; ENTRY_BYTES];
        self.opened.read_exact_at(&mut bytes, at as u64)?;
        Ok(entry::decode(&bytes))
    }

    /// How many entries in front are kept.
    fn count_front(&self, keeps: impl Fn(&QueueEntry) -> bool) -> io::Result<usize> {
        let count = bytes_of(self.file) / ENTRY_BYTES;
        // Most queues are short: then all is in memory already.
        let in_front = self.front.len() / ENTRY_BYTES;
        if in_front > 0 && !keeps(&self.get(in_front - 1)?) {
            return self.search(0, in_front, &keeps);
        }
        self.search(in_front, count, &keeps)
    }

    fn search(
        &self,
        mut low: usize,
        mut high: usize,
        keeps: &impl Fn(&QueueEntry) -> bool,
    ) -> io::Result<usize> {
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.get(middle)?;
            if keeps(&entry) && self.is_whole(middle, &entry)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// An entry that lies in two sectors, of which one did not reach the disk, may look as if it
    /// pointed far back: before the one in front of it.
    fn is_whole(&self, index: usize, entry: &QueueEntry) -> io::Result<bool> {
        let (begin, end) = (index * ENTRY_BYTES, (index + 1) * ENTRY_BYTES - 1);
        if begin / SECTOR_BYTES == end / SECTOR_BYTES || entry::is_blank(entry) {
            return Ok(true);
        }
        let before = self.get(index - 1)?;
        Ok(entry::is_written(&before) && before.physical_offset < entry.physical_offset)
    }

    /// The first of `0..count` that does not satisfy; those that do stand in front.
    fn partition_point(
        &self,
        count: usize,
        satisfies: impl Fn(&QueueEntry) -> bool,
    ) -> io::Result<usize> {
        let (mut low, mut high) = (0, count);
        if count == 0 || !satisfies(&self.get(0)?) {
            return Ok(0);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            let mut at = middle;
            let mut entry = self.get(at)?;
            while at + 1 < high && entry::is_blank(&entry) {
                at += 1;
                entry = self.get(at)?;
            }
            if satisfies(&entry) {
                low = at + 1;
            } else {
                high = middle;
            }
        }
        while low > 0 && low < count && entry::is_blank(&self.get(low)?) {
            low += 1;
        }
        Ok(low)
    }

    /// Whether anything lies behind so many entries.
    fn has_bytes_behind(&self, count: usize) -> io::Result<bool> {
        let from = count * ENTRY_BYTES;
        // The rest of the block is read, the blocks behind it need only be there.
        let next_block = from.next_multiple_of(FRONT_BYTES).min(bytes_of(self.file));
        let mut rest = vec![0; next_block - from];
        self.opened.read_exact_at(&mut rest, from as u64)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        if next_block == bytes_of(self.file) {
            return Ok(false);
        }
        match rustix::fs::seek(
            self.opened.as_file(),
            rustix::fs::SeekFrom::Data(next_block as u64),
        ) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NXIO) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn bytes_of(file: &QueueFile) -> usize {
    (file.end() - file.start) as usize
}
