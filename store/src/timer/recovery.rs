//! What a start does with the timer's files: the log is read from the first unit on that may still
//! wait, and every slot of the wheel is set to what the log holds.
//!
//! The wheel is believed in little: where the first unit lies that still waits. That holds for
//! wheels of before a crash, because they are flushed before the checkpoint that counts on them. And it
//! tells whether a slot that was being rewritten was rewritten to its end.

use std::collections::HashMap;

use super::unit::{NO_UNIT, TimerUnit};
use super::wheel::{Slot, Wheel};
use super::{OpenError, TimerBounds, TimerCheckpoint, TimerFiles, TimerRecovered, WaitingOfTopic};

/// Names of wheels that a Java broker may leave beside `timerwheel` (`timerWheelSnapshotFlush`).
const SNAPSHOT_PREFIX: &str = "timerwheel.";

pub(super) fn recover(
    files: &TimerFiles,
    bounds: TimerBounds,
) -> Result<TimerRecovered, OpenError> {
    let checkpoint = files.checkpoint.read()?;
    let noted_ms = checkpoint.map_or(0, |checkpoint| checkpoint.read_ms);
    let wheel_from_ms = noted_ms.max(files.oldest_ms);
    let mut recovered = TimerRecovered {
        checkpoint,
        read_ms: noted_ms,
        ..TimerRecovered::default()
    };
    if files.log.is_empty() {
        let promised = checkpoint.map_or(0, |checkpoint| checkpoint.log_flushed);
        recovered.is_log_short = promised > 0;
        if files.wheel_exists()? {
            files.set_slots(&HashMap::new(), wheel_from_ms)?;
        }
        return Ok(recovered);
    }
    let from = files.first_needed(&checkpoint.unwrap_or_default(), noted_ms)?;
    let mut rebuilt = Rebuilt {
        wheel: files.wheel.get(),
        slots: HashMap::new(),
        unfinished: HashMap::new(),
    };
    files.log.recover(from, |position, unit, previous| {
        let end = unit
            .physical_offset
            .checked_add(i64::from(unit.record_bytes));
        // No record is empty: a power cut tore this unit.
        if unit.record_bytes <= 0 || end.is_none_or(|end| end > bounds.log_end) {
            return false;
        }
        // Units of a slot that was rewritten come a second time, behind younger ones.
        let last = recovered.last_unit.get_or_insert(*unit);
        if last.physical_offset <= unit.physical_offset {
            *last = *unit;
        }
        if unit.slot_ms >= noted_ms {
            rebuilt.add(position, unit, previous);
        }
        true
    })?;
    let end = files.log.end().map_err(OpenError::io("map", "timerlog"))?;
    let promised = checkpoint.map_or(0, |checkpoint| checkpoint.log_flushed);
    recovered.is_log_short = end < promised;
    files.log.set_flushed(promised.min(end));
    let slots = rebuilt.slots;
    let (in_wheel, overdue): (HashMap<_, _>, HashMap<_, _>) = slots
        .into_iter()
        .partition(|(slot_ms, _)| files.is_in_wheel(*slot_ms));
    files.set_slots(&in_wheel, wheel_from_ms)?;
    let waiting: Vec<i64> = overdue.keys().chain(in_wheel.keys()).copied().collect();
    files.lock_overdue().extend(overdue);
    for slot_ms in waiting {
        let units = files.units_of(slot_ms);
        let units = units.map_err(OpenError::io("map", "timerlog"))?;
        units.iter().for_each(|unit| recovered.count(unit));
    }
    Ok(recovered)
}

/// Slots as the log tells them.
struct Rebuilt<'a> {
    /// The wheel of before, if it can be believed.
    wheel: Option<&'a Wheel>,
    slots: HashMap<i64, Slot>,
    /// Of slots that were being rewritten when the process ended: the last unit of the new chain.
    unfinished: HashMap<i64, i64>,
}

