//! Messages of a topic by the time of their storing, read by pulls: no group is left behind, and nothing
//! is committed.

use std::collections::VecDeque;
use std::time::Duration;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::message::names;

use super::Admin;
use crate::ReceivedMessage;
use crate::error::{AdminError, RouteError};
use crate::pull_consumer::PullConsumer;
use crate::subscription::Subscription;

/// Before a broker that had no time is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// So often in a row a broker may give nothing of what it has.
const FRUITLESS_MAX: u32 = 50;

/// A span of time, both ends included, by which messages were stored.
///
/// ```
/// use thrustmq_client::TimeRange;
/// let range = TimeRange::since(1_700_000_000_000).until(1_700_000_060_000);
/// assert_eq!(range.end_ms - range.begin_ms, 60_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Stored at this time or later, milliseconds since 1970.
    pub begin_ms: i64,
    /// Stored at this time or before.
    pub end_ms: i64,
}

impl TimeRange {
    /// Everything that is still there.
    pub fn all() -> Self {
        Self::since(0)
    }

    /// What was stored at a time or later, milliseconds since 1970.
    pub fn since(begin_ms: i64) -> Self {
        Self {
            begin_ms,
            end_ms: i64::MAX,
        }
    }

    /// And not later than this, milliseconds since 1970.
    pub fn until(mut self, end_ms: i64) -> Self {
        self.end_ms = end_ms;
        self
    }
}

/// A message and where it was found.
///
/// ```
/// use thrustmq_client::FoundMessage;
/// fn line(found: &FoundMessage) -> String {
///     format!("{} of {}", found.message.message_id(), found.queue)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct FoundMessage {
    /// Its queue.
    pub queue: MessageQueue,
    /// The message.
    pub message: ReceivedMessage,
}

/// Messages of a topic in the order of their storing; see [`Admin::messages_between`].
///
/// ```no_run
/// # async fn example(mut walk: thrustmq_client::MessageWalk) -> Result<(), thrustmq_client::AdminError> {
/// while let Some(found) = walk.next().await? {
///     println!("{:?}", found.message.body);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MessageWalk {
    consumer: PullConsumer,
    subscription: Subscription,
    queues: Vec<Buffered>,
}

/// A queue with what was read and not taken yet.
#[derive(Debug)]
struct Buffered {
    walk: QueueWalk,
    messages: VecDeque<ReceivedMessage>,
}

impl MessageWalk {
    /// The next message; none when all that were there at the begin are through.
    ///
    /// # Errors
    /// A broker does not answer or refuses. Calling again goes on.
    pub async fn next(&mut self) -> Result<Option<FoundMessage>, AdminError> {
        for queue in &mut self.queues {
            while queue.messages.is_empty() && !queue.walk.is_ended() {
                let step = queue.walk.step(&self.consumer, &self.subscription).await?;
                queue.messages.extend(step.messages);
            }
        }
        let stored_ms = |queue: &&mut Buffered| {
            let first = queue.messages.front();
            first.map_or(i64::MAX, |message| message.store_timestamp)
        };
        let oldest = self.queues.iter_mut().min_by_key(stored_ms);
        Ok(oldest.and_then(|queue| {
            let message = queue.messages.pop_front()?;
            let queue = queue.walk.queue.clone();
            Some(FoundMessage { queue, message })
        }))
    }
}

/// A way through one queue, from the first message of a span to its last, or to what was the queue's
/// end at the begin.
#[derive(Debug)]
pub(super) struct QueueWalk {
    pub(super) queue: MessageQueue,
    pub(super) offset: i64,
    pub(super) end: i64,
    range: TimeRange,
}

/// What one pull brought.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Those within the span.
    pub(super) messages: Vec<ReceivedMessage>,
    /// Numbers in the queue at which no message can be read, if all are wanted.
    pub(super) unreadable: u64,
}

