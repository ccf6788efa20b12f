//! A message's properties on their way into the store: what the broker must know of them, and what it
//! adds and removes.
//!
//! Works on the text in one pass and builds no map, as it runs for every message.

use thrustmq_proto_compat::message::properties::{self, Entry};
use thrustmq_proto_compat::message::property_name as name;

/// What one pass over the properties found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// The id that the producer gave the message.
    pub(crate) unique_key: Option<&'a str>,
    /// Level to delay it by; 0 or less: none.
    pub(crate) delay_level: i32,
    /// The producer does not wait for flush and replicas.
    pub(crate) no_wait: bool,
    /// A half message of a transaction.
    pub(crate) transaction: bool,
    /// To be delivered at some time of its own.
    pub(crate) timer: bool,
    /// It has keys.
    pub(crate) keys: bool,
    /// It says that it is several messages in one record.
    pub(crate) inner_batch: bool,
    /// The priority that it asks for; counts only for messages that are nothing else.
    asked_priority: Option<i32>,
    /// It has a delay level, of whatever value.
    has_delay_level: bool,
    /// It is one of a group that is consumed in order.
    is_ordered: bool,
    /// Some entry must not be stored as it is.
    removes: bool,
}

impl<'a> Found<'a> {
    /// Looks through the text once.
    pub(crate) fn scan(text: &'a str) -> Self {
        let mut found = Self::default();
        for Entry { name, value } in properties::entries(text) {
            found.note(name, value);
        }
        found
    }

    fn note(&mut self, name: &'a str, value: &'a str) {
        match name {
            name::UNIQUE_KEY => self.unique_key = Some(value),
            name::DELAY_LEVEL => {
                self.delay_level = value.parse().unwrap_or(0);
                self.has_delay_level = true;
            }
            name::PRIORITY => {
                self.asked_priority = value.parse().ok().filter(|priority| *priority >= 0);
            }
            name::SHARDING_KEY => self.is_ordered = true,
            name::WAIT_STORE_OK => self.no_wait = !value.eq_ignore_ascii_case("true"),
            name::TRANSACTION_PREPARED => self.transaction = value.eq_ignore_ascii_case("true"),
            name::TIMER_DELIVER_MS | name::TIMER_DELAY_SEC | name::TIMER_DELAY_MS => {
                self.timer = true;
            }
            name::KEYS => self.keys = true,
            name::INNER_NUM => self.inner_batch = true,
            _ => self.removes |= is_replaced(name),
        }
    }
}

impl Found<'_> {
    /// The priority, 0 or more, of a message that is not delayed, ordered or transactional
    /// (Java: `TopicMessageType.parseFromMessageProperty`).
    pub(crate) fn priority(&self) -> Option<i32> {
        let is_other = self.transaction || self.has_delay_level || self.timer || self.is_ordered;
        self.asked_priority.filter(|_| !is_other)
    }
}

/// What the broker adds to every message it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Additions<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) region: &'a str,
    pub(crate) trace_on: bool,
}

/// The properties to store: what the producer sent, less what only the broker may say, with the
/// broker's own. A delay level, which wins over timer properties, takes those out.
///
/// `room_bytes` is left free for what the caller will push.
pub(crate) fn to_store(
    text: &str,
    found: &Found<'_>,
    add: &Additions<'_>,
    room_bytes: usize,
) -> String {
    let own_bytes = add.cluster.len() + add.region.len() + 48;
    let mut stored = String::with_capacity(text.len() + own_bytes + room_bytes);
    let without_timer = found.timer && found.delay_level > 0;
    let without_priority = found.asked_priority.is_some() && found.priority().is_none();
    if found.removes || without_timer || without_priority {
        let is_dropped = |name| {
            is_replaced(name)
                || (without_timer && is_timer(name))
                || (without_priority && name == name::PRIORITY)
        };
        for entry in properties::entries(text).filter(|entry| !is_dropped(entry.name)) {
            properties::push(&mut stored, entry.name, entry.value);
        }
    } else {
        stored.push_str(text);
    }
    push_own(&mut stored, add);
    stored
}

