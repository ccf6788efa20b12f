//! What clients that pop, acknowledge and change leases are told.

use std::fmt::Display;

use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;

use super::refuse;
use crate::offset::GroupQueue;

pub(crate) fn pop_too_late(broker_ip: &str) -> Refusal {
    refuse(
        ResponseCode::POLLING_TIMEOUT,
        format!("the broker[{broker_ip}] pop message is timeout too much"),
    )
}

/// Too many pops wait already.
pub(crate) fn polling_full() -> Refusal {
    refuse(ResponseCode::POLLING_FULL, "NO_MESSAGE_IN_QUEUE")
}

pub(crate) fn pop_forbidden(broker_ip: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the broker[{broker_ip}] pop message is forbidden"),
    )
}

pub(crate) fn peek_forbidden(broker_ip: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the broker[{broker_ip}] peeking message is forbidden"),
    )
}

pub(crate) fn pop_too_many(broker_ip: &str) -> Refusal {
    refuse(
        ResponseCode::INVALID_PARAMETER,
        format!("the broker[{broker_ip}] pop message's num is greater than 32"),
    )
}

pub(crate) fn topic_not_poppable(topic: &str) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the topic[{topic}] peeking message is forbidden"),
    )
}

/// The expression of a pop can not be read.
pub(crate) fn pop_subscription_unreadable() -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_PARSE_FAILED,
        "parse the consumer's subscription failed",
    )
}

/// The queue of a lease is none of the topic's.
pub(crate) fn lease_queue_out_of_range(
    queue_id: i32,
    topic: &str,
    read_queues: i32,
    consumer: impl Display,
) -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "queueId[{queue_id}] is illegal, topic:[{topic}] \
             topicConfig.readQueueNums:[{read_queues}] consumer:[/{consumer}]"
        ),
    )
}

pub(crate) fn ack_out_of_range(
    topic: &str,
    queue_id: i32,
    offset: i64,
    min: i64,
    max: i64,
) -> Refusal {
    refuse(
        ResponseCode::NO_MESSAGE,
        format!("offset is illegal, key:{topic}@{queue_id}, commit:{offset}, store:{min}~{max}"),
    )
}

/// Nothing is to be acknowledged, or the lease to be changed is of no message.
pub(crate) fn nothing_on_lease() -> Refusal {
    refuse(ResponseCode::NO_MESSAGE, "")
}

/// The lease has ended: the message was acknowledged, or went to its group again, or was given
/// another handle.
pub(crate) fn lease_ended(handle: &str) -> Refusal {
    refuse(
        ResponseCode::NO_MESSAGE,
        format!("the message is no longer on the lease that the handle [{handle}] names"),
    )
}

pub(crate) fn handle_unreadable(handle: &str) -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "the handle [{handle}] is illegal, it has to be \
             [startOffset popTime invisibleTime reviveQueueId retry brokerName queueId offset]"
        ),
    )
}

/// The batch in flight has no such message.
pub(crate) fn ordered_ack_illegal(
    queue: GroupQueue<'_>,
    committed: i64,
    offset: i64,
    consumer: impl Display,
) -> Refusal {
    let GroupQueue {
        group,
        topic,
        queue_id,
    } = queue;
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "offset is illegal, key:{topic}@{group}@{queue_id}, old:{committed}, commit:{offset}, \
             next:-1, {consumer}"
        ),
    )
}
