//! What all tasks of one consumer share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::{MessageModel, MessageQueue};
use thrustmq_proto_compat::message::message_ext::DecodeError;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use super::concurrency::Concurrency;
use super::hook::ConsumeHook;
use super::listener::Listener;
use super::offset_file::OffsetFile;
use super::polling::Chosen;
use super::process_queue::HoldLimits;
use super::trace::TraceConsumption;
use crate::ReceivedMessage;
use crate::link::Link;
use crate::rebalance::RebalanceStrategy;
use crate::received::PulledRecord;
use crate::subscription::Subscription;

/// Where a group begins with a queue that it never consumed.
///
/// ```
/// use thrustmq_client::{ConsumeFrom, PushConsumer};
///
/// let midnight_ms = 1_767_225_600_000;
/// let builder = PushConsumer::builder("audit").consume_from(ConsumeFrom::TimestampMs(midnight_ms));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsumeFrom {
    /// With what comes from now on. A queue whose first messages were never removed is consumed from
    /// its beginning all the same: brokers take the group for an old one there.
    #[default]
    LastOffset,
    /// With the oldest message that is still there.
    FirstOffset,
    /// With the first message stored at or after this time, in milliseconds since 1970.
    TimestampMs(i64),
}

/// Limits of a consumer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConsumeOptions {
    pub(super) from: ConsumeFrom,
    pub(super) model: MessageModel,
    /// Listeners at work at a time, at the start.
    pub(super) concurrency: usize,
    /// Messages that a listener gets at a time, at most.
    pub(super) consume_batch: usize,
    pub(super) pull_batch: i32,
    /// Between two pulls of a queue that bring messages.
    pub(super) pull_interval: Duration,
    pub(super) hold: HoldLimits,
    /// Limits of a whole topic, shared by its queues.
    pub(super) topic_messages_max: Option<usize>,
    pub(super) topic_bytes_max: Option<usize>,
    /// Limits of the whole consumer, shared by its queues.
    pub(super) all_messages_max: Option<usize>,
    pub(super) all_bytes_max: Option<usize>,
    pub(super) consume_timeout: Duration,
    pub(super) reconsume_times_max: i32,
    pub(super) shutdown_wait: Duration,
    /// Between two commits; none if only the application says when.
    pub(super) commit_interval: Option<Duration>,
}

impl ConsumeOptions {
    /// What one queue may hold, if so many of its topic and of all topics are ours.
    pub(super) fn hold_of_queue(&self, topic_queues: usize, all_queues: usize) -> HoldLimits {
        let share = |limit: Option<usize>, queues: usize| {
            limit.map_or(usize::MAX, |limit| (limit / queues.max(1)).max(1))
        };
        let least = |of_queue: usize, of_topic, of_all| {
            let of_topic = share(of_topic, topic_queues);
            of_queue.min(of_topic).min(share(of_all, all_queues))
        };
        let HoldLimits {
            messages_max,
            bytes_max,
            span_max,
        } = self.hold;
        HoldLimits {
            messages_max: least(messages_max, self.topic_messages_max, self.all_messages_max),
            bytes_max: least(bytes_max, self.topic_bytes_max, self.all_bytes_max),
            span_max,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) link: Arc<Link>,
    pub(super) group: String,
    /// Where the group's messages go that are to be consumed again.
    pub(super) retry_topic: String,
    /// Topic → filter, the group's retry topic among them unless it is broadcasting.
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    /// When the subscriptions were made, milliseconds.
    pub(super) subscription_version: i64,
    pub(super) listener: Listener,
    pub(super) concurrency: Concurrency,
    /// No pulls and no listeners while this is true.
    pub(super) suspended: watch::Sender<bool>,
    /// Rings when a queue waits for its lock, so that it is not asked for only in its turn.
    pub(super) lock_wanted: Notify,
    pub(super) hooks: Vec<Arc<dyn ConsumeHook>>,
    pub(super) tracer: Option<TraceConsumption>,
    pub(super) strategy: Arc<dyn RebalanceStrategy>,
    /// Keeps the offsets of a broadcasting consumer; brokers keep those of others.
    pub(super) offset_file: Option<OffsetFile>,
    pub(super) options: ConsumeOptions,
    /// When the consumer started, milliseconds.
    pub(super) started_ms: i64,
}

impl Context {
    pub(super) fn is_broadcasting(&self) -> bool {
        self.options.model == MessageModel::Broadcasting
    }

