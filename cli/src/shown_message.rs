//! A message as people or programs read it: a line of text, a line of JSON, or its body alone.

use std::fmt::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use clap::ValueEnum;
use serde_json::{Value, json};
use thrustmq_client::{MessageQueue, ReceivedMessage};

/// How a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line: id, queue, offset, tag, keys and body.
    Text,
    /// One line of JSON with everything, properties too.
    Json,
    /// The body alone.
    Body,
}

/// How a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decode {
    /// As text if it is UTF-8, else in hexadecimal digits.
    Auto,
    /// As text; what is no UTF-8 is replaced.
    Utf8,
    /// In hexadecimal digits.
    Hex,
    /// In Base64.
    Base64,
    /// As JSON on one line; other text as it is.
    Json,
}

/// The message as it was asked for.
pub(crate) fn shown(
    message: &ReceivedMessage,
    queue: &MessageQueue,
    format: Format,
    decode: Decode,
) -> String {
    match format {
        Format::Text => line(message, queue, decode),
        Format::Json => json(message, queue, decode).to_string(),
        Format::Body => body(&message.body, decode),
    }
}

fn line(message: &ReceivedMessage, queue: &MessageQueue, decode: Decode) -> String {
    let mut line = format!(
        "{} {queue} offset {}",
        message.message_id(),
        message.queue_offset
    );
    // Writing into a string does not fail.
    if let Some(tag) = message.tags() {
        let _ = write!(line, " tag {tag}");
    }
    let keys: Vec<_> = message.keys().collect();
    if !keys.is_empty() {
        let _ = write!(line, " key {}", keys.join(","));
    }
    let _ = write!(line, ": {}", body(&message.body, decode));
    line
}

fn json(message: &ReceivedMessage, queue: &MessageQueue, decode: Decode) -> Value {
    let text = body(&message.body, decode);
    let parsed = || serde_json::from_str(&text).ok();
    let body = (decode == Decode::Json).then(parsed).flatten();
    let properties = message.properties.iter();
    let properties: serde_json::Map<_, _> = properties
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    json!({
        "message_id": message.message_id(),
        "offset_message_id": message.offset_id().encode(),
        "topic": message.topic,
        "broker_name": queue.broker_name,
        "queue_id": queue.queue_id,
        "queue_offset": message.queue_offset,
        "tag": message.tags(),
        "keys": message.keys().collect::<Vec<_>>(),
        "born_ms": message.born_timestamp,
        "born_host": message.born_host.to_string(),
        "stored_ms": message.store_timestamp,
        "reconsume_times": message.reconsume_times,
        "properties": properties,
        "body": body.unwrap_or(Value::String(text)),
    })
}

/// A body as it was asked for.
pub(crate) fn body(bytes: &[u8], decode: Decode) -> String {
    match decode {
        Decode::Auto => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => hex(bytes),
        },
        Decode::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
        Decode::Hex => hex(bytes),
        Decode::Base64 => BASE64_STANDARD.encode(bytes),
        Decode::Json => match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => value.to_string(),
            Err(_) => String::from_utf8_lossy(bytes).into_owned(),
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_shown_as_asked_for() {
        let cases = [
            (&b"abc"[..], Decode::Auto, "abc"),
            (b"\xff\x00", Decode::Auto, "ff00"),
            (b"a\xff", Decode::Utf8, "a\u{fffd}"),
            (b"abc", Decode::Hex, "616263"),
            (b"abc", Decode::Base64, "YWJj"),
            (b"{ \"a\" : [1, 2] }", Decode::Json, "{\"a\":[1,2]}"),
            (b"no json", Decode::Json, "no json"),
        ];
        for (bytes, decode, expected) in cases {
            assert_eq!(body(bytes, decode), expected, "{decode:?}");
        }
    }
}
