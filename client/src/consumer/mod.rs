//! Receiving messages: [`PushConsumer`] shares a group's queues with its other members, pulls, and
//! calls a listener for each message.

mod broker_requests;
mod builder;
mod consume;
mod context;
mod control;
mod listener;
mod offsets;
mod process_queue;
mod pull;
mod rebalance;
mod running_info;
mod strategy;
mod subscription;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;
use tracing::debug;

pub use builder::PushConsumerBuilder;
pub use context::ConsumeFrom;
pub use listener::ConsumeResult;

use crate::heartbeat::{self, Heartbeat};
use crate::stop::StopSource;
use broker_requests::Served;
use context::Context;
use control::Control;

/// Consumes messages as a member of a group, until it is shut down or dropped.
///
/// Every message is delivered at least once. [`PushConsumer::shutdown`] lets listeners end and
/// commits; a consumer that is only dropped lets its tasks do the same in the background.
#[derive(Debug)]
pub struct PushConsumer {
    context: Arc<Context>,
    stop: StopSource,
    /// The control task and the heartbeat; taken by shutdown.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl PushConsumer {
    /// Begins to make a consumer of `group`.
    pub fn builder(group: impl Into<String>) -> PushConsumerBuilder {
        PushConsumerBuilder::new(group)
    }

    fn run(context: Arc<Context>, heartbeat: Heartbeat, served: Served) -> Self {
        let stop = StopSource::new();
        let control = Control::new(context.clone(), heartbeat.clone(), served.requests);
        let control = tokio::spawn(control.run(stop.signal()));
        let beating = heartbeat::keep_alive(context.link.clone(), heartbeat, stop.signal());
        Self {
            context,
            stop,
            tasks: Mutex::new(vec![control, tokio::spawn(beating)]),
        }
    }

    /// The id by which brokers and tools know this consumer.
    pub fn client_id(&self) -> &str {
        &self.context.link.id.text
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
        let link = &self.context.link;
        heartbeat::unregister(link, None, Some(self.context.group.clone())).await;
        link.close().await;
    }
}
