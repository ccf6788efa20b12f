//! What those are told who send half messages and end transactions.

use std::fmt::Display;

use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;

use super::refuse;

pub(crate) fn transactions_off(broker_ip: impl Display) -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        format!("the broker[{broker_ip}] sending transaction message is forbidden"),
    )
}

/// Java has no such limit.
pub(crate) fn too_many_open_transactions() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_BUSY,
        "too many transactions are open: producers have to end them, or to answer the broker's checks",
    )
}

pub(crate) fn half_message_gone() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "Find prepared transaction message failed",
    )
}

pub(crate) fn transaction_of_other_group() -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, "The producer group wrong")
}

pub(crate) fn transaction_queue_offset_wrong() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "The transaction state table offset wrong",
    )
}

/// Java says nothing more.
pub(crate) fn transaction_end_too_late() -> Refusal {
    refuse(ResponseCode::ILLEGAL_OPERATION, "")
}

/// The broker has just started. Java has no such state, and ends again what was ended before.
pub(crate) fn transactions_not_known_yet() -> Refusal {
    refuse(
        ResponseCode::SERVICE_NOT_AVAILABLE,
        "Service not available now.",
    )
}

pub(crate) fn commit_not_stored() -> Refusal {
    refuse(
        ResponseCode::SERVICE_NOT_AVAILABLE,
        "Service not available now.",
    )
}

pub(crate) fn commit_illegal(body_bytes_max: i32) -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "The message is illegal, maybe msg body or properties length not matched. \
             msg body length limit {body_bytes_max}B, msg properties length limit 32KB."
        ),
    )
}

pub(crate) fn commit_file_not_created() -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, "Create mapped file failed.")
}

pub(crate) fn commit_page_cache_busy() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "OS page cache busy, please try another machine",
    )
}

/// The message cannot be read.
pub(crate) fn half_message_not_resumable() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC.",
    )
}

/// The message is no half message, or cannot be stored.
pub(crate) fn half_message_not_resumed() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed.",
    )
}
