//! What clients write into the trace topic, as Java's do (11-observability §11.3): [`TraceRecord`] with
//! its text form. Producers and consumers encode it, [`Admin::traces`](crate::Admin::traces) decodes it.

mod text;

use text::{FIELD_SEPARATOR, Fields, RECORD_SEPARATOR};

/// What a client noted of a message.
///
/// ```no_run
/// use thrustmq_client::{KeySearch, TraceRecord};
///
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for traced in admin.traces(&KeySearch::traces("order-4711")).await? {
///     if let TraceRecord::Sent(sent) = traced.record {
///         println!("{} sent {} in {} ms", sent.group, sent.message_id, sent.elapsed_ms);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceRecord {
    /// A producer sent it.
    Sent(SentTrace),
    /// A consumer is about to call its listener.
    Consuming(ConsumingTrace),
    /// The listener returned.
    Consumed(ConsumedTrace),
    /// Its transaction was committed or rolled back.
    TransactionEnded(TransactionTrace),
    /// It was taken back before it was delivered.
    Recalled(RecallTrace),
}

/// A message that was sent: `Pub`.
///
/// ```
/// use thrustmq_client::SentTrace;
/// fn line(sent: &SentTrace) -> String {
///     format!("{} sent {} to {}", sent.group, sent.message_id, sent.topic)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SentTrace {
    /// When the send began, milliseconds since 1970.
    pub started_ms: i64,
    /// Region of the broker.
    pub region: String,
    /// Group of the producer.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// The id that the producer gave.
    pub message_id: String,
    /// Tag.
    pub tag: Option<String>,
    /// Keys, with blanks between.
    pub keys: Option<String>,
    /// Address of the broker that stored it.
    pub stored_at: String,
    /// Bytes of its body.
    pub body_bytes: i64,
    /// How long the send took.
    pub elapsed_ms: i64,
    /// What kind of message it is.
    pub kind: TracedKind,
    /// The id that the broker gave; empty in the records of old clients.
    pub offset_message_id: String,
    /// Whether it was stored as safely as it should be.
    pub is_success: bool,
}

/// A message that a listener is about to get: `SubBefore`.
///
/// ```
/// use thrustmq_client::ConsumingTrace;
/// fn line(begun: &ConsumingTrace) -> String {
///     format!("{} began with {} at {}", begun.group, begun.message_id, begun.started_ms)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumingTrace {
    /// When, milliseconds since 1970.
    pub started_ms: i64,
    /// Region of the broker, if it told.
    pub region: Option<String>,
    /// Group of the consumer.
    pub group: String,
    /// Number of the listener's call, the same in the [`ConsumedTrace`].
    pub call: String,
    /// The id that the producer gave.
    pub message_id: String,
    /// How often it was consumed in vain before.
    pub reconsume_times: i32,
    /// Keys, with blanks between.
    pub keys: Option<String>,
}

/// A message that a listener got: `SubAfter`.
///
/// ```
/// use thrustmq_client::ConsumedTrace;
/// fn line(ended: &ConsumedTrace) -> String {
///     format!("{} took {} ms, done: {}", ended.message_id, ended.elapsed_ms, ended.is_success)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumedTrace {
    /// Number of the listener's call, the same in the [`ConsumingTrace`].
    pub call: String,
    /// The id that the producer gave.
    pub message_id: String,
    /// How long the call took, divided by its messages.
    pub elapsed_ms: i64,
    /// Whether the listener was content.
    pub is_success: bool,
    /// Keys, with blanks between.
    pub keys: Option<String>,
    /// Java's `ConsumeReturnType`: 0 success, 1 too late, 2 exception, 3 null, 4 later.
    pub code: i32,
    /// When, milliseconds since 1970; 0 in the records of old clients.
    pub ended_ms: i64,
    /// Group of the consumer; empty in the records of old clients.
    pub group: String,
}

