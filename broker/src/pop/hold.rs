//! Pops and notifications that found nothing and wait for a message, by topic, group and queue.
//!
//! Their handlers park them. The store's dispatch thread takes one of each group for a message that
//! suits it, whoever leaves messages behind takes the next, the thread `pop-polling` those whose time
//! is up; all are run again on their pool. What is parked is in the table or with one taker, so it is
//! answered once. Those of a connection that closed leave: nobody would read what they lease.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thrustmq_remoting::{Incoming, Peer, Responder};
use thrustmq_store::Arrival;

use super::names::TopicKind;
use crate::filter::MessageFilter;

/// A request is answered this long before its client gives up, milliseconds.
pub(crate) const ANSWER_EARLY_MS: i64 = 50;

/// What a request waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PollKey {
    pub(crate) topic: String,
    pub(crate) group: String,
    /// Negative: any.
    pub(crate) queue_id: i32,
}

/// A request that waits.
pub(crate) struct Parked<R> {
    pub(crate) incoming: Incoming<R>,
    pub(crate) responder: Responder,
    /// Which messages it wants; none is all.
    pub(crate) filter: Option<MessageFilter>,
    /// When it is answered in any case, milliseconds.
    pub(crate) deadline_ms: i64,
}

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldLimits {
    pub(crate) of_key: usize,
    pub(crate) keys: usize,
    pub(crate) total: usize,
}

/// Requests of one key by deadline; the number keeps those apart that share one.
type Waiting<R> = BTreeMap<(i64, u64), Parked<R>>;

struct Tables<R> {
    waiting: HashMap<Arc<PollKey>, Waiting<R>>,
    /// What a message of a topic may wake: under the topic, and under the groups' retry topics.
    by_topic: HashMap<String, BTreeSet<Arc<PollKey>>>,
    deadlines: BTreeMap<(i64, u64), Arc<PollKey>>,
    /// What each connection waits for, by its number.
    by_connection: HashMap<u64, BTreeSet<(i64, u64)>>,
    next_number: u64,
    is_closed: bool,
}

/// The requests of one kind that wait.
pub(crate) struct PopHold<R> {
    tables: Mutex<Tables<R>>,
    /// While it is 0, a message needs to look for nobody.
    count: AtomicUsize,
}

impl<R> Default for PopHold<R> {
    fn default() -> Self {
        let tables = Tables {
            waiting: HashMap::new(),
            by_topic: HashMap::new(),
            deadlines: BTreeMap::new(),
            by_connection: HashMap::new(),
            next_number: 0,
            is_closed: false,
        };
        Self {
            tables: Mutex::new(tables),
            count: AtomicUsize::new(0),
        }
    }
}

impl<R> PopHold<R> {
    /// Parks a request. The caller looks at the queues once more afterwards: a message may have come
    /// between its read and the parking.
    ///
    /// # Errors
    /// Too many wait; the request comes back.
    pub(crate) fn park(
        &self,
        key: PollKey,
        parked: Parked<R>,
        limits: HoldLimits,
    ) -> Result<(), Box<Parked<R>>> {
        let mut tables = self.lock();
        let key = Arc::new(key);
        if tables.is_closed || !self.fits(&tables, &key, limits) {
            return Err(Box::new(parked));
        }
        let is_first = !tables.waiting.contains_key(&key);
        let place = (parked.deadline_ms, tables.next_number);
        tables.next_number += 1;
        if is_first {
            for topic in topics_of(&key) {
                tables
                    .by_topic
                    .entry(topic)
                    .or_default()
                    .insert(Arc::clone(&key));
            }
        }
        tables.deadlines.insert(place, Arc::clone(&key));
        let connection = parked.responder.peer().id();
        let places = tables.by_connection.entry(connection).or_default();
        places.insert(place);
        tables.waiting.entry(key).or_default().insert(place, parked);
        self.count.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Whether one more may wait.
    pub(crate) fn has_room(&self, key: &PollKey, limits: HoldLimits) -> bool {
        let tables = self.lock();
        !tables.is_closed && self.fits(&tables, key, limits)
    }

    /// Takes what a new message of a queue wakes: of each group one that waits for any queue, and one
    /// that waits for this one. Messages of retry topics reach those of all queues.
    pub(crate) fn take_suited(&self, arrival: &Arrival<'_>) -> Vec<Parked<R>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut tables = self.lock();
        let (topic, queue_id) = (arrival.topic, arrival.queue_id);
        let Some(keys) = tables.by_topic.get(topic) else {
            return Vec::new();
        };
        let suits = |key: &&Arc<PollKey>| {
            key.queue_id < 0 || key.queue_id == queue_id || key.topic != topic
        };
        let keys: Vec<_> = keys.iter().filter(suits).cloned().collect();
        let wants = |parked: &Parked<R>| {
            let filter = parked.filter.as_ref();
            filter.is_none_or(|filter| filter.takes_arrival(arrival.tags_code, arrival.properties))
        };
        let taken = keys.iter().filter_map(|key| {
            let waiting = tables.waiting.get(key)?;
            let place = *waiting.iter().find(|(_, parked)| wants(parked))?.0;
            tables.remove(key, place)
        });
        let taken: Vec<_> = taken.collect();
        self.count.fetch_sub(taken.len(), Ordering::Release);
        taken
    }

    /// Takes the first that waits for just this, whatever it wants.
    pub(crate) fn take_next(&self, key: &PollKey) -> Option<Parked<R>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut tables = self.lock();
        let place = *tables.waiting.get(key)?.keys().next()?;
        let taken = tables.remove(key, place)?;
        self.count.fetch_sub(1, Ordering::Release);
        Some(taken)
    }

