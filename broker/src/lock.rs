//! Queues that ordered consumers hold: one client a queue and group, until it lets go or is silent
//! for longer than `lockMaxLiveTime`. A consumer whose connection closes keeps its queues for that long:
//! it may still be at work, and come back. Nothing is written to disk: who asks first after a start
//! holds a queue.
//!
//! Only `processor/lock.rs` calls this.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::clock::Clock;

use crate::config::LiveConfig;

/// Locks at a time: a megabyte for some thousand. More are refused until some are free, and their
/// consumers ask again.
const LOCKS_MAX: usize = 1_000_000;

#[derive(Debug)]
struct Holder {
    client_id: String,
    renewed_ms: i64,
}

type ByQueue = HashMap<MessageQueue, Holder>;

#[derive(Debug, Default)]
struct Locks {
    groups: HashMap<String, ByQueue>,
    /// Of all groups.
    count: usize,
}

/// All locks, by group.
#[derive(Debug)]
pub(crate) struct QueueLocks {
    locks: Mutex<Locks>,
    config: LiveConfig,
    clock: Clock,
}

impl QueueLocks {
    pub(crate) fn new(config: LiveConfig, clock: Clock) -> Self {
        Self {
            locks: Mutex::default(),
            config,
            clock,
        }
    }

    /// Locks or renews what is free or the client's own, and gives back which that is.
    pub(crate) fn lock(
        &self,
        group: &str,
        client_id: &str,
        queues: impl IntoIterator<Item = MessageQueue>,
    ) -> Vec<MessageQueue> {
        let now = self.now();
        let mut guard = self.lock_table();
        let locks = &mut *guard;
        let held = locks.groups.entry(group.to_owned()).or_default();
        let before = held.len();
        let room = LOCKS_MAX.saturating_sub(locks.count - before);
        let queues = queues.into_iter();
        let ours: Vec<_> = queues
            .filter(|queue| {
                (held.len() < room || held.contains_key(queue))
                    && try_lock(held, queue, client_id, now)
            })
            .collect();
        locks.count = locks.count - before + held.len();
        if held.is_empty() {
            locks.groups.remove(group);
        }
        ours
    }

    /// Frees those of the queues that the client holds.
    pub(crate) fn unlock<'q>(
        &self,
        group: &str,
        client_id: &str,
        queues: impl IntoIterator<Item = &'q MessageQueue>,
    ) {
        let mut guard = self.lock_table();
        let locks = &mut *guard;
        let Some(held) = locks.groups.get_mut(group) else {
            return;
        };
        for queue in queues {
            let holder = held.get(queue);
            if holder.is_some_and(|holder| holder.client_id == client_id) {
                held.remove(queue);
                locks.count -= 1;
            }
        }
        if held.is_empty() {
            locks.groups.remove(group);
        }
    }

    /// Whether any queue is locked by a member of the group: it consumes in order.
    pub(crate) fn holds_any(&self, group: &str) -> bool {
        let now = self.now();
        let locks = self.lock_table();
        let held = locks.groups.get(group);
        held.is_some_and(|held| held.values().any(|holder| !now.is_expired(holder)))
    }

    /// Forgets locks that have expired, so that groups and topics which are gone leave nothing.
    pub(crate) fn remove_expired(&self) {
        let now = self.now();
        let mut guard = self.lock_table();
        let locks = &mut *guard;
        locks.groups.retain(|_, held| {
            held.retain(|_, holder| !now.is_expired(holder));
            !held.is_empty()
        });
        locks.count = locks.groups.values().map(HashMap::len).sum();
    }

    fn now(&self) -> Now {
        Now {
            ms: self.clock.now_ms(),
            live_ms_max: self.config.current().lock_live_ms_max,
        }
    }

    fn lock_table(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().expect("no holder of this lock panics")
    }
}

/// What decides whether a lock still counts.
#[derive(Debug, Clone, Copy)]
struct Now {
    ms: i64,
    live_ms_max: i64,
}

impl Now {
    fn is_expired(self, holder: &Holder) -> bool {
        self.ms - holder.renewed_ms > self.live_ms_max
    }
}

fn try_lock(held: &mut ByQueue, queue: &MessageQueue, client_id: &str, now: Now) -> bool {
    if let Some(holder) = held.get_mut(queue) {
        if holder.client_id != client_id && !now.is_expired(holder) {
            return false;
        }
        client_id.clone_into(&mut holder.client_id);
        holder.renewed_ms = now.ms;
        return true;
    }
    let holder = Holder {
        client_id: client_id.to_owned(),
        renewed_ms: now.ms,
    };
    held.insert(queue.clone(), holder);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue {
            topic: "t".into(),
            broker_name: "b".into(),
            queue_id,
        }
    }

    fn locks_at(clock: &Clock) -> QueueLocks {
        let config = LiveConfig::new(BrokerConfig::default(), None, clock.clone());
        QueueLocks::new(config, clock.clone())
    }

    #[test]
    fn a_queue_has_one_holder_a_group() {
        let locks = locks_at(&Clock::by_hand(0));
        assert_eq!(locks.lock("g", "one", [queue(0), queue(1)]).len(), 2);
        assert_eq!(locks.lock("g", "two", [queue(1), queue(2)]), [queue(2)]);
        assert_eq!(locks.lock("h", "two", [queue(1)]), [queue(1)]);
        assert_eq!(locks.lock("g", "one", [queue(1)]), [queue(1)]);
    }

    #[test]
    fn only_the_holder_unlocks() {
        let locks = locks_at(&Clock::by_hand(0));
        locks.lock("g", "one", [queue(0)]);
        locks.unlock("g", "two", &[queue(0)]);
        assert!(locks.lock("g", "two", [queue(0)]).is_empty());
        locks.unlock("g", "one", &[queue(0)]);
        assert_eq!(locks.lock("g", "two", [queue(0)]), [queue(0)]);
    }

    #[test]
    fn a_silent_holder_loses_its_lock_after_a_minute() {
        let clock = Clock::by_hand(0);
        let locks = locks_at(&clock);
        locks.lock("g", "one", [queue(0)]);
        clock.advance_ms(60_000);
        locks.remove_expired();
        assert!(locks.lock("g", "two", [queue(0)]).is_empty());
        clock.advance_ms(1);
        assert_eq!(locks.lock("g", "two", [queue(0)]), [queue(0)]);
        clock.advance_ms(60_001);
        locks.remove_expired();
        assert!(locks.lock_table().groups.is_empty());
    }

    #[test]
    fn locks_are_limited_and_counted() {
        let locks = locks_at(&Clock::by_hand(0));
        locks.lock("g", "one", (0..10).map(queue));
        locks.lock_table().count += LOCKS_MAX - 12;
        assert_eq!(locks.lock("h", "two", (0..10).map(queue)).len(), 2);
        assert_eq!(locks.lock("g", "one", (0..20).map(queue)).len(), 10);
        locks.unlock("g", "one", &[queue(0), queue(1)]);
        assert_eq!(locks.lock("h", "two", (0..10).map(queue)).len(), 4);
        locks.remove_expired();
        assert_eq!(locks.lock_table().count, 12);
    }
}
