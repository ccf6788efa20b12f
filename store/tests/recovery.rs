//! Closing, crashing and opening again: the same messages, the same offsets.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::sync::Arc;

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{OpenError, QueryRequest, Store, StoreOptions};

const QUEUES: i32 = 3;

/// Enough messages for several files of everything.
fn fill(store: &Store) {
    for number in 0..200 {
        append(
            store,
            &format!("topic-{}", number % 2),
            number % QUEUES,
            &format!("body-{number}"),
        );
    }
    wait_dispatched(store);
}

/// Everything that can be asked, in text.
fn answers(store: &Store) -> Vec<String> {
    let mut answers = Vec::new();
    for topic in ["topic-0", "topic-1"] {
        for queue_id in 0..QUEUES {
            let range = store.queue_range(topic, queue_id);
            answers.push(format!(
                "{topic} {queue_id} {range:?} {:?}",
                bodies(store, topic, queue_id)
            ));
        }
        for number in 0..200 {
            let outcome = store
                .query(&QueryRequest {
                    topic,
                    key: &format!("body-{number}"),
                    messages_max: 10,
                    begin_ms: 0,
                    end_ms: i64::MAX,
                })
                .unwrap();
            let sizes: Vec<_> = outcome.records.iter().map(|record| record.len()).collect();
            answers.push(format!("{topic} {number} {sizes:?}"));
        }
    }
    answers.push(format!("{:?}", store.watermarks()));
    answers
}

#[test]
fn a_closed_store_opens_with_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    assert!(dir.path().join("abort").exists());
    let expected = answers(&store);
    store.shutdown();
    drop(store);
    assert!(!dir.path().join("abort").exists());
    let store = open(options(dir.path()));
    assert_eq!(answers(&store), expected);
    assert_eq!(append(&store, "topic-0", 0, "next").queue_offset, 34);
}

#[test]
fn a_crashed_store_opens_with_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    let image = Image::of(dir.path());
    let expected = answers(&store);
    assert_eq!(answers(&open(options(image.path()))), expected);
}

#[test]
fn what_is_derived_may_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    let expected = answers(&store);
    let crashed = Image::of(dir.path());
    store.shutdown();
    drop(store);
    let everything = ["consumequeue", "index", "checkpoint"];
    let one_queue = ["consumequeue/topic-1/2"];
    let deletions: [&[&str]; 5] = [
        &everything,
        &["index"],
        &["consumequeue"],
        &["checkpoint"],
        &one_queue,
    ];
    for root in [dir.path(), crashed.path()] {
        for deletion in deletions {
            let image = Image::of(root);
            deletion.iter().for_each(|name| image.remove(name));
            let store = open(options(image.path()));
            assert_eq!(answers(&store), expected, "without {deletion:?}");
        }
    }
}

#[test]
fn after_a_checkpoint_only_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(options(dir.path()), &clock);
    let checkpoint = dir.path().join("checkpoint");
    append(&store, "topic-0", 0, "first");
    let second = append(&store, "topic-0", 0, "second");
    for _ in 0..3 {
        fill(&store);
        wait_flushed(&store);
        // Log, queues and index, eight bytes each: on the disk up to this round.
        let last_ms = clock.now_ms();
        wait_until("checkpoint", || {
            // The index is flushed whole once a minute; the last time it may not have known all.
            clock.advance_ms(61_000);
            let bytes = std::fs::read(&checkpoint).unwrap();
            let field = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
            [0, 8, 16].iter().all(|at| field(*at) == last_ms)
        });
    }
    fill(&store);
    wait_flushed(&store);
    let expected = answers(&store);
    // A crash: what the checkpoint vouches for is not walked through again, so that damage there
    // is not even seen.
    let image = Image::of(dir.path());
    image.damage(second.physical_offset + 95);
    let store = open_at(options(image.path()), &clock);
    assert_eq!(
        &format!("{:?}", store.watermarks()),
        expected.last().unwrap()
    );
    let image = Image::of(dir.path());
    let store = open_at(options(image.path()), &clock);
    assert_eq!(answers(&store), expected);
}

