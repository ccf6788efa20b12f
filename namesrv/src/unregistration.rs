//! The queue of brokers that leave. One task applies them in batches, so that a whole cluster that goes
//! down costs one pass over the topics (Java: BatchUnregistrationService).

use std::sync::Arc;

use thrustmq_remoting::{ConnectionEvent, ConnectionEvents};
use tokio::sync::mpsc::{Receiver, Sender};

use crate::route_table::Leaving;
use crate::state::State;

/// The sending side of the queue.
#[derive(Debug)]
pub(crate) struct Unregistrations {
    queue: Sender<Leaving>,
}

impl Unregistrations {
    /// What is sent to `queue` is for [`apply`] to receive.
    pub(crate) fn new(queue: Sender<Leaving>) -> Self {
        Self { queue }
    }

    /// Queues one; `false` if the queue is full.
    pub(crate) fn submit(&self, leaving: Leaving) -> bool {
        self.queue.try_send(leaving).is_ok()
    }
}

/// Applies what is queued, until the server stops.
pub(crate) async fn apply(state: Arc<State>, mut waiting: Receiver<Leaving>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, waiting.max_capacity()).await > 0 {
        state.leave(std::mem::take(&mut batch));
    }
}

/// Has the routes of a connection removed when it closes.
pub(crate) struct OnClose(pub(crate) Arc<State>);

impl ConnectionEvents for OnClose {
    fn on_event(&self, event: ConnectionEvent) {
        let ConnectionEvent::Closed { peer } = event else {
            return;
        };
        let state = &self.0;
        if !state.routes.is_broker_connection(peer.id()) {
            return;
        }
        tracing::info!(%peer, "connection of a broker closed");
        if !state
            .unregistrations
            .submit(Leaving::ConnectionClosed(peer.id()))
        {
            // Nobody would notice again before the broker's silence does: do it here.
            state.leave(vec![Leaving::ConnectionClosed(peer.id())]);
        }
    }
}
