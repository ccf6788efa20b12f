//! Where a lite pull consumer's queues go on: looked up, sought and committed.

use std::sync::Arc;

use thrustmq_proto_compat::body::MessageQueue;
use tokio::task::JoinSet;

use super::LitePullConsumer;
use crate::consumer::assigned_queue::AssignedQueue;
use crate::consumer::hook::{self, ConsumeEnd};
use crate::consumer::offsets;
use crate::error::{AdminError, LitePullError};
use crate::queue_offsets::{self, CommitWait};

impl LitePullConsumer {
    /// Goes on with a queue at this offset. What was pulled of it, and was not polled yet, is forgotten;
    /// of what the last poll brought of it nothing is said. An offset that the queue does not have becomes
    /// the nearest one that it has.
    ///
    /// # Errors
    /// The queue is not this consumer's.
    pub fn seek(&mut self, queue: &MessageQueue, offset: i64) -> Result<(), LitePullError> {
        let assigned = self.assigned_queue(queue)?;
        // The messages of the last poll are of the place that the queue leaves.
        let polled = self
            .polled
            .take_if(|polled| Arc::ptr_eq(&polled.queue, &assigned));
        if let Some(polled) = polled {
            let context = &self.consumer.context;
            hook::after(context, &assigned.queue, polled.watched, ConsumeEnd::Failed);
        }
        assigned.reset(offset.max(0));
        Ok(())
    }

    /// Goes on with the oldest message that the queue still has.
    ///
    /// # Errors
    /// The queue is not this consumer's, or its broker does not answer.
    pub async fn seek_to_begin(&mut self, queue: &MessageQueue) -> Result<(), LitePullError> {
        let link = self.consumer.context.link.clone();
        let offset = queue_offsets::min(&link, &self.wrapped(queue)).await?;
        self.seek(queue, offset)
    }

    /// Goes on with the message that comes next.
    ///
    /// # Errors
    /// The queue is not this consumer's, or its broker does not answer.
    pub async fn seek_to_end(&mut self, queue: &MessageQueue) -> Result<(), LitePullError> {
        let link = self.consumer.context.link.clone();
        let offset = queue_offsets::max(&link, &self.wrapped(queue)).await?;
        self.seek(queue, offset)
    }

    /// Goes on with the first message that was stored at a time or later, milliseconds since 1970.
    ///
    /// # Errors
    /// The queue is not this consumer's, or its broker does not answer.
    pub async fn seek_to_time(
        &mut self,
        queue: &MessageQueue,
        timestamp_ms: i64,
    ) -> Result<(), LitePullError> {
        let offset = self.offset_at(queue, timestamp_ms).await?;
        self.seek(queue, offset)
    }

    /// Says that all messages polled so far are done, and waits until the brokers know it.
    ///
    /// # Errors
    /// A broker is not known, does not answer, or refuses. The others know; the next commit tells all.
    pub async fn commit(&mut self) -> Result<(), AdminError> {
        self.commit_all(self.assigned()).await
    }

    /// As [`commit`](Self::commit), but tells only the brokers of these queues.
    ///
    /// # Errors
    /// A queue is not this consumer's, and nothing is committed; or as `commit`.
    pub async fn commit_queues<'a>(
        &mut self,
        queues: impl IntoIterator<Item = &'a MessageQueue>,
    ) -> Result<(), LitePullError> {
        let queues = queues.into_iter();
        let queues = queues.map(|queue| self.assigned_queue(queue));
        let queues = queues.collect::<Result<Vec<_>, _>>()?;
        Ok(self.commit_all(queues).await?)
    }

    async fn commit_all(&mut self, queues: Vec<Arc<AssignedQueue>>) -> Result<(), AdminError> {
        self.finish_polled();
        let context = &self.consumer.context;
        let mut commits = JoinSet::new();
        for queue in queues {
            let context = context.clone();
            commits
                .spawn(async move { offsets::try_commit(&context, &queue, CommitWait::Yes).await });
        }
        let committed = commits.join_all().await;
        offsets::write_file(context).await;
        committed.into_iter().collect()
    }

    /// Says where the group goes on in a queue, whatever was polled of it, and waits until its broker
    /// knows it. A commit of what is done may say otherwise later: this is for consumers that
    /// [commit by hand](crate::LitePullConsumerBuilder::commit_by_hand).
    ///
    /// # Errors
    /// The queue's broker is not known, does not answer, or refuses.
    pub async fn commit_offset(&self, queue: &MessageQueue, offset: i64) -> Result<(), AdminError> {
        let (context, queue) = (&self.consumer.context, self.wrapped(queue));
        if let Some(file) = &context.offset_file {
            file.put(&queue, offset);
            offsets::write_file(context).await;
        } else {
            let (link, group) = (&context.link, &context.group);
            queue_offsets::commit(link, group, &queue, offset, CommitWait::Yes).await?;
        }
        // Or a commit of what it was before would seem to be known.
        if let Ok(assigned) = self.assigned_queue(&queue)
            && let Some(process) = assigned.process()
        {
            process.committed(offset);
        }
        Ok(())
    }

    /// Where the group goes on in a queue; nothing if it has never committed there.
    ///
    /// # Errors
    /// The queue's broker is not known or does not answer.
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, AdminError> {
        let (context, queue) = (&self.consumer.context, self.wrapped(queue));
        match &context.offset_file {
            Some(file) => Ok(file.get(&queue)),
            None => {
                queue_offsets::committed(&context.link, &context.group, &queue, Some(false)).await
            }
        }
    }

    /// The first message that was stored at a time or later, milliseconds since 1970.
    ///
    /// # Errors
    /// The queue's broker is not known or does not answer.
    pub async fn offset_at(
        &self,
        queue: &MessageQueue,
        timestamp_ms: i64,
    ) -> Result<i64, AdminError> {
        let link = &self.consumer.context.link;
        queue_offsets::at_time(link, &self.wrapped(queue), timestamp_ms).await
    }
}
