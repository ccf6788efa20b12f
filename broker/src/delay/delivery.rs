//! The thread that puts messages of the schedule topic into their real topics when they are due.
//!
//! The only writer of the levels' progress. A level whose next message cannot be put is tried again
//! a little later; the other levels go on.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::names::{HALF_TOPIC, SCHEDULE_TOPIC};
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_store::{AppendError, Store};

use super::DelayLevels;
use crate::stats::BrokerStats;
use crate::waited::append_waited;

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
    stats: &'a Arc<BrokerStats>,
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
        stats: &'a Arc<BrokerStats>,
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
        let mut message = view.as_new(&scheduled);
        message.topic = &real.topic;
        message.queue_id = real.queue_id;
        match append_waited(self.store, &message) {
            Ok(appended) => {
                let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
                self.stats.record_delay_end(view.queue_id, bytes);
                self.stats.record_put(&real.topic, real.queue_id, 1, bytes);
                if self.is_failing.replace(false) {
                    tracing::info!(topic = real.topic, "delayed messages are delivered again");
                }
                Step::Done
            }
            // No wait helps a message that no store can take, and the level's others wait behind it.
            Err(error @ (AppendError::Illegal { .. } | AppendError::PropertiesTooLong { .. })) => {
                let (topic, offset) = (&real.topic, view.physical_offset);
                let unique_key = properties::get(&scheduled, name::UNIQUE_KEY).unwrap_or_default();
                tracing::warn!(topic, offset, unique_key, %error, "delayed message can not be stored and is skipped");
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

/// A scheduled message's own topic and queue. Its properties stay as they are scheduled, the level among them: consumers
/// of Java's broker see it too.
struct RealMessage {
    topic: String,
    queue_id: i32,
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
        Some(Self {
            topic: topic.to_owned(),
            queue_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use thrustmq_proto_compat::message::properties::Properties;
    use thrustmq_store::{Arrival, ArrivalListener, FlushMode, NewMessage, StoreOptions};

    use super::*;
    use crate::delay::Levels;

    struct NoListener;

    impl ArrivalListener for NoListener {
        fn arrived(&self, _: &Arrival<'_>) {}
    }

    fn open(root: &std::path::Path, clock: &Clock, record_checksum: bool) -> Store {
        let options = StoreOptions {
            root: root.to_owned(),
            commit_log_file_bytes: 1 << 20,
            index_enabled: false,
            flush: FlushMode::Async { interval_ms: 1 },
            record_checksum,
            ..StoreOptions::default()
        };
        Store::open(options, clock.clone(), Arc::new(NoListener)).unwrap()
    }

    fn wait_dispatched(store: &Store) {
        while store.watermarks().dispatched < store.watermarks().written {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stores a message of level 1, for a topic; its padding fills the properties up to a length.
    fn put(store: &Store, topic: &str, properties_bytes: usize) {
        let mut text = String::new();
        for (name, value) in [
            (name::DELAY_LEVEL, "1"),
            (name::REAL_TOPIC, topic),
            (name::REAL_QUEUE_ID, "0"),
        ] {
            properties::push(&mut text, name, value);
        }
        let padding = properties_bytes.saturating_sub(text.len() + "pad".len() + 2);
        properties::push(&mut text, "pad", &"p".repeat(padding));
        store
            .append(&NewMessage {
                topic: SCHEDULE_TOPIC,
                queue_id: 0,
                flag: 0,
                sys_flag: 0,
                born_timestamp: 1,
                born_host: "10.0.0.1:4000".parse().unwrap(),
                store_host: "10.0.0.2:10911".parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: topic.as_bytes(),
                properties: &text,
            })
            .unwrap();
    }

    #[test]
    fn a_message_that_no_store_can_take_holds_up_nobody() {
        let root = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(1_700_000_000_000);
        let store = open(root.path(), &clock, true);
        let levels = Levels::parse("1s").unwrap();
        let delay = DelayLevels::open(levels, root.path(), clock.clone()).unwrap();
        let stats = Arc::new(BrokerStats::new("c", false, clock.clone()));
        let delivery = Delivery::new(&delay, &store, &stats, &clock);
        for topic in ["before", "../nowhere", "behind"] {
            put(&store, topic, 0);
        }
        clock.advance_ms(1_000);
        wait_dispatched(&store);
        assert_eq!(delivery.deliver_due(), i64::MAX);
        wait_dispatched(&store);
        assert_eq!(store.queue_range("before", 0).max, 1);
        assert_eq!(store.queue_range("behind", 0).max, 1);
        assert_eq!(delay.progress(), [(1, 3)]);
    }

    #[test]
    fn properties_that_no_longer_fit_beside_the_checksum_lose_what_the_broker_added() {
        let root = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(1_700_000_000_000);
        let store = open(root.path(), &clock, false);
        put(&store, "long", 32_767);
        store.shutdown();
        let store = open(root.path(), &clock, true);
        let levels = Levels::parse("1s").unwrap();
        let delay = DelayLevels::open(levels, root.path(), clock.clone()).unwrap();
        let stats = Arc::new(BrokerStats::new("c", false, clock.clone()));
        clock.advance_ms(1_000);
        wait_dispatched(&store);
        Delivery::new(&delay, &store, &stats, &clock).deliver_due();
        wait_dispatched(&store);
        let record = store.record_of("long", 0, 0).unwrap().unwrap();
        let view = record::check(&record, CheckBody::Skip).unwrap();
        let properties = Properties::parse(&view.properties_text());
        assert_eq!(properties.get(name::REAL_TOPIC), None);
        assert!(properties.get("pad").is_some_and(|pad| pad.len() > 30_000));
    }
}
