//! Sending: 10, 310 and 320, single messages and batches.
//!
//! Runs on the send pool, or in its place. The message is checked, given the broker's properties and appended; with
//! ASYNC_FLUSH it is answered at once, with SYNC_FLUSH the responder waits in the store until the
//! record is on the disk. The thread itself never waits.

use std::borrow::Cow;
use std::sync::Arc;

use thrustmq_proto_compat::body::{TopicConfig, TopicFilterType};
use thrustmq_proto_compat::header::SendMessageRequestHeader;
use thrustmq_proto_compat::message::id::{OffsetId, RecallHandle};
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Incoming, Refusal, Reply, Responder};
use thrustmq_store::{FlushOutcome, NewMessage};

use super::send_answer::{Ids, SendAnswer, told_origin};
use super::send_batch;
use super::send_checks::check_send;
use super::send_destination::{self, Destination, any_queue, is_half_message, on_the_way};
use super::send_properties::{Additions, Found, to_store};
use super::send_refusals::{append_refusal, illegal};
use super::send_request::SendRequest;
use crate::broker::Broker;
use crate::config::{BrokerConfig, FlushDiskType};
use crate::refusal;
use crate::stats::Put;

/// Room for the unique key, should the broker have to make it.
const UNIQUE_KEY_BYTES: usize = 72;

/// A stored message, and what its producer is told.
pub(super) struct Stored<'a> {
    pub(super) answer: SendAnswer<'a>,
    /// What has to be on the disk for the message to be safe.
    pub(super) end_offset: i64,
    /// The producer does not wait for that.
    pub(super) no_wait: bool,
}

/// 10 SEND_MESSAGE.
pub(crate) fn send_message(
    broker: &Broker,
    incoming: Incoming<SendMessageRequestHeader>,
    responder: Responder,
) {
    send(broker, SendRequest::of_long(&incoming), responder);
}

/// 310 SEND_MESSAGE_V2 and 320 SEND_BATCH_MESSAGE: whether it is a batch, the header says.
pub(crate) fn send_message_v2(broker: &Broker, incoming: Incoming<()>, responder: Responder) {
    match SendRequest::read(&incoming) {
        Ok(request) => send(broker, request, responder),
        Err(refusal) => responder.refuse(refusal),
    }
}

fn send(broker: &Broker, request: SendRequest<'_>, responder: Responder) {
    let config = broker.config.current();
    let stored = check_send(broker, &config, &request).and_then(|topic| {
        let sending = Sending {
            broker,
            config: &config,
            request,
            topic: &topic,
            priority: None,
        };
        if request.header.batch {
            send_batch::store(&sending)
        } else {
            store_one(&sending)
        }
    });
    match stored {
        Ok(stored) => answer(broker, config, stored, responder),
        Err(refusal) => responder.send(Ok(told_origin(config, Reply::refused(refusal)))),
    }
}

/// One send that passed its checks.
pub(super) struct Sending<'a, 'r> {
    pub(super) broker: &'a Broker,
    pub(super) config: &'a BrokerConfig,
    pub(super) request: SendRequest<'r>,
    pub(super) topic: &'a TopicConfig,
    /// Queues are priorities: the message's is its queue, whatever was asked for.
    pub(super) priority: Option<i32>,
}

impl Sending<'_, '_> {
    pub(super) fn additions(&self) -> Additions<'_> {
        Additions {
            cluster: &self.config.broker_cluster_name,
            region: &self.config.region_id,
            trace_on: self.config.trace_on,
        }
    }

    /// The queue that was asked for; a negative one means any.
    pub(super) fn queue_id(&self) -> i32 {
        if let Some(priority) = self.priority {
            return priority.min(self.topic.write_queue_nums - 1).max(0);
        }
        let asked = self.request.header.queue_id;
        if asked >= 0 {
            return asked;
        }
        any_queue(self.request.command.opaque, self.topic.write_queue_nums)
    }

    pub(super) fn sys_flag(&self) -> i32 {
        let sent = self.request.header.sys_flag;
        if self.topic.topic_filter_type == TopicFilterType::MultiTag {
            sent | sys_flag::MULTI_TAGS
        } else {
            sent
        }
    }

    /// The message, but for body, flag and properties, which differ within a batch.
    pub(super) fn new_message(&self) -> NewMessage<'_> {
        let header = &self.request.header;
        NewMessage {
            topic: header.topic,
            queue_id: self.queue_id(),
            flag: header.flag,
            sys_flag: self.sys_flag(),
            born_timestamp: header.born_timestamp_ms,
            born_host: self.request.peer.remote_addr(),
            store_host: self.broker.advertised,
            reconsume_times: header.reconsume_times,
            prepared_transaction_offset: 0,
            body: &[],
            properties: "",
        }
    }

    fn needs_keys(&self) -> bool {
        let policy = self.topic.attributes.get("cleanup.policy");
        policy.is_some_and(|policy| policy == "COMPACTION")
    }
}