#[test]
fn a_deleted_topic_stays_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    store.delete_topic("topic-0");
    wait_flushed(&store);
    let expected = bodies(&store, "topic-1", 0);
    drop(store);
    let store = open(options(dir.path()));
    assert_eq!(store.topics(), ["topic-1"]);
    assert_eq!(bodies(&store, "topic-1", 0), expected);
    assert_eq!(append(&store, "topic-0", 0, "new").queue_offset, 0);
    wait_dispatched(&store);
    assert_eq!(bodies(&store, "topic-0", 0), ["new"]);
}

#[test]
fn other_sizes_of_derived_files_are_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    fill(&store);
    wait_flushed(&store);
    let expected = answers(&store);
    drop(store);
    let store = open(StoreOptions {
        consume_queue_file_bytes: 20 * 7,
        index_slots: 30,
        ..options(dir.path())
    });
    assert_eq!(answers(&store), expected);
}

#[test]
fn a_log_of_another_file_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    append(&store, "t", 0, "x");
    drop(store);
    let result = Store::open(
        StoreOptions {
            commit_log_file_bytes: 2 * LOG_FILE_BYTES,
            ..options(dir.path())
        },
        Clock::system(),
        Arc::new(Arrivals::default()),
    );
    assert!(
        matches!(result, Err(OpenError::WrongLength { .. })),
        "{result:?}"
    );
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let open_again = || {
        Store::open(
            options(dir.path()),
            Clock::system(),
            Arc::new(Arrivals::default()),
        )
    };
    assert!(matches!(open_again(), Err(OpenError::InUse { .. })));
    drop(store);
    open_again().unwrap();
}

#[test]
fn stale_bytes_behind_a_cut_never_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let appended: Vec<_> = (0..9)
        .map(|number| append(&store, "t", 0, &format!("old-{number}")))
        .collect();
    wait_dispatched(&store);
    wait_flushed(&store);
    // The fourth record is damaged, those behind it are whole, and nobody vouches for any.
    let image = Image::of(dir.path());
    image.damage(appended[3].physical_offset + 90);
    image.remove("checkpoint");
    let store = open(options(image.path()));
    assert_eq!(bodies(&store, "t", 0), ["old-0", "old-1", "old-2"]);
    // Of the same size as the damaged one: the record behind would fit exactly.
    append(&store, "t", 0, "new-3");
    wait_dispatched(&store);
    wait_flushed(&store);
    let image = Image::of(image.path());
    let store = open(options(image.path()));
    assert_eq!(bodies(&store, "t", 0), ["old-0", "old-1", "old-2", "new-3"]);
}

/// A store that was closed, and opened again to write what no checkpoint knows.
struct Behind {
    dir: tempfile::TempDir,
    store: Store,
    /// End of what the checkpoint knows.
    known: i64,
}

impl Behind {
    fn filled() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fill(&open(options(dir.path())));
        let store = open(StoreOptions {
            consume_queue_flush_interval_ms: 3_600_000,
            ..options(dir.path())
        });
        let known = store.watermarks().written;
        wait_until("checkpoint of the start", || {
            Offsets::in_checkpoint(dir.path()).closed == -1
        });
        Self { dir, store, known }
    }
}

/// Our part of the checkpoint.
struct Offsets {
    flushed: i64,
    derived: i64,
    closed: i64,
}

impl Offsets {
    fn in_checkpoint(root: &std::path::Path) -> Self {
        let bytes = std::fs::read(root.join("checkpoint")).unwrap();
        let field = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        Self {
            flushed: field(2100),
            derived: field(2108),
            closed: field(2124),
        }
    }
}

fn try_open(root: &std::path::Path) -> Result<Store, OpenError> {
    let arrivals = Arc::new(Arrivals::default());
    Store::open(options(root), Clock::by_hand(START_MS), arrivals)
}

