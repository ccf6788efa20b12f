//! The index over many files.

use super::*;

fn index(dir: &std::path::Path) -> Index {
    index_at(dir, 1_700_000_000_000)
}

fn index_at(dir: &std::path::Path, now_ms: i64) -> Index {
    let size = IndexSize {
        slots: 7,
        entries: 5,
    };
    let clock = Clock::by_hand(now_ms);
    Index::open(Disk::default(), dir.into(), size, clock).unwrap()
}

fn put(index: &Index, keys: &str, offset: i64, timestamp: i64) {
    let keys = Keys {
        topic: "t",
        unique_key: Some("u"),
        keys,
    };
    index.put(&keys, offset, timestamp).unwrap();
}

fn find(index: &Index, key: &str) -> Vec<i64> {
    let request = QueryRequest {
        topic: "t",
        key,
        messages_max: 64,
        begin_ms: 0,
        end_ms: i64::MAX,
    };
    let mut found = Vec::new();
    index.find(&request, &mut |offset| {
        found.push(offset);
        Search::On
    });
    found
}

fn recover(index: &Index, trusted: i64) {
    let trusted = Trusted {
        entries: trusted,
        slots: trusted,
    };
    let kept = index.recover(trusted, &|_| None).unwrap();
    assert_eq!(kept, Kept::Trusted);
}

#[test]
fn hashes_are_those_of_the_joined_text() {
    assert_eq!(
        key_hash("topic", "key"),
        string_hash("topic#key").unsigned_abs()
    );
}

#[test]
fn messages_are_found_across_files_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let index = index(dir.path());
    for number in 0..6 {
        put(&index, "a  b", number * 100, 1_000 * number);
    }
    let used = |index: &Index| {
        index
            .files()
            .iter()
            .map(|file| file.next_entry() - 1)
            .sum::<u32>()
    };
    let before = used(&index);
    put(&index, "a  b", 500, 5_000);
    assert_eq!(used(&index), before, "the last one is there already");
    put(&index, "late", 200, 9_000);
    assert_eq!(find(&index, "a"), [500, 400, 300, 200, 100, 0]);
    assert_eq!(find(&index, "u").len(), 6);
    assert!(
        find(&index, "late").is_empty(),
        "older than the last one indexed"
    );
    assert_eq!(names_in(&Disk::default(), dir.path()).unwrap().len(), 5);
    assert_eq!(index.last_update(), (500, 5_000));
}

#[test]
fn files_go_at_either_end() {
    let dir = tempfile::tempdir().unwrap();
    let index = index(dir.path());
    for number in 0..6 {
        put(&index, "a", number * 100, 1_000 * number);
    }
    index.flush().unwrap();
    index.remove_before(400).unwrap();
    assert_eq!(find(&index, "a"), [500, 400]);
    recover(&index, 500);
    assert_eq!(find(&index, "a"), [400]);
    put(&index, "a", 450, 9_000);
    assert_eq!(find(&index, "a"), [450, 400]);
    recover(&index, 400);
    assert!(index.is_empty());
    assert!(names_in(&Disk::default(), dir.path()).unwrap().is_empty());
}

#[test]
fn files_stay_in_order_when_the_clock_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..4 {
        let index = index_at(dir.path(), 1_700_000_000_000 - run * 3_600_000);
        for number in 0..6 {
            put(&index, "a", (run * 6 + number) * 100, 1_000 * number);
        }
        index.flush().unwrap();
    }
    let index = index(dir.path());
    let expected: Vec<i64> = (0..24).rev().map(|number| number * 100).collect();
    assert_eq!(find(&index, "a"), expected);
    assert_eq!(index.end_offset(), Some(2_300));
}

#[test]
fn names_follow_each_other() {
    assert_eq!(name_behind("20231114221359999"), "20231114221360000");
    assert_eq!(name_behind("09"), "10");
    assert!(name_behind("foreign").as_str() > "foreign");
}
