//! Functions of the application around every call of a listener: metrics, tracing, contexts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::body::MessageQueue;

use super::context::Context;
use super::trace::Ended;
use crate::ReceivedMessage;

/// What a listener is given; [`ConsumeHook`] shows it and [`ConsumeEnd`] in use.
///
/// Names are those that the application uses, without a namespace.
///
/// ```
/// use thrustmq_client::ConsumedBatch;
/// fn line(batch: &ConsumedBatch<'_>) -> String {
///     format!("{} messages of {} for {}", batch.messages.len(), batch.queue, batch.group)
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConsumedBatch<'a> {
    /// The consumer's group.
    pub group: &'a str,
    /// The queue that the messages come from.
    pub queue: &'a MessageQueue,
    /// The messages: one, if the listener takes one at a time.
    pub messages: &'a [ReceivedMessage],
}

/// How a call of a listener ended.
///
/// ```
/// use thrustmq_client::ConsumeEnd;
/// fn is_alarming(end: ConsumeEnd) -> bool {
///     matches!(end, ConsumeEnd::Panicked | ConsumeEnd::TimedOut)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsumeEnd {
    /// All messages are done.
    Success,
    /// One of them failed at least.
    Failed,
    /// The listener panicked.
    Panicked,
    /// The listener took longer than `consume_timeout`.
    TimedOut,
}

/// Is told of every call of a listener. Both functions run on the consumer's task: they should be quick.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::time::Duration;
/// use thrustmq_client::{ConsumeEnd, ConsumeHook, ConsumedBatch};
///
/// #[derive(Debug, Default)]
/// struct Failures(AtomicUsize);
///
/// impl ConsumeHook for Failures {
///     fn after(&self, _: &ConsumedBatch<'_>, end: ConsumeEnd, _: Duration) {
///         if end != ConsumeEnd::Success {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait ConsumeHook: fmt::Debug + Send + Sync {
    /// The listener is about to be called. Does nothing by default.
    fn before(&self, batch: &ConsumedBatch<'_>) {
        let _ = batch;
    }

    /// The listener has ended after `elapsed`. Does nothing by default.
    fn after(&self, batch: &ConsumedBatch<'_>, end: ConsumeEnd, elapsed: Duration) {
        let _ = (batch, end, elapsed);
    }
}

impl<H: ConsumeHook + ?Sized> ConsumeHook for Arc<H> {
    fn before(&self, batch: &ConsumedBatch<'_>) {
        (**self).before(batch);
    }

    fn after(&self, batch: &ConsumedBatch<'_>, end: ConsumeEnd, elapsed: Duration) {
        (**self).after(batch, end, elapsed);
    }
}

/// A call of a listener, or a poll, that hooks were told of.
#[derive(Debug)]
pub(super) struct Watched {
    messages: Vec<ReceivedMessage>,
    started_ms: i64,
    /// The number of the call in traces.
    call: Option<String>,
}

/// Tells the hooks that the listener is about to be called. Without hooks nothing is copied.
pub(super) fn before(
    context: &Context,
    queue: &MessageQueue,
    messages: &[ReceivedMessage],
) -> Option<Watched> {
    if context.hooks.is_empty() && context.tracer.is_none() {
        return None;
    }
    let started_ms = context.link.clock.now_ms();
    let tracer = context.tracer.as_ref();
    let call = tracer.map(|tracer| tracer.before(messages, started_ms));
    tell(context, queue, messages, |hook, batch| hook.before(batch));
    Some(Watched {
        messages: messages.to_vec(),
        started_ms,
        call,
    })
}

/// Tells the hooks how it ended.
pub(super) fn after(
    context: &Context,
    queue: &MessageQueue,
    watched: Option<Watched>,
    end: ConsumeEnd,
) {
    let Some(watched) = watched else {
        return;
    };
    let now_ms = context.link.clock.now_ms();
    let elapsed_ms = now_ms - watched.started_ms;
    if let (Some(tracer), Some(call)) = (&context.tracer, &watched.call) {
        let ended = Ended {
            end,
            now_ms,
            elapsed_ms,
        };
        tracer.after(&watched.messages, call, ended);
    }
    let elapsed = Duration::from_millis(u64::try_from(elapsed_ms).unwrap_or(0));
    tell(context, queue, &watched.messages, |hook, batch| {
        hook.after(batch, end, elapsed);
    });
}

/// Shows a batch to all hooks, with the names that the application uses.
fn tell(
    context: &Context,
    queue: &MessageQueue,
    messages: &[ReceivedMessage],
    told: impl Fn(&dyn ConsumeHook, &ConsumedBatch<'_>),
) {
    if context.hooks.is_empty() {
        return;
    }
    let namespace = &context.link.namespace;
    let batch = ConsumedBatch {
        group: &namespace.plain(&context.group),
        queue: &namespace.plain_queue(queue),
        messages,
    };
    context.hooks.iter().for_each(|hook| told(&**hook, &batch));
}
