//! Tells the tasks of a client to end: when it is shut down, and when its last handle is dropped.

use tokio::sync::watch;

/// Held by the handles of a client.
#[derive(Debug)]
pub(crate) struct StopSource {
    sender: watch::Sender<bool>,
}

/// Held by its tasks.
#[derive(Debug, Clone)]
pub(crate) struct StopSignal {
    receiver: watch::Receiver<bool>,
}

impl StopSource {
    pub(crate) fn new() -> Self {
        Self {
            sender: watch::Sender::new(false),
        }
    }

    pub(crate) fn signal(&self) -> StopSignal {
        StopSignal {
            receiver: self.sender.subscribe(),
        }
    }

    pub(crate) fn stop(&self) {
        self.sender.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.sender.borrow()
    }
}

impl StopSignal {
    /// Whether the client has stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.receiver.borrow() || self.receiver.has_changed().is_err()
    }

    /// Returns when the client stops. Cancel safe.
    pub(crate) async fn stopped(&mut self) {
        // An error means that the source is gone, which is a stop as well.
        let _ = self.receiver.wait_for(|stopped| *stopped).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn stopping_and_dropping_both_end_the_wait() {
        let source = StopSource::new();
        let mut signal = source.signal();
        let pending = tokio::time::timeout(Duration::from_millis(1), signal.stopped()).await;
        assert!(pending.is_err() && !source.is_stopped());
        source.stop();
        signal.stopped().await;
        assert!(source.is_stopped());

        let source = StopSource::new();
        let mut signal = source.signal();
        drop(source);
        signal.stopped().await;
    }
}
