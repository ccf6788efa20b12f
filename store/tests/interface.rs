//! What callers of the store can rely on.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod support;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::Duration;

use support::*;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::message::tags_code::tags_code;
use thrustmq_store::{
    AppendError, Arrival, ArrivalListener, Boundary, FlushMode, NewBatchItem, NotWritable,
    QueryRequest, QueueRange, ReadError, ReadRequest, ReadStatus, RecordFilter, Store,
    StoreOptions,
};

#[test]
fn messages_are_read_in_order_from_each_queue() {
    let dir = tempfile::tempdir().unwrap();
    let arrivals = Arc::new(Arrivals::default());
    let clock = Clock::by_hand(START_MS);
    let store = Store::open(options(dir.path()), clock, arrivals.clone()).unwrap();
    let mut expected_arrivals = Vec::new();
    for number in 0..200_i64 {
        let queue_id = (number % 3) as i32;
        let appended = append(&store, "t", queue_id, &format!("body-{number}"));
        assert_eq!(appended.queue_offset, number / 3);
        assert_eq!(
            appended.end_offset,
            appended.physical_offset + i64::from(appended.record_bytes)
        );
        expected_arrivals.push(("t".to_owned(), queue_id, number / 3));
    }
    wait_dispatched(&store);
    for queue_id in 0..3 {
        let numbers = (0..200).filter(|number| number % 3 == queue_id);
        let expected: Vec<_> = numbers.map(|number| format!("body-{number}")).collect();
        assert_eq!(bodies(&store, "t", queue_id), expected);
    }
    assert_eq!(store.queues_of("t"), [0, 1, 2]);
    assert_eq!(store.topics(), ["t"]);
    assert_eq!(*arrivals.0.lock().unwrap(), expected_arrivals);
    let counters = store.counters();
    assert_eq!((counters.put_messages, counters.put_failures), (200, 0));
    assert_eq!(counters.put_latency[0], 200, "time stands still");
}

#[test]
fn batches_get_consecutive_places() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    append(&store, "t", 0, "before");
    let item = |flag, body: &'static str| NewBatchItem {
        flag,
        body: body.as_bytes(),
        properties: "",
    };
    let items = [item(1, "one"), item(2, "two"), item(3, "three")];
    let batch = store
        .append_batch(&message("t", 0, b"", ""), &items)
        .unwrap();
    append(&store, "t", 0, "after");
    wait_dispatched(&store);
    assert_eq!(batch.queue_offset, 1);
    assert_eq!(
        bodies(&store, "t", 0),
        ["before", "one", "two", "three", "after"]
    );
    for (number, offset) in (1..).zip(&batch.physical_offsets) {
        let bytes = store.record_at(*offset).unwrap();
        let view = record::check(&bytes, CheckBody::Crc).unwrap();
        assert_eq!((view.flag, view.queue_offset), (number, i64::from(number)));
    }
    let empty = store.append_batch(&message("t", 0, b"", ""), &[]);
    assert!(matches!(empty, Err(AppendError::Illegal { .. })));
}

#[test]
fn transaction_records_without_a_consumer_have_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let with_type = |transaction_type| {
        let mut message = message("t", 0, b"x", "");
        message.sys_flag = transaction_type;
        store.append(&message).unwrap().queue_offset
    };
    append(&store, "t", 0, "first");
    assert_eq!(with_type(sys_flag::TRANSACTION_PREPARED), 0);
    assert_eq!(with_type(sys_flag::TRANSACTION_COMMIT), 1);
    assert_eq!(with_type(sys_flag::TRANSACTION_ROLLBACK), 0);
    wait_dispatched(&store);
    assert_eq!(bodies(&store, "t", 0), ["first", "x"]);
}

