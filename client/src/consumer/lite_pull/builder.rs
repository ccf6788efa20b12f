//! The settings of a lite pull consumer, which are those of a push consumer but for the listener's.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;

use super::LitePullConsumer;
use crate::config::ClientConfig;
use crate::consumer::builder::PushConsumerBuilder;
use crate::consumer::context::ConsumeFrom;
use crate::consumer::hook::ConsumeHook;
use crate::consumer::listener::Listener;
use crate::consumer::polling::Polling;
use crate::error::StartError;
use crate::rebalance::RebalanceStrategy;
use crate::subscription::Subscription;

/// Messages of all queues that may wait for polls: Java's default.
const MESSAGES_MAX: usize = 10_000;

/// Settings of a [`LitePullConsumer`]. The defaults are those of Java's client, but for the batches: a pull
/// and a poll bring up to 32 messages.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use thrustmq_client::{ConsumeFrom, LitePullConsumer, Subscription};
///
/// let consumer = LitePullConsumer::builder("billing")
///     .name_servers("127.0.0.1:9876")
///     .subscribe("orders", "paid || shipped")
///     .subscribe("parcels", Subscription::sql("weight > 5"))
///     .consume_from(ConsumeFrom::FirstOffset)
///     .bytes_max(64 * 1024 * 1024)
///     .commit_interval(Duration::from_secs(1))
///     .start()
///     .await?;
/// # let _ = consumer;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct LitePullConsumerBuilder {
    push: PushConsumerBuilder,
    poll_batch: usize,
}

impl LitePullConsumerBuilder {
    pub(super) fn new(group: impl Into<String>) -> Self {
        let mut push = PushConsumerBuilder::new(group);
        push.options.all_messages_max = Some(MESSAGES_MAX);
        Self {
            push,
            poll_batch: 32,
        }
    }

    /// How it connects: name servers, credentials, timeouts and more. Replaces what `name_servers` and
    /// `clock` said before.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.push = self.push.config(config);
        self
    }

    /// Where the name servers are: `host:port`, several with `;` between. Without it the environment
    /// variable `NAMESRV_ADDR` decides.
    pub fn name_servers(mut self, addresses: impl Into<String>) -> Self {
        self.push = self.push.name_servers(addresses);
        self
    }

    /// Subscribes to a topic: `*` for all messages, tags with `||` between, or any [`Subscription`]. All
    /// members of a group must subscribe to the same. A consumer that subscribes to nothing is given its
    /// queues by [`LitePullConsumer::assign`].
    pub fn subscribe(mut self, topic: impl Into<String>, wanted: impl Into<Subscription>) -> Self {
        self.push = self.push.subscribe(topic, wanted);
        self
    }

    /// Where a new group begins. Default [`ConsumeFrom::LastOffset`].
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.push = self.push.consume_from(from);
        self
    }

    /// Every member of the group gets every message; how far this one is stands in a file. See
    /// [`PushConsumerBuilder::broadcasting`](crate::PushConsumerBuilder::broadcasting).
    pub fn broadcasting(mut self) -> Self {
        self.push = self.push.broadcasting();
        self
    }

    /// Where a broadcasting consumer keeps how far it is. Default `.rocketmq_offsets` in the home
    /// directory.
    pub fn offset_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.push = self.push.offset_directory(directory);
        self
    }

    /// How the group's members share a topic's queues; all of them must do it alike. Default
    /// [`Average`](crate::rebalance::Average).
    pub fn rebalance(mut self, strategy: impl RebalanceStrategy + 'static) -> Self {
        self.push = self.push.rebalance(strategy);
        self
    }

    /// Messages that a poll brings at most. Default 32.
    pub fn poll_batch(mut self, messages: usize) -> Self {
        self.poll_batch = messages;
        self
    }

    /// Messages that one pull brings at most. Default 32.
    pub fn pull_batch(mut self, messages: u16) -> Self {
        self.push = self.push.pull_batch(messages);
        self
    }

    /// Messages of one queue that may wait for a poll before pulling pauses. Default 1,000.
    pub fn queue_messages_max(mut self, messages: usize) -> Self {
        self.push = self.push.queue_messages_max(messages);
        self
    }

    /// Bytes of one queue that may wait for a poll before pulling pauses. Default 100 MiB.
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.push = self.push.queue_bytes_max(bytes);
        self
    }

    /// Messages of one topic that may wait for polls, shared equally by its queues that are this
    /// consumer's. Default no limit but those of the queues.
    pub fn topic_messages_max(mut self, messages: usize) -> Self {
        self.push = self.push.topic_messages_max(messages);
        self
    }

    /// Bytes of one topic that may wait for polls, shared like `topic_messages_max`. Default no limit.
    pub fn topic_bytes_max(mut self, bytes: usize) -> Self {
        self.push = self.push.topic_bytes_max(bytes);
        self
    }

    /// Messages of all queues together that may wait for polls: each queue that is this consumer's gets an
    /// equal share, and no more than `queue_messages_max`. Default 10,000.
    pub fn messages_max(mut self, messages: usize) -> Self {
        self.push.options.all_messages_max = Some(messages);
        self
    }

    /// Bytes of all queues together that may wait for polls, shared like `messages_max`. Default no limit
    /// but those of the queues: a consumer with many of them may say less.
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.push.options.all_bytes_max = Some(bytes);
        self
    }

    /// Calls a hook around what the application does with the messages of a poll: before they are given
    /// to it, and when it says that they are done. May be called several times.
    pub fn hook(mut self, hook: impl ConsumeHook + 'static) -> Self {
        self.push = self.push.hook(hook);
        self
    }

    /// Whether the consumer writes message traces; see
    /// [`PushConsumerBuilder::trace`](crate::PushConsumerBuilder::trace). Default no.
    pub fn trace(mut self, is_on: bool) -> Self {
        self.push = self.push.trace(is_on);
        self
    }

    /// How often what is done is committed. Default every 5 s.
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.push.options.commit_interval = Some(interval);
        self
    }

    /// Commits nothing by itself, not even at a shutdown: only [`LitePullConsumer::commit`] and
    /// [`commit_offset`](LitePullConsumer::commit_offset) do.
    pub fn commit_by_hand(mut self) -> Self {
        self.push.options.commit_interval = None;
        self
    }

    /// Where the consumer gets the time from; tests pass a clock that they move.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.push = self.push.clock(clock);
        self
    }

    /// Starts the consumer. It connects by itself, also to servers that start later.
    ///
    /// # Errors
    /// A setting is wrong, or a broker does not take a subscription; see [`StartError`].
    pub async fn start(mut self) -> Result<LitePullConsumer, StartError> {
        if self.poll_batch == 0 {
            return Err(StartError::ZeroLimit("poll_batch"));
        }
        if self.push.options.commit_interval == Some(Duration::ZERO) {
            return Err(StartError::ZeroTime("commit_interval"));
        }
        self.push.link.is_stream = true;
        let polling = Arc::<Polling>::default();
        let is_subscribed = !self.push.subscriptions.is_empty();
        let consumer = self.push.launch(Listener::Polled(polling.clone())).await?;
        Ok(LitePullConsumer {
            consumer,
            polling,
            is_subscribed,
            poll_batch: self.poll_batch,
            polled: None,
            turn: 0,
            paused: Mutex::new(BTreeSet::new()),
        })
    }
}
