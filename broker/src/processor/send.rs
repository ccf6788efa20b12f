//! Sending: 10, 310 and 320, single messages and batches.
//!
//! Runs on the send pool. The message is checked, given the broker's properties and appended; with
//! ASYNC_FLUSH it is answered at once, with SYNC_FLUSH the responder waits in the store until the
//! record is on the disk. The thread itself never waits.
//!
//! Not served, and refused with Java's words for a broker that has them switched off: transactional
//! messages (code 16) and messages with a delivery time of their own (code 1).

use std::net::SocketAddr;

use bytes::Bytes;
use thrustmq_proto_compat::body::{TopicConfig, TopicFilterType};
use thrustmq_proto_compat::header::{
    SendMessageRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader,
};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Incoming, Refusal, Reply, Responder};
use thrustmq_store::{FlushOutcome, NewMessage};

use super::send_batch;
use super::send_checks::{check_send, group_topic};
use super::send_properties::{Additions, Found, to_store};
use super::send_refusals::{append_refusal, illegal};
use crate::broker::Broker;
use crate::config::{BrokerConfig, FlushDiskType};
use crate::delay::SCHEDULE_PROPERTIES_BYTES_MAX;
use crate::refusal;

/// Clients before 3.4.9 do not tell how often a message may be retried.
pub(super) const VERSION_3_4_9: i32 = 121;
/// Queues of a dead-letter topic.
pub(super) const DEAD_LETTER_QUEUES: i32 = 1;
/// Room for the unique key, should the broker have to make it.
const UNIQUE_KEY_BYTES: usize = 72;

/// A stored message, and what its producer is told.
pub(super) struct Stored {
    pub(super) header: SendMessageResponseHeader,
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
    let incoming = Incoming {
        header: SendMessageRequestHeaderV2::from(incoming.header),
        command: incoming.command,
        peer: incoming.peer,
        received_ms: incoming.received_ms,
    };
    send_message_v2(broker, incoming, responder);
}

/// 310 SEND_MESSAGE_V2 and 320 SEND_BATCH_MESSAGE: whether it is a batch, the header says.
pub(crate) fn send_message_v2(
    broker: &Broker,
    incoming: Incoming<SendMessageRequestHeaderV2>,
    responder: Responder,
) {
    let config = broker.config.current();
    let stored = check_send(broker, &config, &incoming).and_then(|topic| {
        let sending = Sending {
            broker,
            config: &config,
            incoming: &incoming,
            topic: &topic,
            begun_ms: broker.clock.now_ms(),
        };
        if incoming.header.batch {
            send_batch::store(&sending)
        } else {
            store_one(&sending)
        }
    });
    match stored {
        Ok(stored) => answer(broker, &config, stored, responder),
        Err(refusal) => responder.refuse(refusal),
    }
}

/// One send that passed its checks.
pub(super) struct Sending<'a> {
    pub(super) broker: &'a Broker,
    pub(super) config: &'a BrokerConfig,
    pub(super) incoming: &'a Incoming<SendMessageRequestHeaderV2>,
    pub(super) topic: &'a TopicConfig,
    pub(super) begun_ms: i64,
}

/// Where a message goes in the end, and what its properties become on the way.
struct Destination {
    /// The topic, if it is not the one that was asked for.
    topic: Option<String>,
    queue_id: i32,
    dead_letter: bool,
}

