//! What happens when a message becomes visible in its queue, on the store's dispatch thread: parked
//! pulls that want it are woken, and delay delivery if it is due sooner than all others.

use std::sync::{Arc, OnceLock, Weak};

use thrustmq_proto_compat::message::names::SCHEDULE_TOPIC;
use thrustmq_store::{Arrival, ArrivalListener};

use crate::broker::Broker;
use crate::processor::pull;

/// The store's listener. The store opens before there is a broker; until [`Arrivals::attach`] nobody
/// can be waiting.
#[derive(Default)]
pub(crate) struct Arrivals {
    broker: OnceLock<Weak<Broker>>,
}

impl Arrivals {
    /// From now on arrivals reach this broker.
    pub(crate) fn attach(&self, broker: &Arc<Broker>) {
        self.broker.get_or_init(|| Arc::downgrade(broker));
    }
}

impl ArrivalListener for Arrivals {
    fn arrived(&self, arrival: &Arrival<'_>) {
        let Some(broker) = self.broker.get().and_then(Weak::upgrade) else {
            return;
        };
        if arrival.topic == SCHEDULE_TOPIC {
            broker.delay.arrived(arrival.tags_code);
        }
        let suited = broker.hold.take_suited(
            arrival.topic,
            arrival.queue_id,
            arrival.queue_offset,
            arrival.tags_code,
        );
        if !suited.is_empty() {
            pull::wake(&broker, suited);
        }
    }
}