impl Rebuilt<'_> {
    fn add(&mut self, position: i64, unit: &TimerUnit, previous: i64) {
        let slot_ms = unit.slot_ms;
        let empty = Slot::empty(slot_ms);
        let slot = self.slots.entry(slot_ms).or_insert(empty);
        // A close in the middle of a slot wrote anew what was left of it.
        let is_anew = previous == NO_UNIT && slot.last != NO_UNIT;
        let is_unfinished = if previous == NO_UNIT {
            let noted = self.wheel.and_then(|wheel| wheel.get(slot_ms));
            is_anew && noted.is_some_and(|noted| noted.last < position)
        } else {
            self.unfinished.get(&slot_ms) == Some(&previous)
        };
        if is_unfinished {
            self.unfinished.insert(slot_ms, position);
            return;
        }
        if is_anew {
            *slot = empty;
        }
        slot.add(position, unit.deletes);
    }
}

impl TimerRecovered {
    fn count(&mut self, unit: &TimerUnit) {
        if unit.deletes {
            return;
        }
        let known = self.waiting.entry(unit.topic_hash);
        let waiting = known.or_insert(WaitingOfTopic {
            count: 0,
            physical_offset: unit.physical_offset,
        });
        waiting.count += 1;
    }
}

impl TimerFiles {
    fn wheel_exists(&self) -> Result<bool, OpenError> {
        let path = self.options.root.join("timerwheel");
        let exists = self.options.disk.exists(&path);
        exists.map_err(OpenError::io("look for", path))
    }

    /// From where on the log has to be read: the first unit that a slot still waits for, or what was
    /// added after the checkpoint. Of slots that are overdue the wheel may know nothing any more.
    fn first_needed(&self, checkpoint: &TimerCheckpoint, noted_ms: i64) -> Result<i64, OpenError> {
        let had_wheel = self.wheel_exists()?;
        let dropped = self.drop_snapshots()?;
        if !had_wheel || dropped > 0 || !self.is_in_wheel(noted_ms) {
            return Ok(self.log.start());
        }
        let root = &self.options.root;
        let wheel = self.wheel().map_err(OpenError::io("open", root))?;
        let waiting = wheel.slots().filter(|slot| slot.time_ms >= noted_ms);
        let first = waiting.map(|slot| slot.first).min().unwrap_or(i64::MAX);
        Ok(first.min(checkpoint.log_flushed).max(self.log.start()))
    }

    /// A wheel beside the wheel means that a Java broker kept its state there: the wheel is old. If it
    /// stayed, a Java broker would believe it again, and it would be old then.
    fn drop_snapshots(&self) -> Result<usize, OpenError> {
        let root = &self.options.root;
        let names = self.options.disk.list(root);
        let names = names.map_err(OpenError::io("list", root))?;
        let snapshots = names.iter().filter(|name| {
            let number = name.strip_prefix(SNAPSHOT_PREFIX);
            number.is_some_and(|number| number.parse::<i64>().is_ok())
        });
        let mut dropped = 0;
        for name in snapshots {
            let path = root.join(name);
            let removed = self.options.disk.remove(&path);
            removed.map_err(OpenError::io("remove", path))?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Makes the slots from a time on what they have to be.
    fn set_slots(&self, slots: &HashMap<i64, Slot>, read_ms: i64) -> Result<(), OpenError> {
        let root = &self.options.root;
        let wheel = self.wheel().map_err(OpenError::io("open", root))?;
        // A slot is never empty on the way: a crash leaves each as it was or as it has to be.
        for slot in wheel.slots().filter(|slot| slot.time_ms >= read_ms) {
            if !slots.contains_key(&slot.time_ms) {
                wheel.clear(slot.time_ms);
            }
        }
        for slot in slots.values() {
            if wheel.get(slot.time_ms) != Some(*slot) {
                wheel.put(slot);
            }
        }
        Ok(())
    }
}