#[test]
fn scheduled_messages_carry_their_time_of_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(StoreOptions {
        delay_levels_ms: vec![1_000, 5_000],
        ..options(dir.path())
    });
    for (number, (level, delay_ms)) in [("1", 1_000), ("2", 5_000), ("9", 5_000)]
        .iter()
        .enumerate()
    {
        let properties = format!("DELAY\u{1}{level}\u{2}TAGS\u{1}a\u{2}");
        store
            .append(&message("SCHEDULE_TOPIC_XXXX", 0, b"x", &properties))
            .unwrap();
        wait_dispatched(&store);
        let entry = store
            .queue_entry("SCHEDULE_TOPIC_XXXX", 0, number as i64)
            .unwrap();
        assert_eq!(entry.tags_code, START_MS + delay_ms);
    }
    store
        .append(&message("t", 0, b"x", "DELAY\u{1}1\u{2}TAGS\u{1}a\u{2}"))
        .unwrap();
    wait_dispatched(&store);
    assert_eq!(
        store.queue_entry("t", 0, 0).unwrap().tags_code,
        tags_code("a")
    );
}

#[test]
fn reads_tell_where_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    assert_eq!(
        read(&store, "t", 0, 5).status,
        ReadStatus::NoMatchedLogicQueue
    );
    for number in 0..3 {
        append(&store, "t", 0, &number.to_string());
    }
    wait_dispatched(&store);
    let outcomes = [
        (-1, ReadStatus::OffsetTooSmall, 0),
        (0, ReadStatus::Found, 3),
        (3, ReadStatus::OffsetOverflowOne, 3),
        (4, ReadStatus::OffsetOverflowBadly, 3),
    ];
    for (offset, status, next_offset) in outcomes {
        let outcome = read(&store, "t", 0, offset);
        assert_eq!(
            (outcome.status, outcome.next_offset),
            (status, next_offset),
            "at {offset}"
        );
        assert_eq!((outcome.min_offset, outcome.max_offset), (0, 3));
    }
    let counters = store.counters();
    assert_eq!(
        (counters.get_found, counters.get_miss, counters.get_messages),
        (1, 4, 3)
    );
}

#[test]
fn reads_keep_their_limits_but_give_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let sizes: Vec<_> = (0..60)
        .map(|_| append(&store, "t", 0, &"x".repeat(400)).record_bytes)
        .collect();
    wait_dispatched(&store);
    let read = |messages_max, bytes_max| {
        let request = ReadRequest {
            topic: "t",
            queue_id: 0,
            offset: 0,
            messages_max,
            bytes_max,
            filter: None,
        };
        let outcome = store.read(&request).unwrap();
        assert_eq!(outcome.next_offset, outcome.message_count as i64);
        assert_eq!(outcome.records.len(), outcome.message_count);
        outcome.message_count
    };
    assert_eq!(read(7, 1 << 20), 7);
    assert_eq!(read(100, 1 << 20), 32, "the store's own limit");
    assert_eq!(read(100, 3 * sizes[0] as usize), 3);
    assert_eq!(read(100, 3 * sizes[0] as usize - 1), 2);
    assert_eq!(read(100, 1), 1);
}

struct Odd;

impl RecordFilter for Odd {
    fn by_tags_code(&self, code: i64) -> bool {
        code == tags_code("odd")
    }

    fn by_record(&self, record: &[u8]) -> bool {
        !record::check(record, CheckBody::Crc)
            .unwrap()
            .body
            .ends_with(b"5")
    }
}

#[test]
fn filters_choose_and_the_offset_moves_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    for number in 0..20 {
        let tag = if number % 2 == 1 { "odd" } else { "even" };
        let body = number.to_string();
        let properties = format!("TAGS\u{1}{tag}\u{2}");
        store
            .append(&message("t", 0, body.as_bytes(), &properties))
            .unwrap();
    }
    wait_dispatched(&store);
    let read = |offset| {
        store
            .read(&ReadRequest {
                topic: "t",
                queue_id: 0,
                offset,
                messages_max: 32,
                bytes_max: 1 << 20,
                filter: Some(&Odd),
            })
            .unwrap()
    };
    let outcome = read(0);
    assert_eq!(
        (outcome.status, outcome.message_count, outcome.next_offset),
        (ReadStatus::Found, 8, 20)
    );
    append(&store, "t", 0, "even");
    wait_dispatched(&store);
    let outcome = read(20);
    assert_eq!(outcome.status, ReadStatus::NoMatchedMessage);
    assert_eq!(outcome.next_offset, 21);
}

