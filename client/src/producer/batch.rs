//! Splits a batch into requests that brokers accept.

use std::ops::Range;

use super::send_request::batch_bytes;
use crate::message::Message;

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
