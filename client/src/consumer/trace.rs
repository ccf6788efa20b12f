//! Message trace of what is consumed, as Java's clients write it (11-observability §11.3): a record for
//! each message before its listener is called, and one after.

use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::property_name;

use super::hook::ConsumeEnd;
use crate::ReceivedMessage;
use crate::producer::trace::{TraceText, Tracer};
use crate::trace_record::{ConsumedTrace, ConsumingTrace, TraceRecord};

/// Traces what a consumer consumes.
#[derive(Debug)]
pub(super) struct TraceConsumption {
    tracer: Tracer,
    /// As the application named it.
    group: String,
    /// Numbers of calls, by which the records before and after belong together.
    calls: UniqueKeys,
}

impl TraceConsumption {
    pub(super) fn new(tracer: Tracer, group: String, calls: UniqueKeys) -> Self {
        Self {
            tracer,
            group,
            calls,
        }
    }

    /// Notes that a listener is about to be called; returns the number of the call.
    pub(super) fn before(&self, messages: &[ReceivedMessage], now_ms: i64) -> String {
        let call = self.calls.next_key();
        for message in messages.iter().filter(|message| is_traced(message)) {
            let region = message.properties.get(property_name::MSG_REGION);
            let trace = ConsumingTrace {
                started_ms: now_ms,
                region: region.map(str::to_owned),
                group: self.group.clone(),
                call: call.clone(),
                message_id: message.message_id(),
                reconsume_times: message.reconsume_times,
                keys: keys(message).map(str::to_owned),
            };
            self.record(message, &TraceRecord::Consuming(trace));
        }
        call
    }

    /// Notes how that call ended.
    pub(super) fn after(&self, messages: &[ReceivedMessage], call: &str, ended: Ended) {
        let count = i64::try_from(messages.len()).unwrap_or(i64::MAX).max(1);
        let is_success = ended.end == ConsumeEnd::Success;
        for message in messages.iter().filter(|message| is_traced(message)) {
            let trace = ConsumedTrace {
                call: call.to_owned(),
                message_id: message.message_id(),
                elapsed_ms: ended.elapsed_ms / count,
                is_success,
                keys: keys(message).map(str::to_owned),
                code: code(ended.end),
                ended_ms: ended.now_ms,
                group: self.group.clone(),
            };
            self.record(message, &TraceRecord::Consumed(trace));
        }
    }

    fn record(&self, message: &ReceivedMessage, record: &TraceRecord) {
        let id = message.message_id();
        self.tracer.record(TraceText {
            text: record.encode(),
            keys: match keys(message) {
                Some(keys) => format!("{id} {keys}"),
                None => id,
            },
        });
    }
}

/// The end of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) end: ConsumeEnd,
    pub(super) now_ms: i64,
    pub(super) elapsed_ms: i64,
}

/// Brokers say of messages that are not to be traced.
fn is_traced(message: &ReceivedMessage) -> bool {
    message.properties.get(property_name::TRACE_ON) != Some("false")
}

fn keys(message: &ReceivedMessage) -> Option<&str> {
    message.properties.get(property_name::KEYS)
}

/// The place in Java's `ConsumeReturnType`.
fn code(end: ConsumeEnd) -> i32 {
    match end {
        ConsumeEnd::Success => 0,
        ConsumeEnd::TimedOut => 1,
        ConsumeEnd::Panicked => 2,
        ConsumeEnd::Failed => 4,
    }
}
