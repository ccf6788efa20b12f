//! Offsets that an operator moves: 222 and 314.

use std::collections::BTreeMap;

use thrustmq_proto_compat::body::{
    MessageQueue, MessageQueueForC, ResetOffsetBody, ResetOffsetBodyForC,
};
use thrustmq_proto_compat::command::{Command, Language};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{CloneGroupOffsetRequestHeader, ResetOffsetRequestHeader};
use thrustmq_proto_compat::request_code::ResetConsumerClientOffset;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply};
use thrustmq_store::Boundary;

use crate::broker::Broker;
use crate::offset::GroupQueue;
use crate::pop::table::QueueKey;
use crate::processor::json_body;
use crate::refusal;

/// Clients before 3.0.7 can not be told.
const VERSION_MIN: i32 = 28;
/// In the header: no offset is given.
const NO_OFFSET: i64 = -1;

/// `INVOKE_BROKER_TO_RESET_OFFSET`: a group goes on where the operator says. The broker keeps that
/// until the group pulls, or (`useServerSideResetOffset=false`) tells the consumers at once.
pub(crate) fn reset_offset(
    broker: &Broker,
    incoming: Incoming<ResetOffsetRequestHeader>,
) -> Handled<()> {
    let header = &incoming.header;
    tracing::info!(peer = %incoming.peer, ?header, "offsets are to be reset");
    let targets = if broker.config.current().server_side_reset {
        assign(broker, header)?
    } else {
        tell_consumers(broker, header, incoming.command.language)?
    };
    let offset_table = by_queue(broker, &header.topic, targets);
    json_body::answer(Reply::success(), &ResetOffsetBody { offset_table })
}

/// `CLONE_GROUP_OFFSET`: one group gets the offsets of another; of one topic, or of all that the
/// source has offsets of. Topics that the source's live consumers don't subscribe to are left out,
/// unless the source is said to be offline.
pub(crate) fn clone_offsets(
    broker: &Broker,
    incoming: Incoming<CloneGroupOffsetRequestHeader>,
) -> Handled<()> {
    let header = &incoming.header;
    let topics = match header.topic.as_deref() {
        Some(topic) if !topic.trim().is_empty() => vec![topic.to_owned()],
        _ => broker
            .offsets
            .topics_of(&header.src_group)
            .into_iter()
            .collect(),
    };
    for topic in topics {
        let is_left_out = !header.offline && broker.consumers.leaves_out(&header.src_group, &topic);
        if broker.topics.contains(&topic) && !is_left_out {
            broker
                .offsets
                .clone_group(&header.src_group, &header.dest_group, &topic);
        }
    }
    Ok(Reply::success())
}

fn assign(
    broker: &Broker,
    header: &ResetOffsetRequestHeader,
) -> Result<BTreeMap<i32, i64>, Refusal> {
    let (topic, group) = (&header.topic, &header.group);
    let config = broker.topics.find(topic);
    let config = config.ok_or_else(|| refusal::reset_topic_absent(topic))?;
    if !broker.groups.contains(group) {
        return Err(refusal::reset_group_absent(group));
    }
    let targets = if header.queue_id >= 0 {
        BTreeMap::from([(header.queue_id, target_of_one(broker, header)?)])
    } else {
        let queues = 0..config.read_queue_nums;
        queues
            .map(|queue_id| Ok((queue_id, target(broker, header, queue_id)?)))
            .collect::<Result<_, Refusal>>()?
    };
    if targets.is_empty() {
        return Err(refusal::no_queue_to_reset());
    }
    for (queue_id, offset) in &targets {
        let queue = GroupQueue {
            group,
            topic,
            queue_id: *queue_id,
        };
        broker.offsets.assign_reset(queue, (*offset).max(0));
        let key = QueueKey {
            group: group.clone(),
            topic: topic.clone(),
            queue_id: *queue_id,
        };
        let offset = (*offset).max(0);
        broker.pop.note_reset(&key, offset, &broker.offsets);
    }
    // What is answered outlives the process.
    broker.offsets.flush();
    Ok(targets)
}

