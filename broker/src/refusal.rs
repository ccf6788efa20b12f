//! Every refusal that a client of the broker can see: the code, and Java's text.
//!
//! Handlers fail with nothing else. One function a case, so that this page shows them all; the texts
//! are compared and alarmed on by people and tools, so they stay as Java's broker writes them.

mod admin;
mod pop;
mod reply;
mod timer;
mod transaction;

use std::fmt::Display;

use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Pool, PoolFull, Refusal};
use thrustmq_store::{DiskFull, ReadError};

use crate::filter::FilterError;

pub(crate) use admin::*;
pub(crate) use pop::*;
pub(crate) use reply::*;
pub(crate) use timer::*;
pub(crate) use transaction::*;

const SEE_FAQ: &str =
    "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

fn refuse(code: ResponseCode, remark: impl Into<String>) -> Refusal {
    Refusal::new(code, remark.into())
}

// Whole broker.

pub(crate) fn not_accepting_until(time: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("broker unable to service, until {time}"),
    )
}

pub(crate) fn broker_not_writable(broker_ip: impl Display) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the broker[{broker_ip}] sending message is forbidden"),
    )
}

pub(crate) fn broker_not_readable(broker_ip: impl Display) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the broker[{broker_ip}] pulling message is forbidden"),
    )
}

pub(crate) fn lite_pull_off(broker_ip: impl Display) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the broker[{broker_ip}] for lite pull consumer is forbidden"),
    )
}

// Topics.

pub(crate) fn topic_not_sendable(topic: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("Sending message to topic[{topic}] is forbidden."),
    )
}

pub(crate) fn topic_not_writable(topic: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the topic[{topic}] sending message is forbidden"),
    )
}

pub(crate) fn topic_not_readable(topic: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the topic[{topic}] pulling message is forbidden"),
    )
}

/// The topic is unknown to a send, and may not be created.
pub(crate) fn topic_not_exist(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("topic[{topic}] not exist, apply first please!{SEE_FAQ}"),
    )
}

/// The topic is unknown to a pull; Java's text has a blank more.
pub(crate) fn pulled_topic_not_exist(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("topic[{topic}] not exist, apply first please! {SEE_FAQ}"),
    )
}

pub(crate) fn send_queue_out_of_range(
    queue_id: i32,
    topic: impl Display,
    producer: impl Display,
) -> Refusal {
    refuse(
        ResponseCode::INVALID_PARAMETER,
        format!("request queueId[{queue_id}] is illegal, {topic} Producer: {producer}"),
    )
}

pub(crate) fn pull_queue_out_of_range(
    queue_id: i32,
    topic: &str,
    read_queues: i32,
    consumer: impl Display,
) -> Refusal {
    refuse(
        ResponseCode::INVALID_PARAMETER,
        format!(
            "queueId[{queue_id}] is illegal, topic:[{topic}] \
             topicConfig.readQueueNums:[{read_queues}] consumer:[/{consumer}]"
        ),
    )
}

// Groups and subscriptions.

/// The group is unknown to a send to its retry topic, or to a send-back.
pub(crate) fn group_not_exist(group: &str) -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        format!("subscription group not exist, {group} {SEE_FAQ}"),
    )
}

/// The group is unknown to a pull.
pub(crate) fn pulling_group_not_exist(group: &str) -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        format!("subscription group [{group}] does not exist, {SEE_FAQ}"),
    )
}

pub(crate) fn group_may_not_consume(group: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("subscription group no permission, {group}"),
    )
}

pub(crate) fn broadcasting_off(group: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the consumer group[{group}] can not consume by broadcast way"),
    )
}

pub(crate) fn topic_forbidden_to_group(group: &str, topic: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the consumer group[{group}] is forbidden for topic[{topic}]"),
    )
}

pub(crate) fn group_not_online() -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_NOT_EXIST,
        format!("the consumer's group info not exist{SEE_FAQ}"),
    )
}

pub(crate) fn pull_consumer_rejected() -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_NOT_EXIST,
        format!(
            "the consumer's group info not exist, or the pull consumer is rejected by server.{SEE_FAQ}"
        ),
    )
}

pub(crate) fn subscription_not_exist() -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_NOT_EXIST,
        format!("the consumer's subscription not exist{SEE_FAQ}"),
    )
}

pub(crate) fn subscription_not_latest() -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_NOT_LATEST,
        "the consumer's subscription not latest",
    )
}

