//! What the sender of a reply is told when its requester does not get it. The reply is stored all the
//! same.

use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;

use super::refuse;

pub(crate) fn reply_to_nobody() -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        "reply message properties[REPLY_TO_CLIENT] is null",
    )
}

pub(crate) fn requester_not_found(client_id: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("push reply message fail, channel of <{client_id}> not found."),
    )
}

pub(crate) fn reply_not_pushed(client_id: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("push reply message to {client_id}fail."),
    )
}
