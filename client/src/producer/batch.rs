//! Batches: split into requests that brokers accept, each sent as a whole.

use std::ops::Range;

use super::send_request::{SendReceipt, SendRequest, batch_bytes};
use super::{Inner, Passed, Producer};
use crate::error::{BatchSendError, SendError};
use crate::message::Message;

impl Producer {
    /// Sends messages of one topic together: one request, or as many as their size demands. Each
    /// request is stored as a whole or not at all, and in one queue.
    ///
    /// # Errors
    /// A message cannot travel in a batch, or a hook forbids one (nothing is sent), or a request
    /// failed; the error tells what is stored and gives the rest back.
    pub async fn send_batch(
        &self,
        mut messages: Vec<Message>,
    ) -> Result<Vec<SendReceipt>, BatchSendError> {
        let mut stored = Vec::new();
        match self.inner.send_batch(&mut messages, &mut stored).await {
            Ok(()) => Ok(stored),
            Err(failed) => Err(BatchSendError {
                stored,
                unsent: messages.into_iter().skip(failed.from).collect(),
                cause: failed.cause,
            }),
        }
    }
}

/// Why the messages of a batch from one on are not sent.
struct Failed {
    from: usize,
    cause: SendError,
}

/// A batch whose every message is checked.
struct Prepared {
    parts: Vec<Range<usize>>,
    requests: Vec<SendRequest>,
    started_ms: i64,
}

impl Inner {
    async fn send_batch(
        &self,
        messages: &mut [Message],
        stored: &mut Vec<SendReceipt>,
    ) -> Result<(), Failed> {
        let prepared = self.prepare(messages);
        let prepared = prepared.map_err(|cause| Failed { from: 0, cause })?;
        for (part, mut request) in prepared.parts.into_iter().zip(prepared.requests) {
            let sent = self.send_part(&mut request).await;
            let from = part.start;
            let sent = self.tell_each(messages.get(part), prepared.started_ms, sent);
            stored.push(sent.map_err(|cause| Failed { from, cause })?);
        }
        Ok(())
    }

    fn prepare(&self, messages: &mut [Message]) -> Result<Prepared, SendError> {
        for message in &mut *messages {
            self.hooks.before(message)?;
        }
        let started_ms = self.link.clock.now_ms();
        let parts = split(messages, self.delivery.options.batch_bytes_max);
        let mut requests = Vec::with_capacity(parts.len());
        for part in &parts {
            let part = messages.get(part.clone()).unwrap_or_default();
            requests.push(SendRequest::of_batch(&self.sender, part, started_ms)?);
        }
        Ok(Prepared {
            parts,
            requests,
            started_ms,
        })
    }

    async fn send_part(&self, request: &mut SendRequest) -> Result<SendReceipt, SendError> {
        let _place = self.in_flight.enter(request.body_bytes()).await?;
        self.delivery.deliver(request, None).await
    }

    /// Tells the hooks of each message of a request.
    fn tell_each(
        &self,
        messages: Option<&[Message]>,
        started_ms: i64,
        sent: Result<SendReceipt, SendError>,
    ) -> Result<SendReceipt, SendError> {
        if self.hooks.are_none() {
            return sent;
        }
        for (at, message) in messages.unwrap_or_default().iter().enumerate() {
            let passed = Passed {
                message: message.clone(),
                started_ms,
            };
            match &sent {
                Ok(receipt) => self.tell_after(&passed, Ok(Some(&receipt.of_message(at)))),
                Err(cause) => self.tell_after(&passed, Err(cause)),
            }
        }
        sent
    }
}

/// Neighbouring messages whose bytes stay within `bytes_max` together; one that is longer by itself
/// stands alone.
pub(super) fn split(messages: &[Message], bytes_max: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0_usize);
    for (at, message) in messages.iter().enumerate() {
        let more = batch_bytes(message);
        if at > start && bytes.saturating_add(more) > bytes_max {
            parts.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes = bytes.saturating_add(more);
    }
    if start < messages.len() {
        parts.push(start..messages.len());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(body_bytes: &[usize]) -> Vec<Message> {
        body_bytes
            .iter()
            .map(|bytes| Message::new("t", vec![1; *bytes]))
            .collect()
    }

    #[test]
    fn neighbours_stay_together_up_to_the_limit() {
        let messages = messages(&[100, 100, 100, 5_000, 100]);
        let one = batch_bytes(&messages[0]);
        assert_eq!(split(&messages, 2 * one), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(split(&messages, usize::MAX), vec![0..messages.len()]);
        assert!(split(&[], 100).is_empty());
    }
}
