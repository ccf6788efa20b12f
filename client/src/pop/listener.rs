//! A POP consumer that calls a listener: leases are renewed while it works, ended when it is done, and made to
//! end later when it fails.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::receive::POP_MESSAGES_MAX;
use super::{Leased, PopConsumer, PopConsumerBuilder};
use crate::ReceivedMessage;
use crate::consumer::listener::{Call, Consumed};
use crate::error::StartError;
use crate::stop::{StopSignal, StopSource};

/// One request for messages takes no longer.
const WAIT: Duration = Duration::from_secs(15);
/// Before asking again after a failure.
const FAILURE_DELAY: Duration = Duration::from_secs(1);
/// Until messages come again that nobody began with before a shutdown.
const LEFT_DELAY: Duration = Duration::from_secs(1);
/// Seconds until a message comes again whose listener failed, by the number of its deliveries: Java's
/// `popDelayLevel`.
const DELAYS_S: [u64; 16] = [
    10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200,
];

/// What became of a message that a listener of a [`PopConsumer`] got.
///
/// ```
/// use std::time::Duration;
/// use thrustmq_client::{PopResult, ReceivedMessage};
/// async fn handle(message: ReceivedMessage) -> PopResult {
///     match message.body.is_empty() {
///         true => PopResult::LaterAfter(Duration::from_secs(5)),
///         false => PopResult::Done,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopResult {
    /// It is done.
    Done,
    /// It failed: it comes again later, after 10 s the first time, after more each time.
    Later,
    /// It failed: it comes again after this time.
    LaterAfter(Duration),
}

/// A [`PopConsumer`] with a listener, until it is shut down or dropped.
///
/// ```no_run
/// use thrustmq_client::{PopConsumer, PopResult};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = PopConsumer::builder("billing")
///     .subscribe("orders", "*")
///     .listen(|_| async { PopResult::Done })
///     .await?;
/// println!("{} listens", listener.consumer().client_id());
/// listener.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PopListener {
    consumer: PopConsumer,
    stop: StopSource,
    /// Taken by shutdown.
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the task needs.
struct Listening {
    consumer: PopConsumer,
    call: Call<PopResult>,
    permits: Arc<Semaphore>,
    shutdown_wait: Duration,
}

impl PopConsumerBuilder {
    /// Starts the consumer with a listener: it is called for each message, as many at a time as
    /// [`concurrency`](Self::concurrency) says, or with [`fifo`](Self::fifo) one after the other of each queue.
    /// The leases are renewed while it works, so that it may take longer than
    /// [`invisible_time`](Self::invisible_time).
    ///
    /// ```no_run
    /// use thrustmq_client::{PopConsumer, PopResult};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = PopConsumer::builder("billing")
    ///     .subscribe("orders", "*")
    ///     .listen(|message| async move {
    ///         println!("{} {:?}", message.message_id(), message.body);
    ///         PopResult::Done
    ///     })
    ///     .await?;
    /// listener.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A setting is wrong; see [`StartError`].
    pub async fn listen<F, Fut>(self, listener: F) -> Result<PopListener, StartError>
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = PopResult> + Send + 'static,
    {
        if self.concurrency == 0 {
            return Err(StartError::ZeroLimit("concurrency"));
        }
        let permits = Arc::new(Semaphore::new(self.concurrency));
        let shutdown_wait = self.shutdown_wait;
        let consumer = self.start().await?;
        let listening = Listening {
            consumer: consumer.clone(),
            call: Call::of_one(listener),
            permits,
            shutdown_wait,
        };
        let stop = StopSource::new();
        let task = tokio::spawn(listening.run(stop.signal()));
        Ok(PopListener {
            consumer,
            stop,
            task: Mutex::new(Some(task)),
        })
    }
}

impl PopListener {
    /// The consumer behind it.
    pub fn consumer(&self) -> &PopConsumer {
        &self.consumer
    }

    /// Takes no more messages, waits for the listeners at work, at most for the builder's `shutdown_wait`, and
    /// says goodbye to the brokers. A second call does nothing.
    pub async fn shutdown(&self) {
        self.stop.stop();
        let task = self.task.lock();
        let task = task.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(cause) = task.await
        {
            debug!(%cause, "task of the consumer ended badly");
        }
        self.consumer.shutdown().await;
    }
}

impl Listening {
    async fn run(self, mut stop: StopSignal) {
        let mut working = JoinSet::new();
        loop {
            while working.try_join_next().is_some() {}
            let permits = tokio::select! {
                biased;
                () = stop.stopped() => break,
                permits = self.permits() => permits,
            };
            let messages_max = u16::try_from(permits.len()).unwrap_or(u16::MAX);
            let mut waiting = stop.clone();
            let given_up = pin!(waiting.stopped());
            let received = self
                .consumer
                .inner
                .receive_unless(messages_max, WAIT, given_up);
            match received.await {
                Ok(messages) => self.spawn(&mut working, messages, permits, &stop),
                Err(cause) => {
                    warn!(group = self.consumer.inner.group, %cause, "no messages received");
                    tokio::select! {
                        () = stop.stopped() => break,
                        () = sleep(FAILURE_DELAY) => {}
                    }
                }
            }
        }
        self.finish(working).await;
    }

