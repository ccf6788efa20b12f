//! One task for each assigned queue: it pulls, and gives the messages to listeners.
//!
//! Pulling and dispatching run side by side in the task and meet in the [`ProcessQueue`]. The task
//! ends when its stop signal comes, after the listeners at work have ended.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::MessageQueue;
use thrustmq_proto_compat::command::Command;
use thrustmq_remoting::CallError;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::consume;
use super::context::Context;
use super::offsets;
use super::process_queue::ProcessQueue;
use super::pull::{ANSWER_TIMEOUT, PullRequest, Pulled, pulled};
use crate::error::RouteError;
use crate::received::{PulledRecord, pulled_records};
use crate::stop::StopSignal;

/// Before looking again whether listeners have made room.
const FULL_DELAY: Duration = Duration::from_millis(50);
/// Before asking a broker again that has too much to do.
const BUSY_DELAY: Duration = Duration::from_millis(20);
/// Before asking again after anything else failed.
const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// A queue of this consumer, shared by its task and the control task.
#[derive(Debug)]
pub(super) struct AssignedQueue {
    pub(super) queue: MessageQueue,
    /// Set as soon as it is known where to begin.
    process: OnceLock<ProcessQueue>,
    /// Rings when messages were put in.
    arrived: Notify,
    /// Rings when the pull under way asks for the wrong offset.
    redirected: Notify,
    /// The broker id to pull from.
    broker_id: AtomicI64,
    /// When the last pull was sent, milliseconds.
    pub(super) last_pull_ms: AtomicI64,
    /// When the last listener ended, milliseconds.
    pub(super) last_consume_ms: AtomicI64,
}

impl AssignedQueue {
    pub(super) fn new(queue: MessageQueue) -> Self {
        Self {
            queue,
            process: OnceLock::new(),
            arrived: Notify::new(),
            redirected: Notify::new(),
            broker_id: AtomicI64::new(crate::route::MASTER_ID),
            last_pull_ms: AtomicI64::new(0),
            last_consume_ms: AtomicI64::new(0),
        }
    }

    /// What is held, once it is known where to begin.
    pub(super) fn process(&self) -> Option<&ProcessQueue> {
        self.process.get()
    }

    /// Goes on at another offset, at once.
    pub(super) fn reset(&self, offset: i64) {
        self.process
            .get_or_init(|| ProcessQueue::new(offset))
            .reset(offset);
        self.redirected.notify_one();
    }

    /// Gives the queue up: nothing of it counts any more.
    pub(super) fn revoke(&self) {
        if let Some(process) = self.process.get() {
            process.revoke();
        }
    }
}

/// Consumes a queue until `stop`.
pub(super) async fn run(context: Arc<Context>, queue: Arc<AssignedQueue>, stop: StopSignal) {
    let mut waiting = stop.clone();
    let process = tokio::select! {
        () = waiting.stopped() => return,
        process = open(&context, &queue) => process,
    };
    tokio::join!(
        pull_loop(&context, &queue, process, stop.clone()),
        dispatch_loop(&context, &queue, process, stop),
    );
}

/// Asks where to begin until somebody knows.
async fn open<'a>(context: &Context, queue: &'a AssignedQueue) -> &'a ProcessQueue {
    loop {
        if let Some(process) = queue.process.get() {
            return process;
        }
        match offsets::open(context, &queue.queue).await {
            Ok(process) => return queue.process.get_or_init(|| process),
            Err(cause) => {
                warn!(queue = %queue.queue, %cause, "offset to begin with not known yet");
                sleep(FAILURE_DELAY).await;
            }
        }
    }
}

async fn pull_loop(
    context: &Context,
    queue: &AssignedQueue,
    process: &ProcessQueue,
    mut stop: StopSignal,
) {
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = queue.redirected.notified() => {}
            () = pull_once(context, queue, process) => {}
        }
    }
}

/// Pulls, or waits for the reason that it cannot.
async fn pull_once(context: &Context, queue: &AssignedQueue, process: &ProcessQueue) {
    if !process.held().within(&context.options.hold) {
        return sleep(FULL_DELAY).await;
    }
    let offset = process.next_offset();
    let request = PullRequest {
        group: &context.group,
        queue: &queue.queue,
        offset,
        commit_offset: process.commit_offset(),
        messages_max: context.options.pull_batch,
        subscription_version: context.subscription_version,
    };
    let answer = match call(context, queue, request.command()).await {
        Ok(answer) => answer,
        Err(cause) => {
            warn!(queue = %queue.queue, %cause, "pull failed");
            return sleep(FAILURE_DELAY).await;
        }
    };
    match pulled(answer) {
        Pulled::Messages {
            records,
            next,
            suggested_broker,
        } => {
            queue.broker_id.store(suggested_broker, Ordering::Relaxed);
            process.put(offset, wanted(context, queue, &records), next);
            queue.arrived.notify_one();
        }
        Pulled::OffsetMoved { next } => {
            info!(queue = %queue.queue, offset, next, "offset is not in the queue, going on where it is");
            process.reset(next);
        }
        Pulled::Busy => sleep(BUSY_DELAY).await,
        Pulled::Refused(refusal) => {
            warn!(queue = %queue.queue, %refusal, "pull refused");
            context.link.wake();
            sleep(FAILURE_DELAY).await;
        }
    }
}

/// Why a pull has no answer.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Call(#[from] CallError),
}

async fn call(
    context: &Context,
    queue: &AssignedQueue,
    request: Command,
) -> Result<Command, PullError> {
    let link = &context.link;
    let route = link.subscribe_route(&queue.queue.topic).await?;
    let broker_id = queue.broker_id.load(Ordering::Relaxed);
    let address = route
        .broker_address(&queue.queue.broker_name, broker_id)
        .ok_or_else(|| RouteError::NoQueue(queue.queue.topic.clone()))?;
    queue
        .last_pull_ms
        .store(link.clock.now_ms(), Ordering::Relaxed);
    Ok(link.client().call(address, request, ANSWER_TIMEOUT).await?)
}

/// The records of a pull that match the subscription.
fn wanted(context: &Context, queue: &AssignedQueue, records: &Bytes) -> Vec<PulledRecord> {
    let filter = context.subscriptions.get(&queue.queue.topic);
    pulled_records(records, |tag| {
        filter.is_none_or(|filter| filter.matches(tag))
    })
}

async fn dispatch_loop(
    context: &Arc<Context>,
    queue: &Arc<AssignedQueue>,
    process: &ProcessQueue,
    mut stop: StopSignal,
) {
    let mut working = JoinSet::new();
    loop {
        while working.try_join_next().is_some() {}
        if !process.has_waiting() {
            tokio::select! {
                biased;
                () = stop.stopped() => break,
                () = queue.arrived.notified() => continue,
            }
        }
        let permit = tokio::select! {
            biased;
            () = stop.stopped() => break,
            permit = context.permits.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else {
            break;
        };
        if let Some(record) = process.take() {
            let task = consume::Task {
                context: context.clone(),
                queue: queue.clone(),
                stop: stop.clone(),
            };
            working.spawn(task.run(record, permit));
        }
    }
    while working.join_next().await.is_some() {}
}
