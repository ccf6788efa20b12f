//! Records of transactions: what is stored for a half message, its checks and its end, and what a
//! producer is sent to be asked.

use std::net::SocketAddr;

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::CheckTransactionStateRequestHeader;
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::names::{HALF_TOPIC, OP_HALF_TOPIC};
use thrustmq_proto_compat::message::properties::{self, Properties};
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{
    self, Checksum, EncodeError, NewMessage, Placement, RecordView,
};
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::request_code::CheckTransactionState;

/// Half and op topic have one queue each.
pub(crate) const HALF_QUEUE: i32 = 0;
/// The tag of op messages that mark half messages as done.
pub(super) const DONE_TAG: &str = "d";
/// What [`to_half`] may add to the properties, at most: names, the real topic and queue, the key.
pub(crate) const HALF_PROPERTIES_BYTES_MAX: usize = 255 + 255 + 64;

/// Turns the properties of a message for `topic` and `queue_id` into those of its half message.
pub(crate) fn to_half(topic: &str, queue_id: i32, properties_text: &mut String) {
    let unique_key = properties::get(properties_text, name::UNIQUE_KEY).map(str::to_owned);
    let queue_id = queue_id.to_string();
    let set = [
        (name::TRANSACTION_ID, unique_key.as_deref()),
        (name::REAL_TOPIC, Some(topic)),
        (name::REAL_QUEUE_ID, Some(&queue_id)),
    ];
    for (name, value) in set {
        if properties::get(properties_text, name).is_some() {
            *properties_text = properties::without(properties_text, name).into_owned();
        }
        if let Some(value) = value {
            properties::push(properties_text, name, value);
        }
    }
}

/// Where a half message wants to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RealPlace<'a> {
    pub(crate) topic: &'a str,
    pub(crate) queue_id: i32,
}

impl<'a> RealPlace<'a> {
    /// `None` if the properties do not tell.
    pub(crate) fn in_properties(properties_text: &'a str) -> Option<Self> {
        let queue_id = properties::get(properties_text, name::REAL_QUEUE_ID)?;
        Some(Self {
            topic: properties::get(properties_text, name::REAL_TOPIC)?,
            queue_id: queue_id.parse().ok()?,
        })
    }
}

/// The properties of the message that a commit stores: those of the half message, but for where it was to go. Java
/// leaves the others of a half message.
pub(crate) fn committed_properties(half_properties_text: &str) -> String {
    let mut properties = Properties::parse(half_properties_text);
    properties.remove(name::REAL_TOPIC);
    properties.remove(name::REAL_QUEUE_ID);
    properties.to_text()
}

/// The message that a commit stores, with its properties.
pub(crate) fn committed<'a>(
    half: &RecordView<'a>,
    real: RealPlace<'a>,
    properties_text: &'a str,
) -> NewMessage<'a> {
    NewMessage {
        topic: real.topic,
        queue_id: real.queue_id,
        sys_flag: sys_flag::with_transaction_type(half.sys_flag, sys_flag::TRANSACTION_COMMIT),
        prepared_transaction_offset: half.physical_offset,
        ..half.as_new(properties_text)
    }
}

/// The properties of a half message that is stored again for its check number `times`.
pub(super) fn checked_properties(properties_text: &str, times: i32) -> String {
    let mut properties = Properties::parse(properties_text);
    properties.set(name::TRANSACTION_CHECK_TIMES, times.to_string());
    properties.to_text()
}

/// The properties of a half message that is stored again without a check: Java finds by them what the
/// producer says of the offset that it knows.
pub(super) fn put_back_properties(properties_text: &str, queue_offset: i64) -> String {
    let mut properties = Properties::parse(properties_text);
    if !properties.contains(name::TRANSACTION_PREPARED_QUEUE_OFFSET) {
        let offset = queue_offset.to_string();
        properties.set(name::TRANSACTION_PREPARED_QUEUE_OFFSET, offset);
    }
    properties.to_text()
}

/// The properties of an op message.
pub(super) fn operation_properties() -> String {
    let mut text = String::new();
    properties::push(&mut text, name::WAIT_STORE_OK, "true");
    properties::push(&mut text, name::TAGS, DONE_TAG);
    text
}

/// An op message. What it vouches for stands in a field that Java does not read there.
pub(super) fn operation<'a>(
    body: &'a str,
    properties_text: &'a str,
    vouched: i64,
    now_ms: i64,
    broker: SocketAddr,
) -> NewMessage<'a> {
    NewMessage {
        topic: OP_HALF_TOPIC,
        queue_id: HALF_QUEUE,
        flag: 0,
        sys_flag: 0,
        born_timestamp: now_ms,
        born_host: broker,
        store_host: broker,
        reconsume_times: 0,
        prepared_transaction_offset: vouched,
        body: body.as_bytes(),
        properties: properties_text,
    }
}

/// A half message at the place that its producer is told, to ask what became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) half: &'a RecordView<'a>,
    pub(super) properties_text: &'a str,
    pub(super) placement: Placement,
    pub(super) broker: SocketAddr,
    pub(super) broker_name: &'a str,
}

impl Question<'_> {
    /// 39 CHECK_TRANSACTION_STATE.
    pub(super) fn command(&self) -> Result<Command, EncodeError> {
        let unique_key = properties::get(self.properties_text, name::UNIQUE_KEY);
        let unique_key = unique_key.map(str::to_owned);
        let offset_id = OffsetId {
            store_host: self.broker,
            physical_offset: self.placement.physical_offset,
        };
        let header = CheckTransactionStateRequestHeader {
            topic: Some(HALF_TOPIC.to_owned()),
            tran_state_table_offset: self.placement.queue_offset,
            commit_log_offset: self.placement.physical_offset,
            msg_id: unique_key.clone(),
            transaction_id: unique_key,
            offset_msg_id: Some(offset_id.encode()),
            broker_name: Some(self.broker_name.to_owned()),
        };
        let command = Command::request::<CheckTransactionState>(&header);
        Ok(command.with_body(self.body()?))
    }

    /// The message as its real topic would have it.
    fn body(&self) -> Result<Vec<u8>, EncodeError> {
        let mut message = self.half.as_new(self.properties_text);
        if let Some(real) = RealPlace::in_properties(self.properties_text) {
            (message.topic, message.queue_id) = (real.topic, real.queue_id);
        }
        let mut body = Vec::new();
        record::encode(&message, Checksum::Omit, &mut body)?;
        record::patch(&mut body, self.placement);
        Ok(body)
    }
}
