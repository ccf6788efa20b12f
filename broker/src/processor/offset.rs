//! Offsets of groups, and the members of a group: 14, 15 and 38.

use thrustmq_proto_compat::body::GetConsumerListByGroupResponseBody;
use thrustmq_proto_compat::header::{
    GetConsumerListByGroupRequestHeader, QueryConsumerOffsetRequestHeader,
    QueryConsumerOffsetResponseHeader, UpdateConsumerOffsetRequestHeader,
};
use thrustmq_remoting::{Handled, Incoming, Reply};

use super::json_body;
use crate::broker::Broker;
use crate::offset::GroupQueue;
use crate::refusal;

/// `QUERY_CONSUMER_OFFSET`. A group without an offset begins at 0 as long as the queue's first
/// message is there and in memory: then it can still get everything.
pub(crate) fn query_consumer_offset(
    broker: &Broker,
    incoming: Incoming<QueryConsumerOffsetRequestHeader>,
) -> Handled<QueryConsumerOffsetResponseHeader> {
    let header = &incoming.header;
    let queue = GroupQueue {
        group: &header.consumer_group,
        topic: &header.topic,
        queue_id: header.queue_id,
    };
    if let Some(offset) = broker.offsets.query(queue) {
        return Ok(Reply::ok(QueryConsumerOffsetResponseHeader { offset }));
    }
    if header.set_zero_if_not_found == Some(false) {
        return Err(refusal::offset_not_found_nor_zero());
    }
    let range = broker.store.queue_range(queue.topic, queue.queue_id);
    if range.min > 0 || !broker.store.is_in_memory(queue.topic, queue.queue_id, 0) {
        return Err(refusal::offset_not_found());
    }
    Ok(Reply::ok(QueryConsumerOffsetResponseHeader { offset: 0 }))
}

/// `UPDATE_CONSUMER_OFFSET`. While a reset waits for the group, what it commits is what it had
/// before the reset, and is dropped.
pub(crate) fn update_consumer_offset(
    broker: &Broker,
    incoming: Incoming<UpdateConsumerOffsetRequestHeader>,
) -> Handled<()> {
    let header = &incoming.header;
    if !broker.groups.contains(&header.consumer_group) {
        return Err(refusal::commit_group_absent(&header.consumer_group));
    }
    if !broker.topics.contains(&header.topic) {
        return Err(refusal::commit_topic_absent(&header.topic));
    }
    let queue = GroupQueue {
        group: &header.consumer_group,
        topic: &header.topic,
        queue_id: header.queue_id,
    };
    if broker.offsets.has_reset(queue) {
        return Ok(Reply::success().with_remark("Offset has been previously reset"));
    }
    broker
        .offsets
        .commit(queue, header.commit_offset, &incoming.peer);
    Ok(Reply::success())
}

/// `GET_CONSUMER_LIST_BY_GROUP`: the client ids between which a group's queues are shared.
pub(crate) fn list_consumers(
    broker: &Broker,
    incoming: Incoming<GetConsumerListByGroupRequestHeader>,
) -> Handled<()> {
    let group = &incoming.header.consumer_group;
    let state = broker.consumers.find(group);
    let state = state.ok_or_else(|| refusal::no_consumer(group))?;
    let members = state.members();
    let body = GetConsumerListByGroupResponseBody {
        consumer_id_list: members
            .map(|member| member.client.client_id.clone())
            .collect(),
    };
    json_body::answer(Reply::success(), &body)
}
