//! Dead letters sent back, so that their group consumes them after all: [`Admin::redrive`].
//!
//! How far it is, is kept at the broker as an offset in the dead-letter queue of a group that every
//! broker has for tools. It moves only behind messages that are stored again, so that none is lost; what
//! was stored when the way to that note broke is sent again by the next run.

use std::collections::BTreeMap;

use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::message::{names, property_name};
use tokio::task::JoinSet;

use super::Admin;
use super::walk::{QueueWalk, TimeRange};
use crate::ReceivedMessage;
use crate::error::{AdminError, RedriveCause, RedriveError, RouteError};
use crate::message::Message;
use crate::producer::Producer;
use crate::pull_consumer::PullConsumer;
use crate::received::BODY_BYTES_MAX;
use crate::subscription::Subscription;

/// Of the producer that sends back.
const PRODUCER_GROUP: &str = "thrustmq-redrive";
/// The property of a message that was sent back: the id that it had as a dead letter.
const REDRIVEN_FROM: &str = "REDRIVEN_FROM";
/// What RocketMQ itself noted that still holds when a message is sent again.
const KEPT: [&str; 5] = [
    property_name::KEYS,
    property_name::TAGS,
    property_name::SHARDING_KEY,
    property_name::PRIORITY,
    property_name::TRACE_CONTEXT,
];

/// Which dead letters are sent back, and where; see [`Admin::redrive`].
///
/// ```
/// use thrustmq_client::Redrive;
/// let try_ten = Redrive::of("billing").messages_max(10).only_to_group(true);
/// # let _ = try_ten;
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before it is given to `Admin::redrive`"]
pub struct Redrive {
    group: String,
    range: TimeRange,
    messages_max: u64,
    is_again: bool,
    is_dry: bool,
    only_to_group: bool,
}

impl Redrive {
    /// All dead letters of a group that were not sent back before, to the topics where they came from.
    pub fn of(group: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            range: TimeRange::all(),
            messages_max: u64::MAX,
            is_again: false,
            is_dry: false,
            only_to_group: false,
        }
    }

    /// Only those that were given up within a span of time. If the span has a begin, nothing is noted,
    /// since what is noted is all up to a place: another run takes the same again.
    pub fn between(mut self, range: TimeRange) -> Self {
        self.range = range;
        self
    }

    /// At most so many. Default all.
    pub fn messages_max(mut self, messages: u64) -> Self {
        self.messages_max = messages;
        self
    }

    /// Those too that were sent back before. Default no.
    pub fn again(mut self, is_again: bool) -> Self {
        self.is_again = is_again;
        self
    }

    /// Only counts. Default no.
    pub fn dry_run(mut self, is_dry: bool) -> Self {
        self.is_dry = is_dry;
        self
    }

    /// Sends to the group's retry topic, so that other groups that consume the original topics do not
    /// get the messages again. Members that pop, and pull consumers, do not read retry topics. Default no.
    pub fn only_to_group(mut self, only: bool) -> Self {
        self.only_to_group = only;
        self
    }
}

/// How far a [`Redrive`] is.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::RedriveError> {
/// use thrustmq_client::Redrive;
/// let counted = admin.redrive(&Redrive::of("billing").dry_run(true), |_| {}).await?;
/// println!("{} dead letters, {} unreadable", counted.messages, counted.unreadable);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedriveProgress {
    /// Messages that were sent back; in a dry run those that would be.
    pub messages: u64,
    /// The same by the topic that they came from.
    pub by_topic: BTreeMap<String, u64>,
    /// Dead letters that are damaged and were left where they are.
    pub unreadable: u64,
}

/// A run.
struct Run<'a> {
    redrive: &'a Redrive,
    consumer: PullConsumer,
    producer: Option<Producer>,
    done: RedriveProgress,
}

impl Admin {
    /// Sends a group's dead letters back to the topics where they came from, with body, tag, keys and
    /// the application's properties as they were, and begins to count retries anew. They get ids of
    /// their own; the property `REDRIVEN_FROM` has the id of the dead letter. The dead letters stay
    /// where they are until their time is over.
    ///
    /// It goes in batches of up to 32, after each of which `progress` is called and the broker notes
    /// how far it is: a run that was broken off is resumed by another. **No message is lost, some may be
    /// sent twice**: those of the batch that was under way when a run broke off, those whose send
    /// timed out and was stored all the same, and all that two runs at one time send. They have the same
    /// `REDRIVEN_FROM`. Every group that consumes an original topic gets the messages again; see
    /// [`Redrive::only_to_group`].
    ///
    /// ```no_run
    /// # async fn example(admin: &thrustmq_client::Admin) -> Result<(), thrustmq_client::RedriveError> {
    /// use thrustmq_client::Redrive;
    /// let done = admin
    ///     .redrive(&Redrive::of("billing"), |progress| println!("{} sent", progress.messages))
    ///     .await?;
    /// println!("{} messages are back in {:?}", done.messages, done.by_topic.keys());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A broker does not answer or refuses, or a dead letter does not say where it came from. What was
    /// sent until then is in the error, and noted.
    pub async fn redrive(
        &self,
        redrive: &Redrive,
        mut progress: impl FnMut(&RedriveProgress) + Send,
    ) -> Result<RedriveProgress, RedriveError> {
        let mut run = Run {
            redrive,
            consumer: self.reader(),
            producer: None,
            done: RedriveProgress::default(),
        };
        let ended = self.run(&mut run, &mut progress).await;
        if let Some(producer) = &run.producer {
            producer.shutdown().await;
        }
        let done = run.done;
        match ended {
            Ok(()) => Ok(done),
            Err(cause) => Err(RedriveError { done, cause }),
        }
    }

