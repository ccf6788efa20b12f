//! [`LitePullConsumer`]: a member of a group that asks for messages when it wants some.
//!
//! Behind it is what is behind a push consumer, but for the listener: the control task shares queues out,
//! a task for each queue pulls ahead up to the limits, and what a listener would finish is finished by the
//! next poll.

mod assignments;
mod builder;
mod positions;
mod stream;
mod topic_queues;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thrustmq_proto_compat::body::MessageQueue;

pub use assignments::Assignments;
pub use builder::LitePullConsumerBuilder;
pub use stream::PolledMessages;
pub use topic_queues::TopicQueues;

use super::PushConsumer;
use super::assigned_queue::AssignedQueue;
use super::consume;
use super::hook::{self, ConsumeEnd, Watched};
use super::polling::{Chosen, Polling};
use super::process_queue::ProcessQueue;
use crate::ReceivedMessage;
use crate::error::LitePullError;
use crate::subscription::Subscription;

/// Receives messages as a member of a group, whenever the application asks.
///
/// A **poll** brings some messages of one queue, and says that those of the poll before are done. What is
/// done is committed every 5 s, by [`commit`](Self::commit) and at the end by
/// [`shutdown`](Self::shutdown); a program that dies gets again what was not. So nothing that was polled
/// is lost, and some of it may come twice. (Java's counts messages as done as soon as a poll has returned
/// them: those die with the program.)
///
/// Messages are pulled ahead, up to the limits that the builder sets. Of what waits for a poll nothing is
/// committed; it is forgotten when its queue goes to another member, is not assigned any more, or
/// [goes on elsewhere](Self::seek), and no poll brings it afterwards. What was polled of a queue that goes
/// away and is not done comes again at the queue's new owner.
///
/// ```no_run
/// use std::time::Duration;
/// use thrustmq_client::LitePullConsumer;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut consumer = LitePullConsumer::builder("billing")
///     .name_servers("127.0.0.1:9876")
///     .subscribe("orders", "paid || shipped")
///     .start()
///     .await?;
/// loop {
///     let messages = consumer.poll(Duration::from_secs(5)).await;
///     if messages.is_empty() {
///         break;
///     }
///     for message in &messages {
///         println!("{} {:?}", message.message_id(), message.body);
///     }
/// }
/// consumer.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// A consumer that subscribes to nothing shares with nobody: it reads the queues that it is given by
/// [`assign`](Self::assign), and its group says whose offsets it commits.
///
/// ```no_run
/// # use std::time::Duration;
/// # use thrustmq_client::LitePullConsumer;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut consumer = LitePullConsumer::builder("audit").start().await?;
/// let queues = consumer.queues("orders").await?;
/// consumer.assign(queues.clone(), "*").await?;
/// for queue in &queues {
///     consumer.seek_to_begin(queue).await?;
/// }
/// let messages = consumer.poll(Duration::from_secs(5)).await;
/// # let _ = messages;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LitePullConsumer {
    consumer: PushConsumer,
    polling: Arc<Polling>,
    is_subscribed: bool,
    /// Messages of a poll, at most.
    poll_batch: usize,
    /// What the last poll brought, until the next.
    polled: Option<Polled>,
    /// Where the next poll looks first, so that each queue gets its turn.
    turn: usize,
    paused: Mutex<BTreeSet<MessageQueue>>,
}

/// Messages that the application has, and has not said to be done.
#[derive(Debug)]
struct Polled {
    queue: Arc<AssignedQueue>,
    offsets: Vec<i64>,
    /// What hooks were told of them.
    watched: Option<Watched>,
}

impl LitePullConsumer {
    /// Begins to make a consumer of `group`.
    pub fn builder(group: impl Into<String>) -> LitePullConsumerBuilder {
        LitePullConsumerBuilder::new(group)
    }

    /// The id by which brokers and tools know this consumer.
    pub fn client_id(&self) -> &str {
        self.consumer.client_id()
    }

