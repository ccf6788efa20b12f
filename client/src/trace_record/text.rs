//! The text form of each record, field by field, as Java's `TraceDataEncoder` has them.

use super::{ConsumedTrace, ConsumingTrace, RecallTrace, SentTrace, TracedKind, TransactionTrace};

/// Between two fields.
pub(super) const FIELD_SEPARATOR: char = '\u{1}';
/// Behind each record.
pub(super) const RECORD_SEPARATOR: char = '\u{2}';
/// How Java writes what is not there.
const NOTHING: &str = "null";

/// Fields that are being put together.
#[derive(Default)]
pub(super) struct Fields(String);

impl Fields {
    fn push(&mut self, field: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(FIELD_SEPARATOR);
        }
        self.0.push_str(field);
        self
    }

    fn push_number(&mut self, number: i64) -> &mut Self {
        self.push(&number.to_string())
    }

    /// The record with its end mark.
    pub(super) fn ended(mut self) -> String {
        self.0.push(RECORD_SEPARATOR);
        self.0
    }

    fn push_known(&mut self, field: Option<&str>) -> &mut Self {
        self.push(field.unwrap_or(NOTHING))
    }
}

/// Java wrote `null` where something was not there.
fn known(field: &str) -> Option<String> {
    let is_known = !field.is_empty() && field != NOTHING;
    is_known.then(|| field.to_owned())
}

impl SentTrace {
    pub(super) fn encode(&self, text: &mut Fields) {
        text.push("Pub")
            .push_number(self.started_ms)
            .push(&self.region)
            .push(&self.group)
            .push(&self.topic)
            .push(&self.message_id)
            .push(self.tag.as_deref().unwrap_or_default())
            .push(self.keys.as_deref().unwrap_or_default())
            .push(&self.stored_at)
            .push_number(self.body_bytes)
            .push_number(self.elapsed_ms)
            .push(&self.kind.number())
            .push(&self.offset_message_id)
            .push(&self.is_success.to_string());
    }

    pub(super) fn decode(fields: &[&str]) -> Option<Self> {
        let [
            started,
            region,
            group,
            topic,
            id,
            tag,
            keys,
            host,
            bytes,
            elapsed,
            kind,
            rest @ ..,
        ] = fields
        else {
            return None;
        };
        // Old clients do not write the broker's id, new ones write their own address behind.
        let (offset_message_id, is_success) = match rest {
            [success] => ("", success),
            [id, success, ..] => (*id, success),
            [] => return None,
        };
        Some(Self {
            started_ms: started.parse().ok()?,
            region: (*region).to_owned(),
            group: (*group).to_owned(),
            topic: (*topic).to_owned(),
            message_id: (*id).to_owned(),
            tag: known(tag),
            keys: known(keys),
            stored_at: (*host).to_owned(),
            body_bytes: bytes.parse().ok()?,
            elapsed_ms: elapsed.parse().ok()?,
            kind: TracedKind::of_number(kind),
            offset_message_id: offset_message_id.to_owned(),
            is_success: *is_success == "true",
        })
    }
}

impl ConsumingTrace {
    pub(super) fn encode(&self, text: &mut Fields) {
        text.push("SubBefore")
            .push_number(self.started_ms)
            .push_known(self.region.as_deref())
            .push(&self.group)
            .push(&self.call)
            .push(&self.message_id)
            .push_number(self.reconsume_times.into())
            .push_known(self.keys.as_deref());
    }

    pub(super) fn decode(fields: &[&str]) -> Option<Self> {
        let [started, region, group, call, id, times, keys, ..] = fields else {
            return None;
        };
        Some(Self {
            started_ms: started.parse().ok()?,
            region: known(region),
            group: (*group).to_owned(),
            call: (*call).to_owned(),
            message_id: (*id).to_owned(),
            reconsume_times: times.parse().ok()?,
            keys: known(keys),
        })
    }
}

impl ConsumedTrace {
    pub(super) fn encode(&self, text: &mut Fields) {
        text.push("SubAfter")
            .push(&self.call)
            .push(&self.message_id)
            .push_number(self.elapsed_ms)
            .push(&self.is_success.to_string())
            .push_known(self.keys.as_deref())
            .push_number(self.code.into())
            .push_number(self.ended_ms)
            .push(&self.group);
    }

    pub(super) fn decode(fields: &[&str]) -> Option<Self> {
        let [call, id, elapsed, success, keys, rest @ ..] = fields else {
            return None;
        };
        let field = |at: usize| rest.get(at).copied().unwrap_or_default();
        Some(Self {
            call: (*call).to_owned(),
            message_id: (*id).to_owned(),
            elapsed_ms: elapsed.parse().ok()?,
            is_success: *success == "true",
            keys: known(keys),
            code: field(0).parse().unwrap_or_default(),
            ended_ms: field(1).parse().unwrap_or_default(),
            group: field(2).to_owned(),
        })
    }
}

impl TransactionTrace {
    pub(super) fn encode(&self, text: &mut Fields) {
        text.push("EndTransaction")
            .push_number(self.ended_ms)
            .push_known(self.region.as_deref())
            .push(&self.group)
            .push(&self.topic)
            .push(&self.message_id)
            .push(self.tag.as_deref().unwrap_or_default())
            .push(self.keys.as_deref().unwrap_or_default())
            .push(&self.stored_at)
            .push(&self.kind.number())
            .push(&self.transaction_id)
            .push(&self.state)
            .push(&self.is_from_check.to_string());
    }

    pub(super) fn decode(fields: &[&str]) -> Option<Self> {
        let [
            ended,
            region,
            group,
            topic,
            id,
            tag,
            keys,
            host,
            kind,
            transaction_id,
            state,
            is_from_check,
            ..,
        ] = fields
        else {
            return None;
        };
        Some(Self {
            ended_ms: ended.parse().ok()?,
            region: known(region),
            group: (*group).to_owned(),
            topic: (*topic).to_owned(),
            message_id: (*id).to_owned(),
            tag: known(tag),
            keys: known(keys),
            stored_at: (*host).to_owned(),
            kind: TracedKind::of_number(kind),
            transaction_id: (*transaction_id).to_owned(),
            state: (*state).to_owned(),
            is_from_check: *is_from_check == "true",
        })
    }
}

impl RecallTrace {
    pub(super) fn encode(&self, text: &mut Fields) {
        text.push("Recall")
            .push_number(self.ended_ms)
            .push_known(self.region.as_deref())
            .push(&self.group)
            .push(&self.topic)
            .push(&self.message_id)
            .push(&self.is_success.to_string());
    }

    pub(super) fn decode(fields: &[&str]) -> Option<Self> {
        let [ended, region, group, topic, id, success, ..] = fields else {
            return None;
        };
        Some(Self {
            ended_ms: ended.parse().ok()?,
            region: known(region),
            group: (*group).to_owned(),
            topic: (*topic).to_owned(),
            message_id: (*id).to_owned(),
            is_success: *success == "true",
        })
    }
}
