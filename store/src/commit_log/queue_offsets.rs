//! The next entry number of every queue. The appender owns them, under its lock.

use std::collections::{BTreeMap, HashSet};

use foldhash::HashMap;
use thrustmq_proto_compat::message::names::is_light_queue;

use crate::error::AppendError;
use crate::layout::is_directory_name;
use crate::light;

/// Light queues that a record goes to as well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LightTarget<'a> {
    /// Their names; empty ones are none.
    pub(crate) asked: &'a [&'a str],
    /// So many there may be in all.
    pub(crate) queues_max: usize,
}

impl LightTarget<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.asked.iter().copied().filter(|name| !name.is_empty())
    }
}

/// Next entry number of every queue.
#[derive(Debug, Default)]
pub(crate) struct QueueOffsets {
    topics: HashMap<Box<str>, BTreeMap<i32, i64>>,
    /// How many of them are light queues.
    light: usize,
}

impl QueueOffsets {
    /// Says where a queue goes on; recovery only.
    pub(crate) fn set(&mut self, topic: &str, queue_id: i32, next: i64) {
        if !self.topics.contains_key(topic) {
            self.insert(topic);
        }
        let queues = self.topics.entry(topic.into()).or_default();
        queues.insert(queue_id, next);
    }

    pub(super) fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    fn insert(&mut self, topic: &str) {
        self.light += usize::from(is_light_queue(topic));
        self.topics.insert(topic.into(), BTreeMap::new());
    }

    /// Numbers of a topic begin at 0 again.
    pub(super) fn remove(&mut self, topic: &str) {
        if self.topics.remove(topic).is_some() {
            self.light -= usize::from(is_light_queue(topic));
        }
    }

    /// The next entry numbers of light queues, in the order in which they were asked for.
    pub(super) fn of_light(
        &self,
        target: &LightTarget<'_>,
    ) -> Result<Vec<Option<i64>>, AppendError> {
        let new: HashSet<_> = target
            .names()
            .filter(|name| !self.topics.contains_key(*name))
            .collect();
        let queues_max = target.queues_max;
        if !new.is_empty() && self.light + new.len() > queues_max {
            return Err(AppendError::TooManyLightQueues { queues_max });
        }
        let next = |name: &&str| {
            let next = self.topics.get(*name)?.get(&light::QUEUE_ID);
            next.copied()
        };
        let asked = target.asked.iter();
        Ok(asked
            .map(|name| (!name.is_empty()).then(|| next(name).unwrap_or(0)))
            .collect())
    }

    /// Notes that each of them has one entry more, however often it was named.
    pub(super) fn advance_light(&mut self, target: &LightTarget<'_>) -> Result<(), AppendError> {
        let names: HashSet<_> = target.names().collect();
        for name in names {
            *self.next(name, light::QUEUE_ID)? += 1;
        }
        Ok(())
    }

    /// The next entry number; the key is copied only for a new topic.
    pub(super) fn next(&mut self, topic: &str, queue_id: i32) -> Result<&mut i64, AppendError> {
        let known = self.topics.contains_key(topic);
        if queue_id < 0 || (!known && !is_directory_name(topic)) {
            let reason = format!("no directory can be made for queue {queue_id} of {topic:?}");
            return Err(AppendError::Illegal { reason });
        }
        if !known {
            self.insert(topic);
        }
        let queues = self.topics.get_mut(topic).expect("inserted above");
        Ok(queues.entry(queue_id).or_insert(0))
    }
}
