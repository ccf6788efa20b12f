//! Which brokers are passed over for a while, since they were slow or could not be reached. Decisions
//! only; the time is an argument. Used by `deliver.rs` and `queue_choice.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// From this latency on a broker is passed over for so long, both in milliseconds: Java's table.
const PASSED_OVER: [(i64, i64); 5] = [
    (15_000, 30_000),
    (5_000, 10_000),
    (3_000, 6_000),
    (1_800, 5_000),
    (550, 2_000),
];
/// The latency that a failure counts as.
const LATENCY_OF_FAILURE_MS: i64 = 10_000;
/// Brokers remembered: more than a cluster has, so that renamed ones cannot pile up.
const BROKERS_MAX: usize = 1_000;

/// See the module. As long as all is well it costs one load.
#[derive(Debug, Default)]
pub(crate) struct BrokerHealth {
    /// How many are passed over; may be too high until the next note.
    ailing: AtomicUsize,
    /// Until when, by broker.
    until_ms: Mutex<HashMap<String, i64>>,
}

/// How a try went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TryEnd {
    /// Stored, or refused for what the message is.
    Answered,
    /// No answer, or one by which the broker is at fault.
    Failed,
}

impl BrokerHealth {
    /// Remembers how a try went that ended now.
    pub(crate) fn note(&self, broker_name: &str, end: TryEnd, latency_ms: i64, now_ms: i64) {
        let latency_ms = match end {
            TryEnd::Answered => latency_ms,
            TryEnd::Failed => LATENCY_OF_FAILURE_MS,
        };
        let pause_ms = pause_ms(latency_ms);
        if pause_ms == 0 && self.all_well() {
            return;
        }
        let mut until_ms = self.until_ms.lock().unwrap_or_else(PoisonError::into_inner);
        until_ms.retain(|name, until_ms| *until_ms > now_ms && name != broker_name);
        if pause_ms > 0 && until_ms.len() < BROKERS_MAX {
            until_ms.insert(broker_name.to_owned(), now_ms.saturating_add(pause_ms));
        }
        self.ailing.store(until_ms.len(), Ordering::Relaxed);
    }

    /// Whether messages may go to the broker; if none is well, the others have to do.
    pub(crate) fn is_well(&self, broker_name: &str, now_ms: i64) -> bool {
        if self.all_well() {
            return true;
        }
        let until_ms = self.until_ms.lock().unwrap_or_else(PoisonError::into_inner);
        until_ms
            .get(broker_name)
            .is_none_or(|until_ms| *until_ms <= now_ms)
    }

    fn all_well(&self) -> bool {
        self.ailing.load(Ordering::Relaxed) == 0
    }
}

fn pause_ms(latency_ms: i64) -> i64 {
    let row = PASSED_OVER
        .iter()
        .find(|(from_ms, _)| latency_ms >= *from_ms);
    row.map_or(0, |(_, pause_ms)| *pause_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_java() {
        let rows = [
            (0, 0),
            (549, 0),
            (550, 2_000),
            (1_800, 5_000),
            (3_000, 6_000),
            (9_999, 10_000),
            (15_000, 30_000),
        ];
        for (latency_ms, pause) in rows {
            assert_eq!(pause_ms(latency_ms), pause, "{latency_ms}");
        }
    }

    #[test]
    fn a_broker_is_passed_over_for_its_time() {
        let health = BrokerHealth::default();
        health.note("a", TryEnd::Answered, 3, 100);
        assert!(health.is_well("a", 100));
        health.note("a", TryEnd::Failed, 3, 100);
        health.note("b", TryEnd::Answered, 600, 100);
        assert!(!health.is_well("a", 10_099) && health.is_well("a", 10_100));
        assert!(!health.is_well("b", 2_099) && health.is_well("b", 2_100));
        assert!(health.is_well("c", 100));
        health.note("a", TryEnd::Answered, 3, 200);
        assert!(health.is_well("a", 200), "it is quick again");
        assert!(!health.is_well("b", 200), "that says nothing of the other");
        health.note("c", TryEnd::Answered, 3, 5_000);
        assert!(health.all_well(), "what is past is forgotten");
    }

    #[test]
    fn the_table_is_bounded() {
        let health = BrokerHealth::default();
        for n in 0..2_000 {
            health.note(&format!("b{n}"), TryEnd::Failed, 0, 1);
        }
        assert_eq!(health.until_ms.lock().unwrap().len(), BROKERS_MAX);
    }
}
