//! The request that carries a message, or a batch of them, and what the broker answers to it.
//!
//! [`SendRequest::of`] is the one place that decides what travels with a message.

use std::io;

use bytes::Bytes;
use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{SendMessageRequestHeaderV2, SendMessageResponseHeader};
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::compress::{CompressionType, compress};
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::{names, properties, property_name, sys_flag};
use thrustmq_proto_compat::request_code::{SendBatchMessage, SendMessageV2, SendReplyMessageV2};
use thrustmq_proto_compat::response_code::ResponseCode;
use tracing::warn;

use crate::link::AUTO_CREATE_QUEUES;
use crate::message::{Message, MessageError};
use crate::namespace::Namespace;

/// Room for the unique key, with its name and both separators.
const UNIQUE_KEY_BYTES: usize = property_name::UNIQUE_KEY.len() + 56 + 2;

/// The type of a message that answers a request.
pub(crate) const REPLY: &str = "reply";

/// What a producer adds to each of its messages.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) group: String,
    pub(crate) namespace: Namespace,
    pub(crate) keys: UniqueKeys,
    pub(crate) body_bytes_max: usize,
    pub(crate) compression: CompressionType,
    pub(crate) compression_level: u32,
    /// Longer bodies are compressed.
    pub(crate) compress_above_bytes: usize,
    /// Whether what is sent is traced.
    pub(crate) traces: bool,
}

/// A message on its way; only the queue is still open.
#[derive(Debug)]
pub(crate) struct SendRequest {
    header: SendMessageRequestHeaderV2,
    body: Bytes,
    /// The id that the application sees; of a batch all of them, with commas between.
    message_id: String,
    /// Whether the receipt is to tell the region.
    wants_region: bool,
    /// It answers a request: brokers push it to the requester.
    is_reply: bool,
}

/// How safely a message is stored.
///
/// ```
/// use thrustmq_client::{SendReceipt, SendStatus};
/// fn is_on_disk(receipt: &SendReceipt) -> bool {
///     receipt.status != SendStatus::FlushTimedOut
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendStatus {
    /// As safely as the broker was configured to store it.
    Stored,
    /// In memory: the disk was too slow.
    FlushTimedOut,
    /// On the master: the slave was too slow.
    ReplicaTimedOut,
    /// On the master: there is no slave.
    NoReplica,
}

/// Where a message went. In every status it *is* stored.
///
/// ```no_run
/// # async fn example(producer: thrustmq_client::Producer) -> Result<(), thrustmq_client::SendError> {
/// use thrustmq_client::Message;
/// let receipt = producer.send(Message::new("orders", "4711")).await?;
/// println!("{} is number {} of {}", receipt.msg_id, receipt.queue_offset, receipt.queue);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReceipt {
    /// How safely.
    pub status: SendStatus,
    /// The id that this producer gave; of a batch all of them, with commas between.
    pub msg_id: String,
    /// The id by place that the broker gave; of a batch all of them, with commas between.
    pub offset_msg_id: String,
    /// The queue.
    pub queue: MessageQueue,
    /// Its number in the queue; of a batch the first.
    pub queue_offset: i64,
    /// Of the first message of a transaction: the id that brokers give the transaction.
    pub transaction_id: Option<String>,
    /// Of a message with `deliver_at` or `deliver_after`: what
    /// [`Producer::recall`](crate::Producer::recall) takes it back with.
    pub recall_handle: Option<String>,
    /// The broker's region, if it wants the message traced and the producer traces.
    pub(crate) region: Option<String>,
}

impl SendRequest {
    /// Checks a message, gives it a unique key, and compresses it if it is long.
    pub(crate) fn of(
        sender: &Sender,
        message: &Message,
        now_ms: i64,
    ) -> Result<Self, MessageError> {
        message.check(sender.body_bytes_max)?;
        let mut text = message.properties_text(UNIQUE_KEY_BYTES)?;
        let message_id = sender.keys.next_key();
        properties::push(&mut text, property_name::UNIQUE_KEY, &message_id);
        if let Some(namespace) = sender.namespace.name() {
            properties::push(&mut text, property_name::INSTANCE_ID, namespace);
        }
        let packed = pack(sender, message.body());
        let sys_flag = packed.sys_flag | transaction_flag(message);
        Ok(Self {
            header: header(sender, message, now_ms, text, sys_flag),
            body: packed.body,
            message_id,
            wants_region: sender.traces,
            is_reply: message.system_property(property_name::MESSAGE_TYPE) == Some(REPLY),
        })
    }