/// Opens twice: a refusal must change nothing that would let the second pass.
#[track_caller]
fn assert_refused(root: &std::path::Path, at: i64) {
    for _ in 0..2 {
        let error = match try_open(root) {
            Ok(store) => panic!("opened: {:?}", store.recovered()),
            Err(error) => error,
        };
        let OpenError::Damaged {
            physical_offset,
            offset_in_file,
            path,
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(*physical_offset, at);
        assert_eq!(*offset_in_file, at as u64 % LOG_FILE_BYTES);
        let text = error.to_string();
        let repair = format!("`thrustmq store repair {}`", root.display());
        assert!(text.contains(&repair), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
}

#[test]
fn after_a_clean_close_nothing_is_walked() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(options(dir.path())));
    let store = open(options(dir.path()));
    let recovered = store.recovered();
    assert!(!recovered.after_crash && !recovered.rebuilt);
    assert_eq!((recovered.walked_records, recovered.walked_bytes), (0, 0));
    let marks = store.watermarks();
    assert_eq!(marks.written, recovered.end);
    assert_eq!(
        (marks.dispatched, marks.confirm),
        (recovered.end, recovered.end)
    );
}

#[test]
fn after_a_crash_only_what_no_checkpoint_knows_is_walked() {
    let Behind { dir, store, known } = Behind::filled();
    for number in 0..20 {
        append(&store, "topic-1", 1, &format!("late-{number}"));
    }
    wait_dispatched(&store);
    let image = Image::of(dir.path());
    let expected = answers(&store);
    let store = open(options(image.path()));
    let recovered = store.recovered();
    assert!(recovered.after_crash && !recovered.rebuilt);
    assert_eq!((recovered.from, recovered.walked_records), (known, 20));
    assert_eq!(recovered.walked_bytes, recovered.end - known);
    assert_eq!(recovered.cut_bytes, 0);
    let marks = store.watermarks();
    let ends = [
        marks.flushed,
        marks.dispatched,
        marks.confirm,
        marks.written,
    ];
    assert_eq!(ends, [recovered.end; 4]);
    // All but the watermark of what is flushed.
    let count = expected.len() - 1;
    assert_eq!(answers(&store)[..count], expected[..count]);
    wait_until("checkpoint", || {
        let offsets = Offsets::in_checkpoint(image.path());
        (offsets.flushed, offsets.derived) == (recovered.end, recovered.end)
    });
}

#[test]
fn a_removed_abort_file_does_not_make_a_clean_close() {
    let Behind { dir, store, .. } = Behind::filled();
    append(&store, "topic-1", 1, "late");
    wait_dispatched(&store);
    let image = Image::of(dir.path());
    image.remove("abort");
    let store = open(options(image.path()));
    assert!(store.recovered().after_crash);
    assert_eq!(bodies(&store, "topic-1", 1).last().unwrap(), "late");
}

#[test]
fn a_torn_tail_is_cut_and_counted() {
    let Behind { dir, store, .. } = Behind::filled();
    let kept = append(&store, "topic-1", 1, "kept");
    let torn = append(&store, "topic-1", 1, "torn");
    append(&store, "topic-0", 2, "behind");
    let written = store.watermarks().written;
    wait_dispatched(&store);
    let image = Image::of(dir.path());
    image.damage(torn.physical_offset + 4);
    let store = open(options(image.path()));
    let recovered = store.recovered();
    assert_eq!(recovered.end, kept.end_offset);
    assert_eq!(recovered.cut_bytes, written - kept.end_offset);
    assert_eq!(bodies(&store, "topic-1", 1).last().unwrap(), "kept");
    assert_eq!(
        append(&store, "topic-1", 1, "next").queue_offset,
        torn.queue_offset
    );
}

#[test]
fn damage_before_what_is_flushed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let first = append(&store, "topic-0", 0, "first");
    let second = append(&store, "topic-0", 0, "second");
    fill(&store);
    let last = append(&store, "topic-0", 0, "last");
    wait_dispatched(&store);
    wait_flushed(&store);
    wait_until("checkpoint", || {
        let offsets = Offsets::in_checkpoint(dir.path());
        (offsets.flushed, offsets.derived) == (last.end_offset, last.end_offset)
    });
    let crashed = Image::of(dir.path());
    drop(store);
    let file = LOG_FILE_BYTES as i64;
    for root in [crashed.path(), dir.path()] {
        // The begin of each file is looked at.
        for begin in [first.physical_offset, file] {
            let image = Image::of(root);
            image.damage(begin + 90);
            assert_refused(image.path(), begin);
        }
        // And the last message.
        let image = Image::of(root);
        image.damage(last.physical_offset + 90);
        assert_refused(image.path(), last.physical_offset);
        // And everything, when queues are built again.
        let image = Image::of(root);
        image.damage(second.physical_offset + 90);
        open(options(image.path()));
        image.remove("consumequeue/topic-0");
        assert_refused(image.path(), second.physical_offset);
        // Files at the end are not missed in silence.
        let image = Image::of(root);
        let begin = last.physical_offset / file * file;
        for (start, path) in image.log_files() {
            // The one behind the last in use may be there already.
            if start as i64 >= begin {
                std::fs::remove_file(path).unwrap();
            }
        }
        assert_refused(image.path(), begin);
    }
}

