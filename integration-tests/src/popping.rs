//! Requests by hand that pop messages, acknowledge them and change their leases.

use std::collections::HashMap;

use anyhow::Context;
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::record::{self, CheckBody};

use crate::wire::{Answer, RawConnection};

const POP_MESSAGE: i32 = 200_050;
const ACK_MESSAGE: i32 = 200_051;
const CHANGE_INVISIBLE_TIME: i32 = 200_053;

const FOUND: i64 = 0;
const POLLING_FULL: i64 = 209;
const POLLING_TIMEOUT: i64 = 210;

/// What is popped, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Pop<'a> {
    /// Group.
    pub group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Messages at most.
    pub max: u32,
    /// For how long they are nobody else's, milliseconds.
    pub invisible_ms: i64,
    /// How long to wait for a message, milliseconds.
    pub poll_ms: i64,
}

/// A message on lease.
#[derive(Debug, Clone)]
pub struct Popped {
    /// What it says.
    pub body: String,
    /// Topic that it was stored in: the topic, or a retry topic.
    pub topic: String,
    /// Queue of that.
    pub queue_id: i32,
    /// Its number in the queue.
    pub queue_offset: i64,
    /// How often its group did not acknowledge it.
    pub reconsume_times: i32,
    /// Names the lease.
    pub handle: String,
    /// When the lease ends, milliseconds.
    pub due_ms: i64,
}

/// Pops once, from all queues.
pub fn pop(connection: &mut RawConnection, pop: &Pop<'_>) -> anyhow::Result<Vec<Popped>> {
    let answer = try_pop(connection, pop)?;
    match answer.code {
        FOUND => popped(pop, &answer),
        POLLING_TIMEOUT | POLLING_FULL => Ok(Vec::new()),
        _ => anyhow::bail!("{pop:?}: {answer:?}"),
    }
}

/// Pops once; the answer, whatever it is.
pub fn try_pop(connection: &mut RawConnection, pop: &Pop<'_>) -> anyhow::Result<Answer> {
    let (max, poll) = (pop.max.to_string(), pop.poll_ms.to_string());
    let invisible = pop.invisible_ms.to_string();
    let fields = [
        ("consumerGroup", pop.group),
        ("topic", pop.topic),
        ("queueId", "-1"),
        ("maxMsgNums", max.as_str()),
        ("invisibleTime", invisible.as_str()),
        ("pollTime", poll.as_str()),
        ("bornTime", "0"),
        ("initMode", "0"),
        ("exp", "*"),
        ("expType", "TAG"),
    ];
    connection.call(POP_MESSAGE, &fields, b"")
}

fn popped(pop: &Pop<'_>, answer: &Answer) -> anyhow::Result<Vec<Popped>> {
    let field = |name: &str| {
        answer.fields[name]
            .as_str()
            .with_context(|| format!("{name} in {answer:?}"))
    };
    let starts: HashMap<(&str, &str), &str> = field("startOffsetInfo")?
        .split(';')
        .filter_map(|entry| {
            let mut parts = entry.split(' ');
            Some(((parts.next()?, parts.next()?), parts.next()?))
        })
        .collect();
    let (pop_time, revive) = (field("popTime")?, field("reviveQid")?);
    let due_ms = pop_time.parse::<i64>()?.saturating_add(pop.invisible_ms);
    let mut found = Vec::new();
    let mut body = answer.body.as_slice();
    while !body.is_empty() {
        let view = record::check(body, CheckBody::Crc)?;
        let properties = Properties::parse(&view.properties_text());
        let queue = view.queue_id.to_string();
        let handle = match properties.get("POP_CK") {
            Some(handle) => handle.to_owned(),
            None => {
                let start = starts
                    .get(&("0", queue.as_str()))
                    .with_context(|| format!("{answer:?}"))?;
                let (invisible_ms, offset) = (pop.invisible_ms, view.queue_offset);
                format!("{start} {pop_time} {invisible_ms} {revive} 0 broker {queue} {offset}")
            }
        };
        let is_retried = handle.split(' ').nth(4) == Some("1");
        found.push(Popped {
            body: String::from_utf8_lossy(view.body).into_owned(),
            topic: if is_retried {
                format!("%RETRY%{}_{}", pop.group, pop.topic)
            } else {
                pop.topic.to_owned()
            },
            queue_id: view.queue_id,
            queue_offset: view.queue_offset,
            reconsume_times: view.reconsume_times,
            handle,
            due_ms,
        });
        body = body.get(view.record_bytes..).context("a whole record")?;
    }
    Ok(found)
}

/// Acknowledges one message; the answer, whatever it is.
pub fn acknowledge(
    connection: &mut RawConnection,
    group: &str,
    message: &Popped,
) -> anyhow::Result<Answer> {
    let (queue_id, offset) = (
        message.queue_id.to_string(),
        message.queue_offset.to_string(),
    );
    let fields = [
        ("consumerGroup", group),
        ("topic", message.topic.as_str()),
        ("queueId", queue_id.as_str()),
        ("extraInfo", message.handle.as_str()),
        ("offset", offset.as_str()),
    ];
    connection.call(ACK_MESSAGE, &fields, b"")
}

/// Gives one message a new lease; `None` if the broker refuses.
pub fn change(
    connection: &mut RawConnection,
    group: &str,
    message: &Popped,
    invisible_ms: i64,
) -> anyhow::Result<Option<Popped>> {
    let (queue_id, offset) = (
        message.queue_id.to_string(),
        message.queue_offset.to_string(),
    );
    let invisible = invisible_ms.to_string();
    let fields = [
        ("consumerGroup", group),
        ("topic", message.topic.as_str()),
        ("queueId", queue_id.as_str()),
        ("extraInfo", message.handle.as_str()),
        ("offset", offset.as_str()),
        ("invisibleTime", invisible.as_str()),
    ];
    let answer = connection.call(CHANGE_INVISIBLE_TIME, &fields, b"")?;
    if answer.code != FOUND {
        return Ok(None);
    }
    let field = |name: &str| {
        answer.fields[name]
            .as_str()
            .with_context(|| format!("{name} in {answer:?}"))
    };
    let pop_time: i64 = field("popTime")?.parse()?;
    let kind = message.handle.split(' ').nth(4).unwrap_or("0");
    Ok(Some(Popped {
        handle: format!(
            "{offset} {pop_time} {invisible} {} {kind} broker {queue_id} {offset}",
            field("reviveQid")?
        ),
        due_ms: pop_time.saturating_add(invisible_ms),
        ..message.clone()
    }))
}
