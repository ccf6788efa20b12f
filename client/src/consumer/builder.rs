//! The settings of a push consumer; `start.rs` starts it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::MessageModel;
use thrustmq_proto_compat::clock::Clock;

use super::context::{ConsumeFrom, ConsumeOptions};
use super::hook::ConsumeHook;
use super::process_queue::HoldLimits;
use crate::config::ClientConfig;
use crate::rebalance::{Average, RebalanceStrategy};
use crate::subscription::Subscription;

/// Settings of a [`PushConsumer`](crate::PushConsumer); the defaults are those of Java's client.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use thrustmq_client::{ConsumeFrom, ConsumeResult, PushConsumer, Subscription};
///
/// let consumer = PushConsumer::builder("billing")
///     .name_servers("127.0.0.1:9876")
///     .subscribe("orders", "paid || shipped")
///     .subscribe("parcels", Subscription::sql("weight > 5"))
///     .consume_from(ConsumeFrom::FirstOffset)
///     .concurrency(64)
///     .consume_timeout(Duration::from_secs(60))
///     .start(|_| async { ConsumeResult::Success })
///     .await?;
/// # let _ = consumer;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until one of its `start` functions is called"]
pub struct PushConsumerBuilder {
    pub(super) group: String,
    pub(super) link: ClientConfig,
    pub(super) subscriptions: BTreeMap<String, Subscription>,
    pub(super) options: ConsumeOptions,
    /// `None`: 16 where messages are sent back, no limit where they are consumed in order.
    pub(super) reconsume_times_max: Option<u16>,
    pub(super) hooks: Vec<Arc<dyn ConsumeHook>>,
    pub(super) traces: bool,
    pub(super) strategy: Arc<dyn RebalanceStrategy>,
    pub(super) offset_directory: Option<PathBuf>,
}

/// Those of Java's client, but for the batches: its listeners get one message at a time by default.
pub(super) fn default_options() -> ConsumeOptions {
    ConsumeOptions {
        from: ConsumeFrom::default(),
        model: MessageModel::Clustering,
        concurrency: 20,
        consume_batch: 32,
        pull_batch: 32,
        pull_interval: Duration::ZERO,
        hold: HoldLimits::default(),
        topic_messages_max: None,
        topic_bytes_max: None,
        all_messages_max: None,
        all_bytes_max: None,
        consume_timeout: Duration::from_secs(15 * 60),
        reconsume_times_max: 16,
        shutdown_wait: Duration::from_secs(10),
        commit_interval: Some(Duration::from_secs(5)),
    }
}

