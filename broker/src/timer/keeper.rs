//! The thread that makes durable what the timer did: log and wheel, then the checkpoint, and less
//! often the counts; it also reads ahead what is due soon, and removes files of the log that nothing needs any more. It alone writes the
//! checkpoint, and [`close`](Timer::close) once it has ended.

use thrustmq_store::{Store, TimerCheckpoint};

use super::ahead::Ahead;
use super::{Marks, Timer};
use crate::broker::Broker;

/// Time between two writes of the counts.
const METRICS_MS: i64 = 10_000;
/// Time between two looks for files that can go.
const TIDY_MS: i64 = 30_000;

/// Runs until [`Timer::stop_keeper`].
pub(crate) fn keep(timer: &Timer, broker: &Broker) {
    let mut keeper = Keeper::new(timer, &broker.store);
    let mut ahead = Ahead::default();
    let begun_ms = broker.clock.now_ms();
    let (mut metrics_ms, mut tidied_ms, mut sampled_ms) = (begun_ms, begun_ms, begun_ms);
    while !timer.keeper_alarm.is_stopped() {
        let interval_ms = broker.config.current().timer_flush_interval_ms;
        timer
            .keeper_alarm
            .wait(|| broker.clock.now_ms(), interval_ms);
        let now_ms = broker.clock.now_ms();
        ahead.read(timer, &broker.store, now_ms);
        keeper.note(now_ms);
        timer.entered.sample(now_ms - sampled_ms);
        timer.left.sample(now_ms - sampled_ms);
        sampled_ms = now_ms;
        if now_ms - metrics_ms >= METRICS_MS {
            metrics_ms = now_ms;
            timer.metrics.persist();
        }
        if now_ms - tidied_ms >= TIDY_MS {
            tidied_ms = now_ms;
            keeper.tidy();
        }
    }
}

/// What the thread works with.
pub(super) struct Keeper<'a> {
    timer: &'a Timer,
    store: &'a Store,
    /// What could not be noted yet, as messages that left are not on the disk.
    pending: Option<Marks>,
    /// Said once, however long it lasts.
    is_failing: bool,
}

impl<'a> Keeper<'a> {
    /// Nothing is under way.
    pub(super) fn new(timer: &'a Timer, store: &'a Store) -> Self {
        Self {
            timer,
            store,
            pending: None,
            is_failing: false,
        }
    }

    /// Notes how far the timer has come, unless messages that left are not on the disk yet.
    pub(super) fn note(&mut self, now_ms: i64) {
        let timer = self.timer;
        let marks = self.pending.take().unwrap_or_else(|| timer.state().marks);
        if timer.is_noted(&marks) {
            return;
        }
        // A checkpoint that outlived the messages it counts as delivered would lose them.
        if self.store.watermarks().flushed < marks.delivered_end {
            self.pending = Some(marks);
            return;
        }
        match timer.note(&marks, now_ms) {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the timer's progress is noted again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "the timer's progress is not noted, will try again");
                }
            }
        }
    }

    fn tidy(&self) {
        match self.timer.files.tidy(self.store.watermarks().min) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of the timer log are removed"),
            Err(error) => tracing::error!(%error, "files of the timer log are not removed"),
        }
    }
}

impl Timer {
    /// Notes the end of everything. The threads have ended, and the store is closed: all that left the
    /// timer is on the disk.
    pub(crate) fn close(&self, store: &Store, now_ms: i64) {
        self.metrics.persist();
        let marks = self.state().marks;
        if self.is_noted(&marks) || store.watermarks().flushed < marks.delivered_end {
            return;
        }
        if let Err(error) = self.note(&marks, now_ms) {
            tracing::error!(%error, "the timer's progress is not noted");
        }
    }

    fn is_noted(&self, marks: &Marks) -> bool {
        let noted = self.state().noted;
        let is_new = marks.queue_offset == 0 && !self.files.is_used();
        is_new || (noted.read_ms == marks.read_ms && noted.queue_offset == marks.queue_offset)
    }

    fn note(&self, marks: &Marks, now_ms: i64) -> std::io::Result<()> {
        let log_flushed = self.files.flush()?;
        let version = self.state().noted.version;
        let checkpoint = TimerCheckpoint {
            read_ms: marks.read_ms,
            log_flushed,
            queue_offset: marks.queue_offset,
            master_queue_offset: marks.queue_offset,
            state_version: 0,
            version_ms: now_ms,
            version: version.saturating_add(1),
        };
        self.files.write_checkpoint(&checkpoint)?;
        self.state().noted = checkpoint;
        Ok(())
    }
}
