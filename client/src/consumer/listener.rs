//! The application's side of a push consumer: a function that gets messages and says what became of
//! them.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::polling::Polling;
use crate::ReceivedMessage;

/// What became of a message.
///
/// ```
/// use thrustmq_client::{ConsumeResult, ReceivedMessage};
///
/// async fn listen(message: ReceivedMessage) -> ConsumeResult {
///     match std::str::from_utf8(&message.body) {
///         Err(_) => ConsumeResult::DeadLetter,
///         // Level 3 is 10 s by default.
///         Ok("not yet") => ConsumeResult::LaterAt(3),
///         Ok(_) => ConsumeResult::Success,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumeResult {
    /// It is done.
    Success,
    /// It failed: the broker delivers it again later, after a delay that grows with every failure, and
    /// at last to the dead-letter topic. In broadcasting it is left out.
    Later,
    /// It failed: the broker delivers it again after this one of its delay levels, 1 (1 s) to 18 (2 h)
    /// by default.
    LaterAt(u32),
    /// It will never succeed: straight to the dead-letter topic.
    DeadLetter,
}

/// What became of a batch of messages. [`ConsumeResult`] converts into it.
///
/// ```
/// use thrustmq_client::{BatchResult, ConsumeResult, ReceivedMessage};
///
/// async fn listen(messages: Vec<ReceivedMessage>) -> BatchResult {
///     let result = |message: &ReceivedMessage| match message.body.is_empty() {
///         true => ConsumeResult::DeadLetter,
///         false => ConsumeResult::Success,
///     };
///     BatchResult::Each(messages.iter().map(result).collect())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchResult {
    /// The same became of all.
    All(ConsumeResult),
    /// The first so many are done, the rest failed.
    First(usize),
    /// A result for each, in the batch's order. Messages beyond the end of the list failed.
    Each(Vec<ConsumeResult>),
}

impl From<ConsumeResult> for BatchResult {
    fn from(result: ConsumeResult) -> Self {
        Self::All(result)
    }
}

/// What became of a message, or of a batch, whose queue is consumed in order.
///
/// ```
/// use std::time::Duration;
/// use thrustmq_client::{OrderedResult, ReceivedMessage};
///
/// async fn listen(message: ReceivedMessage) -> OrderedResult {
///     if message.reconsume_times > 5 {
///         return OrderedResult::DeadLetter;
///     }
///     match std::str::from_utf8(&message.body) {
///         Ok(_) => OrderedResult::Success,
///         Err(_) => OrderedResult::SuspendQueue(Duration::from_secs(1)),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderedResult {
    /// It is done, the next one may come.
    Success,
    /// It failed: the same comes again after this time, 10 ms to 30 s, and nothing else of its queue
    /// before.
    SuspendQueue(Duration),
    /// It will never succeed: to the dead-letter topic, and on with the next one.
    DeadLetter,
}

/// The broker chooses the delay by how often the message failed.
const BROKER_CHOOSES: i32 = 0;
/// Instead of a delay: to the dead-letter topic.
pub(super) const TO_DEAD_LETTERS: i32 = -1;

/// What is to be done with one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Back to the broker with this delay level.
    Back {
        delay_level: i32,
    },
    /// Nobody took it: it stays unfinished and is delivered again after the next start.
    Untouched,
}

impl From<ConsumeResult> for Outcome {
    fn from(result: ConsumeResult) -> Self {
        let delay_level = match result {
            ConsumeResult::Success => return Self::Done,
            ConsumeResult::Later => BROKER_CHOOSES,
            ConsumeResult::LaterAt(level) => i32::try_from(level).unwrap_or(i32::MAX),
            ConsumeResult::DeadLetter => TO_DEAD_LETTERS,
        };
        Self::Back { delay_level }
    }
}

/// What is to be done with the messages of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcomes {
    All(Outcome),
    Some(BatchResult),
}

impl Outcomes {
    pub(super) const FAILED: Self = Self::All(FAILED);

    /// What is to be done with the message at this place of the batch.
    pub(super) fn of(&self, place: usize) -> Outcome {
        match self {
            Self::All(outcome) => *outcome,
            Self::Some(BatchResult::All(result)) => (*result).into(),
            Self::Some(BatchResult::First(done)) if place < *done => Outcome::Done,
            Self::Some(BatchResult::First(_)) => FAILED,
            Self::Some(BatchResult::Each(results)) => {
                results.get(place).map_or(FAILED, |result| (*result).into())
            }
        }
    }
}

