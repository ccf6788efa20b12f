use std::sync::{Arc, mpsc};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_remoting::{Pool, PoolOptions};

use super::{QUEUES_MAX, TOPICS_MAX};
use crate::stats::{BrokerStats, MessageCounts, Put};

fn stats() -> (Arc<BrokerStats>, Clock) {
    let clock = Clock::by_hand(1_000_000);
    let stats = BrokerStats::new("c", true, clock.clone());
    (Arc::new(stats), clock)
}

/// Runs `job` in a turn of a thread, which has ended afterwards.
fn in_a_turn<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    let pool = Pool::new(PoolOptions {
        name: "turn",
        threads: 1,
        queue_capacity: 1,
        lends: 0,
    });
    let (tell, told) = mpsc::channel();
    pool.run(move || tell.send(job()).unwrap()).unwrap();
    pool.shutdown();
    told.recv().unwrap()
}

fn put_one(stats: &Arc<BrokerStats>, topic: &str, queue_id: i32) {
    stats.record_put(topic, queue_id, 1, 10);
}

fn puts(stats: &BrokerStats) -> u64 {
    stats.totals().put_messages()
}

/// The last minute by Java's name and key.
fn sum(stats: &BrokerStats, name: &str, key: &str) -> Option<i64> {
    stats.find(name, key).map(|data| data.minute.sum)
}

#[test]
fn outside_a_turn_a_put_is_there_at_once() {
    let (stats, _) = stats();
    for count in 1..=3 {
        put_one(&stats, "t", 0);
        assert_eq!(puts(&stats), count);
    }
}

#[test]
fn what_a_turn_put_is_there_when_it_ends() {
    let (stats, _) = stats();
    let counting = Arc::clone(&stats);
    let within = in_a_turn(move || {
        put_one(&counting, "t", 0);
        put_one(&counting, "rmq_sys_x", 0);
        puts(&counting)
    });
    assert_eq!(within, 0);
    assert_eq!(puts(&stats), 2);
    assert_eq!(stats.message_counts(), MessageCounts { put: 1, got: 0 });
}

#[test]
fn a_tally_says_what_single_counts_would() {
    let (of_turn, clock) = stats();
    let single = Arc::new(BrokerStats::new("c", true, clock.clone()));
    let count = |stats: &Arc<BrokerStats>| {
        for (queue_id, took_ms) in [(0, 0), (1, 70), (0, 30), (-1, 5), (i32::MAX, 20_000)] {
            let (messages, bytes) = (2, 200);
            let put = Put {
                messages,
                bytes,
                took_ms,
            };
            stats.record_timed_put("t", queue_id, put);
            stats.record_put("%LMQ%a", queue_id, 3, 300);
            stats.record_put("%LMQ%b", queue_id, 3, 300);
        }
        stats.record_put("t", 0, 1, 100);
    };
    count(&single);
    let counting = Arc::clone(&of_turn);
    in_a_turn(move || count(&counting));
    clock.advance_ms(10_000);
    let shown = [&single, &of_turn].map(|stats| {
        stats.sample();
        let keys = [
            ("TOPIC_PUT_NUMS", "t"),
            ("TOPIC_PUT_SIZE", "t"),
            ("TOPIC_PUT_NUMS", "%LMQ%"),
            ("QUEUE_PUT_NUMS", "t@0"),
            ("QUEUE_PUT_SIZE", "t@1"),
            ("QUEUE_PUT_NUMS", "t@2"),
            ("QUEUE_PUT_NUMS", "%LMQ%@1"),
            ("TOPIC_PUT_LATENCY", "0@t"),
            ("TOPIC_PUT_LATENCY", "1@t"),
            ("BROKER_PUT_NUMS", "c"),
        ];
        let items = keys.map(|(name, key)| stats.find(name, key).map(|data| data.minute));
        let totals = stats.totals();
        let sums = (totals.put_messages(), totals.put_bytes());
        let times = (totals.put_times_text(), totals.put_time_ms_max());
        (items, sums, times)
    });
    assert_eq!(shown[0], shown[1]);
    let latency = of_turn.find("TOPIC_PUT_LATENCY", "0@t").unwrap().minute;
    assert_eq!((latency.sum, latency.per_call), (30, 15.0));
    let of_topic = of_turn.find("TOPIC_PUT_NUMS", "t").unwrap().minute;
    assert_eq!(of_topic.sum, 11);
    assert!((of_topic.per_call - 11.0 / 6.0).abs() < 1e-9);
    assert_eq!(sum(&of_turn, "QUEUE_PUT_NUMS", "t@0"), Some(5));
    assert_eq!(of_turn.totals().put_time_ms_max(), 20_000);
    assert_eq!(puts(&of_turn), 41);
}

#[test]
fn brokers_on_one_thread_get_their_own() {
    let ((one, _), (other, _)) = (stats(), stats());
    let (to_one, to_other) = (Arc::clone(&one), Arc::clone(&other));
    in_a_turn(move || {
        for _ in 0..3 {
            put_one(&to_one, "t", 0);
            put_one(&to_one, "t", 1);
            put_one(&to_other, "t", 0);
        }
    });
    assert_eq!((puts(&one), puts(&other)), (6, 3));
    assert!(sum(&one, "QUEUE_PUT_NUMS", "t@1").is_some());
    assert_eq!(sum(&other, "QUEUE_PUT_NUMS", "t@1"), None);
}

#[test]
fn between_turns_a_thread_holds_no_stats() {
    let (stats, _) = stats();
    put_one(&stats, "t", 0);
    assert_eq!(Arc::strong_count(&stats), 1);
}

/// What is there before the turn has ended, of puts to so many topics, each to so many queues.
fn seen_of(stats: &Arc<BrokerStats>, topics: usize, queues: usize) -> u64 {
    let stats = Arc::clone(stats);
    in_a_turn(move || {
        for topic in 0..topics {
            for queue_id in 0..queues {
                let queue_id = i32::try_from(queue_id).unwrap();
                put_one(&stats, &format!("t{topic}"), queue_id);
            }
        }
        puts(&stats)
    })
}

#[test]
fn a_tally_that_is_full_is_emptied_within_the_turn() {
    let (stats, _) = stats();
    assert_eq!(seen_of(&stats, 1, QUEUES_MAX - 1), 0);
    assert_eq!(puts(&stats), 63);
    assert_eq!(seen_of(&stats, 1, QUEUES_MAX), 63 + 64);
    assert_eq!(seen_of(&stats, TOPICS_MAX - 1, 1), 127);
    assert_eq!(puts(&stats), 142);
    assert_eq!(seen_of(&stats, TOPICS_MAX, 1), 142 + 16);
}

#[test]
fn more_than_a_tally_holds_is_counted_once_each() {
    let (stats, clock) = stats();
    let (topics, queues) = (2 * TOPICS_MAX + 3, QUEUES_MAX + 5);
    seen_of(&stats, topics, queues);
    clock.advance_ms(10_000);
    stats.sample();
    for topic in 0..topics {
        for queue_id in 0..queues {
            let key = format!("t{topic}@{queue_id}");
            assert_eq!(sum(&stats, "QUEUE_PUT_NUMS", &key), Some(1), "{key}");
        }
    }
    assert_eq!(puts(&stats), u64::try_from(topics * queues).unwrap());
}
