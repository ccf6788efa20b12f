//! Messages as a stream, for programs that would rather ask for the next one than be called.
//!
//! A listener like any other stands behind it: it hands each message over and waits for the verdict.
//! The hand-over holds one message, so that listeners wait, and then pulling does, until the program
//! takes what is there.

use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

use super::PushConsumer;
use super::listener::{Call, ConsumeResult, Outcome, Outcomes};
use crate::ReceivedMessage;

/// A consumer whose messages come as a stream. Made by
/// [`PushConsumerBuilder::stream`](super::PushConsumerBuilder::stream).
///
/// It ends (`None`) only after [`MessageStream::shutdown`]. Dropped, it stops consuming; deliveries
/// that nobody took come again after the next start.
///
/// It is a `futures_core::Stream` as well, for the combinators of other crates.
///
/// ```no_run
/// # use thrustmq_client::MessageStream;
/// # async fn example(mut messages: MessageStream) -> Result<(), Box<dyn std::error::Error>> {
/// loop {
///     tokio::select! {
///         Some(delivery) = messages.next() => delivery.ack(),
///         _ = tokio::signal::ctrl_c() => break,
///     }
/// }
/// messages.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MessageStream {
    deliveries: mpsc::Receiver<Delivery>,
    consumer: PushConsumer,
}

impl MessageStream {
    pub(super) fn new(deliveries: mpsc::Receiver<Delivery>, consumer: PushConsumer) -> Self {
        Self {
            deliveries,
            consumer,
        }
    }

    /// The next message; waits until there is one. Cancel safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    /// The consumer behind the stream, to suspend it or to ask for its id.
    pub fn consumer(&self) -> &PushConsumer {
        &self.consumer
    }

    /// Ends the stream: waits for the deliveries that the program still holds, up to the builder's
    /// `shutdown_wait`, and commits. Messages that it did not take come again after the next start.
    pub async fn shutdown(mut self) {
        self.close();
        self.consumer.shutdown().await;
    }

    /// What is in the hand-over was not taken by anybody.
    fn close(&mut self) {
        self.deliveries.close();
        while let Ok(delivery) = self.deliveries.try_recv() {
            delivery.leave();
        }
    }
}

impl Stream for MessageStream {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.deliveries.poll_recv(context)
    }
}

impl Drop for MessageStream {
    fn drop(&mut self) {
        self.close();
    }
}

/// A message of a [`MessageStream`], and the duty to say what became of it.
///
/// Dropped without a word it counts as failed, as if [`Delivery::retry_later`] had been called: so that
/// an early return or a panic loses nothing. The same happens to one that is held longer than the
/// builder's `consume_timeout`; what is said of it afterwards has no effect.
///
/// ```no_run
/// use thrustmq_client::{ConsumeResult, Delivery};
///
/// fn settle(delivery: Delivery) {
///     match std::str::from_utf8(&delivery.body) {
///         Ok("") => delivery.retry_later(),
///         Ok(_) => delivery.ack(),
///         Err(_) => delivery.end(ConsumeResult::DeadLetter),
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "a delivery that is dropped counts as failed: call `ack`"]
pub struct Delivery {
    message: ReceivedMessage,
    verdict: Option<oneshot::Sender<Outcome>>,
}

impl Delivery {
    /// The message is done.
    pub fn ack(self) {
        self.end(ConsumeResult::Success);
    }

    /// It failed: the broker delivers it again later, and at last to the dead-letter topic.
    pub fn retry_later(self) {
        self.end(ConsumeResult::Later);
    }

    /// It ends like this; [`ConsumeResult`] says what there is.
    pub fn end(self, result: ConsumeResult) {
        self.say(result.into());
    }

    /// Nobody took it.
    fn leave(self) {
        self.say(Outcome::Untouched);
    }

    fn say(mut self, outcome: Outcome) {
        if let Some(verdict) = self.verdict.take() {
            // Given up by the consumer, which has said so.
            let _ = verdict.send(outcome);
        }
    }
}

impl Deref for Delivery {
    type Target = ReceivedMessage;

    fn deref(&self) -> &ReceivedMessage {
        &self.message
    }
}

/// The listener behind a stream.
pub(super) fn listener(deliveries: mpsc::Sender<Delivery>) -> Call<Outcomes> {
    Call::of_one(move |message| {
        let deliveries = deliveries.clone();
        async move { Outcomes::All(deliver(&deliveries, message).await) }
    })
}

async fn deliver(deliveries: &mpsc::Sender<Delivery>, message: ReceivedMessage) -> Outcome {
    let (verdict, answer) = oneshot::channel();
    let delivery = Delivery {
        message,
        verdict: Some(verdict),
    };
    match deliveries.send(delivery).await {
        Ok(()) => answer.await.unwrap_or(ConsumeResult::Later.into()),
        Err(unsent) => {
            unsent.0.leave();
            Outcome::Untouched
        }
    }
}