    /// A batch: one request, one queue. The messages must be for one topic.
    pub(crate) fn of_batch(
        sender: &Sender,
        messages: &[Message],
        now_ms: i64,
    ) -> Result<Self, MessageError> {
        let first = messages.first().ok_or(MessageError::EmptyBody)?;
        let mut body = Vec::with_capacity(messages.iter().map(batch_bytes).sum());
        let mut ids = Vec::with_capacity(messages.len());
        for message in messages {
            check_for_batch(first, message, sender.body_bytes_max)?;
            let mut text = message.properties_text(UNIQUE_KEY_BYTES)?;
            let key = sender.keys.next_key();
            properties::push(&mut text, property_name::UNIQUE_KEY, &key);
            let item = BatchItem {
                flag: message.user_flag(),
                body: message.body(),
                properties: &text,
            };
            batch::encode(&item, &mut body)
                .map_err(|_| MessageError::NotForBatch("a message that long"))?;
            ids.push(key);
        }
        let mut text = String::new();
        if let Some(wait) = first.system_property(property_name::WAIT_STORE_OK) {
            properties::push(&mut text, property_name::WAIT_STORE_OK, wait);
        }
        properties::push(
            &mut text,
            property_name::UNIQUE_KEY,
            &sender.keys.next_key(),
        );
        let mut header = header(sender, first, now_ms, text, 0);
        header.batch = true;
        Ok(Self {
            header,
            body: body.into(),
            message_id: ids.join(","),
            wants_region: sender.traces,
            is_reply: false,
        })
    }

    /// The topic it is for.
    pub(crate) fn topic(&self) -> &str {
        &self.header.topic
    }

    /// Bytes of the body, as it travels.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The command that stores it in `queue`.
    pub(crate) fn command(&mut self, queue: &MessageQueue) -> Command {
        self.header.queue_id = queue.queue_id;
        self.header.broker_name = Some(queue.broker_name.clone());
        let command = if self.header.batch {
            Command::request::<SendBatchMessage>(&self.header)
        } else if self.is_reply {
            Command::request::<SendReplyMessageV2>(&self.header)
        } else {
            Command::request::<SendMessageV2>(&self.header)
        };
        command.with_body(self.body.clone())
    }

    /// Reads the broker's answer. `None`: it is a refusal. An error: its header cannot be read.
    pub(crate) fn receipt(
        &self,
        queue: &MessageQueue,
        answer: &Command,
    ) -> Option<Result<SendReceipt, String>> {
        let status = SendStatus::of(answer.response_code())?;
        let header = answer.header::<SendMessageResponseHeader>();
        Some(
            header
                .map_err(|cause| cause.to_string())
                .map(|header| SendReceipt {
                    status,
                    msg_id: self.message_id.clone(),
                    offset_msg_id: header.msg_id,
                    queue: MessageQueue {
                        queue_id: header.queue_id,
                        ..queue.clone()
                    },
                    queue_offset: header.queue_offset,
                    transaction_id: header.transaction_id,
                    recall_handle: header.recall_handle,
                    region: self.wants_region.then(|| region_to_trace(answer)).flatten(),
                }),
        )
    }
}

impl SendReceipt {
    /// Of the receipt of a batch: that of one of its messages, counted from 0.
    pub(crate) fn of_message(&self, at: usize) -> Self {
        let part = |ids: &str| ids.split(',').nth(at).unwrap_or(ids).to_owned();
        let later = i64::try_from(at).unwrap_or(i64::MAX);
        Self {
            msg_id: part(&self.msg_id),
            offset_msg_id: part(&self.offset_msg_id),
            queue_offset: self.queue_offset.saturating_add(later),
            ..self.clone()
        }
    }
}

