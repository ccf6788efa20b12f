//! [`PullConsumer`]: the application says which queue it wants to read, and from where.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names;
use thrustmq_remoting::CallError;
use tracing::error;

use crate::ReceivedMessage;
use crate::config::ClientConfig;
use crate::consumer::pull::{PullRequest, Pulled, pulled};
use crate::error::{AdminError, StartError};
use crate::link::Link;
use crate::queue_offsets::{self, CommitWait};
use crate::received::pulled_records;
use crate::subscription::Subscription;

/// Beyond the time that a broker may hold a pull, its answer may take so long.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Reads queues from where the application says. Cheap to clone.
///
/// It is no member of its group: it does not share queues with others, and brokers do not list it. The group's
/// name only says whose offsets [`PullConsumer::commit`] keeps. For consumers that share a topic's
/// queues see [`PushConsumer`](crate::PushConsumer).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use thrustmq_client::PullConsumer;
///
/// let consumer = PullConsumer::builder("audit")
///     .name_servers("127.0.0.1:9876")
///     .start()
///     .await?;
/// for queue in consumer.queues("orders").await? {
///     let mut offset = consumer.min_offset(&queue).await?;
///     while offset < consumer.max_offset(&queue).await? {
///         let pull = consumer.pull(&queue, offset).subscription("paid || shipped").await?;
///         for message in &pull.messages {
///             println!("{} {:?}", message.message_id(), message.body);
///         }
///         offset = pull.next_offset;
///     }
///     consumer.commit(&queue, offset).await?;
/// }
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PullConsumer {
    link: Arc<Link>,
    group: String,
}

/// Settings of a [`PullConsumer`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use thrustmq_client::{ClientConfig, PullConsumer};
///
/// let config = ClientConfig::new().name_servers("127.0.0.1:9876").namespace("east");
/// let consumer = PullConsumer::builder("audit").config(config).start().await?;
/// # let _ = consumer;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct PullConsumerBuilder {
    group: String,
    link: ClientConfig,
}

/// A pull that was not sent yet; see [`PullConsumer::pull`].
///
/// ```no_run
/// # use thrustmq_client::{AdminError, MessageQueue, Pull, PullConsumer};
/// # async fn example(consumer: PullConsumer, queue: MessageQueue) -> Result<Pull, AdminError> {
/// use std::time::Duration;
///
/// let call = consumer.pull(&queue, 1_000).subscription("paid").messages_max(10);
/// // Waits at the broker for a message that is not there yet.
/// call.wait(Duration::from_secs(15)).await
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a pull does nothing until it is awaited"]
pub struct PullCall<'a> {
    consumer: &'a PullConsumer,
    queue: Cow<'a, MessageQueue>,
    offset: i64,
    subscription: Subscription,
    messages_max: u16,
    wait: Duration,
}

/// What a pull brought. [`PullConsumer`] shows how to go on from one to the next.
///
/// ```no_run
/// # async fn example(consumer: thrustmq_client::PullConsumer) -> Result<(), thrustmq_client::AdminError> {
/// for queue in consumer.queues("orders").await? {
///     let pull = consumer.pull(&queue, 0).await?;
///     println!("{} messages, then {}", pull.messages.len(), pull.next_offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Pull {
    /// The messages that are wanted, in order; perhaps none.
    pub messages: Vec<ReceivedMessage>,
    /// Where to go on: behind the messages that were looked at, wanted or not.
    pub next_offset: i64,
    /// The queue did not have the offset: it was deleted, or is not there yet. `next_offset` is the nearest
    /// that it has.
    pub is_moved: bool,
}

impl PullConsumerBuilder {
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

    /// Where the consumer gets the time from; tests pass a clock that they move.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.link.clock = clock;
        self
    }

    /// Starts the consumer. It connects with the first call.
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn start(self) -> Result<PullConsumer, StartError> {
        names::check_group(&self.group).map_err(|why| StartError::Group {
            group: self.group.clone(),
            why,
        })?;
        Ok(PullConsumer {
            link: Arc::new(Link::new(&self.link, None).await?),
            group: self.link.namespace.wrap(&self.group).into_owned(),
        })
    }
}

impl PullConsumer {
    /// Begins to make a consumer for `group`.
    pub fn builder(group: impl Into<String>) -> PullConsumerBuilder {
        PullConsumerBuilder {
            group: group.into(),
            link: ClientConfig::default(),
        }
    }

    /// One on the connections of another client.
    pub(crate) fn over(link: Arc<Link>, group: &str) -> Self {
        Self {
            link,
            group: group.to_owned(),
        }
    }