#[test]
fn damage_in_a_directory_without_offsets_is_refused_where_something_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(options(dir.path()), &clock);
    let second = [0, 1].map(|_| append(&store, "topic-0", 0, "early"))[1];
    fill(&store);
    clock.advance_ms(10_000);
    let late = [0, 1].map(|_| append(&store, "topic-1", 0, "late"));
    wait_dispatched(&store);
    wait_flushed(&store);
    wait_until("checkpoint", || {
        let offsets = Offsets::in_checkpoint(dir.path());
        (offsets.flushed, offsets.derived) == (late[1].end_offset, late[1].end_offset)
    });
    let crashed = Image::of(dir.path());
    drop(store);
    for root in [dir.path(), crashed.path()] {
        // Later files are whole.
        let image = Image::of(root);
        image.forget_offsets();
        image.damage(second.physical_offset + 90);
        image.remove("consumequeue/topic-0");
        image.remove("consumequeue/topic-1");
        assert_refused(image.path(), second.physical_offset);
    }
    // A queue points behind the place.
    let image = Image::of(dir.path());
    image.forget_offsets();
    image.damage(late[0].physical_offset + 90);
    assert_refused(image.path(), late[0].physical_offset);
    // Nothing does: garbage behind the end, as Java leaves it.
    let image = Image::of(dir.path());
    image.forget_offsets();
    image.damage(late[1].end_offset + 100);
    image.damage(late[1].end_offset);
    let store = open_at(options(image.path()), &clock);
    assert_eq!(store.recovered().cut_bytes, 101);
    assert_eq!(bodies(&store, "topic-1", 0).last().unwrap(), "late");
    // After a crash the end of the last file is a torn tail.
    let image = Image::of(crashed.path());
    image.forget_offsets();
    image.damage(late[1].physical_offset + 90);
    let store = open_at(options(image.path()), &clock);
    assert_eq!(store.recovered().end, late[0].end_offset);
}

#[test]
fn missing_log_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(options(dir.path())));
    let image = Image::of(dir.path());
    let (_, path) = image.log_files().remove(1);
    std::fs::remove_file(path).unwrap();
    let error = try_open(image.path()).unwrap_err();
    assert!(matches!(error, OpenError::Gap { .. }), "{error:?}");
    assert!(
        error.to_string().contains("thrustmq store repair"),
        "{error}"
    );
}

#[test]
fn missing_queues_are_built_again_after_a_crash_too() {
    let Behind { dir, store, .. } = Behind::filled();
    let expected = answers(&store);
    let image = Image::of(dir.path());
    image.remove("consumequeue/topic-1/2");
    let store = open(options(image.path()));
    assert!(store.recovered().rebuilt);
    assert_eq!(answers(&store), expected);
}

