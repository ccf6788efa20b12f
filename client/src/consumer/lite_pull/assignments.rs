//! Which queues are a lite pull consumer's, told as it changes.

use std::sync::Arc;

use thrustmq_proto_compat::body::MessageQueue;
use tokio::sync::watch;

use crate::consumer::assigned_queue::AssignedQueue;
use crate::consumer::context::Context;

/// The queues of a [`LitePullConsumer`](crate::LitePullConsumer) as they change; made by
/// [`LitePullConsumer::assignments`](crate::LitePullConsumer::assignments).
///
/// ```no_run
/// # async fn example(consumer: thrustmq_client::LitePullConsumer) {
/// let mut assignments = consumer.assignments();
/// tokio::spawn(async move {
///     while let Some(queues) = assignments.changed().await {
///         println!("{} queues are ours", queues.len());
///     }
/// });
/// # }
/// ```
#[derive(Debug)]
pub struct Assignments {
    assigned: watch::Receiver<Vec<Arc<AssignedQueue>>>,
    context: Arc<Context>,
}

impl Assignments {
    pub(super) fn new(
        assigned: watch::Receiver<Vec<Arc<AssignedQueue>>>,
        context: Arc<Context>,
    ) -> Self {
        Self { assigned, context }
    }

    /// Waits for the next change; the queues that are the consumer's then. `None` once it has ended.
    /// Cancel safe.
    pub async fn changed(&mut self) -> Option<Vec<MessageQueue>> {
        self.assigned.changed().await.ok()?;
        let queues = self.assigned.borrow_and_update();
        Some(
            queues
                .iter()
                .map(|queue| plain(&self.context, queue))
                .collect(),
        )
    }
}

/// A queue as the application calls it.
pub(super) fn plain(context: &Context, queue: &AssignedQueue) -> MessageQueue {
    let plain = context.link.namespace.plain_queue(&queue.queue);
    plain.into_owned()
}