/// The end of a transaction: `EndTransaction`.
///
/// ```
/// use thrustmq_client::TransactionTrace;
/// fn line(ended: &TransactionTrace) -> String {
///     format!("{} ended the transaction of {}", ended.group, ended.message_id)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionTrace {
    /// When, milliseconds since 1970.
    pub ended_ms: i64,
    /// Region of the broker, if it told.
    pub region: Option<String>,
    /// Group of the producer.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// The id that the producer gave.
    pub message_id: String,
    /// Tag.
    pub tag: Option<String>,
    /// Keys, with blanks between.
    pub keys: Option<String>,
    /// Address of the broker that stored it.
    pub stored_at: String,
    /// What kind of message it is.
    pub kind: TracedKind,
    /// Id of the transaction.
    pub transaction_id: String,
    /// `COMMIT_MESSAGE`, `ROLLBACK_MESSAGE` or `UNKNOW`.
    pub state: String,
    /// Whether the broker had asked for it.
    pub is_from_check: bool,
}

/// A message that was taken back: `Recall`.
///
/// ```
/// use thrustmq_client::RecallTrace;
/// fn line(recalled: &RecallTrace) -> String {
///     format!("{} called {} back: {}", recalled.group, recalled.message_id, recalled.is_success)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecallTrace {
    /// When, milliseconds since 1970.
    pub ended_ms: i64,
    /// Region of the broker, if it told.
    pub region: Option<String>,
    /// Group of the producer.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// The id that the producer gave.
    pub message_id: String,
    /// Whether it was taken back.
    pub is_success: bool,
}

/// Java's `MessageType`.
///
/// ```
/// use thrustmq_client::TracedKind;
/// fn is_transaction(kind: TracedKind) -> bool {
///     matches!(kind, TracedKind::Half | TracedKind::Commit)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TracedKind {
    /// An ordinary message.
    #[default]
    Normal,
    /// Part of a transaction that has not ended.
    Half,
    /// Part of a transaction that was committed.
    Commit,
    /// Delivered later than stored.
    Delayed,
    /// One of a kind that came later.
    Other,
}

const KINDS: [TracedKind; 4] = [
    TracedKind::Normal,
    TracedKind::Half,
    TracedKind::Commit,
    TracedKind::Delayed,
];

impl TracedKind {
    fn number(self) -> String {
        let place = KINDS.iter().position(|kind| *kind == self);
        place.unwrap_or(KINDS.len()).to_string()
    }

    fn of_number(text: &str) -> Self {
        let place: Option<usize> = text.parse().ok();
        let kind = place.and_then(|place| KINDS.get(place));
        kind.copied().unwrap_or(Self::Other)
    }
}

impl TraceRecord {
    /// The id that the message's producer gave.
    pub fn message_id(&self) -> &str {
        match self {
            Self::Sent(trace) => &trace.message_id,
            Self::Consuming(trace) => &trace.message_id,
            Self::Consumed(trace) => &trace.message_id,
            Self::TransactionEnded(trace) => &trace.message_id,
            Self::Recalled(trace) => &trace.message_id,
        }
    }