#[test]
fn times_find_their_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(options(dir.path()), &clock);
    // Times 0, 0, 0, 10, 10: the example in Java's source.
    for advance_ms in [0, 0, 0, 10, 0] {
        clock.advance_ms(advance_ms);
        append(&store, "t", 0, "x");
    }
    wait_dispatched(&store);
    let offsets = |at_ms| {
        let find = |boundary| {
            store
                .offset_by_time("t", 0, START_MS + at_ms, boundary)
                .unwrap()
        };
        (find(Boundary::Lower), find(Boundary::Upper))
    };
    assert_eq!(offsets(-1), (0, 0));
    assert_eq!(offsets(0), (0, 2));
    assert_eq!(offsets(5), (3, 2));
    assert_eq!(offsets(10), (3, 4));
    assert_eq!(offsets(11), (5, 4));
    assert_eq!(
        store
            .offset_by_time("none", 0, START_MS, Boundary::Lower)
            .unwrap(),
        0
    );
    assert_eq!(store.store_time_at("t", 0, 4), Some(START_MS + 10));
    assert_eq!(store.store_time_at("t", 0, 5), None);
    assert_eq!(store.earliest_store_time("t", 0), Some(START_MS));
    assert_eq!(store.earliest_store_time_of_log(), Some(START_MS));
}

#[test]
fn store_times_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(options(dir.path()), &clock);
    let first = append(&store, "t", 0, "x");
    clock.advance_ms(-5_000);
    assert_eq!(
        append(&store, "t", 0, "x").store_timestamp,
        first.store_timestamp
    );
}

#[test]
fn keys_find_their_messages() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = open_at(options(dir.path()), &clock);
    for number in 0..150 {
        let properties = format!(
            "UNIQ_KEY\u{1}u{number}\u{2}KEYS\u{1}all k{}\u{2}",
            number % 10
        );
        let body = number.to_string();
        store
            .append(&message("t", 0, body.as_bytes(), &properties))
            .unwrap();
        clock.advance_ms(1_000);
    }
    append(&store, "other", 0, "all");
    wait_dispatched(&store);
    let query = |key, messages_max, begin_ms, end_ms| {
        let outcome = store
            .query(&QueryRequest {
                topic: "t",
                key,
                messages_max,
                begin_ms: START_MS + begin_ms,
                end_ms: START_MS + end_ms,
            })
            .unwrap();
        let body = |bytes: &bytes::Bytes| {
            let view = record::check(bytes, CheckBody::Crc).unwrap();
            String::from_utf8(view.body.to_vec()).unwrap()
        };
        outcome.records.iter().map(body).collect::<Vec<_>>()
    };
    let forever = 1_000_000_000;
    assert_eq!(query("u77", 10, 0, forever), ["77"]);
    assert_eq!(query("k3", 3, 0, forever), ["123", "133", "143"]);
    assert_eq!(query("k3", 64, 20_000, 43_000), ["23", "33", "43"]);
    assert_eq!(query("all", 999, 0, forever).len(), 64);
    assert!(query("none", 64, 0, forever).is_empty());
}

#[test]
fn illegal_messages_are_refused_and_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let long = vec![0; 4097];
    let properties = "x".repeat(40_000);
    let illegal = [
        message("t", 0, &long, ""),
        message("", 0, b"", ""),
        message("t", -1, b"", ""),
        message("../t", 0, b"", ""),
        message("t", 0, &long[..10], &properties[..20_000]),
    ];
    for message in &illegal {
        let result = store.append(message);
        assert!(
            matches!(result, Err(AppendError::Illegal { .. })),
            "{result:?}"
        );
    }
    let result = store.append(&message("t", 0, b"", &properties));
    // With a separator and the checksum of 20 bytes.
    assert!(matches!(
        result,
        Err(AppendError::PropertiesTooLong { bytes: 40_021 })
    ));
    assert_eq!(append(&store, "t", 0, "fine").queue_offset, 0);
    assert_eq!(store.counters().put_failures, 6);
}