impl Sending<'_> {
    pub(super) fn additions(&self) -> Additions<'_> {
        Additions {
            cluster: &self.config.broker_cluster_name,
            region: &self.config.region_id,
            trace_on: self.config.trace_on,
        }
    }

    /// The queue that was asked for; a negative one means any.
    pub(super) fn queue_id(&self) -> i32 {
        let asked = self.incoming.header.queue_id;
        if asked >= 0 {
            return asked;
        }
        any_queue(self.incoming.command.opaque, self.topic.write_queue_nums)
    }

    pub(super) fn sys_flag(&self) -> i32 {
        let sent = self.incoming.header.sys_flag;
        if self.topic.topic_filter_type == TopicFilterType::MultiTag {
            sent | sys_flag::MULTI_TAGS
        } else {
            sent
        }
    }

    /// The message, but for body, flag and properties, which differ within a batch.
    pub(super) fn new_message(&self) -> NewMessage<'_> {
        let header = &self.incoming.header;
        NewMessage {
            topic: &header.topic,
            queue_id: self.queue_id(),
            flag: header.flag,
            sys_flag: self.sys_flag(),
            born_timestamp: header.born_timestamp_ms,
            born_host: self.incoming.peer.remote_addr(),
            store_host: self.broker.advertised,
            reconsume_times: header.reconsume_times,
            prepared_transaction_offset: 0,
            body: &[],
            properties: "",
        }
    }

    /// A message to a retry topic that was tried too often, or that its group consumes in order, is
    /// given up (03 §3.2, 5).
    fn destination(&self) -> Result<Destination, Refusal> {
        let header = &self.incoming.header;
        let asked = Destination {
            topic: None,
            queue_id: self.queue_id(),
            dead_letter: false,
        };
        let Some(group) = names::group_of_retry_topic(&header.topic) else {
            return Ok(asked);
        };
        let known = self.broker.groups.find(group);
        let group_config = known.ok_or_else(|| refusal::group_not_exist(group))?;
        let told = header
            .max_reconsume_times
            .filter(|_| self.incoming.command.version >= VERSION_3_4_9);
        let times_max = told.unwrap_or(group_config.retry_max_times);
        if header.reconsume_times <= times_max && !self.broker.locks.holds_any(group) {
            return Ok(asked);
        }
        let topic = dead_letter_topic(self.broker, group);
        self.broker.stats.record_dead_letter(group, &header.topic);
        Ok(Destination {
            topic: Some(topic),
            queue_id: 0,
            dead_letter: true,
        })
    }

    fn needs_keys(&self) -> bool {
        let policy = self.topic.attributes.get("cleanup.policy");
        policy.is_some_and(|policy| policy == "COMPACTION")
    }
}

/// Creates a group's dead-letter topic if need be; its name.
pub(super) fn dead_letter_topic(broker: &Broker, group: &str) -> String {
    let topic = names::dead_letter_topic(group);
    if !broker.topics.contains(&topic) {
        let wanted = group_topic(&topic, DEAD_LETTER_QUEUES, 0);
        if broker.topics.create_for_group(wanted).is_changed {
            broker.namesrv.register_soon();
        }
    }
    topic
}

/// Spreads requests over queues by their number, which rises with each of a client.
pub(super) fn any_queue(opaque: i32, queues: i32) -> i32 {
    opaque.rem_euclid(queues.max(1))
}

fn store_one(sending: &Sending<'_>) -> Result<Stored, Refusal> {
    let sent = sending.incoming.header.properties.as_deref().unwrap_or("");
    let mut found = Found::scan(sent);
    let mut destination = sending.destination()?;
    check_message(sending, &found)?;
    if destination.dead_letter {
        found.delay_level = 0;
    }
    if found.timer && found.delay_level <= 0 {
        return Err(refusal::timer_off());
    }
    let mut stored_properties = to_store(sent, &found, &sending.additions(), room_bytes(&found));
    if destination.dead_letter {
        stored_properties = properties::without(&stored_properties, name::DELAY_LEVEL).into_owned();
        properties::push(&mut stored_properties, name::DELAY_LEVEL, "-1");
    }
    let unique_key = match found.unique_key {
        Some(key) => key.to_owned(),
        None => {
            let key = sending.broker.unique_keys.next_key();
            properties::push(&mut stored_properties, name::UNIQUE_KEY, &key);
            key
        }
    };
    if found.delay_level > 0 {
        let level = found.delay_level;
        destination = schedule(sending, level, destination, &mut stored_properties);
    }
    let stored = append_one(sending, &destination, &stored_properties, unique_key)?;
    Ok(Stored {
        no_wait: found.no_wait,
        ..stored
    })
}

