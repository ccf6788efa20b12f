//! The settings of a POP consumer.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_proto_compat::body::{ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names;

use super::{Inner, PopConsumer};
use crate::config::ClientConfig;
use crate::consumer::ConsumeFrom;
use crate::error::StartError;
use crate::heartbeat::Heartbeat;
use crate::link::Link;
use crate::stop::StopSource;
use crate::subscription::Subscription;

/// Settings of a [`PopConsumer`].
///
/// ```no_run
/// use std::time::Duration;
/// use thrustmq_client::PopConsumer;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let consumer = PopConsumer::builder("billing")
///     .name_servers("127.0.0.1:9876")
///     .subscribe("orders", "paid || shipped")
///     .invisible_time(Duration::from_secs(30))
///     .start()
///     .await?;
/// # drop(consumer);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct PopConsumerBuilder {
    group: String,
    link: ClientConfig,
    subscriptions: BTreeMap<String, Subscription>,
    invisible_time: Duration,
    from_first: bool,
    is_ordered: bool,
    pub(super) concurrency: usize,
    pub(super) shutdown_wait: Duration,
}

impl PopConsumerBuilder {
    pub(super) fn new(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            link: ClientConfig::default(),
            subscriptions: BTreeMap::new(),
            invisible_time: Duration::from_secs(60),
            from_first: false,
            is_ordered: false,
            concurrency: 20,
            shutdown_wait: Duration::from_secs(10),
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

    /// How long a lease lasts, 10 s to 5 min at Java's brokers: longer than the work on a message takes, or on
    /// all that are received together. Default 60 s.
    pub fn invisible_time(mut self, time: Duration) -> Self {
        self.invisible_time = time;
        self
    }

    /// Where a new group begins: [`ConsumeFrom::FirstOffset`], or, by default, with what comes from now on. A
    /// time cannot be chosen.
    pub fn consume_from(mut self, from: ConsumeFrom) -> Self {
        self.from_first = from == ConsumeFrom::FirstOffset;
        self
    }

    /// Messages of a queue in order: what follows a leased message comes only when that is acknowledged, or
    /// its lease has ended.
    pub fn fifo(mut self) -> Self {
        self.is_ordered = true;
        self
    }

    /// Listeners at work at a time. Default 20.
    pub fn concurrency(mut self, listeners: usize) -> Self {
        self.concurrency = listeners;
        self
    }

    /// How long a shutdown waits for the listeners at work. Default 10 s.
    pub fn shutdown_wait(mut self, wait: Duration) -> Self {
        self.shutdown_wait = wait;
        self
    }

    /// Where the consumer gets the time from; tests pass a clock that they move.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.link.clock = clock;
        self
    }

    /// Starts the consumer. It connects with the first call.
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn start(self) -> Result<PopConsumer, StartError> {
        self.check()?;
        let namespace = &self.link.namespace;
        let subscriptions: Vec<_> = self.subscriptions.into_iter().collect();
        let subscriptions: Vec<_> = subscriptions
            .into_iter()
            .map(|(topic, wanted)| (namespace.wrap(&topic).into_owned(), wanted))
            .collect();
        let link = Arc::new(Link::new(&self.link, None).await?);
        let group = self.link.namespace.wrap(&self.group).into_owned();
        let version = link.clock.now_ms();
        let heartbeat = Heartbeat::of_consumer(
            &link.id.text,
            ConsumerData {
                group_name: group.clone(),
                consume_type: ConsumeType::Passively,
                message_model: MessageModel::Clustering,
                consume_from_where: match self.from_first {
                    true => ConsumeFromWhere::FirstOffset,
                    false => ConsumeFromWhere::LastOffset,
                },
                subscription_data_set: subscriptions
                    .iter()
                    .map(|(topic, wanted)| wanted.to_data(topic, version))
                    .collect(),
                unit_mode: false,
            },
        );
        let inner = Arc::new(Inner {
            link,
            group,
            subscriptions,
            invisible_time: self.invisible_time,
            from_first: self.from_first,
            is_ordered: self.is_ordered,
            turn: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            started_ms: version,
            stop: StopSource::new(),
            background: Mutex::new(None),
        });
        inner.begin_heartbeat(heartbeat);
        Ok(PopConsumer { inner })
    }

    fn check(&self) -> Result<(), StartError> {
        names::check_group(&self.group).map_err(|why| StartError::Group {
            group: self.group.clone(),
            why,
        })?;
        if self.subscriptions.is_empty() {
            return Err(StartError::NothingSubscribed);
        }
        for topic in self.subscriptions.keys() {
            names::check_topic(topic).map_err(|why| StartError::Topic {
                topic: topic.clone(),
                why,
            })?;
        }
        if self.invisible_time.is_zero() {
            return Err(StartError::ZeroTime("invisible_time"));
        }
        Ok(())
    }
}
