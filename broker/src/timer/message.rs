//! A message of the timer topic, read and made into the one that leaves the timer.

use thrustmq_proto_compat::message::names::TIMER_TOPIC;
use thrustmq_proto_compat::message::properties::{self, Properties};
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody, RecordView};

/// Java's note that a message was due before it could enter the wheel.
pub(super) const NEVER_ENTERED_MS: i64 = i64::MAX;

/// What the timer has to know of a message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its slot, milliseconds.
    pub(super) out_ms: i64,
    pub(super) real_topic: String,
    pub(super) real_queue_id: i32,
    /// The key of the message that it cancels.
    pub(super) cancels: Option<String>,
}

/// A record that is a message of the timer topic.
pub(super) fn view(record: &[u8]) -> Result<RecordView<'_>, &'static str> {
    let view = record::check(record, CheckBody::Skip).map_err(|_| "it is unreadable")?;
    if view.topic == TIMER_TOPIC {
        Ok(view)
    } else {
        Err("it is of another topic")
    }
}

impl Waiting {
    /// Reads a message's properties.
    pub(super) fn of(properties_text: &str) -> Result<Self, &'static str> {
        let get = |name| properties::get(properties_text, name);
        let number = |name| get(name).and_then(|text| text.parse::<i64>().ok());
        let queue_id = number(name::REAL_QUEUE_ID).and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            out_ms: number(name::TIMER_OUT_MS).ok_or("it has no time")?,
            real_topic: get(name::REAL_TOPIC)
                .ok_or("it has no real topic")?
                .to_owned(),
            real_queue_id: queue_id.ok_or("it has no real queue")?,
            cancels: get(name::TIMER_DEL_UNIQUE_KEY).map(str::to_owned),
        })
    }
}

/// Where a message goes that leaves the timer, and with which properties.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) queue_id: i32,
    pub(super) properties: String,
}

/// How a message leaves the timer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    /// When it entered, milliseconds.
    pub(super) entered_ms: i64,
    pub(super) now_ms: i64,
    /// It goes back to the timer topic.
    pub(super) rolls: bool,
}

impl Outgoing {
    /// Java's `TimerMessageStore.convert`: the properties say when it entered and left, and are
    /// otherwise what they were, real topic and queue included.
    pub(super) fn of(waiting: &Waiting, properties_text: &str, leaving: Leaving) -> Self {
        let mut kept = Properties::parse(properties_text);
        kept.set(name::TIMER_ENQUEUE_MS, leaving.entered_ms.to_string());
        kept.set(name::TIMER_DEQUEUE_MS, leaving.now_ms.to_string());
        if leaving.rolls {
            let times = kept.get(name::TIMER_ROLL_TIMES);
            let times: i64 = times.and_then(|times| times.parse().ok()).unwrap_or(0);
            kept.set(name::TIMER_ROLL_TIMES, times.saturating_add(1).to_string());
        }
        let (topic, queue_id) = if leaving.rolls {
            (TIMER_TOPIC, 0)
        } else {
            (waiting.real_topic.as_str(), waiting.real_queue_id)
        };
        Self {
            topic: topic.to_owned(),
            queue_id,
            properties: kept.to_text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_leaves_with_its_own_topic_and_the_times() {
        let mut text = String::new();
        for (name, value) in [
            ("REAL_TOPIC", "orders"),
            ("REAL_QID", "3"),
            ("TIMER_OUT_MS", "5000"),
            ("TIMER_ROLL_TIMES", "2"),
            ("mine", "1"),
        ] {
            properties::push(&mut text, name, value);
        }
        let waiting = Waiting::of(&text).unwrap();
        assert_eq!((waiting.out_ms, waiting.cancels.as_deref()), (5_000, None));
        let leaving = |rolls| Leaving {
            entered_ms: 1,
            now_ms: 2,
            rolls,
        };
        let out = Outgoing::of(&waiting, &text, leaving(false));
        assert_eq!((out.topic.as_str(), out.queue_id), ("orders", 3));
        let get = |name| properties::get(&out.properties, name);
        assert_eq!(get("TIMER_ENQUEUE_MS"), Some("1"));
        assert_eq!(get("TIMER_DEQUEUE_MS"), Some("2"));
        assert_eq!(get("TIMER_ROLL_TIMES"), Some("2"));
        assert_eq!(get("mine"), Some("1"));
        let rolled = Outgoing::of(&waiting, &text, leaving(true));
        assert_eq!((rolled.topic.as_str(), rolled.queue_id), (TIMER_TOPIC, 0));
        let times = properties::get(&rolled.properties, "TIMER_ROLL_TIMES");
        assert_eq!(times, Some("3"));
        assert!(Waiting::of("").is_err());
    }
}
