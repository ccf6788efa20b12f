//! Leases: the handle that names one, as text on the wire, and where it is found in the answer to a pop.
//! Pure.
//!
//! ```text
//! <first offset> <pop time> <invisible time> <revive queue> <kind> <broker> <queue> <offset>
//! ```
//! The first offset is that of the first message that the same pop took of the queue; the kind tells the topic
//! from the group's two retry topics.

use std::collections::HashMap;

use thrustmq_proto_compat::header::PopMessageResponseHeader;
use thrustmq_proto_compat::message::names::RETRY_PREFIX;
use thrustmq_proto_compat::message::property_name;

use crate::ReceivedMessage;

/// Where a leased message is stored: its topic, or one of the group's retry topics, which brokers of
/// different ages name differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// `%RETRY%group_topic`.
    Retry,
    /// `%RETRY%group+topic`.
    RetryV2,
}

/// What a handle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) first_offset: i64,
    pub(super) pop_time_ms: i64,
    pub(super) invisible_ms: i64,
    pub(super) revive_queue: i32,
    pub(super) kind: Kind,
    pub(super) broker_name: String,
    pub(super) queue_id: i32,
    pub(super) offset: i64,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Normal, Self::Retry, Self::RetryV2];

    /// Of the topic that a message is stored in.
    fn of_topic(topic: &str) -> Self {
        match topic.starts_with(RETRY_PREFIX) {
            true if topic.contains('+') => Self::RetryV2,
            true => Self::Retry,
            false => Self::Normal,
        }
    }

    /// As handles and brokers write it.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Normal => "0",
            Self::Retry => "1",
            Self::RetryV2 => "2",
        }
    }

    fn of_mark(mark: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mark() == mark)
    }

    /// The topic that a message is stored in, of those that belong to `topic` and `group`.
    pub(super) fn topic(self, topic: &str, group: &str) -> String {
        match self {
            Self::Normal => topic.to_owned(),
            Self::Retry => format!("{RETRY_PREFIX}{group}_{topic}"),
            Self::RetryV2 => format!("{RETRY_PREFIX}{group}+{topic}"),
        }
    }
}

impl Handle {
    /// Reads a handle; `None` if it is none. What stands behind the offset is for proxies.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        Some(Self {
            first_offset: parts.next()?.parse().ok()?,
            pop_time_ms: parts.next()?.parse().ok()?,
            invisible_ms: parts.next()?.parse().ok()?,
            revive_queue: parts.next()?.parse().ok()?,
            kind: Kind::of_mark(parts.next()?)?,
            broker_name: parts.next()?.to_owned(),
            queue_id: parts.next()?.parse().ok()?,
            offset: parts.next()?.parse().ok()?,
        })
    }

    pub(super) fn text(&self) -> String {
        let Self {
            first_offset,
            pop_time_ms,
            invisible_ms,
            revive_queue,
            kind,
            broker_name,
            queue_id,
            offset,
        } = self;
        let kind = kind.mark();
        format!(
            "{first_offset} {pop_time_ms} {invisible_ms} {revive_queue} {kind} {broker_name} {queue_id} {offset}"
        )
    }

    /// When the lease ends, milliseconds since 1970 by the broker's clock.
    pub(super) fn ends_ms(&self) -> i64 {
        self.pop_time_ms.saturating_add(self.invisible_ms)
    }

    /// From the first message of the pop; a broker may have written any numbers.
    pub(super) fn distance(&self) -> i64 {
        self.offset.saturating_sub(self.first_offset)
    }
}

/// The answer to a pop, but for its messages.
pub(super) struct PopAnswer<'a> {
    broker_name: &'a str,
    header: &'a PopMessageResponseHeader,
    first_offsets: HashMap<(&'a str, i32), i64>,
    /// Times that ordered messages were delivered before, by `qo<queue>%<offset>` or by queue.
    deliveries: HashMap<(&'a str, &'a str), i32>,
}

impl<'a> PopAnswer<'a> {
    /// Entries that cannot be read are left out: their messages have no handle, and come again.
    pub(super) fn read(broker_name: &'a str, header: &'a PopMessageResponseHeader) -> Self {
        let starts = entries(header.start_offset_info.as_deref());
        let counts = entries(header.order_count_info.as_deref());
        Self {
            broker_name,
            header,
            first_offsets: starts
                .filter_map(|[kind, queue, start]| {
                    Some(((kind, queue.parse().ok()?), start.parse().ok()?))
                })
                .collect(),
            deliveries: counts
                .filter_map(|[kind, what, count]| Some(((kind, what), count.parse().ok()?)))
                .collect(),
        }
    }

