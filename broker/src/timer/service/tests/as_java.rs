//! What a Java broker would bring that opens a directory now, by the rules of its `TimerMessageStore.recover` and
//! `dequeue`: every unit of the log's last two files puts its slot's end, and the last unit tells where the timer topic
//! is read on.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::{Store, TimerCheckpoint};

use super::{PRECISION_MS, TIMER_LOG_FILE_BYTES, WAITING_IN, WHEEL_SLOTS};

const UNIT_BYTES: usize = 52;
const SLOT_BYTES: usize = 32;
const DELETES: i32 = 4;

#[derive(Clone, Copy)]
struct Unit {
    position: i64,
    previous: i64,
    magic: i32,
    slot_ms: i64,
    physical_offset: i64,
}

/// Numbers of the messages that it would bring, or let roll; of those that are recalled too.
pub(super) fn would_bring(root: &Path, store: &Store, checkpoint: &TimerCheckpoint) -> Vec<usize> {
    let units = units(root);
    let by_position: HashMap<i64, Unit> = units.iter().map(|unit| (unit.position, *unit)).collect();
    let mut ends = slot_ends(root);
    let file_bytes = TIMER_LOG_FILE_BYTES as i64;
    let checked_from = (checkpoint.log_flushed - file_bytes).max(0) / file_bytes * file_bytes;
    for unit in units.iter().filter(|unit| unit.position >= checked_from) {
        ends.insert(unit.slot_ms, unit.position);
    }
    let mut brings = Vec::new();
    for (_, end) in ends
        .into_iter()
        .filter(|(slot_ms, _)| *slot_ms >= checkpoint.read_ms)
    {
        let mut next = by_position.get(&end);
        while let Some(unit) = next {
            if unit.magic & DELETES == 0 {
                let record = store.record_at(unit.physical_offset).unwrap();
                brings.push(number_of(&record));
            }
            next = by_position.get(&unit.previous);
        }
    }
    let read_on = units.last().map_or(checkpoint.queue_offset, |unit| {
        let record = store.record_at(unit.physical_offset).unwrap();
        record::check(&record, CheckBody::Skip)
            .unwrap()
            .queue_offset
            + 1
    });
    let (topic, queue_id) = WAITING_IN;
    for offset in
        read_on.min(checkpoint.master_queue_offset)..store.queue_range(topic, queue_id).max
    {
        let record = store.record_of(topic, queue_id, offset).unwrap().unwrap();
        brings.push(number_of(&record));
    }
    brings.retain(|number| *number != usize::MAX);
    brings
}

/// That of a recall is none.
fn number_of(record: &[u8]) -> usize {
    let view = record::check(record, CheckBody::Skip).unwrap();
    std::str::from_utf8(view.body)
        .unwrap()
        .parse()
        .unwrap_or(usize::MAX)
}

fn units(root: &Path) -> Vec<Unit> {
    let names = fs::read_dir(root.join("timerlog")).into_iter().flatten();
    let mut paths: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut units = Vec::new();
    for path in paths {
        let start: i64 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let bytes = fs::read(&path).unwrap();
        for (number, bytes) in bytes.chunks_exact(UNIT_BYTES).enumerate() {
            let i32_at = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let i64_at = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
            if i32_at(0) != UNIT_BYTES as i32 {
                break;
            }
            units.push(Unit {
                position: start + (number * UNIT_BYTES) as i64,
                previous: i64_at(4),
                magic: i32_at(12),
                slot_ms: i64_at(16) + i64::from(i32_at(24)),
                physical_offset: i64_at(28),
            });
        }
    }
    units
}

/// The last unit of each slot, as the wheel has it.
fn slot_ends(root: &Path) -> HashMap<i64, i64> {
    let wheel = fs::read(root.join("timerwheel")).unwrap_or_default();
    assert!(wheel.is_empty() || wheel.len() == WHEEL_SLOTS * SLOT_BYTES);
    let slots = wheel.chunks_exact(SLOT_BYTES).map(|slot| {
        let i64_at = |at: usize| i64::from_be_bytes(slot[at..at + 8].try_into().unwrap());
        (i64_at(0) * PRECISION_MS, i64_at(16))
    });
    slots.filter(|(slot_ms, _)| *slot_ms > 0).collect()
}
