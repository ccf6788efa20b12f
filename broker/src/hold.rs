//! Parked pulls: requests that found nothing and wait for a message, by topic and queue.
//!
//! A pull handler parks them; the store's dispatch thread takes those that a new message suits, the
//! sweep those whose time is up, and both hand them to the waker, which runs them on their pool
//! again. A parked pull is in the table or with one taker, so it is answered once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::header::PullMessageRequestHeader;
use thrustmq_remoting::{Incoming, Responder};
use thrustmq_store::Arrival;

use crate::filter::MessageFilter;

/// Pulls that may be parked at a time; more are answered at once.
const PARKED_MAX: usize = 100_000;

/// A pull that waits.
pub(crate) struct ParkedPull {
    /// The request; its queue offset is the one it waits for.
    pub(crate) incoming: Incoming<PullMessageRequestHeader>,
    /// How it is answered.
    pub(crate) responder: Responder,
    /// Which messages it wants.
    pub(crate) filter: MessageFilter,
    /// Whether it came as a lite pull.
    pub(crate) lite: bool,
    /// When it is answered in any case, milliseconds.
    pub(crate) deadline_ms: i64,
}

#[derive(Default)]
struct Parked {
    topics: HashMap<String, HashMap<i32, Vec<ParkedPull>>>,
    count: usize,
    closed: bool,
}

/// The table of parked pulls.
#[derive(Default)]
pub(crate) struct HoldTable {
    parked: Mutex<Parked>,
}

impl HoldTable {
    /// Parks a pull. The caller looks at the queue once more afterwards: a message may have come
    /// between its read and the parking.
    ///
    /// # Errors
    /// The table is full or closed; the pull comes back.
    pub(crate) fn park(&self, pull: ParkedPull) -> Result<(), Box<ParkedPull>> {
        let mut parked = self.lock();
        if parked.closed || parked.count >= PARKED_MAX {
            return Err(Box::new(pull));
        }
        parked.count += 1;
        let topic = &pull.incoming.header.topic;
        let queue_id = pull.incoming.header.queue_id;
        if !parked.topics.contains_key(topic) {
            parked.topics.insert(topic.clone(), HashMap::new());
        }
        if let Some(queues) = parked.topics.get_mut(topic) {
            queues.entry(queue_id).or_default().push(pull);
        }
        Ok(())
    }

    /// Takes the pulls of a queue that a message suits which has just arrived there.
    pub(crate) fn take_suited(&self, arrival: &Arrival<'_>) -> Vec<ParkedPull> {
        self.take_of(arrival.topic, arrival.queue_id, |pull| {
            arrival.queue_offset >= pull.incoming.header.queue_offset
                && pull
                    .filter
                    .takes_arrival(arrival.tags_code, arrival.properties)
        })
    }

    /// Takes the pulls of a queue that wait for an offset before `queue_end`.
    pub(crate) fn take_behind(
        &self,
        topic: &str,
        queue_id: i32,
        queue_end: i64,
    ) -> Vec<ParkedPull> {
        self.take_of(topic, queue_id, |pull| {
            queue_end > pull.incoming.header.queue_offset
        })
    }

    /// Takes the pulls whose time is up, and those whose client is gone.
    pub(crate) fn take_overdue(&self, now_ms: i64) -> Vec<ParkedPull> {
        let mut parked = self.lock();
        let mut taken = Vec::new();
        parked.topics.retain(|_, queues| {
            queues.retain(|_, pulls| {
                taken.extend(pulls.extract_if(.., |pull| {
                    pull.deadline_ms <= now_ms || !pull.responder.peer().is_open()
                }));
                !pulls.is_empty()
            });
            !queues.is_empty()
        });
        parked.count -= taken.len();
        taken
    }

    /// Takes all pulls and parks none any more.
    pub(crate) fn close(&self) -> Vec<ParkedPull> {
        let mut parked = self.lock();
        parked.closed = true;
        parked.count = 0;
        let topics = std::mem::take(&mut parked.topics);
        let queues = topics.into_values().flat_map(HashMap::into_values);
        queues.flatten().collect()
    }

    /// Topics and queues with parked pulls.
    pub(crate) fn queues(&self) -> Vec<(String, i32)> {
        let parked = self.lock();
        let of_topic = |(topic, queues): (&String, &HashMap<i32, Vec<ParkedPull>>)| {
            let topic = topic.clone();
            queues
                .keys()
                .map(|queue_id| (topic.clone(), *queue_id))
                .collect::<Vec<_>>()
        };
        parked.topics.iter().flat_map(of_topic).collect()
    }

    fn take_of(
        &self,
        topic: &str,
        queue_id: i32,
        suits: impl Fn(&ParkedPull) -> bool,
    ) -> Vec<ParkedPull> {
        let mut parked = self.lock();
        let Some(queues) = parked.topics.get_mut(topic) else {
            return Vec::new();
        };
        let Some(pulls) = queues.get_mut(&queue_id) else {
            return Vec::new();
        };
        let taken: Vec<_> = pulls.extract_if(.., |pull| suits(pull)).collect();
        if pulls.is_empty() {
            queues.remove(&queue_id);
        }
        if queues.is_empty() {
            parked.topics.remove(topic);
        }
        parked.count -= taken.len();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for HoldTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HoldTable").finish_non_exhaustive()
    }
}
