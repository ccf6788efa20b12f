//! Receiving messages: [`PushConsumer`] shares a group's queues with its other members, pulls, and
//! calls a listener for each message.

mod concurrency;
mod offset_file;
mod polling;
mod process_queue;
pub(crate) mod pull;

pub(crate) mod listener;

mod context;

mod assigned_queue;
mod broker_requests;
mod hook;
mod locks;
mod offsets;
mod rebalance;
mod trace;

mod consume;
mod ordered;
mod worker;

mod running_info;

mod control;

mod builder;
mod stream;

mod start;

mod lite_pull;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::debug;

pub use builder::PushConsumerBuilder;
pub use context::ConsumeFrom;
pub use hook::{ConsumeEnd, ConsumeHook, ConsumedBatch};
pub use listener::{BatchResult, ConsumeResult, OrderedResult};
pub use lite_pull::{
    Assignments, LitePullConsumer, LitePullConsumerBuilder, PolledMessages, TopicQueues,
};
pub use stream::{Delivery, MessageStream};

use crate::heartbeat::{self, Heartbeat};
use crate::producer::trace::TraceTask;
use crate::stop::StopSource;
use assigned_queue::AssignedQueue;
use broker_requests::Served;
use context::Context;
use control::Control;

/// Consumes messages as a member of a group, until it is shut down or dropped.
///
/// Every message is delivered at least once. [`PushConsumer::shutdown`] lets listeners end and
/// commits; a consumer that is only dropped lets its tasks do the same in the background.
///
/// ```no_run
/// use thrustmq_client::{ConsumeResult, PushConsumer, ReceivedMessage};
///
/// # async fn charge(_: &ReceivedMessage) -> Result<(), String> { Ok(()) }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let consumer = PushConsumer::builder("billing")
///     .subscribe("orders", "*")
///     .start(|message| async move {
///         match charge(&message).await {
///             Ok(()) => ConsumeResult::Success,
///             Err(_) => ConsumeResult::Later,
///         }
///     })
///     .await?;
/// tokio::signal::ctrl_c().await?;
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PushConsumer {
    context: Arc<Context>,
    stop: StopSource,
    /// The control task and the heartbeat; taken by shutdown.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Sends traces; taken by shutdown.
    tracing: Mutex<Option<TraceTask>>,
    /// The queues that are ours, as the control task says.
    assigned: watch::Receiver<Vec<Arc<AssignedQueue>>>,
}

impl PushConsumer {
    /// Begins to make a consumer of `group`.
    pub fn builder(group: impl Into<String>) -> PushConsumerBuilder {
        PushConsumerBuilder::new(group)
    }

    fn run(
        context: Arc<Context>,
        heartbeat: Heartbeat,
        served: Served,
        tracing: Option<TraceTask>,
    ) -> Self {
        let stop = StopSource::new();
        let (shown, assigned) = watch::channel(Vec::new());
        let control = Control::new(context.clone(), heartbeat.clone(), served.requests, shown);
        let control = tokio::spawn(control.run(stop.signal()));
        let beating = heartbeat::keep_alive(context.link.clone(), heartbeat, stop.signal());
        Self {
            context,
            stop,
            tasks: Mutex::new(vec![control, tokio::spawn(beating)]),
            tracing: Mutex::new(tracing),
            assigned,
        }
    }

    /// The id by which brokers and tools know this consumer.
    pub fn client_id(&self) -> &str {
        &self.context.link.id.text
    }

    /// Pauses: no message is pulled and no listener called until [`PushConsumer::resume`]. Listeners at
    /// work go on, and so does the membership in the group: the queues stay with this consumer.
    pub fn suspend(&self) {
        self.context.suspended.send_replace(true);
    }

    /// Goes on after [`PushConsumer::suspend`].
    pub fn resume(&self) {
        self.context.suspended.send_replace(false);
    }

    /// Changes how many listeners may be at work at a time; 0 counts as 1. Fewer than before take effect
    /// as listeners end.
    pub fn set_concurrency(&self, listeners: usize) {
        self.context.concurrency.set(listeners.max(1));
    }

    /// Stops pulling, waits for the listeners at work, commits, and says goodbye to the brokers. A
    /// second call does nothing.
    pub async fn shutdown(&self) {
        self.stop.stop();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if tasks.is_empty() {
            return;
        }
        for task in tasks {
            if let Err(cause) = task.await {
                debug!(%cause, "task of the consumer ended badly");
            }
        }
        let tracing = self.tracing.lock();
        let tracing = tracing.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tracing) = tracing {
            tracing.shutdown().await;
        }
        let link = &self.context.link;
        heartbeat::unregister(link, None, Some(self.context.group.clone())).await;
        link.close().await;
    }
}
