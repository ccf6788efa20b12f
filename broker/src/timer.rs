//! Timer messages: they wait in `rmq_sys_wheel_timer` until a time of their own.
//!
//! A send puts its message there (`schedule.rs`). One thread (`service.rs`) reads that queue into the
//! wheel, and puts each message into its real topic when it is due; a second one (`keeper.rs`) makes
//! what the first did durable, and notes how far it came. Decisions are apart from both: which slot
//! (`placement.rs`), which message next (`current_slot.rs`), what was delivered before
//! (`delivered.rs`).
//!
//! *Invariants.* The queue is the ground state: what the checkpoint does not know is read again. A
//! message is put before that is noted, so a crash loses none; after it, what was put and not noted is
//! found in its queue and not put again.

mod ahead;
mod current_slot;
mod delivered;
mod keeper;
mod message;
mod metrics;
mod placement;
mod schedule;
mod service;
mod start;

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::{
    Disk, OpenError, Store, TIMER_WHEEL_SLOTS, TimerBounds, TimerCheckpoint, TimerFiles,
    TimerOptions, TimerRecovered,
};

use crate::alarm::Alarm;
use crate::config::BrokerConfig;
pub(crate) use keeper::keep;
use metrics::Metrics;
use placement::WheelShape;
pub(crate) use schedule::{ForTimer, Scheduled, TIMER_PROPERTIES_BYTES_MAX, WAITING_IN, schedule};
pub(crate) use service::Service;

/// How far the timer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Marks {
    /// Slots before this time are delivered, milliseconds.
    read_ms: i64,
    /// Messages of the timer topic before this one are in the timer, or delivered.
    queue_offset: i64,
    /// End of the last message that left, in the commit log.
    delivered_end: i64,
}

#[derive(Debug, Default)]
struct State {
    marks: Marks,
    /// What the checkpoint holds.
    noted: TimerCheckpoint,
    /// For the thread that delivers.
    recovered: Option<TimerRecovered>,
}

/// Messages through one end of the timer.
#[derive(Debug, Default)]
struct Traffic {
    messages: AtomicU64,
    /// Of the last sample, thousandths a second.
    rate_thousandths: AtomicU64,
}

impl Traffic {
    fn add(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    fn sample(&self, over_ms: i64) {
        let messages = self.messages.swap(0, Ordering::Relaxed);
        let over_ms = over_ms.max(1).unsigned_abs();
        let rate = messages.saturating_mul(1_000_000) / over_ms;
        self.rate_thousandths.store(rate, Ordering::Relaxed);
    }

    fn rate(&self) -> f64 {
        self.rate_thousandths.load(Ordering::Relaxed) as f64 / 1_000.0
    }
}

/// The timer: what its threads, sends and operators share.
#[derive(Debug)]
pub(crate) struct Timer {
    files: TimerFiles,
    shape: WheelShape,
    alarm: Alarm,
    keeper_alarm: Alarm,
    state: Mutex<State>,
    metrics: Metrics,
    entered: Traffic,
    left: Traffic,
    /// Moves the line at which a crowded slot refuses.
    crowd: AtomicU64,
    /// Store time of the last message that was read from the queue, milliseconds.
    last_entered_store_ms: AtomicI64,
}

impl Timer {
    /// Opens the timer's files in the root directory of `store`.
    ///
    /// # Errors
    /// They cannot be read or written, or are not of the configured size.
    pub(crate) fn open(
        config: &BrokerConfig,
        disk: Disk,
        store: &Store,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let options = TimerOptions {
            root: Path::new(&config.store_root_dir).to_owned(),
            disk,
            log_file_bytes: usize::try_from(config.timer_log_file_bytes).unwrap_or(usize::MAX),
            wheel_slots: TIMER_WHEEL_SLOTS,
            precision_ms: config.timer_precision_ms,
        };
        let shape = WheelShape::new(config.timer_precision_ms, config.timer_roll_window_slots);
        Self::open_files(options, shape, store, clock)
    }