#[test]
fn a_deletion_outlives_crash_rebuild_and_the_last_topic() {
    let Behind { dir, store, .. } = Behind::filled();
    append(&store, "topic-0", 0, "on its way");
    store.delete_topic("topic-0");
    append(&store, "topic-0", 1, "new life");
    wait_dispatched(&store);
    let crashed = Image::of(dir.path());
    let expected = answers(&store);
    drop(store);
    for root in [crashed.path(), dir.path()] {
        for deletion in ["", "consumequeue", "index", "checkpoint"] {
            let image = Image::of(root);
            if !deletion.is_empty() {
                image.remove(deletion);
            }
            let store = open(options(image.path()));
            assert_eq!(bodies(&store, "topic-0", 1), ["new life"], "{deletion}");
            assert_eq!(store.queues_of("topic-0"), [1], "{deletion}");
            let count = expected.len() - 1;
            assert!(answers(&store)[..count] == expected[..count], "{deletion}");
            store.delete_topic("topic-0");
            store.delete_topic("topic-1");
            drop(store);
            image.remove("consumequeue");
            let store = open(options(image.path()));
            assert!(store.topics().is_empty());
        }
    }
}

#[test]
fn a_crash_in_the_midst_of_a_deletion_leaves_the_whole_topic_or_none() {
    let Behind { dir, store, .. } = Behind::filled();
    let expected = answers(&store);
    let before = Image::of(dir.path());
    store.delete_topic("topic-0");
    // The mark is there, the queues still are.
    let marks = std::fs::read(dir.path().join("deletedTopics")).unwrap();
    std::fs::write(before.path().join("deletedTopics"), marks).unwrap();
    let opened = open(options(before.path()));
    assert_eq!(opened.topics(), ["topic-1"]);
    assert!(!opened.recovered().rebuilt);
    drop(opened);
    // Some queues are gone, the mark is not there.
    let after = Image::of(dir.path());
    after.remove("deletedTopics");
    let opened = open(options(after.path()));
    assert!(opened.recovered().rebuilt);
    assert_eq!(answers(&opened), expected);
}

#[test]
fn a_mark_ends_where_a_crash_cut_the_log() {
    let Behind { dir, store, known } = Behind::filled();
    append(&store, "topic-0", 0, "lost");
    append(&store, "topic-0", 0, "lost");
    store.delete_topic("topic-0");
    wait_dispatched(&store);
    let image = Image::of(dir.path());
    image.cut_log(known);
    for _ in 0..2 {
        let store = open(options(image.path()));
        assert_eq!(store.watermarks().min, 0);
        let next = store.queue_range("topic-0", 0).max;
        assert_eq!(append(&store, "topic-0", 0, "new").queue_offset, next);
        wait_dispatched(&store);
        assert_eq!(store.queue_range("topic-0", 0).max, next + 1);
    }
    image.remove("consumequeue");
    let store = open(options(image.path()));
    assert_eq!(bodies(&store, "topic-0", 0), ["new", "new"]);
}

#[test]
fn building_again_begins_anew_after_a_crash() {
    let Behind { dir, store, .. } = Behind::filled();
    let last = append(&store, "topic-1", 1, "last");
    wait_dispatched(&store);
    wait_flushed(&store);
    drop(store);
    let expected = answers(&open(options(dir.path())));
    for deleted in ["consumequeue", "index"] {
        let image = Image::of(dir.path());
        image.remove(deleted);
        // The walk stops in the midst of building, as a crash would.
        image.damage(last.physical_offset + 90);
        assert_refused(image.path(), last.physical_offset);
        image.damage(last.physical_offset + 90);
        for abort in [false, true] {
            let image = Image::of(image.path());
            if abort {
                std::fs::write(image.path().join("abort"), "1").unwrap();
            }
            let store = open(options(image.path()));
            assert!(answers(&store) == expected, "{deleted} {abort}");
        }
    }
}

#[test]
fn many_queues_are_restored_by_several_threads() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let queues = 1_200;
    for number in 0..2 * queues {
        append(&store, "many", number % queues, &number.to_string());
    }
    wait_dispatched(&store);
    wait_flushed(&store);
    let crashed = Image::of(dir.path());
    drop(store);
    for root in [crashed.path(), dir.path()] {
        let store = open(options(root));
        assert!(!store.recovered().rebuilt);
        for queue_id in 0..queues {
            let expected = [queue_id, queue_id + queues].map(|number| number.to_string());
            assert_eq!(bodies(&store, "many", queue_id), expected);
        }
    }
}
