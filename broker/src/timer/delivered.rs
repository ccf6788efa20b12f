//! What an earlier process delivered and did not note: looked up after a start, so that nothing is
//! delivered twice.
//!
//! The checkpoint says up to which slot everything is delivered. What was delivered of later slots was
//! stored no sooner than that slot's time, so it is found at the end of its queue. Copies are counted
//! and not only known, since a producer that tried again may have stored one message twice.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;

/// What tells a delivered message from others; a hash, as there may be many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity(u64, u64);

impl Identity {
    /// Of a message as it is stored in the queue that it was delivered to; nothing if it did not come
    /// out of the timer.
    pub(super) fn of(properties_text: &str, born_ms: i64, body: &[u8]) -> Option<Self> {
        properties::get(properties_text, name::TIMER_DEQUEUE_MS)?;
        let property = |name| properties::get(properties_text, name).unwrap_or_default();
        let facts = [name::UNIQUE_KEY, name::TIMER_OUT_MS, name::TIMER_ROLL_TIMES].map(property);
        let hash = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, facts, born_ms, body.len()).hash(&mut hasher);
            hasher.finish()
        };
        Some(Self(hash(0), hash(1)))
    }
}

/// Copies of messages, by queue.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    queues: HashMap<(String, i32), HashMap<Identity, u32>>,
}

impl Delivered {
    /// Takes one copy of the message out of its queue's; `true` if there was one. `read` tells what
    /// the queue holds, the first time that a message of it is asked for.
    ///
    /// # Errors
    /// Those of `read`; the next call reads again.
    pub(super) fn take<E>(
        &mut self,
        topic: &str,
        queue_id: i32,
        identity: Identity,
        read: impl FnOnce() -> Result<Vec<Identity>, E>,
    ) -> Result<bool, E> {
        let key = (topic.to_owned(), queue_id);
        if !self.queues.contains_key(&key) {
            let mut copies: HashMap<Identity, u32> = HashMap::new();
            for found in read()? {
                *copies.entry(found).or_default() += 1;
            }
            self.queues.insert(key.clone(), copies);
        }
        let copies = self
            .queues
            .get_mut(&key)
            .and_then(|queue| queue.get_mut(&identity));
        let Some(copies) = copies.filter(|copies| **copies > 0) else {
            return Ok(false);
        };
        *copies -= 1;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(key: &str, born_ms: i64) -> Identity {
        let mut text = String::new();
        properties::push(&mut text, name::UNIQUE_KEY, key);
        properties::push(&mut text, name::TIMER_OUT_MS, "5000");
        assert_eq!(Identity::of(&text, born_ms, b"body"), None);
        properties::push(&mut text, name::TIMER_DEQUEUE_MS, &key.len().to_string());
        Identity::of(&text, born_ms, b"body").unwrap()
    }

    #[test]
    fn each_copy_counts_once() {
        let mut delivered = Delivered::default();
        let stored = vec![identity("a", 1), identity("a", 1), identity("b", 1)];
        let mut reads = 0;
        let mut take = |queue_id, identity| {
            let read = || {
                reads += 1;
                Ok::<_, ()>(stored.clone())
            };
            delivered.take("t", queue_id, identity, read).unwrap()
        };
        assert!(take(0, identity("a", 1)) && take(0, identity("a", 1)));
        assert!(!take(0, identity("a", 1)));
        assert!(!take(0, identity("b", 2)), "born at another time");
        assert!(take(0, identity("b", 1)));
        assert!(take(1, identity("a", 1)));
        assert_eq!(reads, 2);
    }
}
