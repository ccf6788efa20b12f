//! From the wheel to where messages go, slot by slot.

use std::io;

use bytes::Bytes;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_store::ReadError;

use super::{
    Barrier, DISK_RETRY_MS, DISPATCH_WAIT_MS, Departure, LOOK_AHEAD_SLOTS, Opened, Passing,
    Progress, Service, Step, TURN_MESSAGES_MAX, skipped,
};
use crate::timer::WAITING_IN;
use crate::timer::current_slot::{CurrentSlot, Due};
use crate::timer::message::{self, Leaving, Waiting};

impl Service<'_> {
    /// Delivers what is due; the time at which to go on.
    pub(super) fn deliver(&mut self, progress: &mut Progress) -> i64 {
        if self.config.current().timer_stop_dequeue {
            return self.clock.now_ms().saturating_add(DISK_RETRY_MS);
        }
        for _ in 0..TURN_MESSAGES_MAX {
            let now_ms = self.clock.now_ms();
            let opened = progress.current.take();
            let mut opened = match opened.map_or_else(|| self.open_slot(progress, now_ms), Ok) {
                Ok(opened) => opened,
                Err(at_ms) => return at_ms,
            };
            let step = self.deliver_next(progress, &mut opened, now_ms);
            let is_over = opened.slot.is_over(now_ms);
            if is_over {
                progress.read_ms = self.timer.shape.end_of(opened.slot.time_ms());
            } else {
                progress.current = Some(opened);
            }
            match step {
                Step::NotBefore(at_ms) if !is_over => return at_ms,
                Step::NotBefore(_) | Step::Done => {}
            }
        }
        i64::MIN
    }

    fn deliver_next(&mut self, progress: &mut Progress, opened: &mut Opened, now_ms: i64) -> Step {
        match self.past_barrier(progress, &mut opened.barrier, now_ms) {
            Step::Done => {}
            wait @ Step::NotBefore(_) => return wait,
        }
        let Some(due) = opened.slot.due(now_ms) else {
            return Step::NotBefore(opened.slot.next_ms());
        };
        match self.deliver_one(progress, &opened.slot, due, now_ms) {
            Step::Done => {
                opened.slot.done();
                Step::Done
            }
            wait @ Step::NotBefore(_) => wait,
        }
    }

    fn past_barrier(&self, progress: &Progress, barrier: &mut Barrier, now_ms: i64) -> Step {
        if let Barrier::Dispatched(end) = *barrier {
            if self.store.watermarks().dispatched < end {
                return Step::NotBefore(now_ms.saturating_add(DISPATCH_WAIT_MS));
            }
            let range = self.store.queue_range(WAITING_IN.0, WAITING_IN.1);
            *barrier = Barrier::Entered(range.max);
        }
        if let Barrier::Entered(end) = *barrier {
            if progress.queue_offset < end {
                return Step::NotBefore(now_ms.saturating_add(DISPATCH_WAIT_MS));
            }
            *barrier = Barrier::Passed;
        }
        Step::Done
    }

    /// Opens the first slot that holds messages and has begun; otherwise the time at which to look
    /// again.
    fn open_slot(&mut self, progress: &mut Progress, now_ms: i64) -> Result<Opened, i64> {
        let (files, shape) = (&self.timer.files, &self.timer.shape);
        let now_slot_ms = shape.floor(now_ms);
        if !files.is_used() {
            progress.read_ms = progress.read_ms.max(now_slot_ms);
            return Err(i64::MAX);
        }
        while progress.read_ms < now_slot_ms && !files.has_units(progress.read_ms) {
            // What waits for this slot may be in the queue still, and what cancels it.
            if progress.queue_offset < progress.known_end {
                return Err(now_ms.saturating_add(DISPATCH_WAIT_MS));
            }
            if progress.read_ms >= progress.empty_until_ms {
                self.learn_empty(progress, now_ms)?;
                continue;
            }
            progress.read_ms = files.next_slot_ms(shape.end_of(progress.read_ms));
        }
        if progress.read_ms > now_slot_ms || !files.has_units(progress.read_ms) {
            let ahead = (0..LOOK_AHEAD_SLOTS).map(|slots| {
                let ahead_ms = slots.saturating_mul(shape.precision_ms);
                progress.read_ms.saturating_add(ahead_ms)
            });
            let mut ahead = ahead.peekable();
            let far_ms = shape.precision_ms.saturating_mul(LOOK_AHEAD_SLOTS);
            let next_ms = ahead.find(|slot_ms| files.has_units(*slot_ms));
            return Err(next_ms.unwrap_or(progress.read_ms.saturating_add(far_ms)));
        }
        match self.load(progress.read_ms) {
            Ok(slot) => Ok(Opened {
                slot,
                barrier: Barrier::Dispatched(self.store.watermarks().written),
            }),
            Err(error) => match self.fails_for_now(&error) {
                Step::NotBefore(at_ms) => Err(at_ms),
                Step::Done => Err(now_ms),
            },
        }
    }

    /// Slots without messages may be passed once all that was stored before they ended is in the timer;
    /// otherwise the time at which to look again.
    fn learn_empty(&self, progress: &mut Progress, now_ms: i64) -> Result<(), i64> {
        let mut passing = progress.passing.take().unwrap_or_else(|| Passing {
            until_ms: self.timer.shape.floor(now_ms),
            barrier: Barrier::Dispatched(self.store.watermarks().written),
        });
        match self.past_barrier(progress, &mut passing.barrier, now_ms) {
            Step::Done => {
                progress.empty_until_ms = passing.until_ms;
                Ok(())
            }
            Step::NotBefore(at_ms) => {
                progress.passing = Some(passing);
                Err(at_ms)
            }
        }
    }

    fn load(&self, slot_ms: i64) -> io::Result<CurrentSlot> {
        let mut slot = CurrentSlot::new(&self.timer.shape, slot_ms);
        for unit in self.timer.files.units_of(slot_ms)? {
            if !unit.deletes || unit.rolls {
                if !slot.add(&unit) {
                    self.count_off(unit.physical_offset);
                }
                continue;
            }
            match self.store.record_at(unit.physical_offset) {
                Ok(record) => cancel(&mut slot, &record),
                Err(error @ ReadError::Disk { .. }) => return Err(io::Error::other(error)),
                Err(error) => tracing::warn!(%error, "a recall is unreadable and is skipped"),
            }
        }
        Ok(slot)
    }

    /// A message stands in the log twice, as a Java broker leaves it after a kill, and was counted so.
    fn count_off(&self, physical_offset: i64) {
        let Ok(record) = self.store.record_at(physical_offset) else {
            return;
        };
        let text = message::view(&record).map(|view| view.properties_text().into_owned());
        if let Ok(waiting) = text.and_then(|text| Waiting::of(&text))
            && waiting.cancels.is_none()
        {
            let now_ms = self.clock.now_ms();
            self.timer.metrics.add(&waiting.real_topic, -1, now_ms);
        }
    }

    fn deliver_one(
        &mut self,
        progress: &mut Progress,
        slot: &CurrentSlot,
        due: Due,
        now_ms: i64,
    ) -> Step {
        let record = match self.record(&due) {
            Ok(record) => record,
            Err(step) => return step,
        };
        let read = message::view(&record).and_then(|view| {
            let text = view.properties_text().into_owned();
            Waiting::of(&text).map(|waiting| (view, text, waiting))
        });
        let (view, text, waiting) = match read {
            Ok(read) => read,
            Err(problem) => return skipped(problem, due.physical_offset),
        };
        if waiting.cancels.is_none() {
            let unique_key = properties::get(&text, name::UNIQUE_KEY).unwrap_or_default();
            if !due.rolls && slot.is_cancelled(&waiting.real_topic, unique_key) {
                self.timer.metrics.add(&waiting.real_topic, -1, now_ms);
                return Step::Done;
            }
        }
        let departure = Departure {
            view: &view,
            waiting: &waiting,
            text: &text,
            leaving: Leaving {
                entered_ms: due.written_ms,
                now_ms,
                rolls: due.rolls,
            },
            is_checked: slot.time_ms() <= self.opened_ms,
        };
        let step = self.depart(progress, &departure);
        if matches!(step, Step::Done) && waiting.cancels.is_none() {
            self.timer.metrics.add(&waiting.real_topic, -1, now_ms);
        }
        step
    }

    fn record(&mut self, due: &Due) -> Result<Bytes, Step> {
        let offset = due.physical_offset;
        match self.store.record_at(offset) {
            Ok(record) if record.len() == usize::try_from(due.record_bytes).unwrap_or(0) => {
                Ok(record)
            }
            Ok(_) => Err(skipped("another message lies there", offset)),
            Err(ReadError::OutOfRange { .. } | ReadError::NoRecord { .. }) => {
                Err(skipped("it is gone", offset))
            }
            Err(ReadError::Damaged { .. }) => Err(skipped("it is damaged", offset)),
            Err(error) => Err(self.fails_for_now(&error)),
        }
    }
}

fn cancel(slot: &mut CurrentSlot, record: &[u8]) {
    let Ok(view) = message::view(record) else {
        return;
    };
    let text = view.properties_text();
    if let Some(key) = properties::get(&text, name::TIMER_DEL_UNIQUE_KEY) {
        slot.cancel(key);
    }
}
