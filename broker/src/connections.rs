//! Closed connections take their clients out of all groups at once.

use std::sync::{Arc, Weak};

use thrustmq_remoting::{ConnectionEvent, ConnectionEvents};

use crate::broker::Broker;
use crate::processor::heartbeat;

/// The listener of both servers.
pub(crate) struct Connections {
    // The server that holds this is served by routes that hold the broker.
    broker: Weak<Broker>,
}

impl Connections {
    pub(crate) fn of(broker: &Arc<Broker>) -> Arc<Self> {
        Arc::new(Self {
            broker: Arc::downgrade(broker),
        })
    }
}

impl ConnectionEvents for Connections {
    fn on_event(&self, event: ConnectionEvent) {
        // Idle and broken connections are closed next, and that event is never lost.
        if let ConnectionEvent::Closed { peer } = event
            && let Some(broker) = self.broker.upgrade()
        {
            heartbeat::connection_closed(&broker, &peer);
        }
    }
}
