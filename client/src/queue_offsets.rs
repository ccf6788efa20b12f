//! What brokers know of a queue's offsets: where it begins and ends, what lies at a time, and how far
//! a group is. A call each; the policies are the consumers'.

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::header::{
    GetMaxOffsetRequestHeader, GetMinOffsetRequestHeader, QueryConsumerOffsetRequestHeader,
    SearchOffsetRequestHeader, UpdateConsumerOffsetRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    GetMaxOffset, GetMinOffset, QueryConsumerOffset, SearchOffsetByTimestamp, UpdateConsumerOffset,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::CallError;

use crate::error::{AdminError, RouteError};
use crate::link::Link;
use crate::route::MASTER_ID;

/// Whether to wait until the broker has taken an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitWait {
    /// It will be committed again in a few seconds.
    No,
    /// It is the last time.
    Yes,
}

/// The broker that keeps the offsets of a queue: the master, or who stands in for it.
pub(crate) async fn address(link: &Link, queue: &MessageQueue) -> Result<String, AdminError> {
    let route = link.subscribe_route(&queue.topic).await?;
    let address = route.broker_address(&queue.broker_name, MASTER_ID);
    let address = address.ok_or_else(|| RouteError::NoQueue(queue.topic.clone()))?;
    Ok(address.to_owned())
}

/// The first message that is still there.
pub(crate) async fn min(link: &Link, queue: &MessageQueue) -> Result<i64, AdminError> {
    let header = GetMinOffsetRequestHeader {
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        broker_name: Some(queue.broker_name.clone()),
    };
    Ok(call::<GetMinOffset>(link, queue, &header).await?.offset)
}

/// The number that the next message will get.
pub(crate) async fn max(link: &Link, queue: &MessageQueue) -> Result<i64, AdminError> {
    let header = GetMaxOffsetRequestHeader {
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        committed: true,
        broker_name: Some(queue.broker_name.clone()),
    };
    Ok(call::<GetMaxOffset>(link, queue, &header).await?.offset)
}

/// The first message that was stored at a time or later.
pub(crate) async fn at_time(
    link: &Link,
    queue: &MessageQueue,
    timestamp_ms: i64,
) -> Result<i64, AdminError> {
    let header = SearchOffsetRequestHeader {
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        timestamp_ms,
        boundary_type: None,
        broker_name: Some(queue.broker_name.clone()),
    };
    let found = call::<SearchOffsetByTimestamp>(link, queue, &header).await?;
    Ok(found.offset)
}

/// Where a group goes on; nothing if it never consumed the queue.
pub(crate) async fn committed(
    link: &Link,
    group: &str,
    queue: &MessageQueue,
    set_zero_if_not_found: Option<bool>,
) -> Result<Option<i64>, AdminError> {
    let header = QueryConsumerOffsetRequestHeader {
        consumer_group: group.to_owned(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        set_zero_if_not_found,
        broker_name: Some(queue.broker_name.clone()),
    };
    match call::<QueryConsumerOffset>(link, queue, &header).await {
        Ok(found) => Ok(Some(found.offset)),
        Err(AdminError::Call {
            cause: CallError::Refused(refusal),
            ..
        }) if refusal.code == ResponseCode::QUERY_NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says where a group goes on.
pub(crate) async fn commit(
    link: &Link,
    group: &str,
    queue: &MessageQueue,
    offset: i64,
    wait: CommitWait,
) -> Result<(), AdminError> {
    let header = UpdateConsumerOffsetRequestHeader {
        consumer_group: group.to_owned(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        commit_offset: offset,
        broker_name: Some(queue.broker_name.clone()),
    };
    if wait == CommitWait::Yes {
        return call::<UpdateConsumerOffset>(link, queue, &header)
            .await
            .map(|_| ());
    }
    let address = address(link, queue).await?;
    let sent = link.oneway::<UpdateConsumerOffset>(&address, &header).await;
    sent.map_err(|cause| AdminError::Call { address, cause })
}

async fn call<C: CommandSpec>(
    link: &Link,
    queue: &MessageQueue,
    header: &C::Request,
) -> Result<C::Response, AdminError> {
    let address = address(link, queue).await?;
    match link.call::<C>(&address, header, Vec::new()).await {
        Ok(reply) => Ok(reply.header),
        Err(cause) => Err(AdminError::Call { address, cause }),
    }
}
