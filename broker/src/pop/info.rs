//! What clients are told of their leases, and tell: handles, and the fields of an answer, in Java's
//! syntax (`ExtraInfoUtil`).

use std::fmt::Write;

use super::names::TopicKind;
use super::order::Consumed;

/// Between the parts of a handle or of an entry.
const SEPARATOR: char = ' ';
/// Between entries.
const ENTRY_SEPARATOR: char = ';';

/// What a client names its lease by, but for the message's offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraInfo {
    pub(crate) start_offset: i64,
    pub(crate) pop_time_ms: i64,
    pub(crate) invisible_ms: i64,
    pub(crate) journal_queue: i32,
    pub(crate) kind: TopicKind,
    pub(crate) broker_name: String,
    pub(crate) queue_id: i32,
}

impl ExtraInfo {
    /// Reads the text that a client sends; it may be followed by the message's offset and more.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(SEPARATOR);
        Some(Self {
            start_offset: parts.next()?.parse().ok()?,
            pop_time_ms: parts.next()?.parse().ok()?,
            invisible_ms: parts.next()?.parse().ok()?,
            journal_queue: parts.next()?.parse().ok()?,
            kind: TopicKind::from_sign(parts.next()?)?,
            broker_name: parts.next()?.to_owned(),
            queue_id: parts.next()?.parse().ok()?,
        })
    }

    /// The handle of the message at `offset`.
    pub(crate) fn handle(&self, offset: i64) -> String {
        format!(
            "{} {} {} {} {} {} {} {offset}",
            self.start_offset,
            self.pop_time_ms,
            self.invisible_ms,
            self.journal_queue,
            self.kind.sign(),
            self.broker_name,
            self.queue_id,
        )
    }
}

/// Adds `retry queueId startOffset` to a list of where pops began.
pub(crate) fn push_start_offset(list: &mut String, topic: &str, queue_id: i32, start_offset: i64) {
    push_head(list, topic, queue_id);
    let _ = write!(list, "{start_offset}");
}

/// Adds `retry queueId offset,offset` to a list of what was popped.
pub(crate) fn push_message_offsets(list: &mut String, topic: &str, queue_id: i32, offsets: &[i64]) {
    push_head(list, topic, queue_id);
    for (place, offset) in offsets.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let _ = write!(list, "{comma}{offset}");
    }
}

/// Adds how often messages were given before: `retry qo<queueId>%<offset> count` for each that was, and
/// `retry queueId count` for all of them, which older clients read.
pub(crate) fn push_order_counts(
    list: &mut String,
    topic: &str,
    queue_id: i32,
    consumed: &Consumed,
) {
    let sign = TopicKind::of(topic).sign();
    for (offset, count) in &consumed.counts {
        if !list.is_empty() {
            list.push(ENTRY_SEPARATOR);
        }
        let _ = write!(
            list,
            "{sign}{SEPARATOR}qo{queue_id}%{offset}{SEPARATOR}{count}"
        );
    }
    push_head(list, topic, queue_id);
    let _ = write!(list, "{}", consumed.min);
}

fn push_head(list: &mut String, topic: &str, queue_id: i32) {
    if !list.is_empty() {
        list.push(ENTRY_SEPARATOR);
    }
    let sign = TopicKind::of(topic).sign();
    let _ = write!(list, "{sign}{SEPARATOR}{queue_id}{SEPARATOR}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_written() {
        let info = ExtraInfo {
            start_offset: 100,
            pop_time_ms: 1_700_000_000_000,
            invisible_ms: 60_000,
            journal_queue: 3,
            kind: TopicKind::RetryV1,
            broker_name: "broker-a".to_owned(),
            queue_id: 0,
        };
        let handle = info.handle(102);
        assert_eq!(handle, "100 1700000000000 60000 3 1 broker-a 0 102");
        assert_eq!(ExtraInfo::parse(&handle), Some(info.clone()));
        // The proxy adds the place in the log; clients of old leave the message's offset out.
        assert_eq!(ExtraInfo::parse(&format!("{handle} 4711")), Some(info));
        assert!(ExtraInfo::parse("100 1700000000000 60000 3 1 broker-a 0").is_some());
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for text in [
            "",
            "100",
            "100 1 2 3 4 b 0 1",
            "100 x 2 3 0 b 0 1",
            "100 1 2 3 0 b",
        ] {
            assert_eq!(ExtraInfo::parse(text), None, "{text}");
        }
    }

    #[test]
    fn lists_are_written_as_java_writes_them() {
        let (mut starts, mut offsets) = (String::new(), String::new());
        push_start_offset(&mut starts, "T", 2, 100);
        push_start_offset(&mut starts, "%RETRY%g_T", 0, 7);
        push_message_offsets(&mut offsets, "T", 2, &[100, 102]);
        push_message_offsets(&mut offsets, "%RETRY%g+T", 0, &[7]);
        assert_eq!(starts, "0 2 100;1 0 7");
        assert_eq!(offsets, "0 2 100,102;2 0 7");
    }
}
