//! Pops that wait: parking them, waking them, and answering them when their time is up. What waits for a
//! connection that closed is dropped.

use std::sync::Arc;

use thrustmq_proto_compat::header::PopMessageRequestHeader;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Peer, Responder};

use super::pop::{Pop, pop_message};
use super::pop_order;
use super::woken::run_woken;
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::pop::hold::{ANSWER_EARLY_MS, HoldLimits, Parked, PollKey};
use crate::refusal;

/// Longest sleep of the thread: the wall clock may be set.
const SLEEP_MS_MAX: i64 = 1_000;

/// Parks a pop that found nothing, or answers that it can not wait.
pub(super) fn park(broker: &Arc<Broker>, pop: Pop, responder: Responder) {
    let header = &pop.incoming.header;
    let given_up_ms = header.born_time_ms.saturating_add(header.poll_time_ms);
    let deadline_ms = given_up_ms.saturating_sub(ANSWER_EARLY_MS);
    if header.poll_time_ms <= 0 || broker.clock.now_ms() > deadline_ms {
        return pop.answer_nothing(broker, responder, ResponseCode::POLLING_TIMEOUT);
    }
    let limits = hold_limits(&broker.config.current());
    let key = pop.poll_key();
    if !broker.pop.polling.has_room(&key, limits) {
        return pop.answer_nothing(broker, responder, ResponseCode::POLLING_FULL);
    }
    pop.pass_on(broker);
    let ordered = pop.is_ordered().then(|| pop.incoming.header.clone());
    let Pop {
        incoming,
        filter,
        seen,
        blocked,
        ..
    } = pop;
    let parked = Parked {
        incoming,
        responder,
        filter,
        deadline_ms,
    };
    let peer = parked.responder.peer().clone();
    if let Err(refused) = broker.pop.polling.park(key.clone(), parked, limits) {
        return refused.responder.refuse(refusal::polling_full());
    }
    if !peer.is_open() {
        connection_closed(broker, &peer);
    }
    broker.pop.polling_alarm.set_before(deadline_ms);
    // Between the looks and the parking a message may have come, or a queue got free, that woke nobody.
    let has_grown = |(place, end): &(super::pop_queues::Place, i64)| {
        broker.store.queue_range(&place.topic, place.queue_id).max > *end
    };
    let is_free =
        || ordered.is_some_and(|header| pop_order::is_any_free(broker, &header, &blocked));
    if seen.iter().any(has_grown) || is_free() {
        wake_next(broker, &key);
    }
}

/// Runs pops again, on their pool.
pub(crate) fn wake(broker: &Arc<Broker>, woken: Vec<Parked<PopMessageRequestHeader>>) {
    for parked in woken {
        let (state, incoming) = (Arc::clone(broker), parked.incoming);
        run_woken(&broker.pools.pull, parked.responder, move |responder| {
            pop_message(&state, incoming, responder);
        });
    }
}

/// Whoever popped is gone: nobody takes a message. One that woke this pop is for the next that waits.
pub(super) fn leave_to_others(broker: &Arc<Broker>, key: &PollKey, responder: Responder) {
    answer_gone(responder);
    wake_next(broker, key);
}

/// What waits for a connection that has closed leases no message any more.
pub(crate) fn connection_closed(broker: &Broker, peer: &Peer) {
    for parked in broker.pop.polling.take_of_connection(peer) {
        answer_gone(parked.responder);
    }
    for parked in broker.pop.notifications.take_of_connection(peer) {
        answer_gone(parked.responder);
    }
}

/// Ends a request whose answer nobody will read.
fn answer_gone(responder: Responder) {
    responder.refuse(refusal::polling_full());
}

/// Wakes the first that waits for just this.
pub(super) fn wake_next(broker: &Arc<Broker>, key: &PollKey) {
    wake(
        broker,
        broker.pop.polling.take_next(key).into_iter().collect(),
    );
}

/// Work of the thread `pop-polling`: runs those again whose time is up, so that they are answered.
pub(crate) fn answer_overdue(broker: &Arc<Broker>) {
    let alarm = &broker.pop.polling_alarm;
    while !alarm.is_stopped() {
        alarm.clear();
        let now_ms = broker.clock.now_ms();
        wake(broker, broker.pop.polling.take_overdue(now_ms));
        super::notification::wake(broker, broker.pop.notifications.take_overdue(now_ms));
        let pop = broker.pop.polling.next_deadline_ms();
        let notification = broker.pop.notifications.next_deadline_ms();
        for deadline_ms in [pop, notification].into_iter().flatten() {
            alarm.set_before(deadline_ms);
        }
        alarm.wait(|| broker.clock.now_ms(), SLEEP_MS_MAX);
    }
}

pub(super) fn hold_limits(config: &BrokerConfig) -> HoldLimits {
    HoldLimits {
        // As Java counts: one more than the setting says.
        of_key: config.pop_polling_of_queue_max.saturating_add(1),
        keys: config.pop_polling_keys_max,
        total: config.pop_polling_max,
    }
}