    async fn run(
        &self,
        run: &mut Run<'_>,
        progress: &mut (impl FnMut(&RedriveProgress) + Send),
    ) -> Result<(), RedriveCause> {
        let topic = names::dead_letter_topic(&run.redrive.group);
        let queues = match self.readable_queues(&run.consumer, &topic).await {
            // Nothing was ever given up.
            Err(AdminError::Route(RouteError::NoSuchTopic(_))) => return Ok(()),
            queues => queues?,
        };
        if !run.redrive.is_dry {
            let config = self.config.clone();
            let builder = Producer::builder(PRODUCER_GROUP).config(config);
            let started = builder.body_bytes_max(BODY_BYTES_MAX).start().await;
            run.producer = Some(started.map_err(AdminError::from)?);
        }
        for queue in queues {
            run.queue(queue, progress).await?;
        }
        Ok(())
    }
}

impl Run<'_> {
    async fn queue(
        &mut self,
        queue: MessageQueue,
        progress: &mut (impl FnMut(&RedriveProgress) + Send),
    ) -> Result<(), RedriveCause> {
        let noted = self.consumer.committed(&queue).await?.unwrap_or_default();
        let mut walk = QueueWalk::open(&self.consumer, queue, self.redrive.range).await?;
        // A note beyond the end is of a topic that was deleted since.
        let noted = if noted > walk.end { 0 } else { noted };
        // What lies before a span is not sent, so the note must not pass it.
        let is_noted = !self.redrive.is_dry && self.redrive.range.begin_ms <= 0;
        if !self.redrive.is_again {
            walk.offset = walk.offset.max(noted);
        }
        while !walk.is_ended() && self.done.messages < self.redrive.messages_max {
            let step = walk.step(&self.consumer, &Subscription::all()).await?;
            let left = self.redrive.messages_max - self.done.messages;
            let mut messages = step.messages;
            let beyond = usize::try_from(left)
                .ok()
                .and_then(|left| messages.get(left));
            if let Some(beyond) = beyond.map(|message| message.queue_offset) {
                walk.offset = beyond;
                messages.retain(|message| message.queue_offset < beyond);
            }
            let batch = self.send_all(messages).await;
            let sent_up_to = batch.failed_at.unwrap_or(walk.offset);
            if is_noted && sent_up_to > noted {
                self.consumer.commit(&walk.queue, sent_up_to).await?;
            }
            self.done.unreadable += step.unreadable;
            progress(&self.done);
            if let Some(cause) = batch.cause {
                return Err(cause);
            }
        }
        Ok(())
    }

    /// Sends messages side by side and waits for all of them.
    async fn send_all(&mut self, messages: Vec<ReceivedMessage>) -> Batch {
        let mut batch = Batch::default();
        let mut sends = JoinSet::new();
        for dead in messages {
            let offset = dead.queue_offset;
            let (topic, message) = match self.revived(&dead) {
                Ok(revived) => revived,
                Err(cause) => {
                    batch.fail(offset, cause);
                    break;
                }
            };
            let Some(producer) = self.producer.clone() else {
                self.count(topic);
                continue;
            };
            sends.spawn(async move {
                let outcome = producer.send(message).await.map(drop);
                (offset, topic, outcome)
            });
        }
        for (offset, topic, outcome) in sends.join_all().await {
            match outcome {
                Ok(()) => self.count(topic),
                Err(cause) => batch.fail(offset, RedriveCause::Send { offset, cause }),
            }
        }
        batch
    }

    fn count(&mut self, topic: String) {
        self.done.messages += 1;
        *self.done.by_topic.entry(topic).or_default() += 1;
    }

    /// The topic that a dead letter came from, and the message as it is sent again.
    fn revived(&self, dead: &ReceivedMessage) -> Result<(String, Message), RedriveCause> {
        let group = &self.redrive.group;
        let origin = origin(dead, group).ok_or_else(|| RedriveCause::NoOrigin {
            message_id: dead.message_id(),
            offset: dead.queue_offset,
        })?;
        let mut message = if self.redrive.only_to_group {
            Message::new(names::retry_topic(group), dead.body.clone())
                .with_system(property_name::RETRY_TOPIC, origin)
        } else {
            Message::new(origin, dead.body.clone())
        };
        message = message.flag(dead.flag);
        for (name, value) in dead.properties.iter() {
            if KEPT.contains(&name) {
                message = message.with_system(name, value);
            } else if !property_name::ALL.contains(&name) {
                message.set_property(name, value);
            }
        }
        message.set_property(REDRIVEN_FROM, dead.message_id());
        Ok((origin.to_owned(), message))
    }
}

/// The topic that a dead letter was first sent to.
fn origin<'a>(dead: &'a ReceivedMessage, group: &str) -> Option<&'a str> {
    let property = |name| dead.properties.get(name);
    let topic = property(property_name::DLQ_ORIGIN_TOPIC)
        .or_else(|| property(property_name::RETRY_TOPIC))?;
    // Members that pop have a retry topic for each topic.
    let popped = names::group_of_retry_topic(topic)
        .and_then(|rest| rest.strip_prefix(group))
        .and_then(|rest| rest.strip_prefix(['+', '_']));
    Some(popped.unwrap_or(topic)).filter(|topic| !names::is_retry_topic(topic))
}

/// What became of some messages.
#[derive(Default)]
struct Batch {
    /// The first that was not sent.
    failed_at: Option<i64>,
    cause: Option<RedriveCause>,
}

impl Batch {
    fn fail(&mut self, offset: i64, cause: RedriveCause) {
        if self.failed_at.is_none_or(|first| offset < first) {
            self.failed_at = Some(offset);
            self.cause = Some(cause);
        }
    }
}
