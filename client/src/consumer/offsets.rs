//! Where a queue begins, and how far the group is, as the brokers keep it, or a file of our own.

use std::io;
use std::sync::Arc;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::message::names;
use tracing::warn;

use super::assigned_queue::AssignedQueue;
use super::context::{ConsumeFrom, Context};
use super::offset_file::OffsetFile;
use crate::error::AdminError;
use crate::queue_offsets::{self, CommitWait};

/// Where the group goes on with a queue, or begins with it.
pub(super) async fn begin(context: &Context, queue: &MessageQueue) -> Result<i64, AdminError> {
    let known = match &context.offset_file {
        Some(file) => file.get(queue),
        None => queue_offsets::committed(&context.link, &context.group, queue, None).await?,
    };
    match known {
        Some(offset) => Ok(offset),
        None => first_offset(context, queue).await,
    }
}

/// Where a group begins that never consumed the queue.
async fn first_offset(context: &Context, queue: &MessageQueue) -> Result<i64, AdminError> {
    let is_retry = names::is_retry_topic(&queue.topic);
    match context.options.from {
        ConsumeFrom::FirstOffset => Ok(0),
        // What is to be retried was sent for this group: none of it may be missed.
        ConsumeFrom::LastOffset if is_retry => Ok(0),
        ConsumeFrom::TimestampMs(timestamp_ms) if !is_retry => {
            queue_offsets::at_time(&context.link, queue, timestamp_ms).await
        }
        ConsumeFrom::LastOffset | ConsumeFrom::TimestampMs(_) => {
            queue_offsets::max(&context.link, queue).await
        }
    }
}

/// As [`try_commit`], where nobody waits for the outcome.
pub(super) async fn commit(context: &Context, queue: &AssignedQueue, wait: CommitWait) {
    if let Err(cause) = try_commit(context, queue, wait).await {
        warn!(queue = %queue.queue, %cause, "offset not committed");
    }
}

/// Tells the broker how far the group is, if it does not know. Of a broadcasting group the offset is
/// only noted: [`write_file`] makes it last. A queue whose lock is lost is another member's business.
pub(super) async fn try_commit(
    context: &Context,
    queue: &AssignedQueue,
    wait: CommitWait,
) -> Result<(), AdminError> {
    let Some(process) = queue.process() else {
        return Ok(());
    };
    let Some(offset) = process.uncommitted() else {
        return Ok(());
    };
    if !queue.is_ours(context) {
        return Ok(());
    }
    match &context.offset_file {
        Some(file) => file.put(&queue.queue, offset),
        None => {
            let (link, group) = (&context.link, &context.group);
            queue_offsets::commit(link, group, &queue.queue, offset, wait).await?;
        }
    }
    process.committed(offset);
    Ok(())
}

/// Writes the offsets of a broadcasting group.
pub(super) async fn write_file(context: &Arc<Context>) {
    if context.offset_file.is_none() {
        return;
    }
    let writing = context.clone();
    let write = move || {
        writing
            .offset_file
            .as_ref()
            .map_or(Ok(()), OffsetFile::write)
    };
    let written = tokio::task::spawn_blocking(write).await;
    let written = written.unwrap_or_else(|cause| Err(io::Error::other(cause)));
    if let Err(cause) = written {
        warn!(group = context.group, %cause, "offsets not written, tried again in a few seconds");
    }
}
