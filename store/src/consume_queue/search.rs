//! Binary searches over a queue's entries, and the restoring of a queue from its files.

use std::sync::atomic::Ordering;

use crate::api::QueueEntry;
use crate::error::{OpenError, ReadError};

use super::entry::{self, ENTRY_BYTES};
use super::segment::EntryAccess;
use super::{ConsumeQueue, ENTRY};

/// What lies behind the entries that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Zeros, as when the files were made.
    Unwritten,
    /// Anything: it has to be cleared.
    Unknown,
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
            let entry = self.get(middle, access)?;
            if entry.as_ref().map_or(Ok(true), &before)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Result<Option<QueueEntry>, OpenError> {
        let last = self.get(self.next() - 1, EntryAccess::DISK);
        last.map_err(|error| OpenError::io("read queue of", &*self.topic)(error.into()))
    }

    /// Finds the end of a queue that was closed cleanly. Recovery only.
    pub(crate) fn restore(&self) -> Result<(), OpenError> {
        self.restore_front(|_| true, Rest::Unwritten)
    }

    /// Keeps the entries in front for which `keep` holds, and nothing behind the first for which it
    /// does not. Recovery only: whatever lies in the files behind that counts as never written.
    pub(crate) fn cut(&self, keep: impl Fn(&QueueEntry) -> bool) -> Result<(), OpenError> {
        self.restore_front(keep, Rest::Unknown)
    }

    fn restore_front(
        &self,
        keep: impl Fn(&QueueEntry) -> bool,
        rest: Rest,
    ) -> Result<(), OpenError> {
        let files = self.files.all();
        let Some(first) = files.first() else {
            return Ok(());
        };
        let mut end = first.start;
        for file in &files {
            let map = file.map_for_recovery();
            let map = map.map_err(OpenError::io("map", file.path()))?;
            let entries = map.written() / ENTRY_BYTES;
            let keeps = |index: usize| {
                let bytes = map.slice(index * ENTRY_BYTES, ENTRY_BYTES);
                let entry = bytes
                    .and_then(|bytes| bytes.first_chunk())
                    .map(entry::decode);
                entry.is_some_and(|entry| entry::is_written(&entry) && keep(&entry))
            };
            // Most files are full: one look tells.
            let kept = if entries > 0 && keeps(entries - 1) {
                entries
            } else {
                count_front(entries, keeps)
            };
            end = file.start + kept as i64 * ENTRY;
            if kept < entries {
                break;
            }
        }
        self.end_files_at(end, rest)?;
        self.next.store(end / ENTRY, Ordering::Release);
        self.min.store(first.start / ENTRY, Ordering::Release);
        self.flushed.store(first.start, Ordering::Release);
        self.young.restart(end / ENTRY);
        let last = self.last()?.map_or(-1, |last| last.physical_offset);
        self.last_physical_offset.store(last, Ordering::Release);
        Ok(())
    }

    /// Makes the files end at a position.
    fn end_files_at(&self, end: i64, rest: Rest) -> Result<(), OpenError> {
        let removed = self.files.remove_from(end);
        removed.map_err(OpenError::io("remove files of", &*self.topic))?;
        for file in self.files.all() {
            let written = (end.min(file.end()) - file.start).max(0) as usize;
            if file.end() > end && rest == Rest::Unknown {
                let cleared = file.clear_rest(written);
                cleared.map_err(OpenError::io("clear the end of", file.path()))?;
            }
            file.restore(written);
        }
        Ok(())
    }
}

/// How many of `0..count` satisfy, if those that do stand in front.
fn count_front(count: usize, satisfies: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if satisfies(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
