//! The thread that moves messages: from the timer topic into the wheel, and from the wheel into their
//! real topics when they are due. It sleeps until a message arrives or the next one is due.
//!
//! The only one that adds to the timer's files and moves its marks.

mod departing;
mod entering;
mod leaving;

use std::io;
use std::sync::Arc;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::record::RecordView;
use thrustmq_store::{Store, TimerRecovered, TimerUnit};

use super::current_slot::CurrentSlot;
use super::delivered::Delivered;
use super::message::{self, Leaving, Waiting};
use super::start::{self, Start};
use super::{Marks, Timer, WAITING_IN};
use crate::broker::Broker;
use crate::config::LiveConfig;
use crate::stats::BrokerStats;

/// Pause after a message that could not be put.
const RETRY_MS: i64 = 100;
/// Pause after something that the disk did not give or take.
const DISK_RETRY_MS: i64 = 1_000;
/// Pause while dispatch has not come as far as the moment at which a slot began.
const DISPATCH_WAIT_MS: i64 = 2;
/// Longest sleep: the wall clock may be set.
const SLEEP_MS_MAX: i64 = 10_000;
/// Messages that enter or leave before the other direction has its turn.
const TURN_MESSAGES_MAX: usize = 512;
/// Empty slots that are looked at to find the next one that is not.
const LOOK_AHEAD_SLOTS: i64 = 60;
/// Messages read at once when a queue is searched for what was delivered.
const SEARCH_MESSAGES: usize = 256;
const SEARCH_BYTES: usize = 4 << 20;
/// Delivered messages that are remembered of one queue after a start; 24 bytes each.
const IDENTITIES_MAX: usize = 4_000_000;

/// What the thread works with.
pub(crate) struct Service<'a> {
    timer: &'a Timer,
    store: &'a Store,
    stats: &'a Arc<BrokerStats>,
    clock: &'a Clock,
    config: LiveConfig,
    /// Nothing until the start is decided.
    progress: Option<Progress>,
    opened_ms: i64,
    /// The last message could not be put or read: said once, however long it lasts.
    is_failing: bool,
}

/// How far it is.
struct Progress {
    start: Start,
    queue_offset: i64,
    /// Messages of the timer topic before this one were there at the start, or rolled since.
    known_end: i64,
    read_ms: i64,
    delivered_end: i64,
    current: Option<Opened>,
    /// Slots before this one that hold nothing stay empty.
    empty_until_ms: i64,
    passing: Option<Passing>,
    /// What was delivered before the start, until it does not matter any more.
    delivered: Option<Delivered>,
}

/// The slot that is being delivered.
struct Opened {
    slot: CurrentSlot,
    /// What the log held when the slot was opened has to be in the timer before a message leaves: one
    /// of it may cancel another.
    barrier: Barrier,
}

/// Slots that may turn out to be empty.
struct Passing {
    /// The first that had not ended.
    until_ms: i64,
    /// What the log held then has to be in the timer.
    barrier: Barrier,
}

#[derive(Clone, Copy)]
enum Barrier {
    Dispatched(i64),
    Entered(i64),
    Passed,
}

/// What became of a step.
enum Step {
    /// It is done.
    Done,
    /// It has to wait until this time, milliseconds.
    NotBefore(i64),
}

/// A message that leaves.
struct Departure<'a> {
    view: &'a RecordView<'a>,
    waiting: &'a Waiting,
    text: &'a str,
    leaving: Leaving,
    /// It may have left before the start.
    is_checked: bool,
}

impl<'a> Service<'a> {
    /// Moves the messages of `timer`, which is the broker's.
    pub(crate) fn new(timer: &'a Timer, broker: &'a Broker) -> Self {
        let Broker {
            store,
            stats,
            clock,
            config,
            ..
        } = broker;
        Self::over(timer, store, stats, clock, config.clone())
    }

    fn over(
        timer: &'a Timer,
        store: &'a Store,
        stats: &'a Arc<BrokerStats>,
        clock: &'a Clock,
        config: LiveConfig,
    ) -> Self {
        Self {
            timer,
            store,
            stats,
            clock,
            config,
            progress: None,
            opened_ms: clock.now_ms(),
            is_failing: false,
        }
    }

    /// Moves messages until [`Timer::stop_delivery`].
    pub(crate) fn run(&mut self) {
        let (timer, clock) = (self.timer, self.clock);
        while !timer.alarm.is_stopped() {
            timer.alarm.clear();
            let next_ms = self.turn();
            timer.alarm.set_before(next_ms);
            timer.alarm.wait(|| clock.now_ms(), SLEEP_MS_MAX);
        }
        if let Err(error) = self.leave() {
            tracing::warn!(%error, "the timer log is not left as a Java broker has to find it");
        }
    }

    /// One turn of both directions; the time at which the next is due.
    fn turn(&mut self) -> i64 {
        let Some(mut progress) = self.progress.take().or_else(|| self.begin()) else {
            return self.clock.now_ms().saturating_add(DISPATCH_WAIT_MS);
        };
        let entered = self.take_in(&mut progress);
        let left = self.deliver(&mut progress);
        progress.forget_delivered(self.opened_ms);
        self.timer.state().marks = Marks {
            read_ms: progress.read_ms,
            queue_offset: progress.queue_offset,
            delivered_end: progress.delivered_end,
        };
        self.progress = Some(progress);
        entered.min(left)
    }