/// Java leaves out why.
pub(crate) fn subscription_unreadable(why: FilterError) -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_PARSE_FAILED,
        format!("parse the consumer's subscription failed: {why}"),
    )
}

pub(crate) fn filter_not_exist() -> Refusal {
    refuse(
        ResponseCode::FILTER_DATA_NOT_EXIST,
        "The broker's consumer filter data is not exist!Your expression may be wrong!",
    )
}

/// A consumer asks before it subscribes; Java's text is its exception's.
pub(crate) fn filter_refused(why: FilterError) -> Refusal {
    refuse(ResponseCode::SUBSCRIPTION_PARSE_FAILED, why.to_string())
}

pub(crate) fn filter_type_not_supported(expression_type: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("The broker does not support consumer to filter message by {expression_type}"),
    )
}

// Messages.

pub(crate) fn message_key_missing() -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        "Required message key is missing",
    )
}

pub(crate) fn message_illegal(body_bytes_max: i32) -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "the message is illegal, maybe msg body or properties length not matched. \
             msg body length limit {body_bytes_max}B, msg properties length limit 32KB."
        ),
    )
}

pub(crate) fn batch_topic_too_long(topic: &str) -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!("message topic length too long {}", topic.len()),
    )
}

pub(crate) fn batch_to_retry_topic(topic: &str) -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!("batch request does not support retry group {topic}"),
    )
}

/// Java's text, which ends with `default limit 2w.`, and what the limit is here.
pub(crate) fn too_many_light_queues(queues_max: usize) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!(
            "[LMQ_CONSUME_QUEUE_NUM_EXCEEDED]broker config enableLmq and enableMultiDispatch, lmq \
             consumeQueue num exceed maxLmqConsumeQueueNum config num, default limit 2w. \
             maxLmqConsumeQueueNum is {queues_max}"
        ),
    )
}

/// A record is asked for by its place, and either none is there, or it cannot be read.
pub(crate) fn message_not_read(error: ReadError, physical_offset: i64) -> Refusal {
    match error {
        ReadError::Disk { .. } | ReadError::Damaged { .. } => unreadable(error),
        ReadError::OutOfRange { .. } | ReadError::NoRecord { .. } | ReadError::NotInMemory => {
            message_gone(physical_offset)
        }
    }
}

pub(crate) fn message_gone(physical_offset: i64) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("look message by offset failed, {physical_offset}"),
    )
}

/// A send-back whose message could not be put; the remark is the status's name.
pub(crate) fn send_back_failed(status: &'static str) -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, status)
}

pub(crate) fn no_message_at(physical_offset: i64) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("can not find message by the offset, {physical_offset}"),
    )
}

pub(crate) fn no_message_of_key() -> Refusal {
    refuse(
        ResponseCode::QUERY_NOT_FOUND,
        "can not find message, maybe time range not correct",
    )
}

// Load.

/// As remoting answers what does not fit a pool.
pub(crate) fn pool_full(pool: &Pool) -> Refusal {
    Refusal::from(PoolFull {
        pool: pool.name(),
        capacity: pool.capacity(),
    })
}

// Store.

/// Stored messages that the disk does not give, or gives damaged.
pub(crate) fn unreadable(error: impl Display) -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, error.to_string())
}

pub(crate) fn page_cache_busy(held_ms: i64) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_BUSY,
        format!(
            "[PC_SYNCHRONIZED]broker busy, start flow control for a while, \
             the disk of the commit log is slow: the append under way has taken {held_ms} ms"
        ),
    )
}

pub(crate) fn file_not_created() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "create mapped file failed, server is busy or broken.",
    )
}

/// The store takes no messages. Java's text goes on with a list of all that it may be; this one says
/// what it is.
pub(crate) fn store_not_writable(reason: impl Display) -> Refusal {
    refuse(
        ResponseCode::SERVICE_NOT_AVAILABLE,
        format!("service not available now. The cause: {reason}"),
    )
}

/// As [`store_not_writable`], with what the operator can do.
pub(crate) fn disk_full(full: &DiskFull, dir: &str) -> Refusal {
    let DiskFull {
        used_percent,
        limit_percent,
        place,
    } = full;
    store_not_writable(format_args!(
        "the disk of the {place} is {used_percent} % full ({dir}), allowed are {limit_percent} % \
         (diskSpaceWarningLevelRatio): free space on it, or lower fileReservedTime"
    ))
}
