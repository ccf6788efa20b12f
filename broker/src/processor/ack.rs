//! 200051 ACK_MESSAGE and 200151 BATCH_ACK_MESSAGE: messages on lease are done.
//!
//! A handle that names no lease any more changes nothing, and is answered like one that does: the
//! client may have sent it twice.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thrustmq_proto_compat::body::{BatchAck, BatchAckMessageRequestBody};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::AckMessageRequestHeader;
use thrustmq_remoting::{Incoming, Peer, Refusal, Reply, Responder};
use thrustmq_store::QueueRange;

use super::ack_ahead::{Ahead, acknowledge_ahead};
use super::pop_order;
use super::send_refusals::append_refusal;
use super::when_flushed::send_when_flushed;
use crate::broker::Broker;
use crate::offset::GroupQueue;
use crate::pop::info::ExtraInfo;
use crate::pop::names::TopicKind;
use crate::pop::order::JOURNAL_QUEUE;
use crate::pop::queue_state::{Handle, Lease};
use crate::pop::table::QueueKey;
use crate::refusal;

/// Bits of one acknowledgement that are looked at: no pop has more messages, nor lie they further
/// apart in a batch of one handle.
const BITS_MAX: usize = 1 << 20;

/// 200051 ACK_MESSAGE.
pub(crate) fn ack_message(
    broker: &Arc<Broker>,
    incoming: Incoming<AckMessageRequestHeader>,
    responder: Responder,
) {
    answer(broker, responder, acknowledge_one(broker, &incoming));
}

/// 200151 BATCH_ACK_MESSAGE.
pub(crate) fn batch_ack_message(
    broker: &Arc<Broker>,
    incoming: Incoming<()>,
    responder: Responder,
) {
    answer(broker, responder, acknowledge_batch(broker, &incoming));
}

fn answer(broker: &Broker, responder: Responder, acknowledged: Result<i64, Refusal>) {
    match acknowledged {
        Ok(end_offset) => send_when_flushed(broker, end_offset, responder, Reply::success()),
        Err(refusal) => responder.refuse(refusal),
    }
}

/// The end of what has to be on the disk.
fn acknowledge_one(
    broker: &Broker,
    incoming: &Incoming<AckMessageRequestHeader>,
) -> Result<i64, Refusal> {
    let header = &incoming.header;
    check_queue(broker, &header.topic, header.queue_id, &incoming.peer)?;
    let QueueRange { min, max } = broker.store.queue_range(&header.topic, header.queue_id);
    if header.offset < min || header.offset > max {
        let offset = header.offset;
        return Err(refusal::ack_out_of_range(
            &header.topic,
            header.queue_id,
            offset,
            min,
            max,
        ));
    }
    let info = ExtraInfo::parse(&header.extra_info);
    let info = info.ok_or_else(|| refusal::handle_unreadable(&header.extra_info))?;
    let key = QueueKey {
        group: header.consumer_group.clone(),
        topic: header.topic.clone(),
        queue_id: header.queue_id,
    };
    let lease = Leased {
        key: &key,
        journal_queue: info.journal_queue,
        start_offset: info.start_offset,
        pop_time_ms: info.pop_time_ms,
        invisible_ms: info.invisible_ms,
    };
    acknowledge(broker, lease, &[header.offset], &incoming.peer)
}

/// The topic has to be there, and the queue in it.
pub(super) fn check_queue(
    broker: &Broker,
    topic: &str,
    queue_id: i32,
    consumer: &Peer,
) -> Result<(), Refusal> {
    let config = broker.topics.find(topic);
    let config = config.ok_or_else(|| refusal::pulled_topic_not_exist(topic))?;
    if (0..config.read_queue_nums).contains(&queue_id) {
        return Ok(());
    }
    let read_queues = config.read_queue_nums;
    Err(refusal::lease_queue_out_of_range(
        queue_id,
        topic,
        read_queues,
        consumer,
    ))
}

