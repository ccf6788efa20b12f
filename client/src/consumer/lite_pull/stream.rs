//! What a lite pull consumer polls, as a stream: one message at a time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::LitePullConsumer;
use crate::ReceivedMessage;

/// The messages of a [`LitePullConsumer`]; made by [`LitePullConsumer::stream`], whose words hold for it.
///
/// It is a `futures_core::Stream` as well, for the combinators of other crates.
///
/// ```no_run
/// # async fn example(mut consumer: thrustmq_client::LitePullConsumer) -> Result<(), Box<dyn std::error::Error>> {
/// let mut messages = consumer.stream();
/// while let Some(message) = messages.next().await {
///     if message.keys().any(|key| key == "last") {
///         // This one is done as well.
///         messages.consumer().commit().await?;
///         break;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct PolledMessages<'a> {
    consumer: &'a mut LitePullConsumer,
    /// Ends when there may be messages.
    ringing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<'a> PolledMessages<'a> {
    pub(super) fn new(consumer: &'a mut LitePullConsumer) -> Self {
        Self {
            consumer,
            ringing: None,
        }
    }

    /// The next message; waits until there is one. Says that the one before is done. Never `None`. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<ReceivedMessage> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The consumer behind the stream, to seek, to commit, or to ask for its queues.
    pub fn consumer(&mut self) -> &mut LitePullConsumer {
        self.consumer
    }
}

impl Stream for PolledMessages<'_> {
    type Item = ReceivedMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let ringing = match &mut this.ringing {
                Some(ringing) => ringing,
                None => {
                    this.consumer.finish_polled();
                    if let Some(message) = this.consumer.take(1).pop() {
                        return Poll::Ready(Some(message));
                    }
                    let polling = this.consumer.polling.clone();
                    let ringing = async move { polling.rung().await };
                    this.ringing.insert(Box::pin(ringing))
                }
            };
            ready!(ringing.as_mut().poll(context));
            this.ringing = None;
        }
    }
}

impl std::fmt::Debug for PolledMessages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("PolledMessages");
        text.field("consumer", &self.consumer)
            .finish_non_exhaustive()
    }
}
