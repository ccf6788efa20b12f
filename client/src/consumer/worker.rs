//! One task for each assigned queue: it pulls, and gives the messages to listeners.
//!
//! Pulling and dispatching run side by side in the task and meet in the [`ProcessQueue`]. The task
//! ends when its stop signal comes, after the listeners at work have ended.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thrustmq_proto_compat::command::Command;
use thrustmq_remoting::CallError;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::assigned_queue::AssignedQueue;
use super::consume;
use super::context::Context;
use super::listener::{Call, Listener, OrderedResult, Outcomes};
use super::offsets;
use super::ordered::{End, Ordered};
use super::process_queue::ProcessQueue;
use super::pull::{ANSWER_TIMEOUT, PUSH_WAIT, PullRequest, Pulled, pulled};
use crate::error::RouteError;
use crate::received::pulled_records;
use crate::stop::StopSignal;

/// Before looking again whether listeners have made room.
const FULL_DELAY: Duration = Duration::from_millis(50);
/// Before asking a broker again that has too much to do.
const BUSY_DELAY: Duration = Duration::from_millis(20);
/// Before asking again after anything else failed.
const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Consumes a queue until `stop`.
pub(super) async fn run(context: Arc<Context>, queue: Arc<AssignedQueue>, stop: StopSignal) {
    match &context.listener {
        Listener::Concurrent(call) => run_concurrent(&context, &queue, call, stop).await,
        Listener::Ordered(call) => run_ordered(&context, &queue, call, stop).await,
        Listener::Polled(_) => run_polled(&context, &queue, stop).await,
    }
}

/// Only pulls: the application takes what is there.
async fn run_polled(context: &Context, queue: &AssignedQueue, stop: StopSignal) {
    let mut waiting = stop.clone();
    let process = tokio::select! {
        biased;
        () = waiting.stopped() => return,
        process = open(context, queue) => process,
    };
    pull_loop(context, queue, process, stop).await;
}

async fn run_concurrent(
    context: &Arc<Context>,
    queue: &Arc<AssignedQueue>,
    call: &Call<Outcomes>,
    stop: StopSignal,
) {
    let mut waiting = stop.clone();
    let process = tokio::select! {
        () = waiting.stopped() => return,
        process = open(context, queue) => process,
    };
    tokio::join!(
        pull_loop(context, queue, process, stop.clone()),
        dispatch_loop(context, queue, process, call, stop),
    );
}

/// Once for each time that the queue's lock is ours. What was pulled before a lock was lost is
/// forgotten: another member may have consumed it.
async fn run_ordered(
    context: &Arc<Context>,
    queue: &Arc<AssignedQueue>,
    call: &Call<OrderedResult>,
    stop: StopSignal,
) {
    let mut end = End::LockEnded;
    while end == End::LockEnded {
        let mut waiting = stop.clone();
        let process = tokio::select! {
            biased;
            () = waiting.stopped() => return,
            process = locked(context, queue) => process,
        };
        let mut ordered = Ordered {
            context,
            queue,
            process,
            call,
            stop: stop.clone(),
        };
        let mut dispatching = pin!(ordered.dispatch());
        end = tokio::select! {
            biased;
            end = &mut dispatching => end,
            () = pull_loop(context, queue, process, stop.clone()) => dispatching.await,
        };
    }
}

/// Waits for the lock, and goes on where the group is: that is known only by who holds it.
async fn locked<'a>(context: &Context, queue: &'a AssignedQueue) -> &'a ProcessQueue {
    if !context.needs_locks() {
        return open(context, queue).await;
    }
    if !queue.lock.is_held(context.link.clock.now_ms()) {
        context.lock_wanted.notify_one();
    }
    queue.lock.held(&context.link.clock).await;
    let Some(process) = queue.process.get() else {
        return open(context, queue).await;
    };
    loop {
        match offsets::begin(context, &queue.queue).await {
            Ok(offset) => {
                // What we finished counts even if the broker was never told, or forgot it.
                process.reset(offset.max(process.commit_offset()));
                return process;
            }
            Err(cause) => {
                warn!(queue = %queue.queue, %cause, "offset to go on with not known yet");
                sleep(FAILURE_DELAY).await;
            }
        }
    }
}

/// Asks where to begin until somebody knows.
async fn open<'a>(context: &Context, queue: &'a AssignedQueue) -> &'a ProcessQueue {
    loop {
        if let Some(process) = queue.process.get() {
            return process;
        }
        match offsets::begin(context, &queue.queue).await {
            Ok(offset) => return queue.process.get_or_init(|| ProcessQueue::new(offset)),
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
    context.resumed().await;
    if queue.is_full(context, process) {
        return sleep(FULL_DELAY).await;
    }
    let offset = process.next_offset();
    let request = request(context, queue, process, offset);
    let answer = match call(context, queue, request).await {
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
            let records = pulled_records(&records, |tag| queue.wanted.matches(tag));
            process.put(offset, records, next);
            queue.arrived.notify_one();
            context.ring();
            if !context.options.pull_interval.is_zero() {
                sleep(context.options.pull_interval).await;
            }
        }
        Pulled::OffsetMoved { next } => {
            info!(queue = %queue.queue, offset, next, "offset is not in the queue, going on where it is");
            process.redirect(offset, next);
        }
        Pulled::Busy => sleep(BUSY_DELAY).await,
        Pulled::Refused(refusal) => {
            warn!(queue = %queue.queue, %refusal, "pull refused");
            context.link.wake();
            sleep(FAILURE_DELAY).await;
        }
    }
}

fn request(
    context: &Context,
    queue: &AssignedQueue,
    process: &ProcessQueue,
    offset: i64,
) -> Command {
    let is_lite = context.is_polled();
    let request = PullRequest {
        group: &context.group,
        queue: &queue.queue,
        offset,
        commit_offset: if queue.is_committed_by_pulls(context) {
            process.commit_offset()
        } else {
            0
        },
        messages_max: context.options.pull_batch,
        // Who only polls may have said nothing about the queue's topic with its heartbeats.
        subscription: is_lite.then_some(&queue.wanted),
        subscription_version: context.subscription_version,
        wait: PUSH_WAIT,
        is_lite,
    };
    request.command()
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

async fn dispatch_loop(
    context: &Arc<Context>,
    queue: &Arc<AssignedQueue>,
    process: &ProcessQueue,
    call: &Call<Outcomes>,
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
        if stop.is_stopped() {
            break;
        }
        let permit = match context.turn_at_once() {
            Some(permit) => permit,
            None => tokio::select! {
                biased;
                () = stop.stopped() => break,
                permit = context.turn() => match permit {
                    Some(permit) => permit,
                    None => break,
                },
            },
        };
        let records = process.take(context.options.consume_batch);
        if !records.is_empty() {
            let task = consume::Task {
                context: context.clone(),
                queue: queue.clone(),
                stop: stop.clone(),
            };
            working.spawn(task.run(call.clone(), records, permit));
        }
    }
    while working.join_next().await.is_some() {}
}
