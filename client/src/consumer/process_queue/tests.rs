use std::collections::BTreeSet;

use super::*;
use crate::received::tests::pulled_at;

fn pulled(offsets: impl IntoIterator<Item = i64>) -> Vec<PulledRecord> {
    offsets
        .into_iter()
        .map(|offset| pulled_at(offset, b"12345"))
        .collect()
}

#[test]
fn the_lowest_unfinished_offset_is_committed() {
    let queue = ProcessQueue::new(10);
    assert_eq!(queue.commit_offset(), 10);
    queue.put(10, pulled(10..13), 13);
    assert_eq!(queue.commit_offset(), 10);
    assert_eq!(queue.take(3).len(), 3);
    queue.finish(11);
    assert_eq!(queue.commit_offset(), 10);
    queue.finish(10);
    assert_eq!(queue.commit_offset(), 12);
    queue.finish(12);
    assert_eq!(queue.commit_offset(), 13);
    assert_eq!(queue.held(), Held::default());
}

#[test]
fn filtered_messages_move_the_offset_too() {
    let queue = ProcessQueue::new(0);
    queue.put(0, Vec::new(), 100);
    assert_eq!((queue.commit_offset(), queue.next_offset()), (100, 100));
    assert_eq!(queue.uncommitted(), Some(100));
    queue.committed(100);
    assert_eq!(queue.uncommitted(), None);
}

#[test]
fn what_is_pulled_twice_is_kept_once() {
    let queue = ProcessQueue::new(0);
    queue.put(0, pulled(0..3), 3);
    queue.put(0, pulled(0..3), 3);
    queue.put(3, pulled(1..5), 5);
    let mut taken = queue.take(2);
    taken.extend(queue.take(10));
    let offsets: Vec<_> = taken.iter().map(|m| m.queue_offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert_eq!(queue.held().messages, 5);
}

#[test]
fn a_pull_that_was_under_way_at_a_reset_is_dropped() {
    let queue = ProcessQueue::new(10);
    queue.put(10, pulled(10..12), 12);
    let working = queue.take(1).remove(0);
    queue.reset(3);
    queue.put(12, pulled(12..14), 14);
    assert!(!queue.has_waiting());
    assert_eq!((queue.next_offset(), queue.commit_offset()), (3, 3));
    queue.finish(working.queue_offset);
    queue.put(3, pulled(3..5), 5);
    assert_eq!(
        (
            queue.commit_offset(),
            queue.held().messages,
            queue.held().bytes
        ),
        (3, 2, 10)
    );
}

#[test]
fn limits_stop_pulling_by_count_bytes_and_span() {
    let limits = HoldLimits {
        messages_max: 3,
        bytes_max: 12,
        span_max: 100,
    };
    let queue = ProcessQueue::new(0);
    queue.put(0, pulled(0..2), 2);
    assert!(queue.held().within(&limits));
    queue.put(2, pulled([2]), 3);
    assert!(!queue.held().within(&limits), "3 messages of 15 bytes");
    assert_eq!(queue.take(3).len(), 3);
    queue.finish(1);
    queue.finish(2);
    assert!(queue.held().within(&limits));
    queue.put(3, pulled([101]), 102);
    assert!(
        !queue.held().within(&limits),
        "offset 0 is still unfinished"
    );
}

#[test]
fn a_revoked_queue_gives_nothing_out() {
    let queue = ProcessQueue::new(0);
    queue.put(0, pulled(0..3), 3);
    assert_eq!(queue.take(1)[0].queue_offset, 0);
    queue.revoke();
    assert!(queue.is_revoked() && queue.take(1).is_empty());
    assert_eq!(queue.commit_offset(), 0);
}

/// Small and good enough for schedules: the generator of Steele and Vigna's SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[test]
fn a_pull_that_found_nothing_does_not_undo_a_reset() {
    let queue = ProcessQueue::new(7);
    queue.reset(100);
    // The answer to the pull of before comes late.
    queue.redirect(7, 9);
    assert_eq!(queue.next_offset(), 100);
    queue.redirect(100, 50);
    assert_eq!(queue.next_offset(), 50);
}

#[test]
fn random_schedules_never_commit_past_an_unfinished_message() {
    for seed in 0..200_u64 {
        println!("seed {seed}");
        random_schedule(&mut Random(seed));
    }
}

fn random_schedule(random: &mut Random) {
    let queue = ProcessQueue::new(0);
    let (mut unfinished, mut working, mut next) = (BTreeSet::new(), Vec::new(), 0_i64);
    for _ in 0..300 {
        match random.below(3) {
            0 => {
                let end = next + random.below(8) as i64;
                // Some offsets are filtered away by the broker.
                let offsets: Vec<_> = (next..end).filter(|_| random.below(4) > 0).collect();
                unfinished.extend(offsets.iter().copied());
                queue.put(next, pulled(offsets), end);
                next = end;
            }
            1 => working.extend(queue.take(2).iter().map(|message| message.queue_offset)),
            _ if !working.is_empty() => {
                let at = random.below(working.len() as u64) as usize;
                let offset = working.swap_remove(at);
                queue.finish(offset);
                unfinished.remove(&offset);
            }
            _ => {}
        }
        let expected = unfinished.first().copied().unwrap_or(next);
        assert_eq!(queue.commit_offset(), expected);
        assert_eq!(queue.held().messages, unfinished.len());
        assert_eq!(queue.held().bytes, unfinished.len() * 5);
    }
}

#[test]
fn random_resets_never_let_a_waiting_message_be_passed_over() {
    for seed in 0..200_u64 {
        println!("seed {seed}");
        random_resets(&mut Random(seed));
    }
}

fn random_resets(random: &mut Random) {
    let queue = ProcessQueue::new(0);
    let (mut waiting, mut working, mut next) = (BTreeSet::new(), Vec::new(), 0_i64);
    for _ in 0..300 {
        match random.below(8) {
            0 => {
                next = random.below(20) as i64;
                queue.reset(next);
                waiting.clear();
            }
            1 | 2 => {
                let end = next + random.below(8) as i64;
                waiting.extend(next..end);
                queue.put(next, pulled(next..end), end);
                next = end;
            }
            3 | 4 => {
                for message in queue.take(2) {
                    assert!(waiting.remove(&message.queue_offset));
                    working.push(message.queue_offset);
                }
            }
            // By whoever took it, be it before a reset.
            _ if !working.is_empty() => {
                let at = random.below(working.len() as u64) as usize;
                queue.finish(working.swap_remove(at));
            }
            _ => {}
        }
        let first = waiting.first().copied().unwrap_or(next);
        assert!(queue.commit_offset() <= first);
        assert!(queue.held().messages >= waiting.len());
    }
}
