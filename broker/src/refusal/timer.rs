//! What senders of timer messages are told, and whoever recalls one.

use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;

use super::refuse;

pub(crate) fn timer_off() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "accurate timer message is not enabled, timerWheelEnable is false",
    )
}

pub(crate) fn timer_illegal(delay_ms_max: i64) -> Refusal {
    refuse(
        ResponseCode::MESSAGE_ILLEGAL,
        format!(
            "timer message illegal, the delay time should not be bigger than the max delay \
             {delay_ms_max}ms; or if set del msg, the delay time should be bigger than the current time"
        ),
    )
}

pub(crate) fn timer_congested(messages_max: i64) -> Refusal {
    let twice = messages_max.saturating_mul(2);
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!(
            "timer message is under flow control, max num limit is {twice} or the current value is \
             greater than {messages_max} and less than {twice}, trigger random flow control"
        ),
    )
}

pub(crate) fn recall_off() -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        "recall failed, operation is forbidden",
    )
}

/// The broker takes no messages at the moment.
pub(crate) fn recall_not_served() -> Refusal {
    refuse(
        ResponseCode::SERVICE_NOT_AVAILABLE,
        "recall failed, broker service not available",
    )
}

pub(crate) fn recall_topic_not_exist(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("recall failed, the topic[{topic}] not exist"),
    )
}

/// The handle is none, or not one for this request.
pub(crate) fn recall_illegal(problem: &str) -> Refusal {
    refuse(ResponseCode::ILLEGAL_OPERATION, problem)
}

pub(crate) fn recall_failed() -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, "recall failed, execute error")
}

pub(crate) fn timer_absent() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "The timer message store is null",
    )
}

pub(crate) fn timer_checkpoint_absent() -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, "The checkpoint is null")
}
