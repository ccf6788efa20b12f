//! Delay levels: messages that wait in `SCHEDULE_TOPIC_XXXX`, a queue a level, until they are due.
//!
//! A send turns a delayed message into one of the schedule topic (`DelayLevels::schedule`); one
//! thread (`delivery.rs`) puts it into its real topic when it is due, woken by the clock or by the
//! arrival of a message that is due sooner than all others. How far each level is delivered is kept
//! in `delayOffset.json`. Delivery comes before its being noted, so a crash delivers some messages
//! again and loses none.

mod delivery;
mod levels;
mod progress;

use std::path::Path;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names::SCHEDULE_TOPIC;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;

use crate::alarm::Alarm;
use crate::metadata_file::LoadError;
pub(crate) use delivery::Delivery;
pub(crate) use levels::{LevelError, Levels};
use progress::Progress;

/// Longest text that the properties of a scheduled message add: real topic, its queue, the level.
pub(crate) const SCHEDULE_PROPERTIES_BYTES_MAX: usize = 255 + 64;

/// The levels, and how far each is delivered.
#[derive(Debug)]
pub(crate) struct DelayLevels {
    levels: Levels,
    progress: Progress,
    alarm: Alarm,
}

/// Where a delayed message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheduled {
    /// Always the schedule topic.
    pub(crate) topic: &'static str,
    /// Its level's queue.
    pub(crate) queue_id: i32,
}

impl DelayLevels {
    /// Reads `delayOffset.json` of the store directory.
    pub(crate) fn open(levels: Levels, root: &Path, clock: Clock) -> Result<Self, LoadError> {
        Ok(Self {
            levels,
            progress: Progress::open(root, clock)?,
            alarm: Alarm::default(),
        })
    }

    /// Turns a message for `topic` and `queue_id` into one that waits at `level`, which is cut to the
    /// highest there is: its properties gain what delivery needs.
    pub(crate) fn schedule(
        &self,
        level: i32,
        topic: &str,
        queue_id: i32,
        properties_text: &mut String,
    ) -> Scheduled {
        let level_max = self.levels.level_max().max(1);
        if level > level_max {
            let kept = properties::without(properties_text, name::DELAY_LEVEL).into_owned();
            *properties_text = kept;
            properties::push(properties_text, name::DELAY_LEVEL, &level_max.to_string());
        }
        for replaced in [name::REAL_TOPIC, name::REAL_QUEUE_ID] {
            if properties::get(properties_text, replaced).is_some() {
                *properties_text = properties::without(properties_text, replaced).into_owned();
            }
        }
        properties::push(properties_text, name::REAL_TOPIC, topic);
        properties::push(properties_text, name::REAL_QUEUE_ID, &queue_id.to_string());
        Scheduled {
            topic: SCHEDULE_TOPIC,
            queue_id: level.min(level_max) - 1,
        }
    }

    /// A message has come into the schedule topic: delivery may have to wake sooner.
    pub(crate) fn arrived(&self, deliver_ms: i64) {
        self.alarm.set_before(deliver_ms);
    }

    /// Writes `delayOffset.json`.
    pub(crate) fn persist(&self) {
        self.progress.persist();
    }

    /// `delayOffset.json` as it would be written now, for replicas and mqadmin.
    pub(crate) fn progress_json(&self) -> Vec<u8> {
        self.progress.to_json()
    }

    /// Level and next offset to deliver of each level that delivered something.
    pub(crate) fn progress(&self) -> Vec<(i32, i64)> {
        self.progress.offsets()
    }

    /// Ends delivery; the thread leaves at its next look.
    pub(crate) fn stop(&self) {
        self.alarm.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(root: &Path) -> DelayLevels {
        DelayLevels::open(Levels::parse("1s 5s").unwrap(), root, Clock::by_hand(0)).unwrap()
    }

    #[test]
    fn scheduling_keeps_the_real_destination_and_cuts_the_level() {
        let root = tempfile::tempdir().unwrap();
        let delay = delay(root.path());
        let mut text = String::new();
        properties::push(&mut text, "DELAY", "9");
        properties::push(&mut text, "REAL_TOPIC", "stale");
        let scheduled = delay.schedule(9, "orders", 3, &mut text);
        assert_eq!(scheduled.topic, "SCHEDULE_TOPIC_XXXX");
        assert_eq!(scheduled.queue_id, 1);
        let map = properties::Properties::parse(&text);
        assert_eq!(map.get("DELAY"), Some("2"));
        assert_eq!(map.get("REAL_TOPIC"), Some("orders"));
        assert_eq!(map.get("REAL_QID"), Some("3"));
        assert_eq!(map.len(), 3);
    }
}
