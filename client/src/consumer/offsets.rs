//! Where a queue begins, and how far the group is, as the brokers keep it.

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::header::{
    GetMaxOffsetRequestHeader, QueryConsumerOffsetRequestHeader, SearchOffsetRequestHeader,
    UpdateConsumerOffsetRequestHeader,
};
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::request_code::{
    GetMaxOffset, QueryConsumerOffset, SearchOffsetByTimestamp, UpdateConsumerOffset,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::CallError;
use tracing::warn;

use super::context::{ConsumeFrom, Context};
use super::process_queue::ProcessQueue;
use crate::error::{AdminError, RouteError};
use crate::link::Link;
use crate::route::MASTER_ID;

/// Whether to wait until the broker has taken an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitWait {
    /// It will be committed again in a few seconds.
    No,
    /// It is the last time.
    Yes,
}

/// The queue as its consumer begins with it.
pub(super) async fn open(
    context: &Context,
    queue: &MessageQueue,
) -> Result<ProcessQueue, AdminError> {
    let link = &context.link;
    let address = address(link, queue).await?;
    let header = QueryConsumerOffsetRequestHeader {
        consumer_group: context.group.clone(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        set_zero_if_not_found: None,
        broker_name: Some(queue.broker_name.clone()),
    };
    match link
        .call::<QueryConsumerOffset>(&address, &header, Vec::new())
        .await
    {
        Ok(reply) => Ok(ProcessQueue::new(reply.header.offset)),
        Err(CallError::Refused(refusal)) if refusal.code == ResponseCode::QUERY_NOT_FOUND => {
            let offset = first_offset(context, queue, &address).await?;
            Ok(ProcessQueue::new(offset))
        }
        Err(cause) => Err(AdminError::Call { address, cause }),
    }
}

/// Where a group begins that never consumed the queue.
async fn first_offset(
    context: &Context,
    queue: &MessageQueue,
    address: &str,
) -> Result<i64, AdminError> {
    let is_retry = names::is_retry_topic(&queue.topic);
    match context.options.from {
        ConsumeFrom::FirstOffset => Ok(0),
        // What is to be retried was sent for this group: none of it may be missed.
        ConsumeFrom::LastOffset if is_retry => Ok(0),
        ConsumeFrom::TimestampMs(timestamp_ms) if !is_retry => {
            offset_at(&context.link, queue, address, timestamp_ms).await
        }
        ConsumeFrom::LastOffset | ConsumeFrom::TimestampMs(_) => {
            max_offset(&context.link, queue, address).await
        }
    }
}

async fn max_offset(link: &Link, queue: &MessageQueue, address: &str) -> Result<i64, AdminError> {
    let header = GetMaxOffsetRequestHeader {
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        committed: true,
        broker_name: Some(queue.broker_name.clone()),
    };
    let reply = link
        .call::<GetMaxOffset>(address, &header, Vec::new())
        .await;
    reply
        .map(|reply| reply.header.offset)
        .map_err(|cause| failed(address, cause))
}

async fn offset_at(
    link: &Link,
    queue: &MessageQueue,
    address: &str,
    timestamp_ms: i64,
) -> Result<i64, AdminError> {
    let header = SearchOffsetRequestHeader {
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        timestamp_ms,
        boundary_type: None,
        broker_name: Some(queue.broker_name.clone()),
    };
    let reply = link
        .call::<SearchOffsetByTimestamp>(address, &header, Vec::new())
        .await;
    reply
        .map(|reply| reply.header.offset)
        .map_err(|cause| failed(address, cause))
}

fn failed(address: &str, cause: CallError) -> AdminError {
    AdminError::Call {
        address: address.to_owned(),
        cause,
    }
}

/// Tells the broker how far the group is, if it does not know.
pub(super) async fn commit(
    context: &Context,
    queue: &MessageQueue,
    process: &ProcessQueue,
    wait: CommitWait,
) {
    let Some(offset) = process.uncommitted() else {
        return;
    };
    match send_commit(context, queue, offset, wait).await {
        Ok(()) => process.committed(offset),
        Err(cause) => warn!(%queue, offset, %cause, "offset not committed"),
    }
}

async fn send_commit(
    context: &Context,
    queue: &MessageQueue,
    offset: i64,
    wait: CommitWait,
) -> Result<(), AdminError> {
    let link = &context.link;
    let address = address(link, queue).await?;
    let header = UpdateConsumerOffsetRequestHeader {
        consumer_group: context.group.clone(),
        topic: queue.topic.clone(),
        queue_id: queue.queue_id,
        commit_offset: offset,
        broker_name: Some(queue.broker_name.clone()),
    };
    let sent = match wait {
        CommitWait::No => link.oneway::<UpdateConsumerOffset>(&address, &header).await,
        CommitWait::Yes => {
            let reply = link
                .call::<UpdateConsumerOffset>(&address, &header, Vec::new())
                .await;
            reply.map(|_| ())
        }
    };
    sent.map_err(|cause| AdminError::Call { address, cause })
}

/// The broker that keeps the offsets of a queue: the master, or who stands in for it.
pub(super) async fn address(link: &Link, queue: &MessageQueue) -> Result<String, AdminError> {
    let route = link.subscribe_route(&queue.topic).await?;
    let address = route.broker_address(&queue.broker_name, MASTER_ID);
    let address = address.ok_or_else(|| RouteError::NoQueue(queue.topic.clone()))?;
    Ok(address.to_owned())
}
