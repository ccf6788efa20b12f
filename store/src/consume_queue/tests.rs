use super::search::Restore;
use super::*;
use crate::file_reader::Wait;

const FILE_BYTES: usize = 5 * ENTRY_BYTES;

fn location(dir: &std::path::Path) -> QueueLocation {
    QueueLocation {
        disk: Disk::default(),
        topic: "t".into(),
        queue_id: 0,
        dir: dir.join("t").join("0"),
        file_bytes: FILE_BYTES,
        memory_bytes: 1_000,
    }
}

fn entry(number: i64) -> QueueEntry {
    QueueEntry {
        physical_offset: number * 100,
        record_bytes: 100,
        tags_code: number,
    }
}

fn filled(dir: &std::path::Path, count: i64) -> ConsumeQueue {
    let queue = ConsumeQueue::new(location(dir));
    for number in 0..count {
        assert_eq!(queue.put(number, &entry(number)).unwrap(), Put::Added);
    }
    queue
}

fn get(queue: &ConsumeQueue, number: i64) -> Option<QueueEntry> {
    queue.get(number, EntryAccess::DISK).unwrap()
}

fn all() -> Restore {
    Restore {
        cut_at: None,
        log_min: 0,
    }
}

fn before(physical_offset: i64) -> Restore {
    Restore {
        cut_at: Some(physical_offset),
        log_min: 0,
    }
}

#[test]
fn entries_are_read_back_across_files() {
    let dir = tempfile::tempdir().unwrap();
    let queue = filled(dir.path(), 12);
    assert_eq!(queue.range(), QueueRange { min: 0, max: 12 });
    for number in 0..12 {
        assert_eq!(get(&queue, number), Some(entry(number)));
    }
    assert_eq!((get(&queue, 12), get(&queue, -1)), (None, None));
    let segment = queue.segment(7, 9, EntryAccess::DISK).unwrap().unwrap();
    assert_eq!(segment.len(), 3, "to the end of the second file");
    assert_eq!(segment.get(2), Some(entry(9)));
    assert!(segment.get(3).is_none());
}

#[test]
fn only_the_next_entry_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let queue = filled(dir.path(), 3);
    assert_eq!(queue.put(1, &entry(1)).unwrap(), Put::Known);
    assert_eq!(
        queue.put(9, &entry(1)).unwrap(),
        Put::Known,
        "of an earlier life"
    );
    assert_eq!(queue.put(1, &entry(9)).unwrap(), Put::Restarted);
    assert_eq!(queue.put(5, &entry(5)).unwrap(), Put::Gap);
    assert_eq!(queue.range().max, 3);
}

#[test]
fn a_queue_that_begins_late_is_filled_with_blanks() {
    let dir = tempfile::tempdir().unwrap();
    let queue = ConsumeQueue::new(location(dir.path()));
    assert_eq!(queue.put(7, &entry(7)).unwrap(), Put::Gap);
    queue.fill_up_to(7).unwrap();
    assert_eq!(queue.put(7, &entry(7)).unwrap(), Put::Added);
    assert_eq!(queue.range(), QueueRange { min: 7, max: 8 });
    let reopened = ConsumeQueue::open(location(dir.path())).unwrap();
    reopened.restore(all()).unwrap();
    assert_eq!(reopened.range(), QueueRange { min: 5, max: 8 });
    assert!(entry::is_blank(&get(&reopened, 6).unwrap()));
    reopened.drop_before(1).unwrap();
    assert_eq!(reopened.range(), QueueRange { min: 7, max: 8 });
    let log_min = Restore {
        log_min: 1,
        ..all()
    };
    reopened.restore(log_min).unwrap();
    assert_eq!(reopened.range(), QueueRange { min: 7, max: 8 });
}

#[test]
fn restoring_keeps_the_front() {
    for (keep_below, expected) in [(0, 0), (1, 1), (500, 5), (600, 6), (1_150, 12), (9_999, 12)] {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path(), 12));
        let queue = ConsumeQueue::open(location(dir.path())).unwrap();
        queue.restore(before(keep_below)).unwrap();
        assert_eq!(queue.next(), expected, "below {keep_below}");
        assert_eq!(queue.put(expected, &entry(50)).unwrap(), Put::Added);
        assert_eq!(get(&queue, expected), Some(entry(50)));
        queue.clear_rest().unwrap();
        assert_eq!(get(&queue, expected + 1), None);
        let again = ConsumeQueue::open(location(dir.path())).unwrap();
        again.restore(all()).unwrap();
        assert_eq!(again.next(), expected + 1, "nothing stale behind the cut");
    }
}

#[test]
fn restoring_finds_the_head() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 12));
    for (log_min, expected) in [(0, 0), (1, 1), (450, 5), (500, 5), (1_100, 11), (9_999, 12)] {
        let queue = ConsumeQueue::open(location(dir.path())).unwrap();
        let restore = Restore { log_min, ..all() };
        assert!(!queue.restore(restore).unwrap());
        let range = QueueRange {
            min: expected,
            max: 12,
        };
        assert_eq!(queue.range(), range, "log begins at {log_min}");
        assert_eq!(queue.last_physical_offset(), 1_100);
    }
}

