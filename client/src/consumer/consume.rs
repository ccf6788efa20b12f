//! Batches of messages with their listener, until each is done or back at the broker.
//!
//! A task for each batch is moved into the runtime: what only failures await is boxed, to keep it small.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thrustmq_proto_compat::header::ConsumerSendMsgBackRequestHeader;
use thrustmq_proto_compat::request_code::ConsumerSendMsgBack;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, warn};

use super::assigned_queue::AssignedQueue;
use super::context::Context;
use super::hook::{self, ConsumeEnd};
use super::listener::{Call, Consumed, Outcome, Outcomes};
use super::process_queue::ProcessQueue;
use crate::ReceivedMessage;
use crate::error::AdminError;
use crate::queue_offsets;
use crate::received::PulledRecord;
use crate::stop::StopSignal;

/// Before a listener gets a message again that could not be sent back.
const LOCAL_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Calls that a task makes one after the other before it gives way to other queues' tasks.
const CALLS_IN_A_ROW_MAX: u32 = 32;

/// What the work on batches of a queue needs.
pub(super) struct Task {
    pub(super) context: Arc<Context>,
    pub(super) queue: Arc<AssignedQueue>,
    pub(super) stop: StopSignal,
}

impl Task {
    /// Runs the listener. As long as it ends at once and well, the task goes on with what waits, for a while:
    /// a task and leave for each message would cost more than a quick listener does.
    pub(super) async fn run(
        self,
        call: Call<Outcomes>,
        mut records: Vec<PulledRecord>,
        mut permit: OwnedSemaphorePermit,
    ) {
        let Some(process) = self.queue.process() else {
            return;
        };
        for calls_left in (0..CALLS_IN_A_ROW_MAX).rev() {
            let Some(kept) = self.run_batch(process, &call, records, permit).await else {
                return;
            };
            permit = kept;
            let is_over = calls_left == 0 || self.stop.is_stopped() || self.context.is_suspended();
            if is_over || !process.has_waiting() {
                return;
            }
            records = process.take(self.context.options.consume_batch);
        }
    }

    /// A message that fails goes back to the broker; if that fails too, the listener gets it again here, for
    /// otherwise it would be lost. The leave is kept only if the listener ended at once and all is done.
    async fn run_batch(
        &self,
        process: &ProcessQueue,
        call: &Call<Outcomes>,
        mut records: Vec<PulledRecord>,
        permit: OwnedSemaphorePermit,
    ) -> Option<OwnedSemaphorePermit> {
        let messages = decode(&self.context, &self.queue, &mut records, 0);
        if messages.is_empty() {
            return Some(permit);
        }
        let mut polls = 0;
        let mut consuming = pin!(self.consume(call, messages));
        let outcomes = poll_fn(|context| {
            polls += 1;
            consuming.as_mut().poll(context)
        })
        .await;
        let is_kept = polls == 1 && end_of(&outcomes, records.len()) == ConsumeEnd::Success;
        let kept = is_kept.then_some(permit);
        // A revoked queue's messages come again at their new owner.
        if process.is_revoked() {
            return None;
        }
        let remaining = self.settle(process, records, &outcomes).await;
        if !remaining.is_empty() {
            Box::pin(self.repeat(process, call, remaining)).await;
        }
        kept
    }

    /// Gives the listener what could not be sent back, until nothing of it is left.
    async fn repeat(
        &self,
        process: &ProcessQueue,
        call: &Call<Outcomes>,
        mut records: Vec<PulledRecord>,
    ) {
        let mut failures_here = 1;
        while let Some(permit) = self.wait_for_turn().await {
            let messages = decode(&self.context, &self.queue, &mut records, failures_here);
            if messages.is_empty() {
                return;
            }
            let outcomes = self.consume(call, messages).await;
            drop(permit);
            if process.is_revoked() {
                return;
            }
            records = self.settle(process, records, &outcomes).await;
            if records.is_empty() {
                return;
            }
            failures_here += 1;
        }
    }

