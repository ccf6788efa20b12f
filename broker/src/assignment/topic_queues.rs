//! The readable queues of topics in the whole cluster, as the name server told them. What is known
//! is given at once, however old, and asked for again beside it; only who asks for what nobody knows
//! has to wait.
//!
//! It asks nobody itself: [`TopicQueues::look`] says who should ask, and [`TopicQueues::learn`] takes
//! the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use thrustmq_proto_compat::body::MessageQueue;

/// Topics that are known at most: above what a cluster has.
const TOPICS_MAX: usize = 100_000;
/// Requests that wait for one topic's route at most; others are told that nobody knows.
const WAITING_MAX: usize = 10_000;

/// Sorted queues of one topic.
pub(crate) type Queues = Arc<[MessageQueue]>;
/// What is done with them; `None` if nobody knows the topic.
type Then = Box<dyn FnOnce(Option<Queues>) + Send>;

/// What a name server says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Learned {
    /// It has these queues.
    Queues(Queues),
    /// There is no such topic.
    Absent,
    /// No name server could be asked.
    Nothing,
}

/// What the caller of [`TopicQueues::look`] has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing.
    Done,
    /// Ask a name server, and hand the answer to [`TopicQueues::learn`].
    Ask,
}

#[derive(Default)]
struct Topic {
    queues: Option<Queues>,
    learned_ms: i64,
    is_asked: bool,
    waiting: Vec<Then>,
}

/// The topics that clients asked for.
#[derive(Default)]
pub(crate) struct TopicQueues {
    topics: Mutex<HashMap<String, Topic>>,
}

impl TopicQueues {
    /// Calls `then` with a topic's queues, now or when they are learned. What is older than
    /// `fresh_ms` is to be asked for again.
    pub(crate) fn look(
        &self,
        topic: &str,
        now_ms: i64,
        fresh_ms: i64,
        then: impl FnOnce(Option<Queues>) + Send + 'static,
    ) -> Look {
        let mut topics = self.lock();
        if topics.len() >= TOPICS_MAX && !topics.contains_key(topic) {
            topics.retain(|_, known| known.is_asked || now_ms - known.learned_ms <= fresh_ms);
            if topics.len() >= TOPICS_MAX {
                drop(topics);
                then(None);
                return Look::Done;
            }
        }
        let known = topics.entry(topic.to_owned()).or_default();
        let age_ms = now_ms.saturating_sub(known.learned_ms);
        let is_fresh = known.queues.is_some() && (0..=fresh_ms).contains(&age_ms);
        let look = if is_fresh || known.is_asked {
            Look::Done
        } else {
            Look::Ask
        };
        known.is_asked |= look == Look::Ask;
        match known.queues.clone() {
            Some(queues) => {
                drop(topics);
                then(Some(queues));
            }
            None if known.waiting.len() < WAITING_MAX => known.waiting.push(Box::new(then)),
            None => {
                drop(topics);
                then(None);
            }
        }
        look
    }

    /// Takes a name server's answer, and serves who waits for it. A topic of which nothing could be
    /// learned keeps the queues that it had.
    pub(crate) fn learn(&self, topic: &str, learned: Learned, now_ms: i64) {
        let mut topics = self.lock();
        let Some(known) = topics.get_mut(topic) else {
            return;
        };
        known.is_asked = false;
        known.learned_ms = now_ms;
        match learned {
            // A topic without queues is asked for again by whoever comes next.
            Learned::Queues(queues) => known.queues = Some(queues),
            Learned::Absent => known.queues = None,
            Learned::Nothing => {}
        }
        let queues = known.queues.clone();
        let waiting = std::mem::take(&mut known.waiting);
        if queues.as_ref().is_none_or(|queues| queues.is_empty()) {
            topics.remove(topic);
        }
        drop(topics);
        for then in waiting {
            then(queues.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        self.topics.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    fn queues(count: i32) -> Queues {
        let queue = |queue_id| MessageQueue {
            broker_name: "b".into(),
            queue_id,
            topic: "t".into(),
        };
        (0..count).map(queue).collect()
    }

    struct Asker {
        table: TopicQueues,
        tell: crossbeam_channel::Sender<Option<usize>>,
        told: crossbeam_channel::Receiver<Option<usize>>,
    }

    impl Asker {
        #[expect(clippy::disallowed_methods, reason = "a test reads what it sends")]
        fn new() -> Self {
            let (tell, told) = unbounded();
            Self {
                table: TopicQueues::default(),
                tell,
                told,
            }
        }

        fn look(&self, now_ms: i64) -> Look {
            let tell = self.tell.clone();
            self.table.look("t", now_ms, 100, move |queues| {
                tell.send(queues.map(|queues| queues.len())).unwrap();
            })
        }

        fn told(&self) -> Vec<Option<usize>> {
            self.told.try_iter().collect()
        }
    }

    #[test]
    fn only_the_first_asks_and_all_are_told() {
        let asker = Asker::new();
        assert_eq!(asker.look(1_000), Look::Ask);
        assert_eq!(asker.look(1_000), Look::Done);
        assert!(asker.told().is_empty());
        asker.table.learn("t", Learned::Queues(queues(4)), 1_001);
        assert_eq!(asker.told(), [Some(4), Some(4)]);
        assert_eq!(asker.look(1_101), Look::Done, "still fresh");
        assert_eq!(asker.told(), [Some(4)]);
    }

    #[test]
    fn what_is_old_is_given_and_asked_for_again() {
        let asker = Asker::new();
        asker.look(0);
        asker.table.learn("t", Learned::Queues(queues(4)), 0);
        asker.told();
        assert_eq!(asker.look(101), Look::Ask);
        assert_eq!(asker.look(101), Look::Done, "it is under way");
        asker.table.learn("t", Learned::Nothing, 102);
        assert_eq!(asker.told(), [Some(4), Some(4)]);
        assert_eq!(asker.look(203), Look::Ask);
        asker.table.learn("t", Learned::Queues(queues(8)), 204);
        asker.look(205);
        assert_eq!(asker.told(), [Some(4), Some(8)]);
    }

    #[test]
    fn a_topic_that_is_gone_is_forgotten() {
        let asker = Asker::new();
        asker.look(0);
        asker.table.learn("t", Learned::Absent, 0);
        assert_eq!(asker.told(), [None]);
        assert_eq!(asker.look(1), Look::Ask);
        asker.table.learn("t", Learned::Queues(queues(1)), 1);
        assert_eq!(asker.look(500), Look::Ask);
        asker.table.learn("t", Learned::Absent, 501);
        assert_eq!(asker.look(502), Look::Ask);
        assert_eq!(asker.told(), [Some(1), Some(1)]);
    }

    #[test]
    fn waiters_are_limited() {
        let asker = Asker::new();
        for _ in 0..WAITING_MAX {
            asker.look(0);
        }
        assert!(asker.told().is_empty());
        asker.look(0);
        assert_eq!(asker.told(), [None]);
    }
}
