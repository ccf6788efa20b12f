//! A queue that is this consumer's: what its task, the control task and whoever polls share of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use thrustmq_proto_compat::body::MessageQueue;
use tokio::sync::{Notify, watch};

use super::context::Context;
use super::locks::QueueLock;
use super::polling::Chosen;
use super::process_queue::ProcessQueue;
use crate::subscription::Subscription;

/// A queue of this consumer, shared by its task and the control task.
#[derive(Debug)]
pub(super) struct AssignedQueue {
    pub(super) queue: MessageQueue,
    /// Set as soon as it is known where to begin.
    pub(super) process: OnceLock<ProcessQueue>,
    /// Which of its messages are wanted.
    pub(super) wanted: Subscription,
    /// Rings when messages were put in.
    pub(super) arrived: Notify,
    /// Rings when the pull under way asks for the wrong offset.
    pub(super) redirected: Notify,
    /// The broker's lock, where messages are consumed in order.
    pub(super) lock: QueueLock,
    /// Queues of the topic that are ours, to share the topic's limits.
    topic_queues: AtomicUsize,
    /// Queues of all topics that are ours, to share the consumer's limits.
    all_queues: AtomicUsize,
    /// The broker id to pull from.
    pub(super) broker_id: AtomicI64,
    /// When the last pull was sent, milliseconds.
    pub(super) last_pull_ms: AtomicI64,
    /// When the last listener ended, milliseconds.
    pub(super) last_consume_ms: AtomicI64,
}

impl AssignedQueue {
    pub(super) fn new(queue: MessageQueue, wanted: Subscription) -> Self {
        Self {
            queue,
            wanted,
            process: OnceLock::new(),
            arrived: Notify::new(),
            redirected: Notify::new(),
            lock: QueueLock::new(),
            topic_queues: AtomicUsize::new(1),
            all_queues: AtomicUsize::new(1),
            broker_id: AtomicI64::new(crate::route::MASTER_ID),
            last_pull_ms: AtomicI64::new(0),
            last_consume_ms: AtomicI64::new(0),
        }
    }

    /// What is held, once it is known where to begin.
    pub(super) fn process(&self) -> Option<&ProcessQueue> {
        self.process.get()
    }

    /// Goes on at another offset, at once.
    pub(super) fn reset(&self, offset: i64) {
        self.process
            .get_or_init(|| ProcessQueue::new(offset))
            .reset(offset);
        self.redirected.notify_one();
    }

    /// Whether how far we are is our business: not if another member may have the lock meanwhile.
    pub(super) fn is_ours(&self, context: &Context) -> bool {
        !context.needs_locks() || self.lock.is_held(context.link.clock.now_ms())
    }

    pub(super) fn is_committed_by_pulls(&self, context: &Context) -> bool {
        context.commits() && !context.is_broadcasting() && self.is_ours(context)
    }

    /// Returns when messages were put in. For one waiter.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Returns when the queue is not ours to consume any more: never, if it needs no lock.
    pub(super) async fn lock_ended(&self, context: &Context) {
        if context.needs_locks() {
            self.lock.ended(&context.link.clock).await;
        } else {
            std::future::pending().await
        }
    }

    /// Whether as much of it is held as may be.
    pub(super) fn is_full(&self, context: &Context, process: &ProcessQueue) -> bool {
        let topic_queues = self.topic_queues.load(Ordering::Relaxed);
        let all_queues = self.all_queues.load(Ordering::Relaxed);
        let hold = context.options.hold_of_queue(topic_queues, all_queues);
        !process.held().within(&hold)
    }

    /// Gives the queue up: nothing of it counts any more.
    pub(super) fn revoke(&self) {
        if let Some(process) = self.process.get() {
            process.revoke();
        }
    }
}

/// Tells each of these queues, which are all that are ours, with how many it shares limits.
pub(super) fn share_limits<'a>(queues: impl Iterator<Item = &'a Arc<AssignedQueue>>) {
    let queues: Vec<_> = queues.collect();
    let mut counts = BTreeMap::<&str, usize>::new();
    for queue in &queues {
        *counts.entry(&queue.queue.topic).or_default() += 1;
    }
    for queue in &queues {
        let of_topic = counts.get(queue.queue.topic.as_str()).copied();
        let of_topic = of_topic.unwrap_or(1);
        queue.topic_queues.store(of_topic, Ordering::Relaxed);
        queue.all_queues.store(queues.len(), Ordering::Relaxed);
    }
}

/// Those of which the application wants other messages than before.
pub(super) fn refiltered<'a>(
    queues: impl Iterator<Item = &'a Arc<AssignedQueue>>,
    chosen: &Chosen,
) -> Vec<Arc<AssignedQueue>> {
    let is_refiltered = |queue: &&Arc<AssignedQueue>| {
        let wanted = chosen.get(&queue.queue);
        wanted.is_some_and(|wanted| *wanted != queue.wanted)
    };
    queues.filter(is_refiltered).cloned().collect()
}

/// Tells of these queues, which are all that are ours, if they are not those that were told last.
pub(super) fn show<'a>(
    queues: impl Iterator<Item = &'a Arc<AssignedQueue>>,
    shown: &watch::Sender<Vec<Arc<AssignedQueue>>>,
) {
    let queues: Vec<_> = queues.cloned().collect();
    shown.send_if_modified(|shown| {
        let is_shown = |queue: &Arc<AssignedQueue>| shown.iter().any(|q| Arc::ptr_eq(q, queue));
        let is_changed = shown.len() != queues.len() || !queues.iter().all(is_shown);
        if is_changed {
            *shown = queues;
        }
        is_changed
    });
}
