//! `timerwheel`: a slot for every second of fourteen days, with the first and the last unit that wait
//! for it. One thread writes; others read how many wait. Derived from the timer log.

use std::io;
use std::path::Path;

use super::unit::NO_UNIT;
use crate::disk::Disk;
use crate::mapped_file::MappedCells;

/// Slots of a wheel, whatever its precision: seven days of seconds, twice (Java's constants).
pub const TIMER_WHEEL_SLOTS: usize = 7 * 24 * 3600 * 2;
const SLOT_BYTES: usize = 32;
const FIRST_AT: usize = 8;
const LAST_AT: usize = 16;
const COUNT_AT: usize = 24;

/// The units of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its time, milliseconds.
    pub(crate) time_ms: i64,
    /// Position of the first unit.
    pub(crate) first: i64,
    /// Position of the last unit, from which the others are found.
    pub(crate) last: i64,
    /// Messages that wait; those that cancel others are not counted.
    pub(crate) count: u32,
}

impl Slot {
    /// A slot without units.
    pub(crate) fn empty(time_ms: i64) -> Self {
        Self {
            time_ms,
            first: NO_UNIT,
            last: NO_UNIT,
            count: 0,
        }
    }

    /// A unit has been written behind the others.
    pub(crate) fn add(&mut self, position: i64, deletes: bool) {
        if self.first == NO_UNIT {
            self.first = position;
        }
        self.last = position;
        if !deletes {
            self.count = self.count.saturating_add(1);
        }
    }
}

/// The mapped file.
#[derive(Debug)]
pub(crate) struct Wheel {
    cells: MappedCells,
    slots: usize,
    precision_ms: i64,
}

impl Wheel {
    /// Opens or makes the file; one of another length is made anew.
    pub(crate) fn open(
        disk: &Disk,
        path: &Path,
        slots: usize,
        precision_ms: i64,
    ) -> io::Result<Self> {
        let bytes = slots.saturating_mul(SLOT_BYTES);
        if disk.exists(path)? && disk.length(path)? != bytes as u64 {
            disk.remove(path)?;
        }
        let cells = MappedCells::open(disk, path, bytes)?;
        cells.reserve(0, bytes)?;
        Ok(Self {
            cells,
            slots,
            precision_ms,
        })
    }

    /// The slot of a time, if it holds units of that time and not of another round.
    pub(crate) fn get(&self, time_ms: i64) -> Option<Slot> {
        let slot = self.at(self.index(time_ms));
        slot.filter(|slot| slot.time_ms == self.floor(time_ms))
    }

    pub(crate) fn put(&self, slot: &Slot) {
        let at = self.index(slot.time_ms) * SLOT_BYTES;
        let number = slot.time_ms.div_euclid(self.precision_ms);
        self.cells.set_i64(at, number);
        // A kill on the way must not leave a first unit behind the last: a start would not read those
        // before it.
        self.cells.set_i64(at + LAST_AT, slot.last);
        self.cells.set_i64(at + FIRST_AT, slot.first);
        self.cells.set(at + COUNT_AT, slot.count);
        self.cells.set(at + COUNT_AT + 4, 0);
    }

    /// Forgets the units of a slot.
    pub(crate) fn clear(&self, time_ms: i64) {
        let at = self.index(time_ms) * SLOT_BYTES;
        for cell in (at..at + SLOT_BYTES).step_by(4) {
            self.cells.set(cell, 0);
        }
    }

    /// Slots that hold anything, of whatever round.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..self.slots).filter_map(|index| self.at(index))
    }

    /// Forces it to the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.cells.flush(0, self.slots.saturating_mul(SLOT_BYTES))
    }

    fn floor(&self, time_ms: i64) -> i64 {
        time_ms - time_ms.rem_euclid(self.precision_ms)
    }

    fn index(&self, time_ms: i64) -> usize {
        let number = time_ms.div_euclid(self.precision_ms);
        number.rem_euclid(self.slots as i64) as usize
    }

    fn at(&self, index: usize) -> Option<Slot> {
        let at = index * SLOT_BYTES;
        let number = self.cells.get_i64(at);
        if number <= 0 {
            return None;
        }
        Some(Slot {
            time_ms: number.checked_mul(self.precision_ms)?,
            first: self.cells.get_i64(at + FIRST_AT),
            last: self.cells.get_i64(at + LAST_AT),
            // Java counts down for messages that cancel, and may get below 0.
            count: self.cells.get(at + COUNT_AT).cast_signed().max(0) as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stand_where_java_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("timerwheel");
        let wheel = Wheel::open(&Disk::default(), &path, TIMER_WHEEL_SLOTS, 1_000).unwrap();
        let round_ms = TIMER_WHEEL_SLOTS as i64 * 1_000;
        let time_ms = round_ms * 3 + 2_000;
        assert_eq!(wheel.get(time_ms), None);
        let mut slot = Slot::empty(time_ms);
        slot.add(52, false);
        slot.add(104, true);
        wheel.put(&slot);
        assert_eq!(wheel.get(time_ms + 999), Some(slot));
        assert_eq!(wheel.get(time_ms + round_ms), None, "another round");
        wheel.flush().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 38_707_200);
        let stored = &bytes[64..96];
        assert_eq!(&stored[..8], &(time_ms / 1_000).to_be_bytes());
        assert_eq!(&stored[8..16], &52_i64.to_be_bytes());
        assert_eq!(&stored[16..24], &104_i64.to_be_bytes());
        assert_eq!(&stored[24..], &[0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(wheel.slots().count(), 1);
        wheel.clear(time_ms);
        assert_eq!(wheel.slots().count(), 0);
    }
}
