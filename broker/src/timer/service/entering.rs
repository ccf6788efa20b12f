//! From the timer topic into the wheel, message by message.

use thrustmq_proto_compat::message::record::RecordView;
use thrustmq_proto_compat::message::tags_code::string_hash;
use thrustmq_store::{ReadError, TimerUnit};

use super::{DISK_RETRY_MS, Departure, Progress, Service, Step, TURN_MESSAGES_MAX, skipped};
use crate::timer::WAITING_IN;
use crate::timer::message::{self, Leaving, NEVER_ENTERED_MS, Waiting};
use crate::timer::placement::Wish;

impl Service<'_> {
    /// Reads messages of the queue; the time at which to go on.
    pub(super) fn take_in(&mut self, progress: &mut Progress) -> i64 {
        if self.config.current().timer_stop_enqueue {
            return self.clock.now_ms().saturating_add(DISK_RETRY_MS);
        }
        let (topic, queue_id) = WAITING_IN;
        let range = self.store.queue_range(topic, queue_id);
        if progress.queue_offset < range.min {
            let (from, to) = (progress.queue_offset, range.min);
            tracing::warn!(
                from,
                to,
                "messages of the timer topic are gone before they were read"
            );
            progress.queue_offset = range.min;
        }
        for _ in 0..TURN_MESSAGES_MAX {
            if progress.queue_offset >= range.max {
                return i64::MAX;
            }
            match self.enter_next(progress) {
                Step::Done => progress.queue_offset += 1,
                Step::NotBefore(at_ms) => return at_ms,
            }
        }
        i64::MIN
    }

    fn enter_next(&mut self, progress: &mut Progress) -> Step {
        let queue_offset = progress.queue_offset;
        let record = match self
            .store
            .record_of(WAITING_IN.0, WAITING_IN.1, queue_offset)
        {
            Ok(Some(record)) => record,
            Ok(None) => return skipped("it is gone", queue_offset),
            Err(ReadError::Damaged { .. }) => return skipped("it is damaged", queue_offset),
            Err(error) => return self.fails_for_now(&error),
        };
        let read = message::view(&record).and_then(|view| {
            let text = view.properties_text().into_owned();
            Waiting::of(&text).map(|waiting| (view, text, waiting))
        });
        let (view, text, waiting) = match read {
            Ok(read) => read,
            Err(problem) => return skipped(problem, queue_offset),
        };
        let store_ms = view.store_timestamp;
        self.timer.note_entered(store_ms);
        if progress.start.is_delivered(queue_offset, waiting.out_ms) {
            return Step::Done;
        }
        if waiting.out_ms >= progress.read_ms {
            return self.enter(progress, &view, &text, &waiting);
        }
        // Its slot is over: it leaves at once, and what would cancel it comes too late.
        if waiting.cancels.is_some() {
            return Step::Done;
        }
        let departure = Departure {
            view: &view,
            waiting: &waiting,
            text: &text,
            leaving: Leaving {
                entered_ms: NEVER_ENTERED_MS,
                now_ms: self.clock.now_ms(),
                rolls: false,
            },
            is_checked: queue_offset < progress.start.queue_end,
        };
        self.depart(progress, &departure)
    }

    fn enter(
        &mut self,
        progress: &mut Progress,
        view: &RecordView<'_>,
        text: &str,
        waiting: &Waiting,
    ) -> Step {
        let shape = self.timer.shape;
        let now_ms = self.clock.now_ms();
        let place = shape.place(waiting.out_ms, now_ms);
        // A time that only the store knows is no sooner than the one that was meant.
        let due_ms = Wish::of(text).and_then(|wish| wish.due_ms(view.store_timestamp));
        let unit = TimerUnit {
            slot_ms: place.slot_ms,
            written_ms: shape.floor(now_ms).min(place.slot_ms),
            due_ms: due_ms.unwrap_or(0),
            physical_offset: view.physical_offset,
            record_bytes: i32::try_from(view.record_bytes).unwrap_or(i32::MAX),
            topic_hash: string_hash(&waiting.real_topic),
            rolls: place.rolls,
            deletes: waiting.cancels.is_some(),
        };
        if let Err(error) = self.timer.files.add(&unit) {
            return self.fails_for_now(&error);
        }
        self.succeeds();
        self.timer.entered.add();
        if waiting.cancels.is_none() {
            self.timer.metrics.add(&waiting.real_topic, 1, now_ms);
        }
        if let Some(opened) = &mut progress.current
            && opened.slot.time_ms() == unit.slot_ms
        {
            match &waiting.cancels {
                Some(key) if !unit.rolls => opened.slot.cancel(key),
                Some(_) | None => {
                    opened.slot.add(&unit);
                }
            }
        }
        Step::Done
    }
}
