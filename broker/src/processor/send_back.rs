//! 36 CONSUMER_SEND_MSG_BACK: a consumer returns a message that it could not handle.
//!
//! The broker reads the record and stores it again for the group's retry topic, delayed a level
//! longer each time, or for its dead-letter topic when it was tried often enough (05 §5.6).

use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::body::SubscriptionGroupConfig;
use thrustmq_proto_compat::header::ConsumerSendMsgBackRequestHeader;
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordView};
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply, Responder};
use thrustmq_store::ReadError;

use super::cold::run_cold;
use super::send_checks::group_topic;
use super::send_destination::{VERSION_3_4_9, any_queue, dead_letter_topic};
use super::send_refusals::append_status;
use crate::broker::Broker;
use crate::refusal;
use crate::topic::PERM_WRITE;

/// Level of the first retry where the consumer leaves it to the broker.
const FIRST_RETRY_LEVEL: i32 = 3;
/// Topic flag: the topic is consumed across units.
const UNIT_SUBSCRIBED: i32 = 2;

type Request = Incoming<ConsumerSendMsgBackRequestHeader>;

/// 36 CONSUMER_SEND_MSG_BACK.
pub(crate) fn consumer_send_back(broker: &Arc<Broker>, incoming: Request, responder: Responder) {
    let offset = incoming.header.offset;
    match broker.store.record_in_memory(offset) {
        // All sends wait for this thread.
        Err(ReadError::NotInMemory) => run_cold(broker, responder, move |broker, responder| {
            let record = broker.store.record_at(offset);
            responder.send(send_back(broker, &incoming, record));
        }),
        record => responder.send(send_back(broker, &incoming, record)),
    }
}

fn send_back(broker: &Broker, incoming: &Request, record: Result<Bytes, ReadError>) -> Handled<()> {
    let header = &incoming.header;
    let group = broker.groups.find(&header.group);
    let group = group.ok_or_else(|| refusal::group_not_exist(&header.group))?;
    let config = broker.config.current();
    if config.broker_permission & PERM_WRITE == 0 {
        return Err(refusal::broker_not_writable(&config.broker_ip1));
    }
    if group.retry_queue_nums <= 0 {
        return Ok(Reply::success());
    }
    let retry_topic = retry_topic(broker, &group, header.unit_mode)?;
    let record = record.map_err(|error| refusal::message_not_read(error, header.offset))?;
    let view = record::check(&record, CheckBody::Skip);
    let view = view.map_err(|_| refusal::message_gone(header.offset))?;
    let retry = Retry::plan(broker, incoming, &group, &view, retry_topic);
    store(broker, &retry, &view)?;
    let origin = properties_topic(&retry.properties, &view);
    broker.stats.record_send_back(&header.group, origin);
    if retry.dead_letter {
        broker.stats.record_dead_letter(&header.group, origin);
        let told = header.origin_topic.as_deref().unwrap_or("null");
        broker.stats.record_dead_send_back(&header.group, told);
        let unique_key = retry.properties.get(name::UNIQUE_KEY).unwrap_or("");
        tracing::info!(
            group = header.group,
            origin,
            unique_key,
            "message is given up"
        );
    }
    Ok(Reply::success())
}

/// Creates the group's retry topic if need be.
fn retry_topic(
    broker: &Broker,
    group: &SubscriptionGroupConfig,
    unit_mode: bool,
) -> Result<String, Refusal> {
    let topic = names::retry_topic(&group.group_name);
    let sys_flag = if unit_mode { UNIT_SUBSCRIBED } else { 0 };
    let wanted = group_topic(&topic, group.retry_queue_nums, sys_flag);
    let outcome = broker.topics.create_for_group(wanted);
    if outcome.is_changed {
        broker.namesrv.register_soon();
    }
    if outcome.config.perm & PERM_WRITE == 0 {
        return Err(refusal::topic_not_writable(&topic));
    }
    Ok(topic)
}

/// Where a returned message goes, and with which properties.
struct Retry {
    topic: String,
    queue_id: i32,
    /// 0: at once.
    delay_level: i32,
    dead_letter: bool,
    properties: Properties,
}

impl Retry {
    fn plan(
        broker: &Broker,
        incoming: &Request,
        group: &SubscriptionGroupConfig,
        view: &RecordView<'_>,
        retry_topic: String,
    ) -> Self {
        let header = &incoming.header;
        let told = header
            .max_reconsume_times
            .filter(|_| incoming.command.version >= VERSION_3_4_9);
        let times_max = told.unwrap_or(group.retry_max_times);
        let dead_letter = view.reconsume_times >= times_max || header.delay_level < 0;
        let mut properties = returned_properties(view);
        let delay_level = match (dead_letter, header.delay_level) {
            (true, _) => 0,
            (false, 0) => FIRST_RETRY_LEVEL.saturating_add(view.reconsume_times),
            (false, level) => level,
        };
        properties.set(name::DELAY_LEVEL, delay_level.to_string());
        if dead_letter {
            return Self {
                topic: dead_letter_topic(broker, &header.group),
                queue_id: 0,
                delay_level,
                dead_letter,
                properties,
            };
        }
        // The level says when it comes again, not a time of its own.
        for timer in [
            name::TIMER_DELIVER_MS,
            name::TIMER_DELAY_SEC,
            name::TIMER_DELAY_MS,
        ] {
            properties.remove(timer);
        }
        Self {
            topic: retry_topic,
            queue_id: any_queue(incoming.command.opaque, group.retry_queue_nums),
            delay_level,
            dead_letter,
            properties,
        }
    }
}

/// The message's properties with where it came from, which the first return notes and the others
/// keep.
fn returned_properties(view: &RecordView<'_>) -> Properties {
    let mut properties = Properties::parse(&view.properties_text());
    if !properties.contains(name::RETRY_TOPIC) {
        properties.set(name::RETRY_TOPIC, view.topic);
    }
    if !properties.contains(name::ORIGIN_MESSAGE_ID) {
        let id = OffsetId {
            store_host: view.store_host,
            physical_offset: view.physical_offset,
        };
        properties.set(name::ORIGIN_MESSAGE_ID, id.encode());
    }
    properties.set(name::WAIT_STORE_OK, "false");
    properties
}

fn properties_topic<'a>(properties: &'a Properties, view: &RecordView<'a>) -> &'a str {
    properties.get(name::RETRY_TOPIC).unwrap_or(view.topic)
}

fn store(broker: &Broker, retry: &Retry, view: &RecordView<'_>) -> Result<(), Refusal> {
    let mut text = retry.properties.to_text();
    let (mut topic, mut queue_id) = (retry.topic.as_str(), retry.queue_id);
    if retry.delay_level > 0 {
        let scheduled = broker
            .delay
            .schedule(retry.delay_level, topic, queue_id, &mut text);
        (topic, queue_id) = (scheduled.topic, scheduled.queue_id);
    }
    let mut message = view.as_new(&text);
    message.topic = topic;
    message.queue_id = queue_id;
    message.store_host = broker.advertised;
    message.reconsume_times = view.reconsume_times.saturating_add(1);
    message.prepared_transaction_offset = 0;
    let appended = broker.store.append(&message).map_err(|error| {
        broker.stats.record_put_failure();
        refusal::send_back_failed(append_status(&error))
    })?;
    let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
    broker.stats.record_put(topic, queue_id, 1, bytes);
    Ok(())
}
