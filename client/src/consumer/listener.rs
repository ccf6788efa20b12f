//! The application's side of a push consumer: a function that gets messages and says what became of
//! them.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::ReceivedMessage;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumeResult {
    /// It is done.
    Success,
    /// It failed: the broker delivers it again later, and at last to the dead-letter topic.
    Later,
}

type Work = Pin<Box<dyn Future<Output = ConsumeResult> + Send>>;

/// The listener behind a pointer, so that consumers have no type parameter.
#[derive(Clone)]
pub(crate) struct Listener {
    call: Arc<dyn Fn(ReceivedMessage) -> Work + Send + Sync>,
}

/// How a listener's work ended, as `mqadmin` distinguishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumed {
    Success,
    Later,
    Panicked,
    TimedOut,
}

impl Listener {
    pub(crate) fn new<F, Fut>(listener: F) -> Self
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ConsumeResult> + Send + 'static,
    {
        Self {
            call: Arc::new(move |message| Box::pin(listener(message))),
        }
    }

    /// Lets the listener work on a message for at most `time`. A panic of the listener ends with it.
    pub(crate) async fn consume(&self, message: ReceivedMessage, time: Duration) -> Consumed {
        match tokio::time::timeout(time, self.caught(message)).await {
            Ok(Some(ConsumeResult::Success)) => Consumed::Success,
            Ok(Some(ConsumeResult::Later)) => Consumed::Later,
            Ok(None) => Consumed::Panicked,
            Err(_) => Consumed::TimedOut,
        }
    }

    async fn caught(&self, message: ReceivedMessage) -> Option<ConsumeResult> {
        let mut work = catch_unwind(AssertUnwindSafe(|| (self.call)(message))).ok()?;
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

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::received::tests::message_at;

    async fn consume(listener: Listener) -> Consumed {
        listener
            .consume(message_at(0, b"x"), Duration::from_millis(50))
            .await
    }

    #[tokio::test]
    async fn a_listener_may_succeed_fail_panic_or_hang() {
        let success = Listener::new(|_| async { ConsumeResult::Success });
        assert_eq!(consume(success).await, Consumed::Success);
        let later = Listener::new(|_| async { ConsumeResult::Later });
        assert_eq!(consume(later).await, Consumed::Later);
        let panics = Listener::new(|message| async move {
            tokio::task::yield_now().await;
            assert_eq!(message.body, "y", "meant to fail");
            ConsumeResult::Success
        });
        assert_eq!(consume(panics).await, Consumed::Panicked);
        let hangs = Listener::new(|_| std::future::pending());
        assert_eq!(consume(hangs).await, Consumed::TimedOut);
    }
}
