//! Closed connections take their clients out of all groups at once, and with them what waits to pop; what
//! becomes of connections is counted.

use std::sync::{Arc, Weak};

use thrustmq_remoting::{ConnectionEvent, ConnectionEvents};

use crate::broker::Broker;
use crate::processor::{heartbeat, pop_polling};
use crate::stats::ConnectionActivity;

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
        let Some(broker) = self.broker.upgrade() else {
            return;
        };
        let activity = match &event {
            ConnectionEvent::Connected { .. } => ConnectionActivity::Connect,
            ConnectionEvent::Active { .. } => return,
            ConnectionEvent::Idle { .. } => ConnectionActivity::Idle,
            ConnectionEvent::Exception { .. } => ConnectionActivity::Exception,
            ConnectionEvent::Closed { .. } => ConnectionActivity::Close,
        };
        broker.stats.record_connection(activity);
        // Idle and broken connections are closed next, and that event is never lost.
        if let ConnectionEvent::Closed { peer } = event {
            heartbeat::connection_closed(&broker, &peer);
            pop_polling::connection_closed(&broker, &peer);
        }
    }
}
