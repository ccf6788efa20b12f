//! The files together: what a start finds after a close, after a kill and after damage.

use std::path::Path;

use super::*;

const PRECISION_MS: i64 = 1_000;
const NOW_MS: i64 = 1_700_000_000_000;
const FILE_BYTES: usize = 4096;

fn open(root: &Path, log_end: i64) -> (TimerFiles, TimerRecovered) {
    let options = TimerOptions {
        root: root.to_owned(),
        disk: Disk::default(),
        log_file_bytes: FILE_BYTES,
        wheel_slots: TIMER_WHEEL_SLOTS,
        precision_ms: PRECISION_MS,
    };
    let now_ms = NOW_MS;
    TimerFiles::open(options, TimerBounds { log_end, now_ms }).unwrap()
}

fn unit(number: i64, slot_ms: i64) -> TimerUnit {
    TimerUnit {
        slot_ms,
        written_ms: NOW_MS,
        due_ms: 0,
        physical_offset: number * 100,
        record_bytes: 100,
        topic_hash: (number % 2) as i32,
        rolls: false,
        deletes: false,
    }
}

fn offsets(files: &TimerFiles, slot_ms: i64) -> Vec<i64> {
    let units = files.units_of(slot_ms).unwrap();
    units
        .iter()
        .map(|unit| unit.physical_offset / 100)
        .collect()
}

fn checkpoint(files: &TimerFiles, read_ms: i64) {
    let log_flushed = files.flush().unwrap();
    let checkpoint = TimerCheckpoint {
        read_ms,
        log_flushed,
        ..TimerCheckpoint::default()
    };
    files.write_checkpoint(&checkpoint).unwrap();
}

#[test]
fn nothing_is_made_before_the_first_message_waits() {
    let root = tempfile::tempdir().unwrap();
    let (files, recovered) = open(root.path(), 0);
    files.flush().unwrap();
    assert!(recovered.checkpoint.is_none() && !recovered.is_log_short);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    assert!(!files.is_used() && files.units_of(NOW_MS).unwrap().is_empty());
}

#[test]
fn units_come_in_the_order_of_their_slot() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = open(root.path(), 0);
    let (soon, late) = (NOW_MS + 1_000, NOW_MS + 2_000);
    for number in 1..=300 {
        let slot = if number % 3 == 0 { late } else { soon };
        files.add(&unit(number, slot)).unwrap();
    }
    let expected: Vec<i64> = (1..=300).filter(|number| number % 3 == 0).collect();
    assert_eq!(offsets(&files, late), expected);
    assert_eq!(files.waiting_at(soon), 200);
    assert!(files.has_units(soon + 999) && !files.has_units(soon + 5_000));
}

#[test]
fn a_kill_loses_nothing_that_was_added() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = open(root.path(), 0);
    let (first, second) = (NOW_MS, NOW_MS + 1_000);
    for number in 1..=100 {
        files.add(&unit(number, first)).unwrap();
    }
    checkpoint(&files, second);
    for number in 101..=200 {
        files.add(&unit(number, second)).unwrap();
    }
    drop(files);
    let (files, recovered) = open(root.path(), i64::MAX);
    assert_eq!(recovered.read_ms, second);
    assert_eq!(recovered.last_unit, Some(unit(200, second)));
    let waiting: i64 = recovered.waiting.values().map(|topic| topic.count).sum();
    assert_eq!(waiting, 100, "what was delivered does not wait");
    assert_eq!(offsets(&files, second), (101..=200).collect::<Vec<_>>());
}

#[test]
fn a_wheel_that_is_gone_or_wrong_is_built_from_the_log() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = open(root.path(), 0);
    for number in 1..=100 {
        files.add(&unit(number, NOW_MS)).unwrap();
    }
    checkpoint(&files, NOW_MS);
    // A slot that points behind the end of the log, as after a power cut.
    files.wheel().unwrap().put(&Slot {
        time_ms: NOW_MS + 7_000,
        first: 1 << 30,
        last: 1 << 30,
        count: 1,
    });
    drop(files);
    let (files, _) = open(root.path(), i64::MAX);
    assert!(!files.has_units(NOW_MS + 7_000));
    drop(files);
    for change in ["remove", "shorten", "snapshot"] {
        let wheel = root.path().join("timerwheel");
        let changed = match change {
            "remove" => std::fs::remove_file(&wheel),
            "shorten" => std::fs::write(&wheel, "short"),
            _ => std::fs::write(root.path().join("timerwheel.17"), "old"),
        };
        changed.unwrap();
        let (files, _) = open(root.path(), i64::MAX);
        assert_eq!(offsets(&files, NOW_MS).len(), 100, "{change}");
        assert!(!root.path().join("timerwheel.17").exists());
    }
}

#[test]
fn units_whose_messages_are_lost_are_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = open(root.path(), 0);
    for number in 1..=100 {
        files.add(&unit(number, NOW_MS)).unwrap();
    }
    checkpoint(&files, NOW_MS);
    drop(files);
    let (files, recovered) = open(root.path(), 5_050);
    assert!(recovered.is_log_short);
    assert_eq!(offsets(&files, NOW_MS), (1..=49).collect::<Vec<_>>());
    files.add(&unit(50, NOW_MS)).unwrap();
    assert_eq!(offsets(&files, NOW_MS).len(), 50);
    drop(files);
    std::fs::remove_dir_all(root.path().join("timerlog")).unwrap();
    let (files, recovered) = open(root.path(), 0);
    assert!(recovered.is_log_short);
    assert!(!files.has_units(NOW_MS));
}

#[test]
fn a_slot_can_begin_anew() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = open(root.path(), 0);
    files.add(&unit(1, NOW_MS)).unwrap();
    files.add(&unit(2, NOW_MS)).unwrap();
    files.rewrite_slot(NOW_MS, &[unit(2, NOW_MS)]).unwrap();
    assert_eq!(offsets(&files, NOW_MS), [2]);
    checkpoint(&files, NOW_MS);
    drop(files);
    let (files, recovered) = open(root.path(), i64::MAX);
    assert_eq!(offsets(&files, NOW_MS), [2]);
    assert_eq!(files.waiting_at(NOW_MS), 1);
    assert_eq!(recovered.waiting.len(), 1);
}

#[test]
fn a_slot_that_was_rewritten_in_part_is_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let (files, _) = open(root.path(), 0);
    for number in 1..=3 {
        files.add(&unit(number, NOW_MS)).unwrap();
    }
    checkpoint(&files, NOW_MS);
    // The kill came before the third was in the log again.
    let first = files.log.append(&unit(1, NOW_MS), NO_UNIT).unwrap();
    files.log.append(&unit(2, NOW_MS), first).unwrap();
    for _ in 0..2 {
        drop(open(root.path(), i64::MAX));
        let (files, recovered) = open(root.path(), i64::MAX);
        assert_eq!(offsets(&files, NOW_MS), [1, 2, 3]);
        assert_eq!(files.waiting_at(NOW_MS), 3);
        assert_eq!(recovered.last_unit, Some(unit(3, NOW_MS)));
    }
    let (files, _) = open(root.path(), i64::MAX);
    files.add(&unit(4, NOW_MS)).unwrap();
    drop(files);
    let (files, _) = open(root.path(), i64::MAX);
    assert_eq!(offsets(&files, NOW_MS), [1, 2, 3, 4]);
}