/// Its begin has expired, and a crash took the rest.
#[test]
fn a_queue_cut_off_at_its_first_file_keeps_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let queue = filled(dir.path(), 7);
    assert_eq!(queue.drop_before(500).unwrap(), 1);
    let crash = Restore {
        cut_at: Some(500),
        log_min: 450,
    };
    let at_end = QueueRange { min: 5, max: 5 };
    let queue = ConsumeQueue::open(location(dir.path())).unwrap();
    assert!(queue.restore(crash).unwrap(), "there is a rest to clear");
    assert_eq!(queue.range(), at_end);
    assert!(queue.clear_rest().unwrap());
    let queue = ConsumeQueue::open(location(dir.path())).unwrap();
    assert!(queue.has_files() && !queue.restore(all()).unwrap());
    assert_eq!(queue.range(), at_end, "at every start");
    assert_eq!(queue.put(5, &entry(50)).unwrap(), Put::Added);
    assert_eq!(queue.range(), QueueRange { min: 5, max: 6 });
    assert_eq!(get(&queue, 5), Some(entry(50)));
}

/// Several sectors, so that entries lie across their borders.
#[test]
fn whatever_part_of_the_rest_reached_the_disk_the_front_is_kept() {
    let bytes = 1_000 * ENTRY_BYTES;
    // From here on offsets need more than four bytes: without them they seem to point far back.
    let base = 1 << 33;
    let written = |number: i64| QueueEntry {
        physical_offset: base + number * 100,
        ..entry(number)
    };
    for number_kept in [300, 307, 332] {
        for sectors in 0..32 {
            let dir = tempfile::tempdir().unwrap();
            let mut location = location(dir.path());
            location.file_bytes = bytes;
            let queue = ConsumeQueue::new(location.clone());
            for number in 0..400 {
                queue.put(number, &written(number)).unwrap();
            }
            let path = location.dir.join(crate::layout::offset_name(0));
            let mut content = std::fs::read(&path).unwrap();
            let safe = number_kept * ENTRY_BYTES;
            for sector in 0..5 {
                let from = (safe / 512 + sector) * 512;
                if sectors & (1 << sector) != 0 {
                    content[from.max(safe)..from + 512].fill(0);
                }
            }
            std::fs::write(&path, content).unwrap();
            let queue = ConsumeQueue::open(location).unwrap();
            let cut_at = base + number_kept as i64 * 100;
            let is_cut = queue.restore(before(cut_at)).unwrap();
            assert_eq!(queue.next(), number_kept as i64, "without {sectors:#b}");
            assert_eq!(queue.clear_rest().unwrap(), is_cut);
            let content = std::fs::read(&path).unwrap();
            assert!(content[safe..].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn the_head_follows_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let queue = filled(dir.path(), 12);
    assert_eq!(queue.drop_before(650).unwrap(), 1);
    assert_eq!(queue.range(), QueueRange { min: 7, max: 12 });
    assert_eq!(get(&queue, 4), None);
    assert_eq!(queue.drop_before(99_999).unwrap(), 1, "the last file stays");
    assert_eq!(queue.range(), QueueRange { min: 12, max: 12 });
    assert_eq!(queue.put(12, &entry(12)).unwrap(), Put::Added);
}

#[test]
fn searches_find_the_first_entry_that_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    let queue = filled(dir.path(), 12);
    for limit in 0..=12 {
        let found =
            queue.partition_point(
                0,
                12,
                EntryAccess::DISK,
                |entry| Ok(entry.tags_code < limit),
            );
        assert_eq!(found.unwrap(), limit);
    }
}

#[test]
fn young_entries_come_from_the_map() {
    let dir = tempfile::tempdir().unwrap();
    let is_young = |queue: &ConsumeQueue, number, recent_from| {
        let wait = Wait::Disk;
        let segment = queue.segment(number, 1, EntryAccess { recent_from, wait });
        let segment = segment.unwrap().unwrap();
        assert_eq!(segment.get(0), Some(entry(number)));
        segment.is_young()
    };
    let queue = filled(dir.path(), 5);
    assert!(is_young(&queue, 0, 400), "all are young at first");
    assert!(
        !is_young(&queue, 4, 401),
        "the log has gone on without the queue"
    );
    for number in 5..30 {
        queue.put(number, &entry(number)).unwrap();
    }
    assert!(
        is_young(&queue, 29, 0) && is_young(&queue, 24, 0),
        "half of the memory at least"
    );
    assert!(
        !is_young(&queue, 17, 0),
        "more than the memory behind the last"
    );
    let reopened = ConsumeQueue::open(location(dir.path())).unwrap();
    reopened.restore(all()).unwrap();
    assert!(!is_young(&reopened, 29, 0), "of an earlier process");
    reopened.put(30, &entry(30)).unwrap();
    assert!(is_young(&reopened, 30, 0) && !is_young(&reopened, 29, 0));
}
