//! A message that is sent with a time of its own: whether it may wait, and where. Called by whatever
//! stores messages for clients; nothing waits here, and nothing is written.

use thrustmq_proto_compat::message::names::TIMER_TOPIC;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_remoting::Refusal;

use super::Timer;
use super::placement::Wish;
use crate::config::BrokerConfig;
use crate::refusal;

/// Longest text that waiting adds to a message's properties: its time, real topic and queue.
pub(crate) const TIMER_PROPERTIES_BYTES_MAX: usize = 255 + 96;

/// A message on its way into the timer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForTimer<'a> {
    pub(crate) topic: &'a str,
    pub(crate) queue_id: i32,
    pub(crate) now_ms: i64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheduled {
    /// It is not for the timer, or is due: it is stored where it was sent to.
    AtOnce,
    /// It is stored in the timer topic, queue 0, and leaves this slot.
    Waits {
        /// Milliseconds.
        slot_ms: i64,
    },
}

/// The topic that messages wait in, and its queue.
pub(crate) const WAITING_IN: (&str, i32) = (TIMER_TOPIC, 0);

/// Turns a message with a time of its own into one that waits: its properties gain what is needed
/// later. Of a message that is due already, or has no time, nothing changes
/// (`HookUtils.handleScheduleMessage`).
///
/// # Errors
/// What its sender is told: the timer is off, its time is too far ahead or unreadable, or too many
/// messages wait for the same time.
pub(crate) fn schedule(
    timer: Option<&Timer>,
    config: &BrokerConfig,
    message: ForTimer<'_>,
    properties_text: &mut String,
) -> Result<Scheduled, Refusal> {
    // What was in the timer before is not delayed again, as when it is sent back to be retried.
    let was_delivered = properties::get(properties_text, name::TIMER_OUT_MS).is_some();
    let wish = Wish::of(properties_text).filter(|_| !was_delivered);
    let Some(wish) = wish else {
        return Ok(Scheduled::AtOnce);
    };
    let timer = timer.ok_or_else(refusal::timer_off)?;
    let delay_ms_max = config.timer_delay_seconds_max.saturating_mul(1_000);
    let illegal = || refusal::timer_illegal(delay_ms_max);
    let due_ms = wish.due_ms(message.now_ms).ok_or_else(illegal)?;
    let ahead_ms = due_ms.saturating_sub(message.now_ms);
    if ahead_ms <= 0 {
        let cancels = properties::get(properties_text, name::TIMER_DEL_UNIQUE_KEY).is_some();
        return if cancels {
            Err(illegal())
        } else {
            Ok(Scheduled::AtOnce)
        };
    }
    if ahead_ms > delay_ms_max {
        return Err(illegal());
    }
    let slot_ms = timer.shape().slot_of_due(due_ms);
    if timer.is_congested(slot_ms, config.timer_slot_messages_max) {
        return Err(refusal::timer_congested(config.timer_slot_messages_max));
    }
    note(properties_text, &message, slot_ms);
    Ok(Scheduled::Waits { slot_ms })
}

fn note(properties_text: &mut String, message: &ForTimer<'_>, slot_ms: i64) {
    for replaced in [name::REAL_TOPIC, name::REAL_QUEUE_ID] {
        if properties::get(properties_text, replaced).is_some() {
            *properties_text = properties::without(properties_text, replaced).into_owned();
        }
    }
    properties::push(properties_text, name::TIMER_OUT_MS, &slot_ms.to_string());
    properties::push(properties_text, name::REAL_TOPIC, message.topic);
    let queue_id = message.queue_id.to_string();
    properties::push(properties_text, name::REAL_QUEUE_ID, &queue_id);
}