    async fn consume(&self, call: &Call<Outcomes>, messages: Vec<ReceivedMessage>) -> Outcomes {
        let context = &self.context;
        let offset = messages.first().map(|message| message.queue_offset);
        let count = messages.len();
        let watched = hook::before(context, &self.queue.queue, &messages);
        let time = Some(context.options.consume_timeout);
        let consumed = call.consume(messages, time).await;
        let now_ms = context.link.clock.now_ms();
        self.queue.last_consume_ms.store(now_ms, Ordering::Relaxed);
        let end = match &consumed {
            Consumed::Ended(outcomes) => end_of(outcomes, count),
            Consumed::Panicked => ConsumeEnd::Panicked,
            Consumed::TimedOut => ConsumeEnd::TimedOut,
        };
        hook::after(context, &self.queue.queue, watched, end);
        match consumed {
            Consumed::Ended(outcomes) => outcomes,
            Consumed::Panicked => {
                error!(queue = %self.queue.queue, offset, "listener panicked, its messages go back");
                Outcomes::FAILED
            }
            Consumed::TimedOut => {
                warn!(queue = %self.queue.queue, offset, "listener took too long, its messages go back");
                Outcomes::FAILED
            }
        }
    }

    /// Does with each message what is to be done; those remain that could not be sent back.
    async fn settle(
        &self,
        process: &ProcessQueue,
        records: Vec<PulledRecord>,
        outcomes: &Outcomes,
    ) -> Vec<PulledRecord> {
        let mut remaining = Vec::new();
        for (place, record) in records.into_iter().enumerate() {
            match outcomes.of(place) {
                Outcome::Done => process.finish(record.queue_offset),
                Outcome::Untouched => {}
                Outcome::Back { delay_level } => {
                    if Box::pin(self.back(&record, delay_level)).await {
                        process.finish(record.queue_offset);
                    } else {
                        remaining.push(record);
                    }
                }
            }
        }
        remaining
    }

    /// Whether the broker has the message back, or nobody wants it back.
    async fn back(&self, record: &PulledRecord, delay_level: i32) -> bool {
        let Ok(message) = self.context.decode(record) else {
            return true;
        };
        if self.context.is_broadcasting() {
            let (queue, message) = (&self.queue.queue, message.message_id());
            warn!(%queue, message, "message failed, broadcasting leaves it out");
            return true;
        }
        match send_back(&self.context, &self.queue, &message, delay_level).await {
            Ok(()) => true,
            Err(cause) => {
                let message = message.message_id();
                warn!(message, %cause, "message not sent back, it is consumed again here");
                false
            }
        }
    }

    async fn wait_for_turn(&self) -> Option<OwnedSemaphorePermit> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = stop.stopped() => return None,
            () = tokio::time::sleep(LOCAL_RETRY_DELAY) => {}
        }
        self.context.concurrency.permit().await
    }
}

fn end_of(outcomes: &Outcomes, count: usize) -> ConsumeEnd {
    if (0..count).all(|place| outcomes.of(place) == Outcome::Done) {
        ConsumeEnd::Success
    } else {
        ConsumeEnd::Failed
    }
}

/// The messages of these records as listeners get them, `failures_here` times failed since they were
/// pulled. Records with a damaged body are left out, of the queue too.
pub(super) fn decode(
    context: &Context,
    queue: &AssignedQueue,
    records: &mut Vec<PulledRecord>,
    failures_here: i32,
) -> Vec<ReceivedMessage> {
    let mut messages = Vec::with_capacity(records.len());
    records.retain(|record| match context.decode(record) {
        Ok(mut message) => {
            message.reconsume_times = message.reconsume_times.saturating_add(failures_here);
            messages.push(message);
            true
        }
        Err(cause) => {
            let (queue_name, offset) = (&queue.queue, record.queue_offset);
            error!(queue = %queue_name, offset, ?cause, "message left out since its body is damaged");
            if let Some(process) = queue.process() {
                process.finish(record.queue_offset);
            }
            false
        }
    });
    messages
}

/// Gives a message back to the broker it came from.
pub(super) async fn send_back(
    context: &Context,
    queue: &AssignedQueue,
    message: &ReceivedMessage,
    delay_level: i32,
) -> Result<(), AdminError> {
    let header = ConsumerSendMsgBackRequestHeader {
        offset: message.physical_offset,
        group: context.group.clone(),
        delay_level,
        origin_msg_id: Some(message.message_id()),
        origin_topic: Some(context.link.namespace.wrap(&message.topic).into_owned()),
        unit_mode: false,
        max_reconsume_times: Some(context.options.reconsume_times_max),
        broker_name: Some(queue.queue.broker_name.clone()),
    };
    let address = queue_offsets::address(&context.link, &queue.queue).await?;
    let reply = context
        .link
        .call::<ConsumerSendMsgBack>(&address, &header, Vec::new())
        .await;
    reply
        .map(|_| ())
        .map_err(|cause| AdminError::Call { address, cause })
}
