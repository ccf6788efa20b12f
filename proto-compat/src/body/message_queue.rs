//! One queue of a topic, as clients and tools name it. Often a map's key.

use serde::{Deserialize, Serialize};

/// A queue; ordered by topic, broker and number, as Java orders them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageQueue {
    /// `brokerName` in JSON.
    #[serde(rename = "brokerName")]
    pub broker_name: String,
    /// `queueId` in JSON.
    #[serde(rename = "queueId")]
    pub queue_id: i32,
    /// `topic` in JSON.
    pub topic: String,
}

impl MessageQueue {
    fn order(&self) -> (&str, &str, i32) {
        (&self.topic, &self.broker_name, self.queue_id)
    }
}

impl Ord for MessageQueue {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for MessageQueue {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for MessageQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.topic, self.broker_name, self.queue_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(topic: &str, broker: &str, queue_id: i32) -> MessageQueue {
        MessageQueue {
            broker_name: broker.into(),
            queue_id,
            topic: topic.into(),
        }
    }

    #[test]
    fn topic_counts_before_broker_before_number() {
        assert!(queue("a", "z", 9) < queue("b", "a", 0));
        assert!(queue("a", "b", 9) < queue("a", "c", 0));
        assert!(queue("a", "b", 2) < queue("a", "b", 10));
    }
}
