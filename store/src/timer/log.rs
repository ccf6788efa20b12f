//! `timerlog/`: the units in the order in which their messages entered the timer. Each names the one
//! before it in its slot. One thread appends; any thread reads.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::unit::{BLANK_BYTES, Found, TimerUnit, UNIT_BYTES, blank, decode};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::file_queue::{FileQueue, QueueFile};
use crate::mapped_file::{MappedFile, Place};

/// The files.
#[derive(Debug)]
pub(crate) struct TimerLog {
    disk: Disk,
    files: FileQueue,
    file_bytes: usize,
    flushed: AtomicI64,
}

impl TimerLog {
    /// Opens what is there; every file counts as full until [`TimerLog::restore_end`].
    pub(crate) fn open(disk: Disk, dir: PathBuf, file_bytes: usize) -> Result<Self, OpenError> {
        Ok(Self {
            files: FileQueue::open(disk.clone(), dir, file_bytes, Place::Sparse)?,
            disk,
            file_bytes,
            flushed: AtomicI64::new(0),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Position of the first file.
    pub(crate) fn start(&self) -> i64 {
        self.files.first().map_or(0, |file| file.start)
    }

    /// Where the next unit goes, unless it needs a new file.
    pub(crate) fn end(&self) -> io::Result<i64> {
        let Some(last) = self.files.last() else {
            return Ok(0);
        };
        let written = last.map()?.written();
        Ok(last.start.saturating_add(written as i64))
    }

    /// Adds a unit; returns its position.
    pub(crate) fn append(&self, unit: &TimerUnit, previous: i64) -> io::Result<i64> {
        let (file, map) = self.file_with_room()?;
        let at = map.append(&unit.encode(previous))?;
        Ok(file.start.saturating_add(at as i64))
    }

    fn file_with_room(&self) -> io::Result<(Arc<QueueFile>, Arc<MappedFile>)> {
        let Some(last) = self.files.last() else {
            return self.next_file(0);
        };
        let map = last.map()?;
        let left = map.bytes_left();
        if left >= UNIT_BYTES + BLANK_BYTES {
            return Ok((last, map));
        }
        if left >= BLANK_BYTES {
            map.append(&blank(left))?;
        }
        map.fill();
        self.next_file(last.end())
    }

    fn next_file(&self, start: i64) -> io::Result<(Arc<QueueFile>, Arc<MappedFile>)> {
        let file = self.files.make(start)?;
        self.files.push(Arc::clone(&file));
        let map = file.map()?;
        Ok((file, map))
    }

    /// What stands at a position.
    pub(crate) fn get(&self, position: i64) -> io::Result<Found> {
        let Some(file) = self.files.find(position) else {
            return Ok(Found::Nothing);
        };
        let map = file.map()?;
        let at = position.abs_diff(file.start) as usize;
        let found = map.slice(at, UNIT_BYTES).map(decode);
        Ok(found.unwrap_or(Found::Nothing))
    }

    /// Calls with every unit from the file of a position on, its position and the one before it in its
    /// slot, until it says `false`. What follows is cut off: it was never written, or points at nothing.
    pub(crate) fn recover(
        &self,
        from: i64,
        mut visit: impl FnMut(i64, &TimerUnit, i64) -> bool,
    ) -> Result<(), OpenError> {
        let files = self.files.all();
        for file in files.iter().filter(|file| file.end() > from) {
            let path = file.path();
            let map = file
                .map_for_recovery()
                .map_err(OpenError::io("map", path))?;
            let mut at = 0;
            let found = loop {
                let found = map
                    .slice(at, UNIT_BYTES)
                    .map_or_else(|| self.short_end(&map, at), decode);
                match found {
                    Found::Unit { unit, previous }
                        if visit(file.start + at as i64, &unit, previous) =>
                    {
                        at += UNIT_BYTES;
                    }
                    Found::Unit { .. } => break Found::Nothing,
                    Found::EndOfFile | Found::Nothing => break found,
                }
            };
            drop(map);
            if found == Found::Nothing {
                return self.cut(file, at);
            }
        }
        Ok(())
    }

    /// Less than a unit is left in the file.
    fn short_end(&self, map: &MappedFile, at: usize) -> Found {
        let left = self.file_bytes.saturating_sub(at);
        map.slice(at, left).map_or(Found::EndOfFile, decode)
    }

    fn cut(&self, file: &QueueFile, written: usize) -> Result<(), OpenError> {
        let (dir, end) = (self.files.dir(), file.end());
        let removed = self.files.remove_from(end);
        removed.map_err(OpenError::io("remove files of", dir))?;
        let cleared = file.clear_rest(written);
        cleared.map_err(OpenError::io("clear the end of", file.path()))?;
        file.restore(written);
        Ok(())
    }

    /// Everything before this is known to be on the disk.
    pub(crate) fn set_flushed(&self, position: i64) {
        self.flushed.store(position, Ordering::Release);
    }

    /// Forces everything to the disk; returns up to where.
    pub(crate) fn flush(&self) -> io::Result<i64> {
        let end = self.end()?;
        let flushed = self.flushed.load(Ordering::Acquire);
        if end > flushed {
            self.files.flush(flushed, end)?;
            for dir in self.files.take_unsynced() {
                self.disk.sync_directory(&dir)?;
            }
            self.set_flushed(end);
        }
        Ok(end)
    }

    /// Removes the files all of whose records the commit log no longer holds.
    pub(crate) fn remove_before(&self, min_physical_offset: i64) -> io::Result<usize> {
        let files = self.files.all();
        let mut expired = 0;
        for file in files.iter().take(files.len().saturating_sub(1)) {
            match self.get(file.start.saturating_add(self.last_unit_at()))? {
                Found::Unit { unit, .. } if unit.physical_offset < min_physical_offset => {
                    expired = file.end();
                }
                Found::Unit { .. } | Found::EndOfFile | Found::Nothing => break,
            }
        }
        self.files.remove_before(expired, usize::MAX)
    }

    /// Where the last unit of a full file begins.
    fn last_unit_at(&self) -> i64 {
        let units = self.file_bytes.saturating_sub(BLANK_BYTES) / UNIT_BYTES;
        (units.saturating_sub(1) * UNIT_BYTES) as i64
    }

    /// Unmaps what nobody used for a while.
    pub(crate) fn unmap_idle(&self) {
        self.files.unmap_idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &std::path::Path) -> TimerLog {
        TimerLog::open(Disk::default(), root.join("timerlog"), 4096).unwrap()
    }

    fn unit(number: i64) -> TimerUnit {
        TimerUnit {
            slot_ms: number * 1_000,
            written_ms: 0,
            due_ms: 0,
            physical_offset: number,
            record_bytes: 1,
            topic_hash: 0,
            rolls: false,
            deletes: false,
        }
    }

    #[test]
    fn units_are_found_again_over_several_files() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        let units = 4096 / 52 * 3 - 5;
        let mut positions = vec![];
        for number in 1..=units {
            positions.push(log.append(&unit(number), -1).unwrap());
        }
        assert_eq!(log.flush().unwrap(), log.end().unwrap());
        let reopened = open(root.path());
        let mut seen = vec![];
        let visit = |position, found: &TimerUnit, _| {
            assert_eq!(found.physical_offset, seen.len() as i64 + 1);
            seen.push(position);
            true
        };
        reopened.recover(0, visit).unwrap();
        assert_eq!(seen, positions);
        assert_eq!(reopened.end().unwrap(), log.end().unwrap());
        assert_eq!(reopened.append(&unit(9), -1).unwrap(), log.end().unwrap());
    }

    #[test]
    fn what_is_refused_is_cut_off() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        for number in 1..=200 {
            log.append(&unit(number), -1).unwrap();
        }
        let reopened = open(root.path());
        reopened
            .recover(0, |_, unit, _| unit.physical_offset <= 90)
            .unwrap();
        let again = open(root.path());
        let mut count = 0;
        again
            .recover(0, |_, _, _| {
                count += 1;
                true
            })
            .unwrap();
        assert_eq!(count, 90);
    }

    #[test]
    fn files_go_with_the_records_they_point_at() {
        let root = tempfile::tempdir().unwrap();
        let log = open(root.path());
        for number in 1..=200 {
            log.append(&unit(number), -1).unwrap();
        }
        // 78 units fit a file.
        assert_eq!(log.remove_before(78).unwrap(), 0);
        assert_eq!(log.remove_before(79).unwrap(), 1);
        assert_eq!(log.start(), 4096);
    }
}
