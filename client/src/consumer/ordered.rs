//! A queue's messages one batch after the other, in order: the next comes only when the last is done.
//!
//! Runs only while the queue's lock is held. What fails is given to the listener again, by and by, and
//! nothing of its queue passes it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::assigned_queue::AssignedQueue;
use super::consume::{decode, send_back};
use super::context::Context;
use super::hook::{self, ConsumeEnd};
use super::listener::{Call, Consumed, OrderedResult, TO_DEAD_LETTERS};
use super::process_queue::ProcessQueue;
use crate::ReceivedMessage;
use crate::received::PulledRecord;
use crate::stop::StopSignal;

/// Java's bounds of a suspension: shorter ones are a busy loop, longer ones outlive the lock.
const SUSPEND_MIN: Duration = Duration::from_millis(10);
const SUSPEND_MAX: Duration = Duration::from_secs(30);
/// After a panic, or when a message could not be sent to the dead letters.
const SUSPEND_DEFAULT: Duration = Duration::from_secs(1);

/// Why the dispatching of a queue ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The queue is given up.
    Stopped,
    /// The lock is not held any more.
    LockEnded,
}

/// A queue with what its messages need.
pub(super) struct Ordered<'a> {
    pub(super) context: &'a Context,
    pub(super) queue: &'a AssignedQueue,
    pub(super) process: &'a ProcessQueue,
    pub(super) call: &'a Call<OrderedResult>,
    pub(super) stop: StopSignal,
}

impl Ordered<'_> {
    /// Gives the queue's messages to the listener until the queue is given up or its lock ends.
    pub(super) async fn dispatch(&mut self) -> End {
        loop {
            if let Err(end) = self.wait_for_messages().await {
                return end;
            }
            let records = self.process.take(self.context.options.consume_batch);
            if let Err(end) = self.finish(records).await {
                return end;
            }
        }
    }

    async fn wait_for_messages(&mut self) -> Result<(), End> {
        while !self.process.has_waiting() {
            tokio::select! {
                biased;
                () = self.stop.stopped() => return Err(End::Stopped),
                () = self.queue.lock_ended(self.context) => return Err(End::LockEnded),
                () = self.queue.arrived() => {}
            }
        }
        Ok(())
    }

    /// Repeats a batch until nothing of it is left.
    async fn finish(&mut self, mut records: Vec<PulledRecord>) -> Result<(), End> {
        let mut failures = 0;
        while !records.is_empty() {
            let permit = tokio::select! {
                biased;
                () = self.stop.stopped() => return Err(End::Stopped),
                () = self.queue.lock_ended(self.context) => return Err(End::LockEnded),
                permit = self.context.turn() => permit,
            };
            let Some(permit) = permit else {
                return Err(End::Stopped);
            };
            let messages = decode(self.context, self.queue, &mut records, failures);
            let result = self.consume(messages).await;
            drop(permit);
            let wait = match result {
                OrderedResult::Success => {
                    self.done(records);
                    return Ok(());
                }
                OrderedResult::DeadLetter => {
                    records = self.to_dead_letters(records).await;
                    SUSPEND_DEFAULT
                }
                OrderedResult::SuspendQueue(wait) => {
                    records = self.those_to_repeat(records, failures).await;
                    wait
                }
            };
            failures = failures.saturating_add(1);
            if !records.is_empty() {
                self.suspend(wait).await?;
            }
        }
        Ok(())
    }

    async fn suspend(&mut self, wait: Duration) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.stop.stopped() => Err(End::Stopped),
            () = self.queue.lock_ended(self.context) => Err(End::LockEnded),
            () = sleep(wait.clamp(SUSPEND_MIN, SUSPEND_MAX)) => Ok(()),
        }
    }

    async fn consume(&self, messages: Vec<ReceivedMessage>) -> OrderedResult {
        if messages.is_empty() {
            return OrderedResult::Success;
        }
        let (context, queue) = (self.context, &self.queue.queue);
        let offset = messages.first().map(|message| message.queue_offset);
        let watched = hook::before(context, queue, &messages);
        let consumed = self.call.consume(messages, None).await;
        let now_ms = context.link.clock.now_ms();
        self.queue.last_consume_ms.store(now_ms, Ordering::Relaxed);
        let (result, end) = match consumed {
            Consumed::Ended(OrderedResult::Success) => {
                (OrderedResult::Success, ConsumeEnd::Success)
            }
            Consumed::Ended(failed) => (failed, ConsumeEnd::Failed),
            Consumed::Panicked | Consumed::TimedOut => {
                error!(%queue, offset, "listener panicked, its messages come again");
                (
                    OrderedResult::SuspendQueue(SUSPEND_DEFAULT),
                    ConsumeEnd::Panicked,
                )
            }
        };
        hook::after(context, queue, watched, end);
        result
    }

    fn done(&self, records: Vec<PulledRecord>) {
        let offsets = records.iter().map(|record| record.queue_offset);
        offsets.for_each(|offset| self.process.finish(offset));
    }

    /// Without those that failed too often.
    async fn those_to_repeat(
        &self,
        records: Vec<PulledRecord>,
        failures: i32,
    ) -> Vec<PulledRecord> {
        let times_max = self.context.options.reconsume_times_max;
        let is_over = |record: &PulledRecord| {
            let message = self.context.decode(record).ok();
            let times = message.map_or(0, |message| message.reconsume_times);
            times.saturating_add(failures) >= times_max
        };
        if times_max == i32::MAX || self.context.is_broadcasting() {
            return records;
        }
        let (over, mut others): (Vec<_>, Vec<_>) = records.into_iter().partition(is_over);
        others.extend(self.to_dead_letters(over).await);
        others.sort_by_key(|record| record.queue_offset);
        others
    }

    /// Those remain that the broker did not take.
    async fn to_dead_letters(&self, records: Vec<PulledRecord>) -> Vec<PulledRecord> {
        let mut remaining = Vec::new();
        for record in records {
            if self.to_dead_letter(&record).await {
                self.process.finish(record.queue_offset);
            } else {
                remaining.push(record);
            }
        }
        remaining
    }

    async fn to_dead_letter(&self, record: &PulledRecord) -> bool {
        let (context, queue) = (self.context, self.queue);
        let Ok(message) = context.decode(record) else {
            return true;
        };
        let message_id = message.message_id();
        if context.is_broadcasting() {
            warn!(queue = %queue.queue, message_id, "message failed, broadcasting leaves it out");
            return true;
        }
        match send_back(context, queue, &message, TO_DEAD_LETTERS).await {
            Ok(()) => {
                info!(queue = %queue.queue, message_id, "message is a dead letter now");
                true
            }
            Err(cause) => {
                warn!(queue = %queue.queue, message_id, %cause, "message not sent to the dead letters");
                false
            }
        }
    }
}