const FAILED: Outcome = Outcome::Back {
    delay_level: BROKER_CHOOSES,
};

/// How a listener's work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Consumed<R> {
    Ended(R),
    Panicked,
    TimedOut,
}

type Work<R> = Pin<Box<dyn Future<Output = R> + Send>>;

/// A function of the application behind a pointer, so that consumers have no type parameter.
pub(crate) struct Call<R> {
    call: Arc<dyn Fn(Vec<ReceivedMessage>) -> Work<R> + Send + Sync>,
}

/// The function that gets the messages.
#[derive(Debug)]
pub(super) enum Listener {
    /// Many messages at a time, each with its own end.
    Concurrent(Call<Outcomes>),
    /// A queue's messages one after the other.
    Ordered(Call<OrderedResult>),
    /// None: the application asks for messages.
    Polled(Arc<Polling>),
}

impl Listener {
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered(_))
    }
}

impl<R> Clone for Call<R> {
    fn clone(&self) -> Self {
        Self {
            call: self.call.clone(),
        }
    }
}

impl<R: 'static> Call<R> {
    pub(super) fn new<F, Fut>(call: F) -> Self
    where
        F: Fn(Vec<ReceivedMessage>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        Self {
            call: Arc::new(move |messages| Box::pin(call(messages))),
        }
    }

    /// A function that gets messages one by one: the batches that it is called with have one each.
    pub(crate) fn of_one<F, Fut>(call: F) -> Self
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
    {
        Self {
            call: Arc::new(move |mut messages| {
                let message = messages.pop().expect("batches have a message at least");
                Box::pin(call(message))
            }),
        }
    }

    /// Lets the function work on messages for at most `time`. A panic of it ends here.
    pub(crate) async fn consume(
        &self,
        messages: Vec<ReceivedMessage>,
        time: Option<Duration>,
    ) -> Consumed<R> {
        let mut work = pin!(self.caught(messages));
        let at_once = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        let ended = match (at_once, time) {
            // It needs no timer.
            (Poll::Ready(ended), _) => ended,
            (Poll::Pending, None) => work.await,
            (Poll::Pending, Some(time)) => match tokio::time::timeout(time, work).await {
                Ok(ended) => ended,
                Err(_) => return Consumed::TimedOut,
            },
        };
        ended.map_or(Consumed::Panicked, Consumed::Ended)
    }

    async fn caught(&self, messages: Vec<ReceivedMessage>) -> Option<R> {
        let mut work = catch_unwind(AssertUnwindSafe(|| (self.call)(messages))).ok()?;
        poll_fn(move |context| {
            let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
            match polled {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(result)) => Poll::Ready(Some(result)),
                Err(_) => Poll::Ready(None),
            }
        })
        .await
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::received::tests::message_at;

    async fn consume(call: Call<u8>) -> Consumed<u8> {
        let time = Some(Duration::from_millis(50));
        call.consume(vec![message_at(0, b"x")], time).await
    }

    #[tokio::test]
    async fn a_listener_may_end_panic_or_hang() {
        let ends = Call::new(|_| async { 7 });
        assert_eq!(consume(ends).await, Consumed::Ended(7));
        let panics = Call::new(|messages: Vec<ReceivedMessage>| async move {
            tokio::task::yield_now().await;
            assert_eq!(messages[0].body, "y", "meant to fail");
            7
        });
        assert_eq!(consume(panics).await, Consumed::Panicked);
        let hangs = Call::new(|_| std::future::pending());
        assert_eq!(consume(hangs).await, Consumed::TimedOut);
    }

    #[test]
    fn a_batch_may_end_in_parts() {
        let back = |delay_level| Outcome::Back { delay_level };
        let of =
            |result: BatchResult| [0, 1, 2].map(|place| Outcomes::Some(result.clone()).of(place));
        assert_eq!(of(ConsumeResult::Success.into()), [Outcome::Done; 3]);
        assert_eq!(of(ConsumeResult::Later.into()), [back(0); 3]);
        assert_eq!(
            of(BatchResult::First(2)),
            [Outcome::Done, Outcome::Done, back(0)]
        );
        let each = vec![ConsumeResult::DeadLetter, ConsumeResult::LaterAt(3)];
        assert_eq!(of(BatchResult::Each(each)), [back(-1), back(3), back(0)]);
    }
}
