//! 200054 NOTIFICATION: whether a group has messages to pop; waits for them like a pop.

use std::sync::Arc;

use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::header::{NotificationRequestHeader, NotificationResponseHeader};
use thrustmq_remoting::{Incoming, Reply, Responder};

use super::pop_checks::{Asked, check_look};
use super::pop_polling::{connection_closed, hold_limits};
use super::pop_queues::{Place, all_of};
use super::woken::run_woken;
use crate::broker::Broker;
use crate::offset::GroupQueue;
use crate::pop::hold::{ANSWER_EARLY_MS, Parked, PollKey};
use crate::pop::names::TopicKind;

type Request = Incoming<NotificationRequestHeader>;

/// 200054 NOTIFICATION.
pub(crate) fn notify(broker: &Arc<Broker>, mut incoming: Request, responder: Responder) {
    if incoming.header.born_time_ms == 0 {
        incoming.header.born_time_ms = broker.clock.now_ms();
    }
    let header = &incoming.header;
    let asked = Asked {
        group: &header.consumer_group,
        topic: &header.topic,
        queue_id: header.queue_id,
        peer: &incoming.peer,
    };
    let topic = match check_look(broker, &broker.config.current(), &asked) {
        Ok(topic) => topic,
        Err(refusal) => return responder.refuse(refusal),
    };
    if has_messages(broker, &topic, header) {
        return answer(responder, true, false);
    }
    park(broker, &topic, incoming, responder);
}

/// Runs notifications again, on their pool.
pub(crate) fn wake(broker: &Arc<Broker>, woken: Vec<Parked<NotificationRequestHeader>>) {
    for parked in woken {
        let (state, incoming) = (Arc::clone(broker), parked.incoming);
        run_woken(&broker.pools.pull, parked.responder, move |responder| {
            notify(&state, incoming, responder);
        });
    }
}

fn park(broker: &Arc<Broker>, topic: &TopicConfig, incoming: Request, responder: Responder) {
    let header = incoming.header.clone();
    let given_up_ms = header.born_time_ms.saturating_add(header.poll_time_ms);
    let deadline_ms = given_up_ms.saturating_sub(ANSWER_EARLY_MS);
    if header.poll_time_ms <= 0 || broker.clock.now_ms() > deadline_ms {
        return answer(responder, false, false);
    }
    let key = PollKey {
        topic: header.topic.clone(),
        group: header.consumer_group.clone(),
        queue_id: header.queue_id,
    };
    let parked = Parked {
        incoming,
        responder,
        filter: None,
        deadline_ms,
    };
    let limits = hold_limits(&broker.config.current());
    let peer = parked.responder.peer().clone();
    if let Err(refused) = broker.pop.notifications.park(key.clone(), parked, limits) {
        return answer(refused.responder, false, true);
    }
    if !peer.is_open() {
        connection_closed(broker, &peer);
    }
    broker.pop.polling_alarm.set_before(deadline_ms);
    // Between the look and the parking a message may have come that woke nobody.
    if has_messages(broker, topic, &header) {
        wake(
            broker,
            broker
                .pop
                .notifications
                .take_next(&key)
                .into_iter()
                .collect(),
        );
    }
}

fn answer(responder: Responder, has_msg: bool, polling_full: bool) {
    responder.send(Ok(Reply::ok(NotificationResponseHeader {
        has_msg,
        polling_full,
    })));
}

fn has_messages(broker: &Broker, topic: &TopicConfig, header: &NotificationRequestHeader) -> bool {
    let (group, dice) = (&header.consumer_group, broker.pop.dice());
    let asked = if header.queue_id < 0 {
        all_of(topic, dice)
    } else {
        vec![Place {
            topic: header.topic.clone(),
            queue_id: header.queue_id,
        }]
    };
    let retried = [TopicKind::RetryV1, TopicKind::RetryV2]
        .into_iter()
        .filter_map(|kind| {
            let topic = broker.topics.find(&kind.topic(&header.topic, group))?;
            Some(all_of(&topic, dice))
        });
    let mut places = asked.into_iter().chain(retried.flatten());
    places.any(|place| {
        let range = broker.store.queue_range(&place.topic, place.queue_id);
        let queue = GroupQueue {
            group,
            topic: &place.topic,
            queue_id: place.queue_id,
        };
        let offset = broker.offsets.query(queue).unwrap_or(range.min);
        let attempt_id = header.attempt_id.as_deref();
        let may_pop =
            || header.order != Some(true) || broker.orders.is_free(queue, attempt_id, offset);
        range.max > offset && may_pop()
    })
}
