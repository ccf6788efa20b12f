//! The files of the timer, in Java's formats: a log of units, each a message that waits, chained from
//! the last to the first of its slot; the wheel, which knows each slot's ends; and the checkpoint.
//!
//! The messages themselves stay in the commit log, in the timer topic, which is the ground state: log
//! and wheel are derived from it. No file is made before the first message waits.
//!
//! *Invariants.* One thread adds; any thread reads, flushes and writes the checkpoint. After a start
//! every slot that is not yet delivered has the units of the log and no others, whatever the wheel
//! held. A checkpoint is written after log and wheel were flushed up to it.
//!
//! A wheel can tell apart fourteen days. What became due more than seven days before a start is in none
//! of its slots any more, but in *overdue* ones, whose ends are known in memory alone: until the
//! checkpoint has passed them, each start finds them in the log.

mod checkpoint;
mod log;
mod recovery;
mod unit;
mod wheel;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub use checkpoint::TimerCheckpoint;
pub use unit::TimerUnit;

use checkpoint::CheckpointFile;
use log::TimerLog;
use unit::{Found, NO_UNIT};
pub use wheel::TIMER_WHEEL_SLOTS;
use wheel::{Slot, Wheel};

use crate::disk::Disk;
use crate::error::OpenError;

/// Where the timer's files lie, and how they are made.
#[derive(Debug, Clone)]
pub struct TimerOptions {
    /// Root of the store.
    pub root: PathBuf,
    /// What the file system is asked through.
    pub disk: Disk,
    /// Bytes of a file of the timer log.
    pub log_file_bytes: usize,
    /// Slots of the wheel: [`TIMER_WHEEL_SLOTS`], but in tests. A file of another size is made anew.
    pub wheel_slots: usize,
    /// Milliseconds of a slot.
    pub precision_ms: i64,
}

/// What a start has to know of the commit log, and of the time.
#[derive(Debug, Clone, Copy)]
pub struct TimerBounds {
    /// End of the commit log: units that point behind it were lost with their messages.
    pub log_end: i64,
    /// Now, milliseconds.
    pub now_ms: i64,
}

/// Messages of one topic that wait, after a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingOfTopic {
    /// How many.
    pub count: i64,
    /// The record of one of them, which tells the topic.
    pub physical_offset: i64,
}

/// What a start found.
#[derive(Debug, Clone, Default)]
pub struct TimerRecovered {
    /// The checkpoint as it was read; nothing if there was none.
    pub checkpoint: Option<TimerCheckpoint>,
    /// Slots before this time are delivered, milliseconds.
    pub read_ms: i64,
    /// The last unit of the log.
    pub last_unit: Option<TimerUnit>,
    /// The log holds less than the checkpoint promises.
    pub is_log_short: bool,
    /// Messages that wait, by Java's hash of their topic.
    pub waiting: HashMap<i32, WaitingOfTopic>,
}

/// The open files.
#[derive(Debug)]
pub struct TimerFiles {
    options: TimerOptions,
    log: TimerLog,
    wheel: OnceLock<Wheel>,
    checkpoint: CheckpointFile,
    /// Slots before this one are not in the wheel, milliseconds.
    oldest_ms: i64,
    /// Those that still have to be delivered.
    overdue: Mutex<BTreeMap<i64, Slot>>,
}

impl TimerFiles {
    /// Opens the files and makes wheel and log agree.
    ///
    /// # Errors
    /// They cannot be read or written, or the size of a log file is not the configured one.
    pub fn open(
        options: TimerOptions,
        bounds: TimerBounds,
    ) -> Result<(Self, TimerRecovered), OpenError> {
        let TimerOptions { root, disk, .. } = &options;
        let dir = root.join("timerlog");
        let files = Self {
            log: TimerLog::open(disk.clone(), dir, options.log_file_bytes)?,
            wheel: OnceLock::new(),
            checkpoint: CheckpointFile::new(disk.clone(), root),
            oldest_ms: oldest_slot_ms(bounds.now_ms, &options),
            overdue: Mutex::default(),
            options,
        };
        let recovered = recovery::recover(&files, bounds)?;
        Ok((files, recovered))
    }

    /// Adds a message that waits. Only one thread may call this.
    ///
    /// # Errors
    /// The disk refuses; the message is not added then.
    pub fn add(&self, unit: &TimerUnit) -> io::Result<()> {
        let wheel = self.wheel()?;
        let slot = self.slot(unit.slot_ms);
        let mut slot = slot.unwrap_or_else(|| Slot::empty(unit.slot_ms));
        let position = self.log.append(unit, slot.last)?;
        slot.add(position, unit.deletes);
        if self.is_in_wheel(unit.slot_ms) {
            wheel.put(&slot);
        } else {
            self.lock_overdue().insert(unit.slot_ms, slot);
        }
        Ok(())
    }

