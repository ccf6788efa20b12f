//! What an application has done with each message that it sends: [`SendHook`].

use std::fmt;
use std::sync::Arc;

use super::send_request::SendReceipt;
use crate::error::SendError;
use crate::message::Message;

/// Called around every send of a producer, in the sender's task: it must not block.
///
/// A hook may add properties, count, measure, or refuse messages. To pass the context of a trace on
/// (W3C, OpenTelemetry), put it into properties:
///
/// ```
/// use thrustmq_client::{Message, Producer, SendHook, Sent};
///
/// # fn current_traceparent() -> Option<String> { None }
/// #[derive(Debug)]
/// struct PassContextOn;
///
/// impl SendHook for PassContextOn {
///     fn before(&self, message: &mut Message) -> Result<(), String> {
///         if let Some(context) = current_traceparent() {
///             message.set_property("traceparent", context);
///         }
///         Ok(())
///     }
///
///     fn after(&self, sent: &Sent<'_>) {
///         if let Err(why) = sent.outcome {
///             eprintln!("{}: {why} after {} ms", sent.message.topic(), sent.elapsed_ms);
///         }
///     }
/// }
///
/// let builder = Producer::builder("shop").hook(PassContextOn);
/// # let _ = builder;
/// ```
pub trait SendHook: fmt::Debug + Send + Sync + 'static {
    /// Called before the message is checked and sent, with the hooks in the order in which the builder
    /// got them.
    ///
    /// # Errors
    /// The message is not to be sent; the text says why and comes to the application as
    /// [`SendError::Forbidden`].
    fn before(&self, message: &mut Message) -> Result<(), String> {
        let _ = message;
        Ok(())
    }

    /// Called when a message whose `before` passed is sent, or is not.
    fn after(&self, sent: &Sent<'_>) {
        let _ = sent;
    }
}

/// What became of a message.
///
/// ```
/// use thrustmq_client::Sent;
/// fn line(sent: &Sent<'_>) -> String {
///     let is_sent = sent.outcome.is_ok();
///     format!("{}: {is_sent} after {} ms", sent.message.topic(), sent.elapsed_ms)
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Sent<'a> {
    /// The message.
    pub message: &'a Message,
    /// The receipt; none if it was sent oneway.
    pub outcome: Result<Option<&'a SendReceipt>, &'a SendError>,
    /// When the send began, in milliseconds since 1970.
    pub started_ms: i64,
    /// How long it took, with all tries, in milliseconds.
    pub elapsed_ms: i64,
}

/// A producer's hooks.
#[derive(Debug, Clone, Default)]
pub(super) struct Hooks {
    hooks: Vec<Arc<dyn SendHook>>,
}

impl Hooks {
    pub(super) fn push(&mut self, hook: Arc<dyn SendHook>) {
        self.hooks.push(hook);
    }

    pub(super) fn before(&self, message: &mut Message) -> Result<(), SendError> {
        let mut hooks = self.hooks.iter();
        hooks
            .try_for_each(|hook| hook.before(message))
            .map_err(SendError::Forbidden)
    }

    /// Whether nobody is to be told.
    pub(super) fn are_none(&self) -> bool {
        self.hooks.is_empty()
    }

    /// Tells every hook.
    pub(super) fn after(&self, sent: &Sent<'_>) {
        self.hooks.iter().for_each(|hook| hook.after(sent));
    }
}
