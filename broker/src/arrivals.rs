//! What happens when a message becomes visible in its queue, on the store's dispatch thread: parked
//! pulls that want it are woken, and delay delivery and the timer if it is theirs.

use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;

use thrustmq_proto_compat::message::names::{SCHEDULE_TOPIC, TIMER_TOPIC};
use thrustmq_store::{Arrival, ArrivalListener};

use crate::broker::Broker;
use crate::processor::{notification, pop_polling, pull};

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
        if arrival.topic == TIMER_TOPIC
            && let Some(timer) = &broker.timer
        {
            timer.arrived();
        }
        wake_popping(&broker, arrival);
        let suited = broker.hold.take_suited(arrival);
        if !suited.is_empty() {
            pull::wake(&broker, suited);
        }
    }

    /// Not before the producers have their answers, and once for all that this turn of a pool's
    /// thread appends.
    fn wake_when_done(&self, follower: &Waker) -> bool {
        thrustmq_remoting::wake_after_turn(follower)
    }
}

/// Pops and notifications that wait for the message, and leases that a timer brings.
fn wake_popping(broker: &Arc<Broker>, arrival: &Arrival<'_>) {
    broker.pop.arrived(arrival);
    let pops = broker.pop.polling.take_suited(arrival);
    if !pops.is_empty() {
        pop_polling::wake(broker, pops);
    }
    let notifications = broker.pop.notifications.take_suited(arrival);
    if !notifications.is_empty() {
        notification::wake(broker, notifications);
    }
}