    /// Writes a unit that no slot knows: a start finds it in the log. Only the thread that adds may
    /// call this.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn append_apart(&self, unit: &TimerUnit) -> io::Result<()> {
        self.log.append(unit, NO_UNIT).map(|_| ())
    }

    /// Leaves of a slot only these of its units. An error or a crash on the way leaves it as it was; so
    /// is an overdue one.
    /// Only the thread that adds may call this.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn rewrite_slot(&self, slot_ms: i64, units: &[TimerUnit]) -> io::Result<()> {
        let Some(wheel) = self.wheel.get().filter(|_| self.is_in_wheel(slot_ms)) else {
            return Ok(());
        };
        if units.is_empty() {
            wheel.clear(slot_ms);
            return Ok(());
        }
        let mut slot = Slot::empty(slot_ms);
        for unit in units {
            let position = self.log.append(unit, slot.last)?;
            slot.add(position, unit.deletes);
        }
        // The wheel tells a start that all of them are in the log.
        self.log.flush()?;
        wheel.put(&slot);
        wheel.flush()
    }

    /// The units of a slot, in the order in which they were added.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn units_of(&self, slot_ms: i64) -> io::Result<Vec<TimerUnit>> {
        let Some(slot) = self.slot(slot_ms) else {
            return Ok(Vec::new());
        };
        let mut units = Vec::with_capacity(slot.count as usize);
        let mut position = slot.last;
        while position != NO_UNIT {
            let Found::Unit { unit, previous } = self.log.get(position)? else {
                break;
            };
            // A chain that was cut, or that Java mended, may lead into another slot or run in circles.
            if unit.slot_ms != slot.time_ms || previous >= position {
                break;
            }
            units.push(unit);
            position = previous;
        }
        units.reverse();
        Ok(units)
    }

    /// Messages that wait for a slot.
    pub fn waiting_at(&self, time_ms: i64) -> u32 {
        let slot = self.wheel.get().and_then(|wheel| wheel.get(time_ms));
        slot.map_or(0, |slot| slot.count)
    }

    /// Whether a slot holds units.
    pub fn has_units(&self, time_ms: i64) -> bool {
        let slot = self.slot(time_ms);
        slot.is_some_and(|slot| slot.last != NO_UNIT)
    }

    /// The first slot from a time on that may hold units.
    pub fn next_slot_ms(&self, time_ms: i64) -> i64 {
        if self.is_in_wheel(time_ms) {
            return time_ms;
        }
        let overdue = self.lock_overdue();
        let next = overdue.range(time_ms..).next();
        next.map_or(self.oldest_ms, |(slot_ms, _)| *slot_ms)
    }

    /// Whether anything ever waited.
    pub fn is_used(&self) -> bool {
        self.wheel.get().is_some()
    }

    /// Forces log and wheel to the disk; returns the log's end there. Without files it does nothing.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn flush(&self) -> io::Result<i64> {
        let end = self.log.flush()?;
        if let Some(wheel) = self.wheel.get() {
            wheel.flush()?;
        }
        Ok(end)
    }

    /// Notes how far the timer has come; [`TimerFiles::flush`] has to come first.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write_checkpoint(&self, checkpoint: &TimerCheckpoint) -> io::Result<()> {
        self.checkpoint.write(checkpoint)
    }

    /// Removes files of the log whose messages the commit log no longer holds, and unmaps what was not
    /// used since the last call. Returns how many files went.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn tidy(&self, min_physical_offset: i64) -> io::Result<usize> {
        self.log.unmap_idle();
        self.log.remove_before(min_physical_offset)
    }

    fn slot(&self, time_ms: i64) -> Option<Slot> {
        if self.is_in_wheel(time_ms) {
            return self.wheel.get()?.get(time_ms);
        }
        self.lock_overdue().get(&time_ms).copied()
    }

    /// Whether a slot is in the wheel, and not overdue.
    pub fn is_in_wheel(&self, slot_ms: i64) -> bool {
        slot_ms >= self.oldest_ms
    }

    fn lock_overdue(&self) -> MutexGuard<'_, BTreeMap<i64, Slot>> {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wheel(&self) -> io::Result<&Wheel> {
        if let Some(wheel) = self.wheel.get() {
            return Ok(wheel);
        }
        let TimerOptions {
            root,
            disk,
            wheel_slots,
            precision_ms,
            ..
        } = &self.options;
        let wheel = Wheel::open(disk, &root.join("timerwheel"), *wheel_slots, *precision_ms)?;
        Ok(self.wheel.get_or_init(|| wheel))
    }
}

/// The time before which a wheel's slots may have been used again, milliseconds: Java's
/// `TimerMessageStore.recover`.
fn oldest_slot_ms(now_ms: i64, options: &TimerOptions) -> i64 {
    const BLANK_SLOTS: i64 = 60;
    let precision_ms = options.precision_ms;
    let slots = options.wheel_slots as i64 / 2 - BLANK_SLOTS;
    let floored_ms = now_ms - now_ms.rem_euclid(precision_ms);
    floored_ms.saturating_sub(slots.saturating_mul(precision_ms))
}

#[cfg(test)]
mod tests;
