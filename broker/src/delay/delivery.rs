//! The thread that puts messages of the schedule topic into their real topics when they are due.
//!
//! The only writer of the levels' progress. A level whose next message cannot be put is tried again
//! a little later; the other levels go on.

use std::cell::Cell;

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names::{HALF_TOPIC, SCHEDULE_TOPIC};
use thrustmq_proto_compat::message::properties::{self, Properties};
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::Store;

use super::DelayLevels;
use crate::stats::BrokerStats;

/// Pause after a message that could not be put.
const RETRY_MS: i64 = 100;
/// Pause after a message that could not be read.
const UNREADABLE_RETRY_MS: i64 = 5_000;
/// Longest sleep: the wall clock may be set.
const SLEEP_MS_MAX: i64 = 10_000;
/// Messages of one level before the others have their turn.
const TURN_MESSAGES_MAX: usize = 256;

/// What the thread works with.
pub(crate) struct Delivery<'a> {
    delay: &'a DelayLevels,
    store: &'a Store,
    stats: &'a BrokerStats,
    clock: &'a Clock,
    /// The last message could not be put: said once, however long it lasts.
    is_failing: Cell<bool>,
}

/// What became of one message of the schedule topic.
enum Step {
    /// It is in its real topic, or cannot ever be.
    Done,
    /// It is due at this time.
    NotBefore(i64),
    /// There is none.
    NoMore,
}

impl<'a> Delivery<'a> {
    /// Delivers `delay`'s messages within `store`; `stats` counts them, `clock` says what is due.
    pub(crate) fn new(
        delay: &'a DelayLevels,
        store: &'a Store,
        stats: &'a BrokerStats,
        clock: &'a Clock,
    ) -> Self {
        Self {
            delay,
            store,
            stats,
            clock,
            is_failing: Cell::new(false),
        }
    }

    /// Delivers until [`DelayLevels::stop`].
    pub(crate) fn run(&self) {
        while !self.delay.alarm.is_stopped() {
            self.delay.alarm.clear();
            let next_ms = self.deliver_due();
            self.delay.alarm.set_before(next_ms);
            self.delay.alarm.wait(|| self.clock.now_ms(), SLEEP_MS_MAX);
        }
    }

    /// One turn of each level; the time at which the next turn is due.
    fn deliver_due(&self) -> i64 {
        (1..=self.delay.levels.level_max())
            .map(|level| self.deliver_level(level))
            .min()
            .unwrap_or(i64::MAX)
    }

    fn deliver_level(&self, level: i32) -> i64 {
        let range = self.store.queue_range(SCHEDULE_TOPIC, level - 1);
        let noted = self.delay.progress.offset(level);
        if noted > range.max && self.is_catching_up() {
            return self.clock.now_ms().saturating_add(RETRY_MS);
        }
        let start = noted.clamp(range.min, range.max.max(range.min));
        if start != noted {
            tracing::warn!(
                level,
                noted,
                start,
                "delay offset lies outside its queue and is corrected"
            );
            self.delay.progress.set(level, start);
        }
        for offset in (start..range.max).take(TURN_MESSAGES_MAX) {
            match self.step(level, offset) {
                Step::Done => self.delay.progress.set(level, offset + 1),
                Step::NotBefore(due_ms) => return due_ms,
                Step::NoMore => return i64::MAX,
            }
        }
        if range.max - start > TURN_MESSAGES_MAX as i64 {
            return self.clock.now_ms();
        }
        i64::MAX
    }

    /// After a start, queues may still be filled from the log: their ends are not final.
    fn is_catching_up(&self) -> bool {
        let marks = self.store.watermarks();
        marks.dispatched < marks.written
    }

    fn step(&self, level: i32, offset: i64) -> Step {
        let Some(entry) = self.store.queue_entry(SCHEDULE_TOPIC, level - 1, offset) else {
            return Step::NoMore;
        };
        let now_ms = self.clock.now_ms();
        let delay_ms = self.delay.levels.delay_ms(level).unwrap_or(0);
        // A time further away than the level's delay means that the clock was set back: deliver.
        let due_ms = entry.tags_code;
        if due_ms > now_ms && due_ms <= now_ms.saturating_add(delay_ms) {
            return Step::NotBefore(due_ms);
        }
        match self.store.record_of(SCHEDULE_TOPIC, level - 1, offset) {
            Ok(Some(record)) => self.deliver(&record, now_ms),
            Ok(None) => {
                tracing::warn!(level, offset, "delayed message is gone and is skipped");
                Step::Done
            }
            // The store has told of it. Nothing is left out: the level waits until it is repaired.
            Err(_) => Step::NotBefore(now_ms.saturating_add(UNREADABLE_RETRY_MS)),
        }
    }

    fn deliver(&self, record: &Bytes, now_ms: i64) -> Step {
        let view = match record::check(record, CheckBody::Skip) {
            Ok(view) => view,
            Err(error) => {
                tracing::warn!(%error, "delayed message is unreadable and is skipped");
                return Step::Done;
            }
        };
        let scheduled = view.properties_text();
        let Some(real) = RealMessage::of(&scheduled) else {
            let offset = view.physical_offset;
            tracing::warn!(offset, "delayed message has no real topic and is skipped");
            return Step::Done;
        };
        let mut message = view.as_new(&real.properties);
        message.topic = &real.topic;
        message.queue_id = real.queue_id;
        match self.store.append(&message) {
            Ok(appended) => {
                let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
                self.stats.record_put(&real.topic, real.queue_id, 1, bytes);
                if self.is_failing.replace(false) {
                    tracing::info!(topic = real.topic, "delayed messages are delivered again");
                }
                Step::Done
            }
            Err(error) => {
                if !self.is_failing.replace(true) {
                    let topic = &real.topic;
                    tracing::warn!(topic, %error, "delayed message is not delivered, will try again");
                }
                Step::NotBefore(now_ms.saturating_add(RETRY_MS))
            }
        }
    }
}

/// A scheduled message's own topic, queue and properties.
struct RealMessage {
    topic: String,
    queue_id: i32,
    properties: String,
}

impl RealMessage {
    /// `None` if the properties do not tell, or name a topic that only the broker writes.
    fn of(scheduled: &str) -> Option<Self> {
        let topic = properties::get(scheduled, name::REAL_TOPIC)?;
        let queue_id = properties::get(scheduled, name::REAL_QUEUE_ID)?
            .parse()
            .ok()?;
        if topic == HALF_TOPIC {
            return None;
        }
        let mut kept = Properties::parse(scheduled);
        for cleared in [
            name::DELAY_LEVEL,
            name::TIMER_DELIVER_MS,
            name::TIMER_DELAY_SEC,
        ] {
            kept.remove(cleared);
        }
        kept.set(name::WAIT_STORE_OK, "false");
        Some(Self {
            topic: topic.to_owned(),
            queue_id,
            properties: kept.to_text(),
        })
    }
}
