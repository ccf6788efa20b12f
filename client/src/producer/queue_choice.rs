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

    /// The next queue, of another broker than `failed_broker` if there is one. `None`: no queues.
    pub(crate) fn choose<'a>(
        &self,
        queues: &'a [MessageQueue],
        failed_broker: Option<&str>,
    ) -> Option<&'a MessageQueue> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % queues.len().max(1);
        let (before, from) = queues.split_at_checked(start)?;
        let mut round = from.iter().chain(before);
        let first = round.clone().next();
        match failed_broker {
            None => first,
            Some(failed) => round.find(|queue| queue.broker_name != failed).or(first),
        }
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

    #[test]
    fn the_round_visits_every_queue() {
        let queues = [queue("a", 0), queue("a", 1), queue("b", 0)];
        let choice = QueueChoice::starting_at(2);
        let ids: Vec<_> = (0..6)
            .map(|_| choice.choose(&queues, None).unwrap().clone())
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
            assert_eq!(choice.choose(&queues, Some("a")).unwrap().broker_name, "b");
        }
        let only = [queue("a", 0)];
        assert_eq!(choice.choose(&only, Some("a")), Some(&only[0]));
        assert_eq!(choice.choose(&[], None), None);
    }

    #[test]
    fn the_counter_may_wrap() {
        let queues = [queue("a", 0), queue("a", 1), queue("a", 2)];
        let choice = QueueChoice::starting_at(usize::MAX);
        assert!(choice.choose(&queues, None).is_some());
        assert_eq!(choice.choose(&queues, None), Some(&queues[0]));
    }
}
