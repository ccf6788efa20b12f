//! The brokers' locks of the queues that are consumed in order: who holds one is the only member of
//! its group that consumes the queue.
//!
//! The control task asks for them ([`lock_all`]) and gives them back ([`unlock`]); a queue's own task
//! reads its [`QueueLock`]. A broker takes a lock away after 60 s without renewal, we give it up after
//! 30 s, so that no two members ever believe that they hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::{
    LockBatchRequestBody, LockBatchResponseBody, MessageQueue, UnlockBatchRequestBody,
};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::request_code::{LockBatchMq, UnlockBatchMq};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::assigned_queue::AssignedQueue;
use super::context::Context;
use crate::error::AdminError;
use crate::route::MASTER_ID;

/// A lock older than this counts no more, milliseconds.
const HELD_MS_MAX: i64 = 30_000;

/// Our part of a broker's lock.
#[derive(Debug)]
pub(super) struct QueueLock {
    /// When the request was sent that was granted last, milliseconds; `None` if it is not held.
    granted_ms: watch::Sender<Option<i64>>,
}

impl QueueLock {
    pub(super) fn new() -> Self {
        Self {
            granted_ms: watch::Sender::new(None),
        }
    }

    /// When it was granted last, milliseconds.
    pub(super) fn granted_ms(&self) -> Option<i64> {
        *self.granted_ms.borrow()
    }

    /// Whether the queue is ours at this time.
    pub(super) fn is_held(&self, now_ms: i64) -> bool {
        self.remaining_ms(now_ms) > 0
    }

    fn remaining_ms(&self, now_ms: i64) -> i64 {
        self.granted_ms()
            .map_or(0, |granted_ms| granted_ms + HELD_MS_MAX - now_ms)
    }

    fn grant(&self, asked_ms: i64) {
        self.granted_ms.send_replace(Some(asked_ms));
    }

    fn lose(&self) {
        self.granted_ms.send_replace(None);
    }

    /// Returns when the lock is held. Cancel safe.
    pub(super) async fn held(&self, clock: &Clock) {
        let mut changes = self.granted_ms.subscribe();
        while !self.is_held(clock.now_ms()) {
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }

    /// Returns when the lock is held no more. Cancel safe.
    pub(super) async fn ended(&self, clock: &Clock) {
        let mut changes = self.granted_ms.subscribe();
        loop {
            let remaining_ms = self.remaining_ms(clock.now_ms());
            let Ok(remaining_ms @ 1..) = u64::try_from(remaining_ms) else {
                return;
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(remaining_ms)) => {}
            }
        }
    }
}

/// Queues of one broker.
type OfBroker = BTreeMap<String, Vec<Arc<AssignedQueue>>>;

/// Asks for the locks of all these queues, one request a broker. A broker that does not answer changes
/// nothing: its locks run out by themselves. Returns whether all are held.
pub(super) async fn lock_all(context: &Arc<Context>, queues: Vec<Arc<AssignedQueue>>) -> bool {
    let (by_broker, mut is_complete) = by_broker(context, queues).await;
    let mut calls = JoinSet::new();
    for (address, queues) in by_broker {
        calls.spawn(lock_at(context.clone(), address, queues));
    }
    while let Some(locked) = calls.join_next().await {
        is_complete &= locked.unwrap_or(false);
    }
    is_complete
}

async fn lock_at(context: Arc<Context>, address: String, queues: Vec<Arc<AssignedQueue>>) -> bool {
    let asked_ms = context.link.clock.now_ms();
    let granted = match ask(&context, &address, &queues).await {
        Ok(granted) => granted,
        Err(cause) => {
            warn!(group = context.group, %cause, "queues not locked");
            return false;
        }
    };
    let mut is_complete = true;
    for queue in queues {
        let was_held = queue.lock.is_held(asked_ms);
        if granted.contains(&queue.queue) {
            queue.lock.grant(asked_ms);
        } else {
            queue.lock.lose();
            is_complete = false;
        }
        if was_held && queue.lock.granted_ms().is_none() {
            info!(group = context.group, queue = %queue.queue, "lock lost to another member");
        }
    }
    is_complete
}

async fn ask(
    context: &Context,
    address: &str,
    queues: &[Arc<AssignedQueue>],
) -> Result<BTreeSet<MessageQueue>, AdminError> {
    let body = LockBatchRequestBody {
        client_id: context.link.id.text.clone(),
        consumer_group: context.group.clone(),
        mq_set: queues.iter().map(|queue| queue.queue.clone()).collect(),
        only_this_broker: false,
    };
    let body = fastjson::to_vec(&body).expect("plain names and numbers always encode");
    let reply = context.link.call::<LockBatchMq>(address, &(), body).await;
    let reply = reply.map_err(|cause| AdminError::Call {
        address: address.to_owned(),
        cause,
    })?;
    let body = reply.body.to_bytes();
    let locked: LockBatchResponseBody =
        fastjson::from_slice(&body).map_err(|cause| AdminError::BadAnswer {
            address: address.to_owned(),
            cause: cause.to_string(),
        })?;
    Ok(locked.lock_ok_mq_set)
}

/// Gives locks back, so that other members need not wait until they run out.
pub(super) async fn unlock(context: &Arc<Context>, queues: Vec<Arc<AssignedQueue>>) {
    let (by_broker, _) = by_broker(context, queues).await;
    for (address, queues) in by_broker {
        queues.iter().for_each(|queue| queue.lock.lose());
        let body = UnlockBatchRequestBody {
            client_id: context.link.id.text.clone(),
            consumer_group: context.group.clone(),
            mq_set: queues.iter().map(|queue| queue.queue.clone()).collect(),
            only_this_broker: false,
        };
        let body = fastjson::to_vec(&body).expect("plain names and numbers always encode");
        let reply = context
            .link
            .call::<UnlockBatchMq>(&address, &(), body)
            .await;
        if let Err(cause) = reply {
            debug!(address, %cause, "queues not unlocked, their locks run out");
        }
    }
}

/// Only masters keep locks. A queue whose master is not known has no lock, and `false` stands for it.
async fn by_broker(context: &Context, queues: Vec<Arc<AssignedQueue>>) -> (OfBroker, bool) {
    let mut by_broker = OfBroker::new();
    let mut is_complete = true;
    for queue in queues {
        let route = context.link.subscribe_route(&queue.queue.topic).await.ok();
        let brokers = route.as_ref().map(|route| route.brokers());
        let broker = brokers.and_then(|brokers| brokers.get(&queue.queue.broker_name));
        match broker.and_then(|addresses| addresses.get(&MASTER_ID)) {
            Some(address) => by_broker.entry(address.clone()).or_default().push(queue),
            None => is_complete = false,
        }
    }
    (by_broker, is_complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_runs_out_unless_it_is_renewed() {
        let clock = Clock::by_hand(1_000);
        let lock = QueueLock::new();
        assert!(!lock.is_held(1_000));
        lock.grant(1_000);
        lock.held(&clock).await;
        assert!(lock.is_held(30_999) && !lock.is_held(31_000));
        lock.grant(21_000);
        assert!(lock.is_held(50_999));
        clock.advance_ms(50_000);
        lock.ended(&clock).await;
        lock.grant(51_000);
        lock.lose();
        lock.ended(&clock).await;
    }
}