/// Refuses what this broker does not store, in Java's order.
fn check_message(sending: &Sending<'_>, found: &Found<'_>) -> Result<(), Refusal> {
    let header = &sending.incoming.header;
    if sending.needs_keys() && !found.keys {
        return Err(refusal::message_key_missing());
    }
    // Clients before 4.6.1 left the mark on transactional messages that they sent to be retried.
    let is_retry = header.reconsume_times > 0 && found.delay_level > 0;
    if found.transaction && !is_retry {
        return Err(refusal::transactions_off(&sending.config.broker_ip1));
    }
    // No queue here holds several messages in one record.
    if found.inner_batch || header.sys_flag & sys_flag::INNER_BATCH != 0 {
        return Err(illegal(sending.config));
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
    let schedule = if found.delay_level > 0 {
        SCHEDULE_PROPERTIES_BYTES_MAX
    } else {
        0
    };
    key + schedule
}

/// Sends the message to wait at a delay level first.
fn schedule(
    sending: &Sending<'_>,
    level: i32,
    real: Destination,
    stored_properties: &mut String,
) -> Destination {
    let topic = real
        .topic
        .as_deref()
        .unwrap_or(&sending.incoming.header.topic);
    let delay = &sending.broker.delay;
    let scheduled = delay.schedule(level, topic, real.queue_id, stored_properties);
    Destination {
        topic: Some(scheduled.topic.to_owned()),
        queue_id: scheduled.queue_id,
        dead_letter: false,
    }
}

fn append_one(
    sending: &Sending<'_>,
    destination: &Destination,
    stored_properties: &str,
    unique_key: String,
) -> Result<Stored, Refusal> {
    let broker = sending.broker;
    let body: Bytes = sending.incoming.command.body.to_bytes();
    let bytes_max = usize::try_from(sending.config.message_bytes_max).unwrap_or(0);
    if body.is_empty() || body.len() > bytes_max {
        return Err(illegal(sending.config));
    }
    let mut message = sending.new_message();
    message.topic = destination.topic.as_deref().unwrap_or(message.topic);
    message.queue_id = destination.queue_id;
    message.body = &body;
    message.properties = stored_properties;
    let appended = broker.store.append(&message).map_err(|error| {
        broker.stats.record_put_failure();
        append_refusal(sending.config, &error)
    })?;
    let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
    broker
        .stats
        .record_put(message.topic, message.queue_id, 1, bytes);
    broker
        .stats
        .record_put_time(broker.clock.now_ms() - sending.begun_ms);
    Ok(Stored {
        header: SendMessageResponseHeader {
            msg_id: offset_id(broker.advertised, appended.physical_offset),
            // A delayed message is told where it would have gone, as Java does.
            queue_id: sending.queue_id(),
            queue_offset: appended.queue_offset,
            transaction_id: Some(unique_key),
            batch_uniq_id: None,
            recall_handle: None,
        },
        end_offset: appended.end_offset,
        no_wait: false,
    })
}

fn offset_id(store_host: SocketAddr, physical_offset: i64) -> String {
    let id = OffsetId {
        store_host,
        physical_offset,
    };
    id.encode()
}

/// Tells the producer, now or when the message is on the disk.
fn answer(broker: &Broker, config: &BrokerConfig, stored: Stored, responder: Responder) {
    let waits = config.flush_disk_type == FlushDiskType::SyncFlush && !stored.no_wait;
    let reply = Reply::ok(stored.header)
        .with_field(name::MSG_REGION, config.region_id.clone())
        .with_field(name::TRACE_ON, config.trace_on);
    if !waits {
        return responder.send(Ok(reply));
    }
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
