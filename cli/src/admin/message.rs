//! Commands about messages.

use clap::Subcommand;
use thrustmq_client::{
    Admin, KeySearch, MessageQueue, MessageWalk, ReceivedMessage, Subscription, TraceRecord, Traced,
};

use super::arguments::SpanArguments;
use super::shown::{Rows, Shown};
use crate::shown_message::{Decode, body};

#[derive(Debug, Subcommand)]
pub(super) enum MessageCommand {
    /// The message at a place, by the id that a broker gave.
    Get {
        id: String,
        /// How its body is shown.
        #[arg(long, value_enum, default_value_t = Decode::Auto)]
        decode: Decode,
    },
    /// The messages with a key, or with the id that their producer gave.
    Find {
        topic: String,
        key: String,
        /// How bodies are shown.
        #[arg(long, value_enum, default_value_t = Decode::Auto)]
        decode: Decode,
    },
    /// The message with a number in a queue.
    At {
        topic: String,
        /// The broker's name.
        broker: String,
        queue: i32,
        offset: i64,
        /// How its body is shown.
        #[arg(long, value_enum, default_value_t = Decode::Auto)]
        decode: Decode,
    },
    /// The messages of a topic, oldest first. `thrustmq tail` follows those to come.
    List {
        topic: String,
        #[command(flatten)]
        span: SpanArguments,
        /// Only messages with one of these tags, with `||` between.
        #[arg(long, default_value = "*")]
        tags: String,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// How bodies are shown.
        #[arg(long, value_enum, default_value_t = Decode::Auto)]
        decode: Decode,
    },
    /// What producers and consumers noted of a message, by its id or a key.
    Trace {
        key: String,
        /// The topic of the traces.
        #[arg(long, value_name = "TOPIC")]
        trace_topic: Option<String>,
    },
    /// Has a member of a group consume a message now.
    Consume {
        group: String,
        /// Client id of the member.
        client: String,
        /// The id that a broker gave.
        id: String,
    },
}

pub(super) async fn run(admin: &Admin, command: MessageCommand) -> anyhow::Result<Shown> {
    match command {
        MessageCommand::Get { id, decode } => {
            let message = admin.message(&id).await?;
            Ok(Shown::Rows(rows(&[message], decode)))
        }
        MessageCommand::Find { topic, key, decode } => {
            let found = admin.find(&KeySearch::of(&topic, &key)).await?;
            Ok(Shown::Rows(rows(&found, decode)))
        }
        MessageCommand::At {
            topic,
            broker,
            queue,
            offset,
            decode,
        } => {
            let queue = MessageQueue {
                broker_name: broker,
                queue_id: queue,
                topic,
            };
            let message = admin.message_at(&queue, offset).await?;
            Ok(Shown::Rows(rows(message.as_slice(), decode)))
        }
        MessageCommand::List {
            topic,
            span,
            tags,
            limit,
            decode,
        } => {
            let wanted = Subscription::tags(&tags);
            let walk = admin.messages_between(&topic, span.range(), wanted).await?;
            Ok(Shown::Rows(found_rows(walk, limit, decode).await?))
        }
        MessageCommand::Trace { key, trace_topic } => {
            let mut search = KeySearch::traces(&key);
            if let Some(topic) = &trace_topic {
                search.topic = topic;
            }
            Ok(Shown::Rows(traces(admin.traces(&search).await?)))
        }
        MessageCommand::Consume { group, client, id } => {
            let done = admin.consume_directly(&group, &client, &id).await?;
            let mut rows = Rows::of(&["result", "is_success", "elapsed_ms", "remark"]);
            rows.push([
                done.result.into(),
                done.is_success.into(),
                done.elapsed_ms.into(),
                done.remark.into(),
            ]);
            Ok(Shown::Rows(rows))
        }
    }
}

/// The first messages of a walk.
pub(super) async fn found_rows(
    mut walk: MessageWalk,
    limit: usize,
    decode: Decode,
) -> anyhow::Result<Rows> {
    let mut messages = Vec::new();
    while messages.len() < limit
        && let Some(found) = walk.next().await?
    {
        messages.push(found.message);
    }
    Ok(rows(&messages, decode))
}

fn rows(messages: &[ReceivedMessage], decode: Decode) -> Rows {
    let mut rows = Rows::of(&[
        "message_id",
        "offset_message_id",
        "topic",
        "queue",
        "offset",
        "tag",
        "keys",
        "stored_ms",
        "reconsume_times",
        "body",
    ]);
    for message in messages {
        rows.push([
            message.message_id().into(),
            message.offset_id().encode().into(),
            message.topic.as_str().into(),
            message.queue_id.into(),
            message.queue_offset.into(),
            message.tags().into(),
            message.keys().collect(),
            message.store_timestamp.into(),
            message.reconsume_times.into(),
            body(&message.body, decode).into(),
        ]);
    }
    rows
}

fn traces(traces: Vec<Traced>) -> Rows {
    let mut rows = Rows::of(&[
        "happened_ms",
        "what",
        "group",
        "client",
        "message_id",
        "is_success",
        "elapsed_ms",
        "details",
    ]);
    for traced in traces {
        let record = &traced.record;
        let (what, is_success, elapsed_ms, details) = match record {
            TraceRecord::Sent(sent) => {
                let details = format!("topic {} at {}", sent.topic, sent.stored_at);
                (
                    "sent",
                    Some(sent.is_success),
                    Some(sent.elapsed_ms),
                    details,
                )
            }
            TraceRecord::Consuming(before) => {
                let details = format!("after {} tries in vain", before.reconsume_times);
                ("consuming", None, None, details)
            }
            TraceRecord::Consumed(after) => {
                let details = format!("code {}", after.code);
                (
                    "consumed",
                    Some(after.is_success),
                    Some(after.elapsed_ms),
                    details,
                )
            }
            TraceRecord::TransactionEnded(end) => {
                ("transaction ended", None, None, end.state.clone())
            }
            TraceRecord::Recalled(recall) => {
                let details = format!("topic {}", recall.topic);
                ("recalled", Some(recall.is_success), None, details)
            }
            other => ("unknown", None, None, format!("{other:?}")),
        };
        rows.push([
            record.time_ms().into(),
            what.into(),
            record.group().into(),
            traced.client.to_string().into(),
            record.message_id().into(),
            is_success.into(),
            elapsed_ms.into(),
            details.into(),
        ]);
    }
    rows
}