    /// Decides where to go on, once the queues are complete.
    fn begin(&mut self) -> Option<Progress> {
        let marks = self.store.watermarks();
        if marks.dispatched < marks.confirm {
            return None;
        }
        let recovered = self.timer.state().recovered.clone().unwrap_or_default();
        let start = self.decide(&recovered)?;
        start::count_waiting(self.timer, self.store, &recovered, self.clock.now_ms());
        self.timer.state().recovered = None;
        Some(Progress {
            start,
            queue_offset: start.queue_offset,
            known_end: start.queue_end,
            read_ms: start.read_ms,
            delivered_end: 0,
            current: None,
            empty_until_ms: i64::MIN,
            passing: None,
            delivered: Some(Delivered::default()),
        })
    }

    fn decide(&mut self, recovered: &TimerRecovered) -> Option<Start> {
        let (topic, queue_id) = WAITING_IN;
        let range = self.store.queue_range(topic, queue_id);
        match start::behind_last_unit(self.store, recovered) {
            Ok(behind) => {
                let now_slot_ms = self.timer.shape.floor(self.clock.now_ms());
                self.succeeds();
                Some(Start::decide(recovered, range, behind, now_slot_ms))
            }
            Err(error) => {
                self.fails(&error);
                None
            }
        }
    }

    /// Leaves the log as a Java broker has to find it: it delivers all of the slot that the checkpoint
    /// names, and reads on behind the message of the log's last unit. So what is left of the current
    /// slot is written anew, and a mark behind it names the last message that was read.
    fn leave(&self) -> io::Result<()> {
        let files = &self.timer.files;
        let Some(progress) = self.progress.as_ref().filter(|_| files.is_used()) else {
            return Ok(());
        };
        if !files.is_in_wheel(progress.read_ms) {
            // Java passes over what is overdue, and delivers this slot.
            let slot_ms = self.timer.shape.floor(self.clock.now_ms());
            let mark = self.mark(progress, slot_ms, &files.units_of(slot_ms)?);
            return mark.map_or(Ok(()), |mark| files.add(&mark));
        }
        let Some(opened) = &progress.current else {
            let before_ms = self.timer.shape.slot_before(progress.read_ms);
            let mark = self.mark(progress, before_ms, &[]);
            return mark.map_or(Ok(()), |mark| files.append_apart(&mark));
        };
        let slot_ms = opened.slot.time_ms();
        let units = files.units_of(slot_ms)?;
        let mark = self.mark(progress, slot_ms, &units);
        let left = opened.slot.left();
        let cancels = |unit: &TimerUnit| unit.deletes && !unit.rolls;
        let still = units
            .into_iter()
            .filter(|unit| cancels(unit) || left.contains(&unit.physical_offset));
        let still: Vec<TimerUnit> = still.chain(mark).collect();
        files.rewrite_slot(slot_ms, &still)
    }

    /// A unit that cancels and names the last message that was read, which cancels nothing in this
    /// slot. Where that is gone Java goes on from the checkpoint, whatever the mark names.
    fn mark(&self, progress: &Progress, slot_ms: i64, units: &[TimerUnit]) -> Option<TimerUnit> {
        let (topic, queue_id) = WAITING_IN;
        let read = progress.queue_offset.checked_sub(1)?;
        let record = self.store.record_of(topic, queue_id, read).ok().flatten();
        let view = record
            .as_ref()
            .and_then(|record| message::view(record).ok());
        let (physical_offset, record_bytes) = match (view, units.last()) {
            (Some(view), _) => (view.physical_offset, i32::try_from(view.record_bytes).ok()?),
            (None, Some(unit)) => (unit.physical_offset, unit.record_bytes),
            (None, None) => return None,
        };
        Some(TimerUnit {
            slot_ms,
            written_ms: slot_ms,
            due_ms: 0,
            physical_offset,
            record_bytes,
            topic_hash: 0,
            rolls: false,
            deletes: true,
        })
    }

    fn fails_for_now(&mut self, error: &dyn std::error::Error) -> Step {
        self.fails(error);
        Step::NotBefore(self.clock.now_ms().saturating_add(DISK_RETRY_MS))
    }

    fn fails(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(%error, "timer messages are not moved, will try again");
        }
    }

    fn succeeds(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("timer messages are moved again");
        }
    }
}

impl Progress {
    /// Nothing before the start is left that could be delivered again.
    fn forget_delivered(&mut self, opened_ms: i64) {
        if self.read_ms > opened_ms && self.queue_offset >= self.start.queue_end {
            self.delivered = None;
        }
    }
}

/// A message that can never be delivered; the others must not wait for it.
fn skipped(problem: &str, offset: i64) -> Step {
    tracing::warn!(offset, problem, "timer message is skipped");
    Step::Done
}

#[cfg(test)]
mod tests;