#[test]
fn records_are_read_by_place_only_where_they_begin() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    let first = append(&store, "t", 0, "x");
    assert_eq!(
        store.record_at(0).unwrap().len(),
        first.record_bytes as usize
    );
    assert!(matches!(
        store.record_at(1),
        Err(ReadError::NoRecord { .. })
    ));
    for outside in [-1, first.end_offset, i64::MAX] {
        assert!(matches!(
            store.record_at(outside),
            Err(ReadError::OutOfRange { .. })
        ));
    }
}

#[test]
fn a_deleted_topic_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    for number in 0..40 {
        append(&store, "t", 0, &number.to_string());
    }
    wait_dispatched(&store);
    store.delete_topic("t");
    assert_eq!(store.queue_range("t", 0), QueueRange::default());
    assert!(store.topics().is_empty());
    assert_eq!(append(&store, "t", 0, "new").queue_offset, 0);
    wait_dispatched(&store);
    assert_eq!(bodies(&store, "t", 0), ["new"]);
    // Built from the log alone, the old life of the topic must not hide the new one.
    drop(store);
    std::fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(options(dir.path()));
    assert_eq!(bodies(&store, "t", 0), ["new"]);
    assert_eq!(append(&store, "t", 0, "next").queue_offset, 1);
}

#[test]
fn a_closed_store_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(options(dir.path()));
    append(&store, "t", 0, "x");
    store.shutdown();
    store.shutdown();
    let result = store.append(&message("t", 0, b"x", ""));
    assert!(matches!(result, Err(AppendError::ShutDown)));
    assert_eq!(bodies(&store, "t", 0), ["x"], "reading goes on");
}

struct Panics;

impl ArrivalListener for Panics {
    fn arrived(&self, _arrival: &Arrival<'_>) {
        panic!("a listener that is broken");
    }
}

#[test]
fn a_store_with_a_dead_thread_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(START_MS);
    let store = Store::open(options(dir.path()), clock, Arc::new(Panics)).unwrap();
    append(&store, "t", 0, "x");
    wait_until("refusing", || store.not_writable().is_some());
    assert_eq!(store.not_writable(), Some(NotWritable::ThreadDied));
    let result = store.append(&message("t", 0, b"x", ""));
    assert!(matches!(result, Err(AppendError::NotWritable(_))));
}

/// Keeps who is to be woken, and remembers the threads on which messages arrive.
#[derive(Default)]
struct Waking {
    follower: Mutex<Option<Waker>>,
    threads: Mutex<Vec<ThreadId>>,
}

impl ArrivalListener for Waking {
    fn arrived(&self, _arrival: &Arrival<'_>) {
        self.threads.lock().unwrap().push(thread::current().id());
    }

    fn wake_when_done(&self, follower: &Waker) -> bool {
        *self.follower.lock().unwrap() = Some(follower.clone());
        true
    }
}

#[test]
fn who_appends_a_little_makes_it_visible_and_of_much_the_thread_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        commit_log_file_bytes: 1 << 20,
        consume_queue_flush_interval_ms: 60_000,
        flush: FlushMode::Async {
            interval_ms: 60_000,
        },
        ..options(dir.path())
    };
    let waking = Arc::new(Waking::default());
    let listener: Arc<dyn ArrivalListener> = Arc::<Waking>::clone(&waking);
    let store = Store::open(options, Clock::by_hand(START_MS), listener).unwrap();
    let wake = || waking.follower.lock().unwrap().take().map(Waker::wake);
    let here = || {
        let threads = waking.threads.lock().unwrap();
        threads.contains(&thread::current().id())
    };
    // While it flushes for the first time, and until its thread sleeps, the thread does it.
    wait_until("visible by who appended", || {
        append(&store, "t", 0, "little");
        wake();
        here()
    });
    wait_dispatched(&store);
    waking.threads.lock().unwrap().clear();
    let body = "x".repeat(4_000);
    for _ in 0..40 {
        append(&store, "t", 0, &body);
    }
    wake();
    wait_dispatched(&store);
    assert!(!here(), "it has other things to do");
}