    /// The message's keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys = match self {
            Self::Sent(trace) => &trace.keys,
            Self::Consuming(trace) => &trace.keys,
            Self::Consumed(trace) => &trace.keys,
            Self::TransactionEnded(trace) => &trace.keys,
            Self::Recalled(_) => &None,
        };
        keys.as_deref().unwrap_or_default().split_whitespace()
    }

    /// When it happened, milliseconds since 1970; 0 if it does not say.
    pub fn time_ms(&self) -> i64 {
        match self {
            Self::Sent(trace) => trace.started_ms,
            Self::Consuming(trace) => trace.started_ms,
            Self::Consumed(trace) => trace.ended_ms,
            Self::TransactionEnded(trace) => trace.ended_ms,
            Self::Recalled(trace) => trace.ended_ms,
        }
    }

    /// The group of the client that noted it.
    pub fn group(&self) -> &str {
        match self {
            Self::Sent(trace) => &trace.group,
            Self::Consuming(trace) => &trace.group,
            Self::Consumed(trace) => &trace.group,
            Self::TransactionEnded(trace) => &trace.group,
            Self::Recalled(trace) => &trace.group,
        }
    }

    /// The text form, with its end mark.
    pub(crate) fn encode(&self) -> String {
        let mut text = Fields::default();
        match self {
            Self::Sent(trace) => trace.encode(&mut text),
            Self::Consuming(trace) => trace.encode(&mut text),
            Self::Consumed(trace) => trace.encode(&mut text),
            Self::TransactionEnded(trace) => trace.encode(&mut text),
            Self::Recalled(trace) => trace.encode(&mut text),
        }
        text.ended()
    }

    /// The records in the body of a message of the trace topic. What is no record is left out: other
    /// clients may know more kinds.
    pub(crate) fn decode_all(body: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(body);
        text.split(RECORD_SEPARATOR)
            .filter_map(Self::decode)
            .collect()
    }

    fn decode(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split(FIELD_SEPARATOR).collect();
        let (kind, rest) = fields.split_first()?;
        match *kind {
            "Pub" => SentTrace::decode(rest).map(Self::Sent),
            "SubBefore" => ConsumingTrace::decode(rest).map(Self::Consuming),
            "SubAfter" => ConsumedTrace::decode(rest).map(Self::Consumed),
            "EndTransaction" => TransactionTrace::decode(rest).map(Self::TransactionEnded),
            "Recall" => RecallTrace::decode(rest).map(Self::Recalled),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> [TraceRecord; 5] {
        [
            TraceRecord::Sent(SentTrace {
                started_ms: 1_700,
                message_id: "A".into(),
                keys: Some("k l".into()),
                kind: TracedKind::Delayed,
                offset_message_id: "PLACE".into(),
                is_success: true,
                ..SentTrace::default()
            }),
            TraceRecord::Consuming(ConsumingTrace {
                call: "C".into(),
                reconsume_times: 2,
                ..ConsumingTrace::default()
            }),
            TraceRecord::Consumed(ConsumedTrace {
                code: 4,
                group: "g".into(),
                ended_ms: 9,
                ..ConsumedTrace::default()
            }),
            TraceRecord::TransactionEnded(TransactionTrace {
                kind: TracedKind::Commit,
                state: "COMMIT_MESSAGE".into(),
                is_from_check: true,
                ..TransactionTrace::default()
            }),
            TraceRecord::Recalled(RecallTrace {
                topic: "t".into(),
                ..RecallTrace::default()
            }),
        ]
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let records = one_of_each();
        let mut body: String = records.iter().map(TraceRecord::encode).collect();
        body.push_str("Unheard\u{1}of\u{2}Pub\u{1}too short\u{2}");
        assert_eq!(TraceRecord::decode_all(body.as_bytes()), records);
    }

    #[test]
    fn records_of_other_versions_are_read() {
        let old = "Pub|5|r|g|t|ID|null|a b|h|4|6|0|true\u{2}SubAfter|C|ID|3|false|null|1\u{2}";
        let new = "Pub|5|r|g|t|ID||a b|h|4|6|9|PLACE|false|1.2.3.4\u{2}";
        let body = format!("{old}{new}").replace('|', "\u{1}");
        let records = TraceRecord::decode_all(body.as_bytes());
        let [
            TraceRecord::Sent(old),
            TraceRecord::Consumed(after),
            TraceRecord::Sent(new),
        ] = &records[..]
        else {
            panic!("{records:?}");
        };
        assert!(old.is_success && old.offset_message_id.is_empty() && old.tag.is_none());
        assert_eq!((after.code, after.ended_ms), (1, 0));
        assert_eq!((new.kind, new.is_success), (TracedKind::Other, false));
        assert_eq!(new.offset_message_id, "PLACE");
        assert_eq!(records[0].keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}
