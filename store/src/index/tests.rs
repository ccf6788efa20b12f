//! The index over many files.

use super::*;

fn index(dir: &std::path::Path) -> Index {
    let size = IndexSize {
        slots: 7,
        entries: 5,
    };
    let clock = Clock::by_hand(1_700_000_000_000);
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
