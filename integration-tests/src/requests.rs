//! Requests by hand that many tests send: a message goes out, messages come back, offsets are kept.

use std::time::Duration;

use anyhow::Context;
use thrustmq_proto_compat::message::properties::{self, Properties};
use thrustmq_proto_compat::message::record::{self, CheckBody};

use crate::wait::wait_for;
use crate::wire::{Answer, RawConnection};

const PULL_MESSAGE: i32 = 11;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const UPDATE_CONSUMER_OFFSET: i32 = 15;
const GET_MAX_OFFSET: i32 = 30;
const SEND_MESSAGE_V2: i32 = 310;

const FOUND: i64 = 0;
const NOT_FOUND: [i64; 3] = [19, 20, 21];
const NO_OFFSET: i64 = 22;

/// A message to send.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// Topic; it is created if it does not exist.
    pub topic: &'a str,
    /// Queue of the topic.
    pub queue_id: i32,
    /// Bits of the message.
    pub sys_flag: i32,
    /// What it says.
    pub body: &'a str,
    /// Names and values.
    pub properties: &'a [(&'a str, &'a str)],
}

/// A message as a pull gives it.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Its number in its queue.
    pub queue_offset: i64,
    /// Its place in the log.
    pub physical_offset: i64,
    /// When it was stored, milliseconds.
    pub store_timestamp: i64,
    /// Bits of the message.
    pub sys_flag: i32,
    /// What it says.
    pub body: String,
    /// Names and values.
    pub properties: Properties,
}

/// Sends one message; an error if the broker does not take it.
pub fn send(connection: &mut RawConnection, message: &Outgoing<'_>) -> anyhow::Result<Answer> {
    let answer = try_send(connection, message)?;
    anyhow::ensure!(answer.code == 0, "{message:?}: {answer:?}");
    Ok(answer)
}

/// Sends one message; the answer, whatever it is.
pub fn try_send(connection: &mut RawConnection, message: &Outgoing<'_>) -> anyhow::Result<Answer> {
    let mut text = String::new();
    for (name, value) in message.properties {
        properties::push(&mut text, name, value);
    }
    let (queue_id, sys_flag) = (message.queue_id.to_string(), message.sys_flag.to_string());
    let fields = [
        ("a", "test-producer"),
        ("b", message.topic),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", queue_id.as_str()),
        ("f", sys_flag.as_str()),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", text.as_str()),
    ];
    connection.call(SEND_MESSAGE_V2, &fields, message.body.as_bytes())
}

/// What one pull of a group finds at an offset, without waiting.
pub fn pull(
    connection: &mut RawConnection,
    topic: &str,
    queue_id: i32,
    offset: i64,
) -> anyhow::Result<Vec<Pulled>> {
    let (queue_id, offset) = (queue_id.to_string(), offset.to_string());
    let fields = [
        ("consumerGroup", "test-consumer"),
        ("topic", topic),
        ("queueId", queue_id.as_str()),
        ("queueOffset", offset.as_str()),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
    ];
    let answer = connection.call(PULL_MESSAGE, &fields, b"")?;
    let is_known = answer.code == FOUND || NOT_FOUND.contains(&answer.code);
    anyhow::ensure!(is_known, "{topic} {queue_id} at {offset}: {answer:?}");
    records(&answer.body)
}

/// The messages of a body of records.
pub fn records(mut body: &[u8]) -> anyhow::Result<Vec<Pulled>> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let view = record::check(body, CheckBody::Crc)?;
        found.push(Pulled {
            queue_offset: view.queue_offset,
            physical_offset: view.physical_offset,
            store_timestamp: view.store_timestamp,
            sys_flag: view.sys_flag,
            body: String::from_utf8_lossy(view.body).into_owned(),
            properties: Properties::parse(&view.properties_text()),
        });
        body = body.get(view.record_bytes..).context("a whole record")?;
    }
    Ok(found)
}

/// All messages of a queue, once there are `count`.
pub fn pull_all(
    connection: &mut RawConnection,
    topic: &str,
    queue_id: i32,
    count: usize,
    timeout: Duration,
) -> anyhow::Result<Vec<Pulled>> {
    let mut found = Vec::new();
    wait_for(&format!("{count} messages of {topic}"), timeout, || {
        loop {
            let more = pull(connection, topic, queue_id, found.len() as i64)?;
            if more.is_empty() {
                return Ok((found.len() >= count).then_some(()));
            }
            found.extend(more);
        }
    })?;
    Ok(found)
}

/// End of a queue.
pub fn max_offset(
    connection: &mut RawConnection,
    topic: &str,
    queue_id: i32,
) -> anyhow::Result<i64> {
    let queue_id = queue_id.to_string();
    let fields = [("topic", topic), ("queueId", queue_id.as_str())];
    let answer = connection.call(GET_MAX_OFFSET, &fields, b"")?;
    offset_in(&answer)
}

/// Commits a group's offset.
pub fn commit(
    connection: &mut RawConnection,
    group: &str,
    topic: &str,
    queue_id: i32,
    offset: i64,
) -> anyhow::Result<()> {
    let (queue_id, offset) = (queue_id.to_string(), offset.to_string());
    let fields = [
        ("consumerGroup", group),
        ("topic", topic),
        ("queueId", queue_id.as_str()),
        ("commitOffset", offset.as_str()),
    ];
    let answer = connection.call(UPDATE_CONSUMER_OFFSET, &fields, b"")?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// A group's offset; None if it never committed one.
pub fn committed(
    connection: &mut RawConnection,
    group: &str,
    topic: &str,
    queue_id: i32,
) -> anyhow::Result<Option<i64>> {
    let queue_id = queue_id.to_string();
    let fields = [
        ("consumerGroup", group),
        ("topic", topic),
        ("queueId", queue_id.as_str()),
        ("setZeroIfNotFound", "false"),
    ];
    let answer = connection.call(QUERY_CONSUMER_OFFSET, &fields, b"")?;
    if answer.code == NO_OFFSET {
        return Ok(None);
    }
    offset_in(&answer).map(Some)
}

fn offset_in(answer: &Answer) -> anyhow::Result<i64> {
    let offset = answer.fields["offset"].as_str();
    Ok(offset.with_context(|| format!("{answer:?}"))?.parse()?)
}
