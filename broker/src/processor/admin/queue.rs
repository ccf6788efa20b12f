//! What the store's queues hold: 29 to 32 and 321.

use thrustmq_proto_compat::body::{ConsumeQueueData, QueryConsumeQueueResponseBody};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    BoundaryType, GetEarliestMsgStoretimeRequestHeader, GetEarliestMsgStoretimeResponseHeader,
    GetMaxOffsetRequestHeader, GetMaxOffsetResponseHeader, GetMinOffsetRequestHeader,
    GetMinOffsetResponseHeader, QueryConsumeQueueRequestHeader, SearchOffsetRequestHeader,
    SearchOffsetResponseHeader,
};
use thrustmq_remoting::{Handled, Incoming, Reply};
use thrustmq_store::Boundary;

use crate::broker::Broker;
use crate::processor::json_body;
use crate::refusal;

/// Entries of one answer: a frame's worth.
const ENTRIES_MAX: i64 = 65_536;

/// `SEARCH_OFFSET_BY_TIMESTAMP`.
pub(crate) fn search_offset(
    broker: &Broker,
    incoming: Incoming<SearchOffsetRequestHeader>,
) -> Handled<SearchOffsetResponseHeader> {
    let header = incoming.header;
    let boundary = match header.boundary_type.unwrap_or_default() {
        BoundaryType::Lower => Boundary::Lower,
        BoundaryType::Upper => Boundary::Upper,
    };
    let (topic, queue_id) = (&header.topic, header.queue_id);
    let offset = broker
        .store
        .offset_by_time(topic, queue_id, header.timestamp_ms, boundary)
        .map_err(refusal::unreadable)?;
    Ok(Reply::ok(SearchOffsetResponseHeader { offset }))
}

/// `GET_MAX_OFFSET`.
pub(crate) fn max_offset(
    broker: &Broker,
    incoming: Incoming<GetMaxOffsetRequestHeader>,
) -> Handled<GetMaxOffsetResponseHeader> {
    let header = incoming.header;
    let offset = broker.store.queue_range(&header.topic, header.queue_id).max;
    Ok(Reply::ok(GetMaxOffsetResponseHeader { offset }))
}

/// `GET_MIN_OFFSET`.
pub(crate) fn min_offset(
    broker: &Broker,
    incoming: Incoming<GetMinOffsetRequestHeader>,
) -> Handled<GetMinOffsetResponseHeader> {
    let header = incoming.header;
    let offset = broker.store.queue_range(&header.topic, header.queue_id).min;
    Ok(Reply::ok(GetMinOffsetResponseHeader { offset }))
}

/// `GET_EARLIEST_MSG_STORETIME`; -1 if the queue holds nothing.
pub(crate) fn earliest_store_time(
    broker: &Broker,
    incoming: Incoming<GetEarliestMsgStoretimeRequestHeader>,
) -> Handled<GetEarliestMsgStoretimeResponseHeader> {
    let header = incoming.header;
    let earliest = broker
        .store
        .earliest_store_time(&header.topic, header.queue_id);
    Ok(Reply::ok(GetEarliestMsgStoretimeResponseHeader {
        timestamp_ms: earliest.unwrap_or(-1),
    }))
}

/// `QUERY_CONSUME_QUEUE`: entries from an index on.
pub(crate) fn query_queue(
    broker: &Broker,
    incoming: Incoming<QueryConsumeQueueRequestHeader>,
) -> Handled<()> {
    let header = incoming.header;
    let (topic, queue_id) = (&header.topic, header.queue_id);
    if !broker.store.queues_of(topic).contains(&queue_id) {
        return Err(refusal::queue_not_exist(topic, queue_id));
    }
    let range = broker.store.queue_range(topic, queue_id);
    let group = header.consumer_group.as_deref();
    let subscription = group.and_then(|group| broker.consumers.subscription(group, topic));
    let is_offline = group.is_some() && subscription.is_none();
    let mut body = QueryConsumeQueueResponseBody {
        max_queue_index: range.max,
        min_queue_index: range.min,
        filter_data: group.map(|group| match is_offline {
            true => format!("{group}@{topic} is not online!"),
            false => filter_data(broker, group, topic),
        }),
        subscription_data: subscription.map(|subscription| subscription.data.clone()),
        ..QueryConsumeQueueResponseBody::default()
    };
    if header.index < range.min || header.index >= range.max {
        let index = header.index;
        let remark = format!("Index {index} of {queue_id}@{topic} is not exist!");
        return json_body::answer(Reply::success().with_remark(remark), &body);
    }
    let count = i64::from(header.count).clamp(0, ENTRIES_MAX);
    let end = header.index.saturating_add(count).min(range.max);
    body.queue_data = (header.index..end)
        .map_while(|index| broker.store.queue_entry(topic, queue_id, index))
        .map(|entry| ConsumeQueueData {
            physic_offset: entry.physical_offset,
            physic_size: entry.record_bytes,
            tags_code: entry.tags_code,
            ..ConsumeQueueData::default()
        })
        .collect();
    json_body::answer(Reply::success(), &body)
}

/// What the group filters by, as Java shows it: in lines, or the word `null`.
fn filter_data(broker: &Broker, group: &str, topic: &str) -> String {
    let data = broker.filters.data(topic, group);
    let text = fastjson::to_pretty_vec(&data).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}