impl SendStatus {
    /// The status of an answer's code; `None`: the message is not stored.
    fn of(code: ResponseCode) -> Option<Self> {
        match code {
            ResponseCode::SUCCESS => Some(Self::Stored),
            ResponseCode::FLUSH_DISK_TIMEOUT => Some(Self::FlushTimedOut),
            ResponseCode::FLUSH_SLAVE_TIMEOUT => Some(Self::ReplicaTimedOut),
            ResponseCode::SLAVE_NOT_AVAILABLE => Some(Self::NoReplica),
            _ => None,
        }
    }
}

/// The region that the broker tells, or Java's default for brokers that do not; none if the broker
/// does not want traces.
fn region_to_trace(answer: &Command) -> Option<String> {
    if answer.fields.get(property_name::TRACE_ON) == Some("false") {
        return None;
    }
    let region = answer.fields.get(property_name::MSG_REGION);
    let region = region.filter(|region| !region.is_empty());
    Some(region.unwrap_or("DefaultRegion").to_owned())
}

/// Bytes that a message adds to a batch, or a few more.
pub(crate) fn batch_bytes(message: &Message) -> usize {
    let properties = message
        .properties_text(UNIQUE_KEY_BYTES)
        .map_or(0, |text| text.capacity());
    message.body().len() + properties + 22
}

fn header(
    sender: &Sender,
    message: &Message,
    now_ms: i64,
    properties: String,
    sys_flag: i32,
) -> SendMessageRequestHeaderV2 {
    SendMessageRequestHeaderV2 {
        producer_group: sender.group.clone(),
        topic: sender.namespace.wrap(message.topic()).into_owned(),
        default_topic: names::AUTO_CREATE_TOPIC.to_owned(),
        default_topic_queue_nums: AUTO_CREATE_QUEUES,
        queue_id: 0,
        sys_flag,
        born_timestamp_ms: now_ms,
        flag: message.user_flag(),
        properties: Some(properties),
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: None,
    }
}

fn check_for_batch(
    first: &Message,
    message: &Message,
    body_bytes_max: usize,
) -> Result<(), MessageError> {
    message.check(body_bytes_max)?;
    if message.topic() != first.topic() {
        return Err(MessageError::NotForBatch("a message for another topic"));
    }
    if names::is_retry_topic(message.topic()) {
        return Err(MessageError::NotForBatch("a message for a retry topic"));
    }
    if message.is_delayed() {
        return Err(MessageError::NotForBatch("a delayed message"));
    }
    let wait = |m: &Message| m.system_property(property_name::WAIT_STORE_OK) != Some("false");
    if wait(message) != wait(first) {
        return Err(MessageError::NotForBatch(
            "a message with another `wait_store_ok`",
        ));
    }
    Ok(())
}

fn transaction_flag(message: &Message) -> i32 {
    match message.system_property(property_name::TRANSACTION_PREPARED) {
        Some("true") => sys_flag::TRANSACTION_PREPARED,
        _ => 0,
    }
}

struct Packed {
    body: Bytes,
    sys_flag: i32,
}

/// Compresses a long body, if that makes it shorter.
fn pack(sender: &Sender, body: &Bytes) -> Packed {
    let plain = Packed {
        body: body.clone(),
        sys_flag: 0,
    };
    if body.len() <= sender.compress_above_bytes {
        return plain;
    }
    match compress(body, sender.compression, sender.compression_level) {
        Ok(packed) if packed.len() < body.len() => Packed {
            body: packed.into(),
            sys_flag: sender.compression.sys_flag_bits(),
        },
        Ok(_) => plain,
        Err(cause) => {
            warn_uncompressed(&cause);
            plain
        }
    }
}

fn warn_uncompressed(cause: &io::Error) {
    warn!(%cause, "message sent uncompressed since its body could not be compressed");
}

#[cfg(test)]
mod tests;
