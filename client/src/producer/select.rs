//! Ready-made choices of a queue for `Producer::send_selected`. Pure.

use std::hash::{BuildHasher, RandomState};

use thrustmq_proto_compat::body::MessageQueue;

use crate::message::Message;

/// Chooses the queue by a key: messages with one key go to one queue as long as the number of queues
/// stays. The same queue as `SelectMessageQueueByHash` of Java's client chooses for a string.
///
/// ```no_run
/// # async fn example(producer: thrustmq_client::Producer) -> Result<(), thrustmq_client::SendError> {
/// use thrustmq_client::{Message, by_hash};
/// let message = Message::new("orders", "4711 is paid");
/// producer.send_selected(message, by_hash("4711")).await?;
/// # Ok(())
/// # }
/// ```
pub fn by_hash(key: impl AsRef<str>) -> impl FnOnce(&[MessageQueue], &Message) -> usize + Send {
    let hash = java_hash(key.as_ref());
    move |queues, _| index_of(hash, queues.len())
}

/// Chooses any queue.
///
/// ```no_run
/// # async fn example(producer: thrustmq_client::Producer) -> Result<(), thrustmq_client::SendError> {
/// use thrustmq_client::{Message, at_random};
/// producer.send_selected(Message::new("orders", "4711"), at_random()).await?;
/// # Ok(())
/// # }
/// ```
pub fn at_random() -> impl FnOnce(&[MessageQueue], &Message) -> usize + Send {
    |queues, _| {
        let random = RandomState::new().hash_one(());
        let remainder = random.checked_rem(queues.len() as u64).unwrap_or(0);
        usize::try_from(remainder).unwrap_or(0)
    }
}

/// Java's `String.hashCode`: over UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The remainder without its sign.
fn index_of(hash: i32, queues: usize) -> usize {
    let remainder = i64::from(hash)
        .checked_rem(i64::try_from(queues).unwrap_or(i64::MAX))
        .unwrap_or(0);
    usize::try_from(remainder.unsigned_abs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        let queue = |queue_id| MessageQueue {
            topic: "t".into(),
            broker_name: "a".into(),
            queue_id,
        };
        (0..count).map(queue).collect()
    }

    #[test]
    fn hashes_are_those_of_java() {
        // As jshell prints them.
        for (text, hash) in [
            ("", 0),
            ("order-4711", 708_276_994),
            ("hello", 99_162_322),
            ("polygenelubricants", i32::MIN),
            ("😀", 1_772_899),
        ] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn a_key_has_one_queue() {
        let message = Message::new("t", "x");
        // -2147483648 % 7 is -2.
        assert_eq!(by_hash("polygenelubricants")(&queues(7), &message), 2);
        assert_eq!(by_hash("hello")(&queues(8), &message), 99_162_322 % 8);
        assert_eq!(by_hash("hello")(&[], &message), 0);
    }

    #[test]
    fn chance_visits_every_queue() {
        let (queues, message) = (queues(3), Message::new("t", "x"));
        let chosen: std::collections::BTreeSet<_> =
            (0..1_000).map(|_| at_random()(&queues, &message)).collect();
        assert_eq!(chosen, [0, 1, 2].into());
        assert_eq!(at_random()(&[], &message), 0);
    }
}