    /// Takes those whose time is up.
    pub(crate) fn take_overdue(&self, now_ms: i64) -> Vec<Parked<R>> {
        let mut tables = self.lock();
        let mut taken = Vec::new();
        while let Some((place, key)) = tables.deadlines.first_key_value() {
            if place.0 > now_ms {
                break;
            }
            let (place, key) = (*place, Arc::clone(key));
            taken.extend(tables.remove(&key, place));
        }
        self.count.fetch_sub(taken.len(), Ordering::Release);
        taken
    }

    /// Takes those of a connection.
    pub(crate) fn take_of_connection(&self, peer: &Peer) -> Vec<Parked<R>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut tables = self.lock();
        let places = tables.by_connection.get(&peer.id()).cloned();
        let mut taken = Vec::new();
        for place in places.unwrap_or_default() {
            if let Some(key) = tables.deadlines.get(&place).cloned() {
                taken.extend(tables.remove(&key, place));
            }
        }
        self.count.fetch_sub(taken.len(), Ordering::Release);
        taken
    }

    /// When the next one's time is up.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        let tables = self.lock();
        tables.deadlines.keys().next().map(|place| place.0)
    }

    /// How many wait for just this.
    pub(crate) fn count_of(&self, key: &PollKey) -> usize {
        self.lock().waiting.get(key).map_or(0, BTreeMap::len)
    }

    /// Takes all, and parks none any more.
    pub(crate) fn close(&self) -> Vec<Parked<R>> {
        let mut tables = self.lock();
        tables.is_closed = true;
        tables.by_topic.clear();
        tables.deadlines.clear();
        tables.by_connection.clear();
        let waiting = std::mem::take(&mut tables.waiting);
        self.count.store(0, Ordering::Release);
        waiting
            .into_values()
            .flat_map(BTreeMap::into_values)
            .collect()
    }

    fn fits(&self, tables: &Tables<R>, key: &PollKey, limits: HoldLimits) -> bool {
        let of_key = tables.waiting.get(key).map(BTreeMap::len);
        let has_key = of_key.is_some() || tables.waiting.len() < limits.keys;
        let total = self.count.load(Ordering::Relaxed);
        has_key && of_key.unwrap_or(0) < limits.of_key && total < limits.total
    }

    fn lock(&self) -> MutexGuard<'_, Tables<R>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Tables<R> {
    fn remove(&mut self, key: &PollKey, place: (i64, u64)) -> Option<Parked<R>> {
        self.deadlines.remove(&place);
        let waiting = self.waiting.get_mut(key)?;
        let parked = waiting.remove(&place);
        if let Some(parked) = &parked {
            let connection = parked.responder.peer().id();
            if let Some(places) = self.by_connection.get_mut(&connection) {
                places.remove(&place);
                if places.is_empty() {
                    self.by_connection.remove(&connection);
                }
            }
        }
        if waiting.is_empty() {
            self.waiting.remove(key);
            for topic in topics_of(key) {
                if let Some(keys) = self.by_topic.get_mut(&topic) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.by_topic.remove(&topic);
                    }
                }
            }
        }
        parked
    }
}

/// Topics whose messages a key waits for.
fn topics_of(key: &PollKey) -> [String; 3] {
    [TopicKind::Normal, TopicKind::RetryV1, TopicKind::RetryV2]
        .map(|kind| kind.topic(&key.topic, &key.group))
}

impl<R> std::fmt::Debug for PopHold<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PopHold").finish_non_exhaustive()
    }
}