    /// Whether queues are consumed in order by one member, who needs their locks.
    pub(super) fn needs_locks(&self) -> bool {
        self.listener.is_ordered() && !self.is_broadcasting()
    }

    /// Queues that the application of a lite pull consumer assigned itself.
    pub(super) fn chosen(&self) -> Option<Chosen> {
        match &self.listener {
            Listener::Polled(polling) => polling.chosen(),
            Listener::Concurrent(_) | Listener::Ordered(_) => None,
        }
    }

    /// Returns when these have changed: never, of other consumers.
    pub(super) async fn rechosen(&self) {
        match &self.listener {
            Listener::Polled(polling) => polling.rechosen().await,
            Listener::Concurrent(_) | Listener::Ordered(_) => std::future::pending().await,
        }
    }

    /// Tells an application that polls that messages have come.
    pub(super) fn ring(&self) {
        if let Listener::Polled(polling) = &self.listener {
            polling.ring();
        }
    }

    pub(super) fn is_polled(&self) -> bool {
        matches!(self.listener, Listener::Polled(_))
    }

    /// Which messages of a queue are wanted.
    pub(super) fn wanted(&self, queue: &MessageQueue) -> Subscription {
        let wanted = || self.subscriptions.get(&queue.topic).cloned();
        let chosen = self.chosen().and_then(|mut chosen| chosen.remove(queue));
        chosen.or_else(wanted).unwrap_or_else(Subscription::all)
    }

    /// Whether the consumer commits by itself what is done.
    pub(super) fn commits(&self) -> bool {
        self.options.commit_interval.is_some()
    }

    /// A record as the application sees it.
    pub(super) fn decode(&self, record: &PulledRecord) -> Result<ReceivedMessage, DecodeError> {
        record.decode(&self.retry_topic, &self.link.namespace)
    }

    pub(super) fn is_suspended(&self) -> bool {
        *self.suspended.borrow()
    }

    /// Returns when the consumer is not suspended. Cancel safe.
    pub(super) async fn resumed(&self) {
        if self.is_suspended() {
            // The sender lives as long as `self`.
            let _ = self.suspended.subscribe().wait_for(|is| !*is).await;
        }
    }

    /// Leave to call a listener, if it can be had without waiting.
    pub(super) fn turn_at_once(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_suspended() {
            return None;
        }
        self.concurrency.permit_at_once()
    }

    /// Waits for leave to call a listener; `None` once the consumer has ended. Cancel safe.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            self.resumed().await;
            let permit = self.concurrency.permit().await?;
            if !self.is_suspended() {
                return Some(permit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_topics_limits_are_shared_by_its_queues() {
        let mut options = crate::consumer::builder::default_options();
        assert_eq!(options.hold_of_queue(4, 4).messages_max, 1_000);
        options.topic_messages_max = Some(100);
        options.topic_bytes_max = Some(3);
        let hold = options.hold_of_queue(4, 8);
        assert_eq!((hold.messages_max, hold.bytes_max), (25, 1));
        assert_eq!(options.hold_of_queue(0, 0).messages_max, 100);
        options.all_messages_max = Some(160);
        options.all_bytes_max = Some(1_000);
        options.topic_bytes_max = None;
        let hold = options.hold_of_queue(4, 8);
        assert_eq!((hold.messages_max, hold.bytes_max), (20, 125));
    }
}
