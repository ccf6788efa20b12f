//! Which queues a pop looks into, and where it begins in each.

use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::message::names::is_retry_topic;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::offset::GroupQueue;
use crate::pop::names::TopicKind;
use crate::topic::attributes::{MESSAGE_TYPE, PRIORITY, PRIORITY_FACTOR, PRIORITY_FACTOR_DEFAULT};

/// A group without an offset begins at the start of the queue.
const INIT_AT_MIN: i32 = 0;

/// One queue to look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) queue_id: i32,
}

/// What a pop asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a TopicConfig,
    /// Negative: any.
    pub(super) queue_id: i32,
    /// Ordered messages are not retried.
    pub(super) is_ordered: bool,
}

/// The queues in the order in which they are looked into: some pops begin with the retry topic, most
/// look into it last.
pub(super) fn places(
    broker: &Broker,
    config: &BrokerConfig,
    wanted: Wanted<'_>,
    dice: usize,
) -> Vec<Place> {
    let percent = dice % 100;
    let heeds_priority = heeds_priority(broker, wanted, percent);
    let normal = if wanted.queue_id >= 0 {
        vec![Place {
            topic: wanted.topic.topic_name.clone(),
            queue_id: wanted.queue_id,
        }]
    } else if heeds_priority {
        by_priority(wanted.topic, config.priority_ascends)
    } else {
        all_of(wanted.topic, dice)
    };
    if wanted.is_ordered {
        return normal;
    }
    let from_retry_percent = if heeds_priority {
        config.priority_pop_from_retry_percent
    } else {
        config.pop_from_retry_percent
    };
    let retried = retry_places(broker, config, wanted, dice);
    if percent < from_retry_percent {
        [retried, normal].concat()
    } else {
        [normal, retried].concat()
    }
}

/// Messages of a priority are in the queue of its number. As many pops of a hundred heed that as the
/// group's attribute says.
fn heeds_priority(broker: &Broker, wanted: Wanted<'_>, percent: usize) -> bool {
    let message_type = wanted.topic.attributes.get(MESSAGE_TYPE);
    if wanted.is_ordered || message_type.is_none_or(|kind| kind != PRIORITY) {
        return false;
    }
    let group = broker.groups.find_existing(wanted.group);
    let factor = group.and_then(|group| group.attributes.get(PRIORITY_FACTOR)?.parse().ok());
    percent < factor.unwrap_or(PRIORITY_FACTOR_DEFAULT)
}

/// All queues, the most urgent one first.
fn by_priority(topic: &TopicConfig, ascends: bool) -> Vec<Place> {
    let mut places = all_of(topic, 0);
    if ascends {
        places.reverse();
    }
    places
}

/// The queues of one retry topic: an answer has one sign for both kinds, so one pop looks into one.
fn retry_places(
    broker: &Broker,
    config: &BrokerConfig,
    wanted: Wanted<'_>,
    dice: usize,
) -> Vec<Place> {
    let is_turn_of_v1 = config.read_retry_topic_v1 && dice.is_multiple_of(2);
    let kind = if config.retry_topic_v2 && !is_turn_of_v1 {
        TopicKind::RetryV2
    } else {
        TopicKind::RetryV1
    };
    let topic = kind.topic(&wanted.topic.topic_name, wanted.group);
    let topic = broker.topics.find(&topic);
    topic.map_or_else(Vec::new, |topic| all_of(&topic, dice))
}

/// All queues, from any on.
pub(super) fn all_of(topic: &TopicConfig, dice: usize) -> Vec<Place> {
    let queues = topic.read_queue_nums.max(0);
    let first = i32::try_from(dice % 1_000_000).unwrap_or(0);
    let place = |step: i32| Place {
        topic: topic.topic_name.clone(),
        queue_id: (first + step) % queues,
    };
    (0..queues).map(place).collect()
}

/// Where a group that has no offset begins.
pub(super) fn first_offset(
    broker: &Broker,
    config: &BrokerConfig,
    queue: GroupQueue<'_>,
    init_mode: i32,
) -> i64 {
    let range = broker.store.queue_range(queue.topic, queue.queue_id);
    if init_mode == INIT_AT_MIN || is_retry_topic(queue.topic) {
        return range.min;
    }
    let all_is_young = || {
        config.pop_init_in_memory
            && range.min <= 0
            && broker.store.is_in_memory(queue.topic, queue.queue_id, 0)
    };
    if all_is_young() {
        return 0;
    }
    // The last message there is.
    (range.max - 1).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_queue_comes_first() {
        let topic = TopicConfig {
            topic_name: "T".to_owned(),
            read_queue_nums: 3,
            ..TopicConfig::default()
        };
        let ids = |ascends| -> Vec<i32> {
            let places = by_priority(&topic, ascends);
            places.iter().map(|place| place.queue_id).collect()
        };
        assert_eq!(ids(true), [2, 1, 0]);
        assert_eq!(ids(false), [0, 1, 2]);
    }

    #[test]
    fn all_queues_are_looked_into_from_any_on() {
        let topic = TopicConfig {
            topic_name: "T".to_owned(),
            read_queue_nums: 3,
            ..TopicConfig::default()
        };
        let ids = |dice| -> Vec<i32> {
            let places = all_of(&topic, dice);
            places.iter().map(|place| place.queue_id).collect()
        };
        assert_eq!(ids(0), [0, 1, 2]);
        assert_eq!(ids(37), [1, 2, 0]);
        assert_eq!(ids(usize::MAX).len(), 3);
    }
}