#[test]
fn a_record_has_one_checksum_and_none_if_that_is_off() {
    let tags = "TAGS\u{1}a\u{2}";
    let stale = "__CRC32#\u{1}1234567890\u{2}";
    let given = [
        tags.to_owned(),
        format!("{stale}{tags}"),
        format!("{tags}{stale}"),
    ];
    for record_checksum in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(StoreOptions {
            record_checksum,
            ..options(dir.path())
        });
        for properties in &given {
            store.append(&message("t", 0, b"x", properties)).unwrap();
        }
        let item = |properties| NewBatchItem {
            flag: 0,
            body: b"x",
            properties,
        };
        let items = given.each_ref().map(|text| item(text.as_str()));
        store
            .append_batch(&message("t", 0, b"", ""), &items)
            .unwrap();
        wait_dispatched(&store);
        let outcome = read(&store, "t", 0, 0);
        assert_eq!(outcome.message_count, 6);
        for bytes in &outcome.records {
            let view = record::check(bytes, CheckBody::Crc).unwrap();
            let text = view.properties_text();
            let rest = text.strip_prefix(tags).unwrap();
            assert_eq!(rest.len(), if record_checksum { 20 } else { 0 }, "{text}");
            let demanded = record::check(bytes, CheckBody::CrcDemanded);
            assert_eq!(demanded.is_ok(), record_checksum);
        }
    }
}

thread_local! {
    static LEFT: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// The thread that dispatches looks by itself only after 10 s.
const SOON_MS: u32 = 5_000;

/// Each thread that appends wakes who follows at the end of its turn.
struct OfTurns;

impl ArrivalListener for OfTurns {
    fn arrived(&self, _arrival: &Arrival<'_>) {}

    fn wake_when_done(&self, follower: &Waker) -> bool {
        LEFT.set(Some(follower.clone()));
        true
    }
}

/// Whoever finds another dispatching leaves it to him: all the same nothing stays behind.
#[test]
fn what_two_threads_append_at_a_time_is_dispatched_when_their_turns_have_ended() {
    const ROUNDS: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        flush: FlushMode::Async {
            interval_ms: 60_000,
        },
        ..options(dir.path())
    };
    let store = Store::open(options, Clock::by_hand(START_MS), Arc::new(OfTurns)).unwrap();
    let (begin, end) = (Barrier::new(2), Barrier::new(2));
    let is_stuck = AtomicBool::new(false);
    let turns = |queue_id: i32| {
        for round in 0..ROUNDS {
            begin.wait();
            if is_stuck.load(Ordering::Relaxed) {
                return;
            }
            for _ in 0..=round % 3 {
                append(&store, "t", queue_id, "m");
            }
            LEFT.take().unwrap().wake();
            if end.wait().is_leader() && !is_dispatched_soon(&store) {
                is_stuck.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| turns(0));
        turns(1);
    });
    let marks = store.watermarks();
    assert!(!is_stuck.into_inner(), "{marks:?}");
    store.shutdown();
}

fn is_dispatched_soon(store: &Store) -> bool {
    let is_dispatched = || {
        let marks = store.watermarks();
        thread::yield_now();
        marks.dispatched == marks.written
    };
    (0..1_000).any(|_| is_dispatched())
        || (0..SOON_MS).any(|_| {
            thread::sleep(Duration::from_millis(1));
            is_dispatched()
        })
}
