//! What a producer is told of its send. It is written straight into the answer's text: of all answers it
//! is the most frequent.

use std::borrow::Cow;
use std::sync::Arc;

use thrustmq_proto_compat::field::{FieldSink, FieldText, TextSink};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::table::SentHeader;
use thrustmq_remoting::Reply;

use crate::config::BrokerConfig;

/// Where the messages went: the fields of `SendMessageResponseHeader`.
pub(super) struct SendAnswer<'a> {
    pub(super) ids: Ids,
    pub(super) queue_id: i32,
    /// Of a batch the first.
    pub(super) queue_offset: i64,
    pub(super) unique_key: Option<Cow<'a, str>>,
    pub(super) recall_handle: Option<String>,
}

/// The place of a message, or those of a batch with commas between.
pub(super) enum Ids {
    One(OffsetId),
    Many(String),
}

impl SendAnswer<'_> {
    /// For after the request is gone.
    pub(super) fn into_owned(self) -> SendAnswer<'static> {
        SendAnswer {
            unique_key: self.unique_key.map(|key| Cow::Owned(key.into_owned())),
            ids: self.ids,
            queue_id: self.queue_id,
            queue_offset: self.queue_offset,
            recall_handle: self.recall_handle,
        }
    }
}

impl FieldText for Ids {
    const IS_PLAIN: bool = true;

    fn write(&self, out: &mut impl TextSink) {
        match self {
            Self::One(id) => id.write(out),
            Self::Many(ids) => out.push_str(ids),
        }
    }
}

impl SentHeader for SendAnswer<'_> {
    fn encode(&self, fields: &mut impl FieldSink) {
        fields.push("msgId", &self.ids);
        fields.push("queueId", &self.queue_id);
        fields.push("queueOffset", &self.queue_offset);
        if let Some(key) = &self.unique_key {
            fields.push("transactionId", key.as_ref());
        }
        if let Some(handle) = &self.recall_handle {
            fields.push("recallHandle", handle);
        }
    }
}

/// A header, and where the broker is.
pub(super) struct WithOrigin<H> {
    header: H,
    config: Arc<BrokerConfig>,
}

impl<H: SentHeader> SentHeader for WithOrigin<H> {
    fn encode(&self, fields: &mut impl FieldSink) {
        self.header.encode(fields);
        fields.push(name::MSG_REGION, &self.config.region_id);
        fields.push(name::TRACE_ON, &self.config.trace_on);
    }
}

/// Every answer to a send, refusals too, tells the region and whether to trace.
pub(super) fn told_origin<H>(config: Arc<BrokerConfig>, reply: Reply<H>) -> Reply<WithOrigin<H>> {
    reply.map_header(|header| WithOrigin { header, config })
}
