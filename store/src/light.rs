//! Light queues: queues `%LMQ%…` whose entries point at records of other topics.
//!
//! A message names them in `INNER_MULTI_DISPATCH`; the append adds its entry numbers there as
//! `INNER_MULTI_QUEUE_OFFSET`, in the same order and under the same lock as its own. Dispatch and
//! recovery take both from the record, so that the record vouches for every entry that points at it.
//! Only appends write the numbers: what a message brings of them is dropped.
//!
//! Texts alone: who appends and who dispatches owns the rest.

use std::borrow::Cow;

use thrustmq_proto_compat::message::{names, properties, property_name};

use crate::layout::is_directory_name;

/// The id of every light queue.
pub(crate) const QUEUE_ID: i32 = 0;
const SEPARATOR: char = ',';
/// Begin of both properties.
const PROPERTIES_PREFIX: &str = "INNER_MULTI_";
/// No queue gets so far; larger numbers are nonsense.
const QUEUE_OFFSET_MAX: i64 = 1 << 48;

/// An entry of a light queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LightEntry<'a> {
    pub(crate) queue: &'a str,
    pub(crate) queue_offset: i64,
}

/// Whether messages of a topic go to light queues. Those on their way elsewhere do not: they would
/// come a second time when they arrive, or before their transaction ends.
pub(crate) fn allows(topic: &str) -> bool {
    let is_on_its_way = topic == names::SCHEDULE_TOPIC
        || topic == names::HALF_TOPIC
        || topic.starts_with(names::SYSTEM_TOPIC_PREFIX);
    !is_on_its_way && !names::is_retry_topic(topic) && !names::is_dead_letter_topic(topic)
}

/// Whether properties may say anything of light queues; cheap, for it is asked of every message.
pub(crate) fn is_mentioned(properties_text: &str) -> bool {
    properties_text.contains(PROPERTIES_PREFIX)
}

/// The light queues that a message asks for, in order; other words of the list are empty.
pub(crate) fn asked<'a>(topic: &str, properties_text: &'a str) -> Vec<&'a str> {
    let names = properties::get(properties_text, property_name::INNER_MULTI_DISPATCH);
    let Some(names) = names.filter(|_| allows(topic)) else {
        return Vec::new();
    };
    let light = |name| if is_usable(name) { name } else { "" };
    let asked: Vec<_> = names.split(SEPARATOR).map(light).collect();
    if asked.iter().all(|name| name.is_empty()) {
        return Vec::new();
    }
    asked
}

fn is_usable(name: &str) -> bool {
    names::is_light_queue(name) && is_directory_name(name)
}

/// Properties without what only an append may say.
pub(crate) fn without_offsets(properties_text: &str) -> Cow<'_, str> {
    properties::without(properties_text, property_name::INNER_MULTI_QUEUE_OFFSET)
}

/// The numbers as their property holds them; none for a queue without a name.
pub(crate) fn offsets_text(offsets: &[Option<i64>]) -> String {
    let mut text = String::new();
    for (index, offset) in offsets.iter().enumerate() {
        if index > 0 {
            text.push(SEPARATOR);
        }
        if let Some(offset) = offset {
            text.push_str(&offset.to_string());
        }
    }
    text
}

/// The entries that a record has in light queues, from the values of its two properties.
pub(crate) fn entries<'a>(
    topic: &str,
    names: Option<&'a str>,
    offsets: Option<&'a str>,
) -> impl Iterator<Item = LightEntry<'a>> + use<'a> {
    let both = names.zip(offsets);
    let both = both.filter(|(names, offsets)| {
        allows(topic) && names.split(SEPARATOR).count() == offsets.split(SEPARATOR).count()
    });
    both.into_iter()
        .flat_map(|(names, offsets)| names.split(SEPARATOR).zip(offsets.split(SEPARATOR)))
        .filter_map(|(queue, offset)| {
            let queue_offset = offset.parse().ok()?;
            let is_sound = is_usable(queue) && (0..=QUEUE_OFFSET_MAX).contains(&queue_offset);
            is_sound.then_some(LightEntry {
                queue,
                queue_offset,
            })
        })
}

/// The entry number, in the light queue `queue`, of a message of `topic` with these properties; `None`
/// if it has no entry there.
pub fn light_queue_offset(topic: &str, properties_text: &str, queue: &str) -> Option<i64> {
    let value = |name| properties::get(properties_text, name);
    let names = value(property_name::INNER_MULTI_DISPATCH);
    let offsets = value(property_name::INNER_MULTI_QUEUE_OFFSET);
    let mut entries = entries(topic, names, offsets);
    let entry = entries.find(|entry| entry.queue == queue);
    entry.map(|entry| entry.queue_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(entries: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for (name, value) in entries {
            properties::push(&mut text, name, value);
        }
        text
    }

    #[test]
    fn names_and_numbers_go_in_pairs() {
        let sent = text(&[("INNER_MULTI_DISPATCH", "%LMQ%a,other,%LMQ%b/c,%LMQ%d")]);
        assert!(is_mentioned(&sent));
        assert_eq!(asked("orders", &sent), ["%LMQ%a", "", "", "%LMQ%d"]);
        let numbers = offsets_text(&[Some(7), None, None, Some(0)]);
        assert_eq!(numbers, "7,,,0");
        let found: Vec<_> = entries(
            "orders",
            properties::get(&sent, "INNER_MULTI_DISPATCH"),
            Some(&numbers),
        )
        .map(|entry| (entry.queue, entry.queue_offset))
        .collect();
        assert_eq!(found, [("%LMQ%a", 7), ("%LMQ%d", 0)]);
    }

    #[test]
    fn each_light_queue_has_its_number() {
        let stored = text(&[
            ("INNER_MULTI_DISPATCH", "%LMQ%a,%LMQ%b,%LMQ%b"),
            ("INNER_MULTI_QUEUE_OFFSET", "7,0,"),
        ]);
        let offset = |topic, queue| light_queue_offset(topic, &stored, queue);
        assert_eq!(offset("orders", "%LMQ%a"), Some(7));
        assert_eq!(offset("orders", "%LMQ%b"), Some(0));
        assert_eq!(offset("orders", "%LMQ%c"), None);
        assert_eq!(offset("%RETRY%g", "%LMQ%a"), None);
    }

    #[test]
    fn nonsense_is_no_entry() {
        let found = |topic, names, offsets| entries(topic, Some(names), Some(offsets)).count();
        assert_eq!(found("t", "%LMQ%a", "1"), 1);
        assert_eq!(found("t", "%LMQ%a", "1,2"), 0);
        assert_eq!(found("t", "%LMQ%a", "-1"), 0);
        assert_eq!(found("t", "%LMQ%a", "9223372036854775807"), 0);
        assert_eq!(found("t", "a", "1"), 0);
        for topic in ["%RETRY%g", "%DLQ%g", "SCHEDULE_TOPIC_XXXX", "rmq_sys_x"] {
            assert_eq!(found(topic, "%LMQ%a", "1"), 0);
        }
        assert!(asked("t", &text(&[("INNER_MULTI_DISPATCH", "a,b")])).is_empty());
        assert!(!is_mentioned(&text(&[("INNER_NUM", "a")])));
    }
}