    fn open_files(
        options: TimerOptions,
        shape: WheelShape,
        store: &Store,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let metrics = Metrics::open(&options.root);
        let bounds = TimerBounds {
            log_end: store.watermarks().written,
            now_ms: clock.now_ms(),
        };
        let (files, recovered) = TimerFiles::open(options, bounds)?;
        let noted = recovered.checkpoint.unwrap_or_default();
        Ok(Self {
            files,
            shape,
            alarm: Alarm::default(),
            keeper_alarm: Alarm::default(),
            state: Mutex::new(State {
                marks: Marks {
                    read_ms: recovered.read_ms,
                    queue_offset: noted.queue_offset,
                    delivered_end: 0,
                },
                noted,
                recovered: Some(recovered),
            }),
            metrics,
            entered: Traffic::default(),
            left: Traffic::default(),
            crowd: AtomicU64::new(0),
            last_entered_store_ms: AtomicI64::new(0),
        })
    }

    /// How the wheel is divided.
    pub(crate) fn shape(&self) -> &WheelShape {
        &self.shape
    }

    /// Whether one more message may not wait for a slot. From `messages_max` on some are refused,
    /// the more the fuller it is, and from twice as many on all (`TimerMessageStore.isReject`).
    pub(crate) fn is_congested(&self, slot_ms: i64, messages_max: i64) -> bool {
        const STEPS: u64 = 1_000;
        let waiting = i64::from(self.files.waiting_at(slot_ms));
        if waiting <= messages_max {
            return false;
        }
        if waiting >= messages_max.saturating_mul(2) {
            return true;
        }
        // Coprime with the number of steps: every line has its turn.
        let line = self.crowd.fetch_add(619, Ordering::Relaxed) % STEPS;
        let over = (waiting - messages_max).unsigned_abs();
        line < STEPS.saturating_mul(over) / messages_max.max(1).unsigned_abs()
    }

    /// A message was read from the queue.
    fn note_entered(&self, store_ms: i64) {
        self.last_entered_store_ms
            .store(store_ms, Ordering::Relaxed);
    }

    /// A message has come into the timer topic.
    pub(crate) fn arrived(&self) {
        self.alarm.set_before(i64::MIN);
    }

    /// The checkpoint as it is in the file.
    pub(crate) fn checkpoint(&self) -> TimerCheckpoint {
        self.state().noted
    }

    /// `timermetrics` as it would be written now.
    pub(crate) fn metrics_json(&self) -> Vec<u8> {
        self.metrics.to_json()
    }

    /// Forgets the counts of a topic that is deleted.
    pub(crate) fn remove_topic(&self, topic: &str) {
        self.metrics.remove(topic);
    }

    /// What operators ask about.
    pub(crate) fn figures(&self, store: &Store, now_ms: i64) -> Figures {
        let marks = self.state().marks;
        let waiting = self.metrics.total();
        let end = store.queue_range(WAITING_IN.0, WAITING_IN.1).max;
        // Where nothing waits nothing is behind, however long ago the thread last looked.
        let behind_ms = now_ms.saturating_sub(self.shape.end_of(marks.read_ms));
        Figures {
            read_behind_seconds: if waiting > 0 {
                (behind_ms / 1_000).max(0)
            } else {
                0
            },
            offset_behind: end.saturating_sub(marks.queue_offset).max(0),
            waiting,
            entered_rate: self.entered.rate(),
            left_rate: self.left.rate(),
        }
    }

    /// Ends both threads; they leave soon.
    pub(crate) fn stop_delivery(&self) {
        self.alarm.stop();
    }

    /// Ends the thread that makes things durable.
    pub(crate) fn stop_keeper(&self) {
        self.keeper_alarm.stop();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What operators ask about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// For how long the oldest slot has been due, seconds.
    pub(crate) read_behind_seconds: i64,
    /// Messages of the timer topic that are not in the timer yet.
    pub(crate) offset_behind: i64,
    /// Messages that wait.
    pub(crate) waiting: i64,
    /// Messages that enter, a second.
    pub(crate) entered_rate: f64,
    /// Messages that leave, a second.
    pub(crate) left_rate: f64,
}
