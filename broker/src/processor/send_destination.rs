//! Where a message goes: to the queue that was asked for, to its group's dead letters, or first to the
//! topic where it waits.

use thrustmq_proto_compat::message::names;
use thrustmq_remoting::Refusal;

use super::send::Sending;
use super::send_checks::group_topic;
use super::send_properties::Found;
use crate::broker::Broker;
use crate::delay::SCHEDULE_PROPERTIES_BYTES_MAX;
use crate::refusal;
use crate::timer::{self, ForTimer, Scheduled, TIMER_PROPERTIES_BYTES_MAX, WAITING_IN};
use crate::transaction::{HALF_PROPERTIES_BYTES_MAX, HALF_QUEUE, to_half};

/// Clients before 3.4.9 do not tell how often a message may be retried.
pub(super) const VERSION_3_4_9: i32 = 121;
/// Queues of a dead-letter topic.
const DEAD_LETTER_QUEUES: i32 = 1;

/// The queue that a message is stored in.
pub(super) struct Destination {
    /// The topic, if it is not the one that was asked for.
    pub(super) topic: Option<String>,
    pub(super) queue_id: i32,
    /// It is given up: no level delays it any more.
    pub(super) dead_letter: bool,
    /// It waits for the end of its transaction.
    pub(super) half_message: bool,
    /// The slot that it leaves the timer from, milliseconds, if it waits there.
    pub(super) timer_slot_ms: Option<i64>,
}

/// A message to a retry topic that was tried too often, or that its group consumes in order, is
/// given up (03 §3.2, 5). All others go where they were sent to.
pub(super) fn in_the_end(sending: &Sending<'_, '_>) -> Result<Destination, Refusal> {
    let header = &sending.request.header;
    let asked = Destination {
        topic: None,
        queue_id: sending.queue_id(),
        dead_letter: false,
        half_message: false,
        timer_slot_ms: None,
    };
    let Some(group) = names::group_of_retry_topic(header.topic) else {
        return Ok(asked);
    };
    let known = sending.broker.groups.find(group);
    let group_config = known.ok_or_else(|| refusal::group_not_exist(group))?;
    let told = header
        .max_reconsume_times
        .filter(|_| sending.request.command.version >= VERSION_3_4_9);
    let times_max = told.unwrap_or(group_config.retry_max_times);
    if header.reconsume_times <= times_max && !sending.broker.locks.holds_any(group) {
        return Ok(asked);
    }
    let topic = dead_letter_topic(sending.broker, group);
    sending.broker.stats.record_dead_letter(group, header.topic);
    Ok(Destination {
        topic: Some(topic),
        queue_id: 0,
        dead_letter: true,
        half_message: false,
        timer_slot_ms: None,
    })
}

/// Where a message on its way to `real` is stored: a delayed one waits elsewhere first, and its
/// properties gain what its delivery needs. A time of its own may be refused.
pub(super) fn on_the_way(
    sending: &Sending<'_, '_>,
    found: &Found<'_>,
    real: Destination,
    stored_properties: &mut String,
) -> Result<Destination, Refusal> {
    if is_half_message(sending, found) {
        return Ok(at_half_topic(sending, &real, stored_properties));
    }
    if found.delay_level > 0 {
        let level = found.delay_level;
        return Ok(at_delay_level(sending, level, &real, stored_properties));
    }
    if found.timer {
        return in_timer(sending, real, stored_properties);
    }
    Ok(real)
}

/// What [`on_the_way`] may add to the properties, at most.
pub(super) fn room_bytes(found: &Found<'_>) -> usize {
    if found.transaction {
        HALF_PROPERTIES_BYTES_MAX
    } else if found.delay_level > 0 {
        SCHEDULE_PROPERTIES_BYTES_MAX
    } else if found.timer {
        TIMER_PROPERTIES_BYTES_MAX
    } else {
        0
    }
}

/// Clients before 4.6.1 left the mark on transactional messages that they sent to be retried.
pub(super) fn is_half_message(sending: &Sending<'_, '_>, found: &Found<'_>) -> bool {
    let is_retry = sending.request.header.reconsume_times > 0 && found.delay_level > 0;
    found.transaction && !is_retry
}

/// A delay begins with the commit. (Java discards a half message that has one.)
fn at_half_topic(
    sending: &Sending<'_, '_>,
    real: &Destination,
    stored_properties: &mut String,
) -> Destination {
    let asked = sending.request.header.topic;
    let topic = real.topic.as_deref().unwrap_or(asked);
    to_half(topic, real.queue_id, stored_properties);
    Destination {
        topic: Some(names::HALF_TOPIC.to_owned()),
        queue_id: HALF_QUEUE,
        dead_letter: false,
        half_message: true,
        timer_slot_ms: None,
    }
}

fn at_delay_level(
    sending: &Sending<'_, '_>,
    level: i32,
    real: &Destination,
    stored_properties: &mut String,
) -> Destination {
    let asked = sending.request.header.topic;
    let topic = real.topic.as_deref().unwrap_or(asked);
    let delay = &sending.broker.delay;
    let scheduled = delay.schedule(level, topic, real.queue_id, stored_properties);
    Destination {
        topic: Some(scheduled.topic.to_owned()),
        queue_id: scheduled.queue_id,
        dead_letter: false,
        half_message: false,
        timer_slot_ms: None,
    }
}

fn in_timer(
    sending: &Sending<'_, '_>,
    real: Destination,
    stored_properties: &mut String,
) -> Result<Destination, Refusal> {
    let Sending { broker, config, .. } = sending;
    let asked = sending.request.header.topic;
    let message = ForTimer {
        topic: real.topic.as_deref().unwrap_or(asked),
        queue_id: real.queue_id,
        now_ms: broker.clock.now_ms(),
    };
    match timer::schedule(broker.timer.as_ref(), config, message, stored_properties)? {
        Scheduled::AtOnce => Ok(real),
        Scheduled::Waits { slot_ms } => Ok(Destination {
            topic: Some(WAITING_IN.0.to_owned()),
            queue_id: WAITING_IN.1,
            dead_letter: false,
            half_message: false,
            timer_slot_ms: Some(slot_ms),
        }),
    }
}

/// Creates a group's dead-letter topic if need be; its name.
pub(super) fn dead_letter_topic(broker: &Broker, group: &str) -> String {
    let topic = names::dead_letter_topic(group);
    if !broker.topics.contains(&topic) {
        let wanted = group_topic(&topic, DEAD_LETTER_QUEUES, 0);
        if broker.topics.create_for_group(wanted).is_changed {
            broker.namesrv.register_soon();
        }
    }
    topic
}

/// Spreads requests over queues by their number, which rises with each of a client.
pub(super) fn any_queue(opaque: i32, queues: i32) -> i32 {
    opaque.rem_euclid(queues.max(1))
}