fn target_of_one(broker: &Broker, header: &ResetOffsetRequestHeader) -> Result<i64, Refusal> {
    let Some(offset) = header.offset.filter(|offset| *offset != NO_OFFSET) else {
        return target(broker, header, header.queue_id);
    };
    let range = broker.store.queue_range(&header.topic, header.queue_id);
    if offset < range.min || offset > range.max.saturating_add(1) {
        return Err(refusal::reset_target_out_of_range(
            offset, range.min, range.max,
        ));
    }
    Ok(offset)
}

/// The offset at the wanted time; a negative time is now.
fn target(
    broker: &Broker,
    header: &ResetOffsetRequestHeader,
    queue_id: i32,
) -> Result<i64, Refusal> {
    let (topic, time_ms) = (&header.topic, header.timestamp_ms);
    if time_ms < 0 {
        return Ok(broker.store.queue_range(topic, queue_id).max);
    }
    broker
        .store
        .offset_by_time(topic, queue_id, time_ms, Boundary::Lower)
        .map_err(refusal::unreadable)
}

fn tell_consumers(
    broker: &Broker,
    header: &ResetOffsetRequestHeader,
    asker: Language,
) -> Result<BTreeMap<i32, i64>, Refusal> {
    let (topic, group) = (&header.topic, &header.group);
    let config = broker.topics.find(topic);
    let config = config.ok_or_else(|| refusal::client_reset_topic_absent(topic))?;
    let mut targets = BTreeMap::new();
    for queue_id in 0..config.write_queue_nums {
        let queue = GroupQueue {
            group,
            topic,
            queue_id,
        };
        let consumed = broker.offsets.query(queue);
        let consumed = consumed.ok_or_else(|| refusal::client_reset_group_absent(group))?;
        let wanted = target(broker, header, queue_id)?.max(0);
        let goes_on = if header.is_force {
            wanted
        } else {
            wanted.min(consumed)
        };
        targets.insert(queue_id, goes_on);
    }
    let state = broker.consumers.find(group);
    let state =
        state.ok_or_else(|| refusal::client_reset_offline(group, topic, header.timestamp_ms))?;
    let order = order_to_reset(broker, header, asker, &targets)?;
    for member in state.members() {
        let client = &member.client;
        if client.version < VERSION_MIN {
            return Err(refusal::client_too_old(client.version));
        }
        if let Err(error) = client.peer.oneway(order.clone()) {
            tracing::warn!(group, client_id = client.client_id, %error, "consumer is not told to reset its offsets");
        }
    }
    Ok(targets)
}

/// What consumers are sent. Asked by a C++ tool, the broker writes the form that C++ clients read.
fn order_to_reset(
    broker: &Broker,
    header: &ResetOffsetRequestHeader,
    asker: Language,
    targets: &BTreeMap<i32, i64>,
) -> Result<Command, Refusal> {
    let offset_table = by_queue(broker, &header.topic, targets.clone());
    let body = if asker == Language::Cpp {
        let queues = offset_table
            .into_iter()
            .map(|(queue, offset)| MessageQueueForC {
                broker_name: queue.broker_name,
                offset,
                queue_id: queue.queue_id,
                topic: queue.topic,
            });
        fastjson::to_vec(&ResetOffsetBodyForC {
            offset_table: queues.collect(),
        })
    } else {
        fastjson::to_vec(&ResetOffsetBody { offset_table })
    };
    let body = body.map_err(|error| refusal::unwritable_body(&error))?;
    let order = ResetOffsetRequestHeader {
        group: header.group.clone(),
        topic: header.topic.clone(),
        timestamp_ms: header.timestamp_ms,
        ..ResetOffsetRequestHeader::default()
    };
    Ok(Command::request::<ResetConsumerClientOffset>(&order).with_body(body))
}

fn by_queue(
    broker: &Broker,
    topic: &str,
    offsets: BTreeMap<i32, i64>,
) -> BTreeMap<MessageQueue, i64> {
    let broker_name = &broker.config.current().broker_name;
    let offsets = offsets.into_iter().map(|(queue_id, offset)| {
        let queue = MessageQueue {
            broker_name: broker_name.clone(),
            queue_id,
            topic: topic.to_owned(),
        };
        (queue, offset)
    });
    offsets.collect()
}