    /// The next messages of one of the queues, in the queue's order; waits for some at most this long, and
    /// brings none if none come. Says that the messages of the poll before are done. Cancel safe.
    pub async fn poll(&mut self, wait: Duration) -> Vec<ReceivedMessage> {
        self.finish_polled();
        let polled = tokio::time::timeout(wait, self.arrived(self.poll_batch)).await;
        // What comes in this moment waits for the next poll.
        polled.unwrap_or_default()
    }

    async fn arrived(&mut self, messages_max: usize) -> Vec<ReceivedMessage> {
        loop {
            let messages = self.take(messages_max);
            if !messages.is_empty() {
                return messages;
            }
            self.polling.rung().await;
        }
    }

    /// The messages as a stream, one after the other. Each says that the one before is done: mind that
    /// combinators which ask ahead (`chunks`, `buffered`) say so too soon. It goes on for ever; dropped,
    /// it leaves the consumer as it is, with its last message not done yet.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use thrustmq_client::LitePullConsumer;
    ///
    /// let mut consumer = LitePullConsumer::builder("billing").subscribe("orders", "*").start().await?;
    /// let mut messages = consumer.stream();
    /// while let Some(message) = messages.next().await {
    ///     println!("{} {:?}", message.message_id(), message.body);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&mut self) -> PolledMessages<'_> {
        PolledMessages::new(self)
    }

    /// The queues that are this consumer's now.
    pub fn assignment(&self) -> Vec<MessageQueue> {
        let queues = self.assigned();
        let context = &self.consumer.context;
        queues
            .iter()
            .map(|queue| assignments::plain(context, queue))
            .collect()
    }

    /// Tells of changes of [`assignment`](Self::assignment).
    pub fn assignments(&self) -> Assignments {
        let (assigned, context) = (&self.consumer.assigned, &self.consumer.context);
        Assignments::new(assigned.clone(), context.clone())
    }

    /// Reads these queues from now on and no others: tags with `||` between, `*` for all messages, or any
    /// [`Subscription`]. Each goes on where the group is, or where [`seek`](Self::seek) says. Says that
    /// the messages polled so far are done.
    ///
    /// # Errors
    /// The consumer subscribes to topics, whose queues the group shares.
    pub async fn assign(
        &mut self,
        queues: impl IntoIterator<Item = MessageQueue>,
        wanted: impl Into<Subscription>,
    ) -> Result<(), LitePullError> {
        let wanted = wanted.into();
        let queues = queues.into_iter();
        self.assign_each(queues.map(|queue| (queue, wanted.clone())))
            .await
    }

    /// As [`assign`](Self::assign), with a filter for each queue. A queue that is assigned already goes on
    /// with its new filter where it is.
    ///
    /// # Errors
    /// The consumer subscribes to topics, whose queues the group shares.
    pub async fn assign_each(
        &mut self,
        queues: impl IntoIterator<Item = (MessageQueue, Subscription)>,
    ) -> Result<(), LitePullError> {
        if self.is_subscribed {
            return Err(LitePullError::Subscribed);
        }
        self.finish_polled();
        let queues = queues.into_iter();
        let chosen: Chosen = queues
            .map(|(queue, wanted)| (self.wrapped(&queue).into_owned(), wanted))
            .collect();
        self.polling.choose(chosen.clone());
        let is_done = |shown: &Vec<Arc<AssignedQueue>>| {
            let is_chosen = |q: &Arc<AssignedQueue>| chosen.get(&q.queue) == Some(&q.wanted);
            shown.len() == chosen.len() && shown.iter().all(is_chosen)
        };
        // It fails if the consumer was shut down, which nobody can tell from queues without messages.
        let _ = self.consumer.assigned.clone().wait_for(is_done).await;
        Ok(())
    }

    /// Lets polls bring nothing of these queues until [`resume`](Self::resume). They stay this consumer's,
    /// and are pulled ahead up to their limits. One that is another member's for a while is still paused
    /// when it comes back.
    pub fn pause<'a>(&self, queues: impl IntoIterator<Item = &'a MessageQueue>) {
        let queues = queues.into_iter();
        let queues = queues.map(|queue| self.wrapped(queue).into_owned());
        self.lock_paused().extend(queues);
    }

    /// Ends [`pause`](Self::pause).
    pub fn resume<'a>(&self, queues: impl IntoIterator<Item = &'a MessageQueue>) {
        for queue in queues {
            self.lock_paused().remove(&*self.wrapped(queue));
        }
        self.polling.ring();
    }

    /// Says that what was polled is done, stops pulling, commits unless that is done by hand, and says
    /// goodbye to the brokers. What was pulled and not polled comes again.
    pub async fn shutdown(mut self) {
        self.finish_polled();
        self.consumer.shutdown().await;
    }

    fn assigned(&self) -> Vec<Arc<AssignedQueue>> {
        self.consumer.assigned.borrow().clone()
    }

    fn assigned_queue(&self, queue: &MessageQueue) -> Result<Arc<AssignedQueue>, LitePullError> {
        let wrapped = self.wrapped(queue);
        let found = self.assigned().into_iter().find(|q| q.queue == *wrapped);
        found.ok_or_else(|| LitePullError::NotAssigned(queue.clone()))
    }

    /// What was polled is done.
    fn finish_polled(&mut self) {
        let Some(polled) = self.polled.take() else {
            return;
        };
        if let Some(process) = polled.queue.process() {
            let offsets = polled.offsets.iter();
            offsets.for_each(|offset| process.finish(*offset));
        }
        let context = &self.consumer.context;
        let now_ms = context.link.clock.now_ms();
        polled
            .queue
            .last_consume_ms
            .store(now_ms, Ordering::Relaxed);
        let queue = &polled.queue.queue;
        hook::after(context, queue, polled.watched, ConsumeEnd::Success);
    }

    /// Messages of the next queue that has some.
    fn take(&mut self, messages_max: usize) -> Vec<ReceivedMessage> {
        while let Some(queue) = self.next_with_messages() {
            let messages = self.take_of(&queue, messages_max);
            if !messages.is_empty() {
                return messages;
            }
        }
        Vec::new()
    }

    /// The next queue, from that on whose turn it is, in which messages wait.
    fn next_with_messages(&mut self) -> Option<Arc<AssignedQueue>> {
        let queues = self.consumer.assigned.borrow();
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let start = self.turn.checked_rem(queues.len())?;
        let (before, after) = queues.split_at_checked(start)?;
        let in_turn = after.iter().chain(before).enumerate();
        let (passed, queue) = in_turn
            .filter(|(_, queue)| !paused.contains(&queue.queue))
            .find(|(_, queue)| queue.process().is_some_and(ProcessQueue::has_waiting))?;
        self.turn = start + passed + 1;
        Some(queue.clone())
    }

    fn take_of(&mut self, queue: &Arc<AssignedQueue>, messages_max: usize) -> Vec<ReceivedMessage> {
        let Some(process) = queue.process() else {
            return Vec::new();
        };
        loop {
            let mut records = process.take(messages_max);
            if records.is_empty() {
                return Vec::new();
            }
            let context = &self.consumer.context;
            let messages = consume::decode(context, queue, &mut records, 0);
            // Not if all of them are damaged.
            if !messages.is_empty() {
                self.polled = Some(Polled {
                    offsets: records.iter().map(|record| record.queue_offset).collect(),
                    watched: hook::before(context, &queue.queue, &messages),
                    queue: queue.clone(),
                });
                return messages;
            }
        }
    }

    /// A queue as servers know it.
    fn wrapped<'a>(&self, queue: &'a MessageQueue) -> Cow<'a, MessageQueue> {
        self.consumer.context.link.namespace.wrap_queue(queue)
    }

    fn lock_paused(&self) -> std::sync::MutexGuard<'_, BTreeSet<MessageQueue>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