impl QueueWalk {
    pub(super) async fn open(
        consumer: &PullConsumer,
        queue: MessageQueue,
        range: TimeRange,
    ) -> Result<Self, AdminError> {
        let first = consumer.min_offset(&queue).await?;
        let begin = if range.begin_ms > 0 {
            consumer.offset_at(&queue, range.begin_ms).await?
        } else {
            first
        };
        Ok(Self {
            end: consumer.max_offset(&queue).await?,
            offset: begin.max(first),
            queue,
            range,
        })
    }

    pub(super) fn is_ended(&self) -> bool {
        self.offset >= self.end
    }

    /// One pull, to which a broker may have nothing to say for a while.
    pub(super) async fn step(
        &mut self,
        consumer: &PullConsumer,
        wanted: &Subscription,
    ) -> Result<Step, AdminError> {
        let begin = self.offset;
        for _ in 0..FRUITLESS_MAX {
            let pull = consumer
                .pull(&self.queue, begin)
                .subscription(wanted.clone());
            let pull = pull.await?;
            if pull.next_offset <= begin {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let mut messages = pull.messages;
            let is_late = |message: &&ReceivedMessage| message.store_timestamp > self.range.end_ms;
            if let Some(late) = messages.iter().find(is_late) {
                self.end = self.end.min(late.queue_offset); // What follows is later still.
            }
            self.offset = pull.next_offset.min(self.end);
            messages.retain(|message| message.queue_offset < self.end);
            let passed = u64::try_from(self.offset.saturating_sub(begin)).unwrap_or_default();
            let read = u64::try_from(messages.len()).unwrap_or(u64::MAX);
            messages.retain(|message| message.store_timestamp >= self.range.begin_ms);
            return Ok(Step {
                messages,
                unreadable: if pull.is_moved {
                    0
                } else {
                    passed.saturating_sub(read)
                },
            });
        }
        Err(AdminError::BadAnswer {
            address: self.queue.broker_name.clone(),
            cause: format!(
                "nothing at {begin} of {}, which is below its end",
                self.queue
            ),
        })
    }
}

impl Admin {
    /// The messages of a topic that were stored within a span of time, in the order of their storing;
    /// those that come after the call are not among them. Brokers go through all messages of the span,
    /// so name a short one on large topics.
    ///
    /// ```no_run
    /// # async fn example(admin: &thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
    /// use thrustmq_client::TimeRange;
    /// let mut walk = admin.messages_between("orders", TimeRange::all(), "paid").await?;
    /// while let Some(found) = walk.next().await? {
    ///     println!("{} {:?}", found.queue, found.message.body);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such topic, it cannot be read, or a broker does not answer.
    pub async fn messages_between(
        &self,
        topic: &str,
        range: TimeRange,
        wanted: impl Into<Subscription>,
    ) -> Result<MessageWalk, AdminError> {
        let consumer = self.reader();
        let mut queues = Vec::new();
        for queue in self.readable_queues(&consumer, topic).await? {
            queues.push(Buffered {
                walk: QueueWalk::open(&consumer, queue, range).await?,
                messages: VecDeque::new(),
            });
        }
        Ok(MessageWalk {
            consumer,
            subscription: wanted.into(),
            queues,
        })
    }

    /// The messages that a group gave up within a span of time: those of its dead-letter topic.
    ///
    /// # Errors
    /// The group has no dead letters ([`RouteError::NoSuchTopic`]), or a broker does not answer.
    pub async fn dead_letters(
        &self,
        group: &str,
        range: TimeRange,
    ) -> Result<MessageWalk, AdminError> {
        let topic = names::dead_letter_topic(group);
        self.messages_between(&topic, range, Subscription::all())
            .await
    }

    /// Reads on this client's connections, as a group that every broker has for tools.
    pub(super) fn reader(&self) -> PullConsumer {
        PullConsumer::over(self.link.clone(), names::TOOLS_GROUP)
    }

    /// The queues of a topic; there is at least one.
    pub(super) async fn readable_queues(
        &self,
        consumer: &PullConsumer,
        topic: &str,
    ) -> Result<Vec<MessageQueue>, AdminError> {
        let mut queues = consumer.queues(topic).await?;
        if queues.is_empty() {
            return Err(RouteError::NoQueue(topic.to_owned()).into());
        }
        queues.sort();
        Ok(queues)
    }
}