    async fn finish(self, mut working: JoinSet<()>) {
        let all = async { while working.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shutdown_wait, all).await.is_err() {
            info!("listeners still at work are given up, their messages come again");
            working.shutdown().await;
        }
    }

    /// Leave for one message at least.
    async fn permits(&self) -> Vec<OwnedSemaphorePermit> {
        let permits = &self.permits;
        let first = permits.clone().acquire_owned().await;
        let mut all = Vec::from_iter(first.ok());
        while all.len() < usize::from(POP_MESSAGES_MAX)
            && let Ok(more) = permits.clone().try_acquire_owned()
        {
            all.push(more);
        }
        all
    }

    /// Starts the work on messages; leave that is not needed is given back.
    fn spawn(
        &self,
        working: &mut JoinSet<()>,
        messages: Vec<Leased>,
        mut permits: Vec<OwnedSemaphorePermit>,
        stop: &StopSignal,
    ) {
        for messages in self.apart(messages) {
            let work = Work {
                consumer: self.consumer.clone(),
                call: self.call.clone(),
                stop: stop.clone(),
                _permit: permits.pop(),
            };
            working.spawn(work.run(messages));
        }
    }

    /// Messages that are to be worked on one after the other.
    fn apart(&self, messages: Vec<Leased>) -> Vec<Vec<Leased>> {
        if !self.consumer.inner.is_ordered {
            return messages.into_iter().map(|message| vec![message]).collect();
        }
        let mut queues = BTreeMap::<_, Vec<_>>::new();
        for message in messages {
            let queue = (message.handle.kind.mark(), message.handle.queue_id);
            queues.entry(queue).or_default().push(message);
        }
        queues.into_values().collect()
    }
}

/// Some messages and their listener.
struct Work {
    consumer: PopConsumer,
    call: Call<PopResult>,
    stop: StopSignal,
    /// Given back when the work ends.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Work {
    /// One after the other; behind one that fails the others wait for its next delivery.
    async fn run(self, messages: Vec<Leased>) {
        let mut left = VecDeque::from(messages);
        let mut delay = None;
        while let Some(mut leased) = left.pop_front() {
            if delay.is_none() && self.stop.is_stopped() {
                delay = Some(LEFT_DELAY);
            }
            if delay.is_none() {
                delay = self.work(&mut leased, &mut left).await;
            }
            match delay {
                None => self.done(&leased).await,
                Some(delay) => self.again(&mut leased, delay).await,
            }
        }
    }

    /// Lets the listener work, and renews its message's lease and those behind it; when the message shall come
    /// again, unless it is done.
    async fn work(&self, leased: &mut Leased, behind: &mut VecDeque<Leased>) -> Option<Duration> {
        let message = leased.message.clone();
        let mut working = pin!(self.call.consume(vec![message], None));
        let consumed = loop {
            tokio::select! {
                biased;
                consumed = &mut working => break consumed,
                () = sleep(self.renewal()) => {
                    self.renew(leased).await;
                    for waiting in behind.iter_mut() {
                        self.renew(waiting).await;
                    }
                }
            }
        };
        let later = || {
            let deliveries = usize::try_from(leased.reconsume_times).unwrap_or_default();
            let last = DELAYS_S.len() - 1;
            Duration::from_secs(
                DELAYS_S
                    .get(deliveries.min(last))
                    .copied()
                    .unwrap_or_default(),
            )
        };
        match consumed {
            Consumed::Ended(PopResult::Done) => None,
            Consumed::Ended(PopResult::LaterAfter(delay)) => Some(delay),
            Consumed::Ended(PopResult::Later) => Some(later()),
            Consumed::Panicked | Consumed::TimedOut => {
                let message = leased.message_id();
                error!(message, "listener panicked, its message comes again");
                Some(later())
            }
        }
    }

    /// Leaves a third of the time for a renewal that takes long.
    fn renewal(&self) -> Duration {
        self.consumer.inner.invisible_time * 2 / 3
    }

    async fn renew(&self, leased: &mut Leased) {
        let time = self.consumer.inner.invisible_time;
        if let Err(cause) = self.consumer.change_invisible(leased, time).await {
            let message = leased.message_id();
            warn!(message, %cause, "lease not renewed, the message may come again while it is worked on");
        }
    }

    async fn done(&self, leased: &Leased) {
        if let Err(cause) = self.consumer.ack(leased).await {
            warn!(message = leased.message_id(), %cause, "message not acknowledged, it comes again");
        }
    }

    async fn again(&self, leased: &mut Leased, delay: Duration) {
        if let Err(cause) = self.consumer.change_invisible(leased, delay).await {
            debug!(message = leased.message_id(), %cause, "lease not changed, the message comes again when it ends");
        }
    }
}
