//! Looking without taking: 200052 PEEK_MESSAGE, and 200055 POLLING_INFO.

use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::command::Body;
use thrustmq_proto_compat::header::{
    PeekMessageRequestHeader, PollingInfoRequestHeader, PollingInfoResponseHeader,
    PopMessageResponseHeader,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply, Responder};
use thrustmq_store::{ReadRequest, ReadStatus};

use super::cold::run_cold;
use super::pop_checks::{Asked, check_look};
use super::pop_queues::{Place, Wanted, places};
use crate::broker::Broker;
use crate::offset::GroupQueue;
use crate::pop::hold::PollKey;
use crate::refusal;
use crate::stats::Given;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What was seen.
#[derive(Default)]
struct Seen {
    records: Vec<Bytes>,
    rest: i64,
}

/// 200052 PEEK_MESSAGE: the next messages of a group, without a lease.
pub(crate) fn peek_message(
    broker: &Arc<Broker>,
    incoming: Incoming<PeekMessageRequestHeader>,
    responder: Responder,
) {
    // Rare, and old messages are on the disk.
    run_cold(broker, responder, move |broker, responder| {
        responder.send(peek(broker, &incoming));
    });
}

fn peek(
    broker: &Broker,
    incoming: &Incoming<PeekMessageRequestHeader>,
) -> Handled<PopMessageResponseHeader> {
    let header = &incoming.header;
    let config = broker.config.current();
    let asked = Asked {
        group: &header.consumer_group,
        topic: &header.topic,
        queue_id: header.queue_id,
        peer: &incoming.peer,
    };
    let topic = check_look(broker, &config, &asked)?;
    let wanted = Wanted {
        group: &header.consumer_group,
        topic: &topic,
        queue_id: header.queue_id,
        is_ordered: false,
    };
    let mut seen = Seen::default();
    for place in places(broker, &config, wanted, broker.pop.dice()) {
        look_into(broker, header, &place, &mut seen)?;
    }
    count(broker, header, &seen);
    let (code, remark) = if seen.records.is_empty() {
        (ResponseCode::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE")
    } else {
        (ResponseCode::SUCCESS, "FOUND")
    };
    let answer = PopMessageResponseHeader {
        rest_num: seen.rest,
        ..PopMessageResponseHeader::default()
    };
    Ok(Reply::ok(answer)
        .with_code(code)
        .with_remark(remark)
        .with_body(Body::Many(seen.records)))
}

/// What was seen counts as got.
fn count(broker: &Broker, header: &PeekMessageRequestHeader, seen: &Seen) {
    if seen.records.is_empty() {
        return;
    }
    let bytes: usize = seen.records.iter().map(Bytes::len).sum();
    let given = Given {
        messages: u64::try_from(seen.records.len()).unwrap_or(u64::MAX),
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    };
    let (group, topic) = (&header.consumer_group, &header.topic);
    broker
        .stats
        .record_get(group, topic, header.queue_id, given);
}

fn look_into(
    broker: &Broker,
    header: &PeekMessageRequestHeader,
    place: &Place,
    seen: &mut Seen,
) -> Result<(), Refusal> {
    let range = broker.store.queue_range(&place.topic, place.queue_id);
    let offset = broker.offsets.query(GroupQueue {
        group: &header.consumer_group,
        topic: &place.topic,
        queue_id: place.queue_id,
    });
    let offset = offset.unwrap_or(range.min);
    seen.rest += range.max - offset;
    let wanted = usize::try_from(header.max_msg_nums).unwrap_or(0);
    if seen.records.len() >= wanted {
        return Ok(());
    }
    let request = ReadRequest {
        topic: &place.topic,
        queue_id: place.queue_id,
        offset,
        messages_max: wanted - seen.records.len(),
        bytes_max: ANSWER_BYTES_MAX,
        filter: None,
    };
    let mut outcome = broker.store.read(&request).map_err(refusal::unreadable)?;
    if matches!(
        outcome.status,
        ReadStatus::OffsetTooSmall | ReadStatus::OffsetOverflowBadly
    ) {
        let request = ReadRequest {
            offset: outcome.next_offset,
            ..request
        };
        outcome = broker.store.read(&request).map_err(refusal::unreadable)?;
    }
    seen.records.append(&mut outcome.records);
    Ok(())
}

/// 200055 POLLING_INFO: how many pops wait.
pub(crate) fn polling_info(
    broker: &Broker,
    incoming: Incoming<PollingInfoRequestHeader>,
) -> Handled<PollingInfoResponseHeader> {
    let header = &incoming.header;
    let asked = Asked {
        group: &header.consumer_group,
        topic: &header.topic,
        queue_id: header.queue_id,
        peer: &incoming.peer,
    };
    check_look(broker, &broker.config.current(), &asked)?;
    let waiting = broker.pop.polling.count_of(&PollKey {
        topic: header.topic.clone(),
        group: header.consumer_group.clone(),
        queue_id: header.queue_id,
    });
    Ok(Reply::ok(PollingInfoResponseHeader {
        polling_num: i32::try_from(waiting).unwrap_or(i32::MAX),
    }))
}