impl PushConsumerBuilder {
    pub(super) fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            link: ClientConfig::default(),
            subscriptions: BTreeMap::new(),
            options: default_options(),
            reconsume_times_max: None,
            hooks: Vec::new(),
            traces: false,
            strategy: Arc::new(Average),
            offset_directory: None,
        }
    }

    /// How it connects: name servers, credentials, timeouts and more. Replaces what `name_servers` and
    /// `clock` said before.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.link = config;
        self
    }

    /// Where the name servers are: `host:port`, several with `;` between. Without it the environment
    /// variable `NAMESRV_ADDR` decides.
    pub fn name_servers(mut self, addresses: impl Into<String>) -> Self {
        self.link.name_servers = Some(addresses.into());
        self
    }

    /// Subscribes to a topic: `*` for all messages, tags with `||` between, or any [`Subscription`]. All
    /// members of a group must subscribe to the same.
    pub fn subscribe(mut self, topic: impl Into<String>, wanted: impl Into<Subscription>) -> Self {
        self.subscriptions.insert(topic.into(), wanted.into());
        self
    }

    /// Where a new group begins. Default [`ConsumeFrom::LastOffset`].
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.options.from = from;
        self
    }

    /// Listeners at work at a time, over all queues. Default 20.
    pub fn concurrency(mut self, listeners: usize) -> Self {
        self.options.concurrency = listeners;
        self
    }

    /// Every member of the group gets every message, and none is delivered again: one whose listener
    /// fails is left out. How far this member is stands in a file; see
    /// [`offset_directory`](Self::offset_directory). Default: members share the messages.
    ///
    /// Unless the configuration has an `instance_name`, it is `DEFAULT` here as in Java, so that the file
    /// is found after a restart. Two members on one machine need different names.
    pub fn broadcasting(mut self) -> Self {
        self.options.model = MessageModel::Broadcasting;
        self
    }

    /// Where a broadcasting consumer keeps how far it is: in `<client id>/<group>/offsets.json` below
    /// this directory, as Java's client does. Default `.rocketmq_offsets` in the home directory.
    pub fn offset_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.offset_directory = Some(directory.into());
        self
    }

    /// How the group's members share a topic's queues; all of them must do it alike. Default
    /// [`Average`].
    pub fn rebalance(mut self, strategy: impl RebalanceStrategy + 'static) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// Calls a hook around every call of the listener. May be called several times; an `Arc` of a hook
    /// is one too.
    pub fn hook(mut self, hook: impl ConsumeHook + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Whether the consumer writes message traces, as Java's client does with `enableMsgTrace`: when
    /// each message was consumed, how long it took and how it ended, for the dashboard and `mqadmin`.
    /// They go to the topic `RMQ_SYS_TRACE_TOPIC`, which brokers have with `traceTopicEnable=true`, in
    /// the background, up to 5 s later. What cannot be sent is dropped. Default no.
    pub fn trace(mut self, is_on: bool) -> Self {
        self.traces = is_on;
        self
    }

    /// Messages that a batch listener gets at a time, at most; see
    /// [`start_batch`](Self::start_batch). Default 32.
    pub fn consume_batch(mut self, messages: usize) -> Self {
        self.options.consume_batch = messages;
        self
    }

    /// Messages that one pull brings at most. Default 32.
    pub fn pull_batch(mut self, messages: u16) -> Self {
        self.options.pull_batch = i32::from(messages);
        self
    }

    /// How long to wait after a pull of a queue that brought messages, to consume no faster than that.
    /// Default none.
    pub fn pull_interval(mut self, interval: Duration) -> Self {
        self.options.pull_interval = interval;
        self
    }

    /// Messages of one queue that may wait for listeners before pulling pauses. Default 1,000.
    pub fn queue_messages_max(mut self, messages: usize) -> Self {
        self.options.hold.messages_max = messages;
        self
    }

    /// Bytes of one queue that may wait for listeners before pulling pauses. Default 100 MiB.
    pub fn queue_bytes_max(mut self, bytes: usize) -> Self {
        self.options.hold.bytes_max = bytes;
        self
    }

    /// Messages of one topic that may wait for listeners, over all its queues that are this consumer's:
    /// each gets an equal share, and no more than `queue_messages_max`. Default no limit.
    pub fn topic_messages_max(mut self, messages: usize) -> Self {
        self.options.topic_messages_max = Some(messages);
        self
    }

    /// Bytes of one topic that may wait for listeners, shared like `topic_messages_max`. Default no
    /// limit.
    pub fn topic_bytes_max(mut self, bytes: usize) -> Self {
        self.options.topic_bytes_max = Some(bytes);
        self
    }

    /// Offsets between the first and the last unfinished message of a queue, before pulling pauses: one
    /// message that hangs lets so many be consumed twice after a crash. Without effect where messages
    /// are consumed in order. Default 2,000.
    pub fn queue_span_max(mut self, offsets: u32) -> Self {
        self.options.hold.span_max = i64::from(offsets);
        self
    }

    /// A listener that takes longer is given up, and its message delivered again. Listeners in order
    /// have no such limit. Default 15 minutes.
    pub fn consume_timeout(mut self, timeout: Duration) -> Self {
        self.options.consume_timeout = timeout;
        self
    }

    /// Deliveries after the first, before a message goes to the dead-letter topic. Default 16; where
    /// messages are consumed in order, no limit.
    pub fn reconsume_times_max(mut self, times: u16) -> Self {
        self.reconsume_times_max = Some(times);
        self
    }

    /// How long a shutdown waits for the listeners at work. Default 10 s.
    pub fn shutdown_wait(mut self, wait: Duration) -> Self {
        self.options.shutdown_wait = wait;
        self
    }

    /// Where the consumer gets the time from; tests pass a clock that they move.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.link.clock = clock;
        self
    }
}
