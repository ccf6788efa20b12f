//! Tells a listener what becomes of connections, on a thread of its own.
//!
//! Invariant: of each connection `Closed` comes last, and is never lost: it goes beyond the queue's
//! limit, where any other event is dropped. So the queue holds at most its limit and one event a
//! connection.

use std::sync::Arc;

use crate::peer::Peer;
use crate::queue::JobQueue;
use crate::worker;

const QUEUE_CAPACITY: usize = 10_000;

/// What became of a connection.
#[derive(Debug, Clone)]
pub enum ConnectionEvent {
    /// It was made, by either side.
    Connected {
        /// The connection.
        peer: Peer,
    },
    /// It was made by us and can be used (Java's clients tell this apart from the former).
    Active {
        /// The connection.
        peer: Peer,
    },
    /// Nothing was read or written for so long that it is being closed.
    Idle {
        /// The connection.
        peer: Peer,
    },
    /// Reading or writing failed, or what came was no frame: it is being closed.
    Exception {
        /// The connection.
        peer: Peer,
        /// What went wrong.
        error: String,
    },
    /// It is closed.
    Closed {
        /// The connection.
        peer: Peer,
    },
}

impl ConnectionEvent {
    /// The connection.
    pub fn peer(&self) -> &Peer {
        match self {
            Self::Connected { peer }
            | Self::Active { peer }
            | Self::Idle { peer }
            | Self::Exception { peer, .. }
            | Self::Closed { peer } => peer,
        }
    }
}

/// Listens to connections. It runs on one thread, event after event, off the I/O path.
pub trait ConnectionEvents: Send + Sync {
    /// Something became of a connection.
    fn on_event(&self, event: ConnectionEvent);
}

struct Delivery {
    listener: Arc<dyn ConnectionEvents>,
    event: ConnectionEvent,
}

/// The queue to the listener of one server or client.
pub(crate) struct Events {
    to: Option<Listening>,
}

struct Listening {
    queue: Arc<JobQueue<Delivery>>,
    listener: Arc<dyn ConnectionEvents>,
}

impl Events {
    pub(crate) fn new(listener: Option<Arc<dyn ConnectionEvents>>) -> Self {
        let to = listener.map(|listener| {
            let queue = Arc::new(JobQueue::new(QUEUE_CAPACITY));
            worker::start("conn-events", 1, &queue, deliver);
            Listening { queue, listener }
        });
        Self { to }
    }

    pub(crate) fn tell(&self, event: ConnectionEvent) {
        let Some(Listening { queue, listener }) = &self.to else {
            return;
        };
        let is_last = matches!(event, ConnectionEvent::Closed { .. });
        let delivery = Delivery {
            listener: Arc::clone(listener),
            event,
        };
        if is_last {
            // The queue closes only when no connection is left.
            let _ = queue.push_beyond(delivery);
        } else if let Err(lost) = queue.push(delivery) {
            tracing::warn!(event = ?lost.event, "connection event dropped: the listener is too slow");
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(listening) = &self.to {
            listening.queue.close();
        }
    }
}

fn deliver(delivery: Delivery) {
    let Delivery { listener, event } = delivery;
    if let Err(panic) = worker::run_caught(|| listener.on_event(event)) {
        tracing::error!(panic, "a connection event's listener panicked");
    }
}

#[cfg(test)]
mod tests;
