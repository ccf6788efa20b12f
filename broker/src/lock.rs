//! Queues that ordered consumers hold: one client a queue and group, until it lets go or is silent
//! for a minute.
//!
//! Only `processor/lock.rs` calls this.

use std::collections::HashMap;
use std::sync::Mutex;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::clock::Clock;

/// A lock that was not renewed for longer than this is free.
const LOCK_LIVE_MS_MAX: i64 = 60_000;

#[derive(Debug)]
struct Holder {
    client_id: String,
    renewed_ms: i64,
}

type ByQueue = HashMap<MessageQueue, Holder>;

/// All locks, by group.
#[derive(Debug)]
pub(crate) struct QueueLocks {
    groups: Mutex<HashMap<String, ByQueue>>,
    clock: Clock,
}

impl QueueLocks {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            groups: Mutex::default(),
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
        let now_ms = self.clock.now_ms();
        let mut groups = self.groups.lock().expect("no holder of this lock panics");
        let held = groups.entry(group.to_owned()).or_default();
        queues
            .into_iter()
            .filter(|queue| try_lock(held, queue, client_id, now_ms))
            .collect()
    }

    /// Frees those of the queues that the client holds.
    pub(crate) fn unlock<'q>(
        &self,
        group: &str,
        client_id: &str,
        queues: impl IntoIterator<Item = &'q MessageQueue>,
    ) {
        let mut groups = self.groups.lock().expect("no holder of this lock panics");
        let Some(held) = groups.get_mut(group) else {
            return;
        };
        for queue in queues {
            if held
                .get(queue)
                .is_some_and(|holder| holder.client_id == client_id)
            {
                held.remove(queue);
            }
        }
        if held.is_empty() {
            groups.remove(group);
        }
    }

    /// Whether any queue is locked by a member of the group: it consumes in order.
    pub(crate) fn holds_any(&self, group: &str) -> bool {
        let now_ms = self.clock.now_ms();
        let groups = self.groups.lock().expect("no holder of this lock panics");
        let held = groups.get(group);
        held.is_some_and(|held| held.values().any(|holder| !is_expired(holder, now_ms)))
    }

    /// Forgets locks that have expired, so that groups and topics which are gone leave nothing.
    pub(crate) fn remove_expired(&self) {
        let now_ms = self.clock.now_ms();
        let mut groups = self.groups.lock().expect("no holder of this lock panics");
        groups.retain(|_, held| {
            held.retain(|_, holder| !is_expired(holder, now_ms));
            !held.is_empty()
        });
    }
}

fn try_lock(held: &mut ByQueue, queue: &MessageQueue, client_id: &str, now_ms: i64) -> bool {
    if let Some(holder) = held.get_mut(queue) {
        if holder.client_id != client_id && !is_expired(holder, now_ms) {
            return false;
        }
        client_id.clone_into(&mut holder.client_id);
        holder.renewed_ms = now_ms;
        return true;
    }
    let holder = Holder {
        client_id: client_id.to_owned(),
        renewed_ms: now_ms,
    };
    held.insert(queue.clone(), holder);
    true
}

fn is_expired(holder: &Holder, now_ms: i64) -> bool {
    now_ms - holder.renewed_ms > LOCK_LIVE_MS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue {
            topic: "t".into(),
            broker_name: "b".into(),
            queue_id,
        }
    }

    #[test]
    fn a_queue_has_one_holder_a_group() {
        let locks = QueueLocks::new(Clock::by_hand(0));
        assert_eq!(locks.lock("g", "one", [queue(0), queue(1)]).len(), 2);
        assert_eq!(locks.lock("g", "two", [queue(1), queue(2)]), [queue(2)]);
        assert_eq!(locks.lock("h", "two", [queue(1)]), [queue(1)]);
        assert_eq!(locks.lock("g", "one", [queue(1)]), [queue(1)]);
    }

    #[test]
    fn only_the_holder_unlocks() {
        let locks = QueueLocks::new(Clock::by_hand(0));
        locks.lock("g", "one", [queue(0)]);
        locks.unlock("g", "two", &[queue(0)]);
        assert!(locks.lock("g", "two", [queue(0)]).is_empty());
        locks.unlock("g", "one", &[queue(0)]);
        assert_eq!(locks.lock("g", "two", [queue(0)]), [queue(0)]);
    }

    #[test]
    fn a_silent_holder_loses_its_lock_after_a_minute() {
        let clock = Clock::by_hand(0);
        let locks = QueueLocks::new(clock.clone());
        locks.lock("g", "one", [queue(0)]);
        clock.advance_ms(60_000);
        locks.remove_expired();
        assert!(locks.lock("g", "two", [queue(0)]).is_empty());
        clock.advance_ms(1);
        assert_eq!(locks.lock("g", "two", [queue(0)]), [queue(0)]);
        clock.advance_ms(60_001);
        locks.remove_expired();
        assert!(locks.groups.lock().unwrap().is_empty());
    }
}