    /// The queues of a topic that can be read, as the name servers know them now.
    ///
    /// # Errors
    /// No name server answers, or there is no such topic.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, AdminError> {
        let namespace = &self.link.namespace;
        let route = self.link.renewed_route(&namespace.wrap(topic)).await?;
        let queues = route.subscribe_queues().iter();
        Ok(queues
            .map(|queue| namespace.plain_queue(queue).into_owned())
            .collect())
    }

    /// Reads a queue from an offset on: await it, after saying more about it where the defaults will
    /// not do (all messages, at most 32, without waiting for one).
    pub fn pull<'a>(&'a self, queue: &'a MessageQueue, offset: i64) -> PullCall<'a> {
        PullCall {
            consumer: self,
            queue: self.wrapped(queue),
            offset,
            subscription: Subscription::all(),
            messages_max: 32,
            wait: Duration::ZERO,
        }
    }

    /// The first message that the queue still has.
    ///
    /// # Errors
    /// The queue's broker is not known or does not answer.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<i64, AdminError> {
        queue_offsets::min(&self.link, &self.wrapped(queue)).await
    }

    /// The number that the queue's next message will get.
    ///
    /// # Errors
    /// The queue's broker is not known or does not answer.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<i64, AdminError> {
        queue_offsets::max(&self.link, &self.wrapped(queue)).await
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
        queue_offsets::at_time(&self.link, &self.wrapped(queue), timestamp_ms).await
    }

    /// Where the group goes on in a queue; nothing if it has never committed there.
    ///
    /// # Errors
    /// The queue's broker is not known or does not answer.
    pub async fn committed(&self, queue: &MessageQueue) -> Result<Option<i64>, AdminError> {
        let queue = self.wrapped(queue);
        queue_offsets::committed(&self.link, &self.group, &queue, Some(false)).await
    }

    /// Says where the group goes on in a queue, and waits until the broker knows it.
    ///
    /// # Errors
    /// The queue's broker is not known, does not answer, or refuses.
    pub async fn commit(&self, queue: &MessageQueue, offset: i64) -> Result<(), AdminError> {
        let queue = self.wrapped(queue);
        queue_offsets::commit(&self.link, &self.group, &queue, offset, CommitWait::Yes).await
    }

    /// A queue as servers know it.
    fn wrapped<'a>(&self, queue: &'a MessageQueue) -> Cow<'a, MessageQueue> {
        self.link.namespace.wrap_queue(queue)
    }

    /// Closes the connections; pulls under way end with an error.
    pub async fn shutdown(&self) {
        self.link.close().await;
    }
}

impl<'a> PullCall<'a> {
    /// Which messages are wanted. Default all.
    pub fn subscription(mut self, wanted: impl Into<Subscription>) -> Self {
        self.subscription = wanted.into();
        self
    }

    /// How many messages it brings at most. Default 32, which is also the most that brokers give by
    /// default.
    pub fn messages_max(mut self, messages: u16) -> Self {
        self.messages_max = messages;
        self
    }

    /// How long the broker waits for a message if there is none yet. Default not at all.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    fn request(&self) -> PullRequest<'_> {
        PullRequest {
            group: &self.consumer.group,
            queue: &self.queue,
            offset: self.offset,
            commit_offset: 0,
            messages_max: i32::from(self.messages_max),
            subscription: Some(&self.subscription),
            subscription_version: 0,
            wait: self.wait,
            is_lite: false,
        }
    }

    async fn exchange(self) -> Result<Pull, AdminError> {
        let link = &self.consumer.link;
        let address = queue_offsets::address(link, &self.queue).await?;
        let time = self.wait.saturating_add(ANSWER_TIME);
        let called = link.client().call(&address, self.request().command(), time);
        let failed = |cause| AdminError::Call {
            address: address.clone(),
            cause,
        };
        let answer = match called.await {
            Ok(answer) => answer,
            Err(cause) => {
                // Its broker may have moved: the next pull shall know. If nobody tells, that fails too.
                let _ = link.renewed_route(&self.queue.topic).await;
                return Err(failed(cause));
            }
        };
        match pulled(answer) {
            Pulled::Messages { records, next, .. } => Ok(Pull {
                messages: self.decoded(&records),
                next_offset: next,
                is_moved: false,
            }),
            Pulled::OffsetMoved { next } => Ok(Pull {
                messages: Vec::new(),
                next_offset: next,
                is_moved: true,
            }),
            Pulled::Busy => Ok(Pull {
                messages: Vec::new(),
                next_offset: self.offset,
                is_moved: false,
            }),
            Pulled::Refused(refusal) => Err(failed(CallError::Refused(refusal))),
        }
    }

    /// The messages of an answer. One whose body is damaged is left out, and said so.
    fn decoded(&self, records: &Bytes) -> Vec<ReceivedMessage> {
        let records = pulled_records(records, |tag| self.subscription.matches(tag));
        let messages = records.iter().filter_map(|record| {
            let decoded = record.decode("", &self.consumer.link.namespace);
            decoded
                .inspect_err(|cause| {
                    error!(%cause, queue_offset = record.queue_offset, "message cannot be read");
                })
                .ok()
        });
        messages.collect()
    }
}

impl<'a> IntoFuture for PullCall<'a> {
    type Output = Result<Pull, AdminError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    /// # Errors
    /// The queue's broker is not known, does not answer, or refuses.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.exchange())
    }
}
