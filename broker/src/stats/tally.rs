//! What a thread has put and not yet added to the counters that all threads share.
//!
//! Sends are handled on several threads at a time. Were each message counted where all can see it, they
//! would take the same cache lines from each other twenty times a message. So a thread counts for itself
//! and adds that up once a turn, when the answers are on their way: who asks for figures right after
//! an answer may miss what that turn put. Outside a turn it is added at once.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Wake, Waker};

use thrustmq_remoting::wake_after_turn;

use super::BrokerStats;
use super::totals::PutTimes;
use super::traffic::CallSum;

/// A tally with so many topics is emptied before its turn ends: they are looked for one by one.
const TOPICS_MAX: usize = 16;
/// So is one with so many queues of a topic.
const QUEUES_MAX: usize = 64;

thread_local! {
    static TALLY: RefCell<Tally> = const { RefCell::new(Tally::empty()) };
    /// Each thread has its own: clones of one for all would be counted on one cache line.
    static FOLLOWER: Waker = Waker::from(Arc::new(TurnEnd));
}

/// Counts a call that put messages to a topic and queue; `took_ms` if its producer waits.
pub(super) fn count(
    stats: &Arc<BrokerStats>,
    (topic, queue_id): (&str, i32),
    call: CallSum,
    took_ms: Option<i64>,
) {
    TALLY.with_borrow_mut(|tally| {
        tally.belong_to(stats);
        tally.add(topic, queue_id, call, took_ms);
        let is_followed = FOLLOWER.with(wake_after_turn);
        if !is_followed || tally.is_full() {
            tally.settle();
        }
    });
}

/// The turn has ended of the thread that this is woken on.
struct TurnEnd;

impl Wake for TurnEnd {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        TALLY.with_borrow_mut(Tally::settle);
    }
}

/// What was put to a topic.
#[derive(Default)]
pub(super) struct TopicPuts {
    pub(super) name: String,
    pub(super) queues: Vec<QueuePuts>,
}

/// What was put to a queue.
pub(super) struct QueuePuts {
    pub(super) id: i32,
    pub(super) sum: CallSum,
}

struct Tally {
    /// Whose counters it is added to; `None`: nothing was counted.
    stats: Option<Arc<BrokerStats>>,
    topics: Vec<TopicPuts>,
    /// Where the last put was counted: the next is often to the same topic.
    last: usize,
    times: PutTimes,
    /// Their memory is used again.
    spare: Vec<TopicPuts>,
}

impl Tally {
    const fn empty() -> Self {
        Self {
            stats: None,
            topics: Vec::new(),
            last: 0,
            times: PutTimes::none(),
            spare: Vec::new(),
        }
    }

    /// What other stats are owed, in a process with several brokers, they get first.
    fn belong_to(&mut self, stats: &Arc<BrokerStats>) {
        let known = self.stats.as_ref();
        if known.is_none_or(|known| !Arc::ptr_eq(known, stats)) {
            self.settle();
            self.stats = Some(Arc::clone(stats));
        }
    }

    fn add(&mut self, topic: &str, queue_id: i32, call: CallSum, took_ms: Option<i64>) {
        let sum = self.topic(topic).queue(queue_id);
        *sum += call;
        if let Some(took_ms) = took_ms {
            sum.add_time(took_ms);
            self.times.add(took_ms);
        }
    }

    fn topic(&mut self, name: &str) -> &mut TopicPuts {
        let is_it = |topic: &TopicPuts| topic.name == name;
        if !self.topics.get(self.last).is_some_and(is_it) {
            let found = self.topics.iter().position(is_it);
            self.last = found.unwrap_or_else(|| self.add_topic(name));
        }
        &mut self.topics[self.last]
    }

    fn add_topic(&mut self, name: &str) -> usize {
        let mut topic = self.spare.pop().unwrap_or_default();
        topic.name.push_str(name);
        self.topics.push(topic);
        self.topics.len() - 1
    }

    fn is_full(&self) -> bool {
        let is_wide = |topic: &TopicPuts| topic.queues.len() >= QUEUES_MAX;
        self.topics.len() >= TOPICS_MAX || self.topics.get(self.last).is_some_and(is_wide)
    }

    /// Adds what was counted to the counters it is of, and counts from zero.
    fn settle(&mut self) {
        let Some(stats) = self.stats.take() else {
            return;
        };
        stats.add_puts(&self.topics, &self.times);
        self.times = PutTimes::none();
        for mut topic in self.topics.drain(..) {
            topic.name.clear();
            topic.queues.clear();
            self.spare.push(topic);
        }
    }
}

impl TopicPuts {
    pub(super) fn sum(&self) -> CallSum {
        let mut sum = CallSum::default();
        self.queues.iter().for_each(|queue| sum += queue.sum);
        sum
    }

    fn queue(&mut self, id: i32) -> &mut CallSum {
        let found = self.queues.iter().position(|queue| queue.id == id);
        let index = found.unwrap_or_else(|| {
            let sum = CallSum::default();
            self.queues.push(QueuePuts { id, sum });
            self.queues.len() - 1
        });
        &mut self.queues[index].sum
    }
}

#[cfg(test)]
mod tests;