fn store_one<'r>(sending: &Sending<'_, 'r>) -> Result<Stored<'r>, Refusal> {
    let sent = sending.request.header.properties.unwrap_or("");
    let mut found = Found::scan(sent);
    let sending = &Sending {
        priority: found.priority(),
        ..*sending
    };
    let mut destination = send_destination::in_the_end(sending)?;
    check_message(sending, &found)?;
    if destination.dead_letter {
        found.delay_level = 0;
    }
    let mut stored_properties = to_store(sent, &found, &sending.additions(), room_bytes(&found));
    if destination.dead_letter {
        stored_properties = properties::without(&stored_properties, name::DELAY_LEVEL).into_owned();
        properties::push(&mut stored_properties, name::DELAY_LEVEL, "-1");
    }
    let unique_key = match found.unique_key {
        Some(key) => Cow::Borrowed(key),
        None => {
            let key = sending.broker.unique_keys.next_key();
            properties::push(&mut stored_properties, name::UNIQUE_KEY, &key);
            Cow::Owned(key)
        }
    };
    destination = on_the_way(sending, &found, destination, &mut stored_properties)?;
    let stored = append_one(sending, &destination, &stored_properties, unique_key)?;
    Ok(Stored {
        no_wait: found.no_wait,
        ..stored
    })
}

/// Refuses what this broker does not store, in Java's order.
fn check_message(sending: &Sending<'_, '_>, found: &Found<'_>) -> Result<(), Refusal> {
    let header = &sending.request.header;
    if sending.needs_keys() && !found.keys {
        return Err(refusal::message_key_missing());
    }
    if is_half_message(sending, found) {
        check_transaction(sending)?;
    }
    // No queue here holds several messages in one record.
    if found.inner_batch || header.sys_flag & sys_flag::INNER_BATCH != 0 {
        return Err(illegal(sending.config));
    }
    Ok(())
}

fn check_transaction(sending: &Sending<'_, '_>) -> Result<(), Refusal> {
    if sending.config.reject_transactions {
        return Err(refusal::transactions_off(&sending.config.broker_ip1));
    }
    if sending.broker.transactions.is_full() {
        return Err(refusal::too_many_open_transactions());
    }
    Ok(())
}

/// What the caller of `to_store` will still push.
fn room_bytes(found: &Found<'_>) -> usize {
    let key = if found.unique_key.is_none() {
        UNIQUE_KEY_BYTES
    } else {
        0
    };
    key + send_destination::room_bytes(found)
}

fn append_one<'r>(
    sending: &Sending<'_, 'r>,
    destination: &Destination,
    stored_properties: &str,
    unique_key: Cow<'r, str>,
) -> Result<Stored<'r>, Refusal> {
    let broker = sending.broker;
    let body = sending.request.command.body.in_one_piece();
    let bytes_max = usize::try_from(sending.config.message_bytes_max).unwrap_or(0);
    if body.is_empty() || body.len() > bytes_max {
        return Err(illegal(sending.config));
    }
    let mut message = sending.new_message();
    message.topic = destination.topic.as_deref().unwrap_or(message.topic);
    message.queue_id = destination.queue_id;
    if destination.half_message {
        message.sys_flag = sys_flag::with_transaction_type(message.sys_flag, 0);
    }
    message.body = &body;
    message.properties = stored_properties;
    let appended = broker.store.append(&message).map_err(|error| {
        broker.stats.record_put_failure();
        append_refusal(sending.config, &error)
    })?;
    if destination.half_message {
        broker.transactions.sent(&message, &appended);
    }
    let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
    let put = Put {
        messages: 1,
        bytes,
        took_ms: appended.took_ms,
    };
    broker
        .stats
        .record_timed_put(message.topic, message.queue_id, put);
    let recall_handle = recall_handle(sending, destination, &unique_key);
    Ok(Stored {
        answer: SendAnswer {
            ids: Ids::One(OffsetId {
                store_host: broker.advertised,
                physical_offset: appended.physical_offset,
            }),
            // A delayed message is told where it would have gone, as Java does.
            queue_id: sending.queue_id(),
            queue_offset: appended.queue_offset,
            unique_key: Some(unique_key),
            recall_handle,
        },
        end_offset: appended.end_offset,
        no_wait: false,
    })
}

/// What a message that waits in the timer can be recalled with. The time is within its slot, as Java
/// floors it again.
fn recall_handle(
    sending: &Sending<'_, '_>,
    destination: &Destination,
    unique_key: &str,
) -> Option<String> {
    let slot_ms = destination.timer_slot_ms?;
    let topic = sending.request.header.topic;
    if names::is_retry_topic(topic) {
        return None;
    }
    let handle = RecallHandle {
        topic: topic.to_owned(),
        broker_name: sending.config.broker_name.clone(),
        deliver_ms: slot_ms.saturating_add(1),
        unique_key: unique_key.to_owned(),
    };
    Some(handle.encode())
}

/// Tells the producer, now or when the message is on the disk.
fn answer(broker: &Broker, config: Arc<BrokerConfig>, stored: Stored<'_>, responder: Responder) {
    let waits = config.flush_disk_type == FlushDiskType::SyncFlush && !stored.no_wait;
    if !waits {
        return responder.send(Ok(told_origin(config, Reply::ok(stored.answer))));
    }
    let reply = told_origin(config, Reply::ok(stored.answer.into_owned()));
    let finish = move |outcome| {
        let code = match outcome {
            FlushOutcome::Flushed => ResponseCode::SUCCESS,
            FlushOutcome::TimedOut | FlushOutcome::Failed => ResponseCode::FLUSH_DISK_TIMEOUT,
        };
        responder.send(Ok(reply.with_code(code)));
    };
    broker
        .store
        .when_flushed(stored.end_offset, Box::new(finish));
}
