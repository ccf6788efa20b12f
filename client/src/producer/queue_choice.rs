//! Which queue the next message goes to: round robin, past the broker that failed last.

use std::sync::atomic::{AtomicUsize, Ordering};

use thrustmq_proto_compat::body::MessageQueue;

/// A producer's place in the round.
#[derive(Debug, Default)]
pub(crate) struct QueueChoice {
    next: AtomicUsize,
}

impl QueueChoice {
    /// Starts the round at `start`, so that many producers do not all begin with queue 0.
    pub(crate) fn starting_at(start: usize) -> Self {
        Self {
            next: AtomicUsize::new(start),
        }
    }

    /// The next queue that a broker keeps which is well and not the one that failed; if there is none,
    /// of one that did not fail; else the next. `None`: no queues.
    pub(crate) fn choose<'a>(
        &self,
        queues: &'a [MessageQueue],
        failed_broker: Option<&str>,
        is_well: impl Fn(&str) -> bool,
    ) -> Option<&'a MessageQueue> {
        let did_not_fail = |broker: &str| Some(broker) != failed_broker;
        self.next_that(queues, |broker| did_not_fail(broker) && is_well(broker))
            .or_else(|| self.next_that(queues, did_not_fail))
            .or_else(|| self.next_that(queues, |_| true))
    }

    /// The round goes on with every queue that is looked at, so that those behind one that is passed
    /// over do not get its share alone.
    fn next_that<'a>(
        &self,
        queues: &'a [MessageQueue],
        suits: impl Fn(&str) -> bool,
    ) -> Option<&'a MessageQueue> {
        queues.iter().find_map(|_| {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % queues.len();
            queues.get(at).filter(|queue| suits(&queue.broker_name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(broker_name: &str, queue_id: i32) -> MessageQueue {
        MessageQueue {
            topic: "t".into(),
            broker_name: broker_name.into(),
            queue_id,
        }
    }

    fn well(_: &str) -> bool {
        true
    }

    #[test]
    fn the_round_visits_every_queue() {
        let queues = [queue("a", 0), queue("a", 1), queue("b", 0)];
        let choice = QueueChoice::starting_at(2);
        let ids: Vec<_> = (0..6)
            .map(|_| choice.choose(&queues, None, well).unwrap().clone())
            .collect();
        let round = [&queues[2], &queues[0], &queues[1]];
        assert!(
            ids.iter()
                .zip(round.iter().cycle())
                .all(|(got, want)| got == *want)
        );
    }

    #[test]
    fn the_failed_broker_is_passed_over_while_there_is_another() {
        let queues = [queue("a", 0), queue("a", 1), queue("b", 0)];
        let choice = QueueChoice::default();
        for _ in 0..5 {
            assert_eq!(
                choice.choose(&queues, Some("a"), well).unwrap().broker_name,
                "b"
            );
        }
        let only = [queue("a", 0)];
        assert_eq!(choice.choose(&only, Some("a"), well), Some(&only[0]));
        assert_eq!(choice.choose(&[], None, well), None);
    }

    #[test]
    fn the_share_of_an_ailing_broker_goes_to_all_others() {
        let queues = [
            queue("a", 0),
            queue("a", 1),
            queue("b", 0),
            queue("c", 0),
            queue("c", 1),
        ];
        let choice = QueueChoice::default();
        let mut chosen = std::collections::BTreeMap::new();
        for _ in 0..30 {
            let queue = choice.choose(&queues, None, |broker| broker != "a");
            *chosen.entry(queue.unwrap().clone()).or_insert(0) += 1;
        }
        assert!(chosen.values().all(|times| *times == 10), "{chosen:?}");
        let last = choice.choose(&queues, Some("b"), |_| false).unwrap();
        assert_ne!(
            last.broker_name, "b",
            "rather an ailing one than the one that failed"
        );
    }

    #[test]
    fn the_counter_may_wrap() {
        let queues = [queue("a", 0), queue("a", 1), queue("a", 2)];
        let choice = QueueChoice::starting_at(usize::MAX);
        assert!(choice.choose(&queues, None, well).is_some());
        assert_eq!(choice.choose(&queues, None, well), Some(&queues[0]));
    }
}