fn push_own(stored: &mut String, add: &Additions<'_>) {
    properties::push(stored, name::MSG_REGION, add.region);
    let trace_on = if add.trace_on { "true" } else { "false" };
    properties::push(stored, name::TRACE_ON, trace_on);
    properties::push(stored, name::CLUSTER, add.cluster);
}

fn is_timer(name: &str) -> bool {
    matches!(
        name,
        name::TIMER_DELIVER_MS | name::TIMER_DELAY_SEC | name::TIMER_DELAY_MS
    )
}

fn is_replaced(name: &str) -> bool {
    matches!(
        name,
        name::POP_CK
            | name::CLUSTER
            | name::MSG_REGION
            | name::TRACE_ON
            | name::INNER_MULTI_QUEUE_OFFSET
    ) || name.starts_with(name::TRANSIENT_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: Additions<'_> = Additions {
        cluster: "c",
        region: "DefaultRegion",
        trace_on: true,
    };

    fn text(entries: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for (name, value) in entries {
            properties::push(&mut text, name, value);
        }
        text
    }

    #[test]
    fn one_pass_finds_what_matters() {
        let sent = text(&[
            ("UNIQ_KEY", "AB"),
            ("WAIT", "false"),
            ("DELAY", "3"),
            ("KEYS", "k"),
        ]);
        let found = Found::scan(&sent);
        assert_eq!(found.unique_key, Some("AB"));
        assert!(found.no_wait && found.keys && !found.timer && !found.transaction);
        assert_eq!(found.delay_level, 3);
        assert!(Found::scan(&text(&[("TRAN_MSG", "true")])).transaction);
        assert!(!Found::scan(&text(&[("WAIT", "true")])).no_wait);
    }

    #[test]
    fn own_properties_replace_those_of_the_producer() {
        let sent = text(&[("POP_CK", "x"), ("a", "1"), ("CLUSTER", "other")]);
        let stored = to_store(&sent, &Found::scan(&sent), &ADD, 0);
        let expected = text(&[
            ("a", "1"),
            ("MSG_REGION", "DefaultRegion"),
            ("TRACE_ON", "true"),
            ("CLUSTER", "c"),
        ]);
        assert_eq!(stored, expected);
    }

    #[test]
    fn text_without_its_last_separator_gains_it() {
        let stored = to_store("a\u{1}1", &Found::scan("a\u{1}1"), &ADD, 0);
        assert!(
            stored.starts_with("a\u{1}1\u{2}MSG_REGION\u{1}"),
            "{stored:?}"
        );
    }

    #[test]
    fn priority_counts_for_messages_that_are_nothing_else() {
        let priority = |entries: &[(&str, &str)]| {
            let sent = text(entries);
            let found = Found::scan(&sent);
            let stored = to_store(&sent, &found, &ADD, 0);
            let is_kept = properties::get(&stored, name::PRIORITY).is_some();
            (found.priority(), is_kept)
        };
        assert_eq!(priority(&[(name::PRIORITY, "7")]), (Some(7), true));
        assert_eq!(priority(&[(name::PRIORITY, "-1")]), (None, true));
        assert_eq!(priority(&[(name::PRIORITY, "abc")]), (None, true));
        for other in [
            ("DELAY", "0"),
            ("TIMER_DELAY_MS", "1"),
            ("__SHARDINGKEY", "s"),
            ("TRAN_MSG", "true"),
        ] {
            assert_eq!(
                priority(&[(name::PRIORITY, "7"), other]),
                (None, false),
                "{other:?}"
            );
        }
    }

    #[test]
    fn delay_level_wins_over_timer() {
        let sent = text(&[("TIMER_DELAY_SEC", "5"), ("DELAY", "2")]);
        let stored = to_store(&sent, &Found::scan(&sent), &ADD, 0);
        assert_eq!(properties::get(&stored, "TIMER_DELAY_SEC"), None);
        assert_eq!(properties::get(&stored, "DELAY"), Some("2"));
    }
}