fn acknowledge_batch(broker: &Broker, incoming: &Incoming<()>) -> Result<i64, Refusal> {
    let body = incoming.command.body.to_bytes();
    let body: BatchAckMessageRequestBody =
        fastjson::from_slice(&body).map_err(|_| refusal::nothing_on_lease())?;
    if body.acks.is_empty() {
        return Err(refusal::nothing_on_lease());
    }
    let mut end_offset = 0;
    for ack in &body.acks {
        end_offset = end_offset.max(acknowledge_entry(broker, ack, &incoming.peer)?);
    }
    Ok(end_offset)
}

fn acknowledge_entry(broker: &Broker, ack: &BatchAck, peer: &Peer) -> Result<i64, Refusal> {
    let kind = TopicKind::from_sign(&ack.retry);
    let kind = kind.ok_or_else(|| refusal::handle_unreadable(&ack.retry))?;
    let key = QueueKey {
        topic: kind.topic(&ack.topic, &ack.consumer_group),
        group: ack.consumer_group.clone(),
        queue_id: ack.queue_id,
    };
    let bits = STANDARD.decode(&ack.bit_set);
    let bits = bits.map_err(|_| refusal::handle_unreadable(&ack.bit_set))?;
    let QueueRange { min, max } = broker.store.queue_range(&key.topic, key.queue_id);
    let offsets: Vec<i64> = set_bits(&bits)
        .map(|bit| ack.start_offset.saturating_add(bit))
        .filter(|offset| (min..=max).contains(offset))
        .collect();
    let lease = Leased {
        key: &key,
        journal_queue: ack.revive_queue_id,
        start_offset: ack.start_offset,
        pop_time_ms: ack.pop_time,
        invisible_ms: ack.invisible_time,
    };
    acknowledge(broker, lease, &offsets, peer)
}

/// The places of the bits that are set: of the first byte the lowest first, as Java's `BitSet` has
/// them.
fn set_bits(bytes: &[u8]) -> impl Iterator<Item = i64> {
    let bits = bytes.iter().enumerate().flat_map(|(place, byte)| {
        let is_set = move |bit: &usize| byte >> bit & 1 == 1;
        (0..8).filter(is_set).map(move |bit| place * 8 + bit)
    });
    let bits = bits.take_while(|bit| *bit < BITS_MAX);
    bits.filter_map(|bit| i64::try_from(bit).ok())
}

/// What handles of one pop have in common.
#[derive(Clone, Copy)]
struct Leased<'a> {
    key: &'a QueueKey,
    journal_queue: i32,
    start_offset: i64,
    pop_time_ms: i64,
    invisible_ms: i64,
}

fn acknowledge(
    broker: &Broker,
    lease: Leased<'_>,
    offsets: &[i64],
    peer: &Peer,
) -> Result<i64, Refusal> {
    let Leased {
        key,
        journal_queue,
        pop_time_ms,
        ..
    } = lease;
    if journal_queue == JOURNAL_QUEUE {
        let queue = GroupQueue {
            group: &key.group,
            topic: &key.topic,
            queue_id: key.queue_id,
        };
        pop_order::acknowledge(broker, queue, pop_time_ms, offsets, peer)?;
        return Ok(0);
    }
    let handles = offsets.iter().map(|offset| Handle {
        offset: *offset,
        pop_time_ms,
    });
    let acknowledged = broker.pop.acknowledge(key, handles);
    let acknowledged =
        acknowledged.map_err(|error| append_refusal(&broker.config.current(), &error))?;
    let messages = u64::try_from(acknowledged.messages).unwrap_or(u64::MAX);
    broker
        .stats
        .record_acknowledged(&key.group, &key.topic, messages);
    if acknowledged.messages == offsets.len() {
        return Ok(acknowledged.end_offset);
    }
    let lease = Lease {
        start_offset: lease.start_offset,
        pop_time_ms,
        invisible_ms: lease.invisible_ms,
        journal_offset: 0,
        attempts: 0,
    };
    let ahead = acknowledge_ahead(
        broker,
        key,
        &Ahead {
            lease,
            journal_queue,
            offsets,
        },
    )?;
    Ok(acknowledged.end_offset.max(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_lowest_of_the_first_byte_on() {
        let bits: Vec<i64> = set_bits(&[0b0000_0101, 0, 0b1000_0000]).collect();
        assert_eq!(bits, [0, 2, 23]);
    }
}