    /// The lease of a message of the answer, whose topic is still that where it is stored; `None` if the
    /// broker does not say.
    pub(super) fn handle(&self, message: &ReceivedMessage) -> Option<Handle> {
        // A broker that restored the topic of a retried message wrote the handle itself.
        if let Some(handle) = message.properties.get(property_name::POP_CK) {
            return Handle::parse(handle);
        }
        let kind = Kind::of_topic(&message.topic);
        let first_offset = match self.header.start_offset_info {
            Some(_) => *self.first_offsets.get(&(kind.mark(), message.queue_id))?,
            None => message.queue_offset,
        };
        Some(Handle {
            first_offset,
            pop_time_ms: self.header.pop_time_ms,
            invisible_ms: self.header.invisible_time_ms,
            revive_queue: self.header.revive_queue_id,
            kind,
            broker_name: self.broker_name.to_owned(),
            queue_id: message.queue_id,
            offset: message.queue_offset,
        })
    }

    /// How often an ordered message was delivered before, if the broker says it.
    pub(super) fn deliveries_before(&self, message: &ReceivedMessage) -> Option<i32> {
        let kind = Kind::of_topic(&message.topic).mark();
        let one = format!("qo{}%{}", message.queue_id, message.queue_offset);
        let queue = message.queue_id.to_string();
        let of = |what: &str| self.deliveries.get(&(kind, what)).copied();
        of(&one).or_else(|| of(&queue)).filter(|count| *count > 0)
    }
}

/// `a b c;a b c;…`; entries of other lengths are left out.
fn entries(info: Option<&str>) -> impl Iterator<Item = [&str; 3]> {
    let entries = info.unwrap_or_default().split(';');
    entries.filter_map(|entry| {
        let mut parts = entry.split(' ');
        let entry = [parts.next()?, parts.next()?, parts.next()?];
        parts.next().is_none().then_some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::received::tests::message_at;

    #[test]
    fn a_handle_is_java_s_text() {
        let text = "100 1700000000000 60000 3 1 broker-a 2 105";
        let handle = Handle::parse(text).unwrap();
        assert_eq!(handle.kind.topic("t", "g"), "%RETRY%g_t");
        assert_eq!(handle.ends_ms(), 1_700_000_060_000);
        assert_eq!(handle.text(), text);
        assert_eq!(handle.distance(), 5);
        assert_eq!(Handle::parse(&format!("{text} 777")), Some(handle));
        let far = format!("{} 2 3 4 0 b 5 {}", i64::MIN, i64::MAX);
        assert_eq!(Handle::parse(&far).unwrap().distance(), i64::MAX);
        for nonsense in [
            "",
            "1 2 3",
            "1 2 3 4 9 b 5 6",
            "a 2 3 4 0 b 5 6",
            "1 2 3 4 0 b 5 x",
        ] {
            assert_eq!(Handle::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_answer_names_the_lease_of_each_message() {
        let header = PopMessageResponseHeader {
            pop_time_ms: 50,
            invisible_time_ms: 9,
            revive_queue_id: 4,
            start_offset_info: Some("0 0 7;1 0 3;nonsense;0 x 1".to_owned()),
            order_count_info: Some("0 0 1;0 qo0%8 2".to_owned()),
            ..PopMessageResponseHeader::default()
        };
        let answer = PopAnswer::read("b", &header);
        let mut message = message_at(8, b"x");
        assert_eq!(answer.handle(&message).unwrap().text(), "7 50 9 4 0 b 0 8");
        assert_eq!(answer.deliveries_before(&message), Some(2));
        message.queue_offset = 9;
        assert_eq!(answer.deliveries_before(&message), Some(1));
        message.topic = "%RETRY%g_t".to_owned();
        assert_eq!(answer.handle(&message).unwrap().text(), "3 50 9 4 1 b 0 9");
        message.topic = "%RETRY%g+t".to_owned();
        assert_eq!(answer.handle(&message), None, "no start of that kind");
        let own = "1 2 3 4 2 c 5 6";
        message.properties.set(property_name::POP_CK, own);
        assert_eq!(answer.handle(&message).unwrap().text(), own);
        assert_eq!(answer.handle(&message).unwrap().kind, Kind::RetryV2);
    }
}
