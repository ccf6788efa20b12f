//! What is counted of one topic, or of one group in one topic: all of it, and queue by queue.

use std::sync::{Arc, RwLock, RwLockReadGuard};

use thrustmq_proto_compat::clock::Clock;

use super::traffic::{Occasional, Traffic};

/// Counters of one topic, or of one group in one topic.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) traffic: Traffic,
    pub(super) send_back: Occasional,
    pub(super) dead_letter: Occasional,
    pub(super) dead_send_back: Occasional,
    pub(super) acknowledged: Occasional,
    pub(super) leased: Occasional,
    /// One for each queue that is counted by itself.
    queues: RwLock<Vec<Arc<Traffic>>>,
    pub(super) is_system: bool,
}

impl Counters {
    /// Counters at zero. `is_system`: whether what is counted is left out of what users did.
    pub(super) fn new(is_system: bool, now_ms: i64) -> Self {
        Self {
            traffic: Traffic::new(now_ms),
            send_back: Occasional::default(),
            dead_letter: Occasional::default(),
            dead_send_back: Occasional::default(),
            acknowledged: Occasional::default(),
            leased: Occasional::default(),
            queues: RwLock::default(),
            is_system,
        }
    }

    /// None where queues are not counted one by one.
    pub(super) fn queue(&self, queue_id: i32) -> Option<Arc<Traffic>> {
        let index = usize::try_from(queue_id).ok()?;
        self.queues.read().expect("no panics").get(index).cloned()
    }

    pub(super) fn queue_named(&self, queue_id: &str) -> Option<Arc<Traffic>> {
        self.queue(queue_id.parse().ok()?)
    }

    /// The counters of queues, `last` among them; they never become fewer.
    pub(super) fn queues_to(
        &self,
        last: usize,
        clock: &Clock,
    ) -> RwLockReadGuard<'_, Vec<Arc<Traffic>>> {
        let queues = self.queues.read().expect("no panics");
        if queues.len() > last {
            return queues;
        }
        drop(queues);
        self.grow(last, clock.now_ms());
        self.queues.read().expect("no panics")
    }

    fn grow(&self, last: usize, now_ms: i64) {
        let mut queues = self.queues.write().expect("no panics");
        while queues.len() <= last {
            queues.push(Arc::new(Traffic::new(now_ms)));
        }
    }

    pub(super) fn sample(&self, now_ms: i64) {
        self.traffic.sample(now_ms);
        self.send_back.sample(now_ms);
        self.dead_letter.sample(now_ms);
        self.dead_send_back.sample(now_ms);
        self.acknowledged.sample(now_ms);
        self.leased.sample(now_ms);
        for queue in self.queues.read().expect("no panics").iter() {
            queue.sample(now_ms);
        }
    }
}
