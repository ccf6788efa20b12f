//! What admin commands and clients' housekeeping are refused with.

use std::fmt::Display;

use thrustmq_proto_compat::fastjson::BodyError;
use thrustmq_proto_compat::message::names::{self, NameError};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;
use thrustmq_settings::UpdateError;

use super::refuse;
use crate::assignment::TooManyModes;

const ALLOWED_CHARACTERS: &str = "allowing only ^[%|a-zA-Z0-9_-]+$";

// Bodies.

pub(crate) fn malformed_body(error: &BodyError) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("the body of the request can not be read: {error}"),
    )
}

pub(crate) fn unwritable_body(error: &BodyError) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("the answer can not be written: {error}"),
    )
}

// Request modes.

pub(crate) fn retry_topic_has_no_mode() -> Refusal {
    refuse(
        ResponseCode::NO_PERMISSION,
        "retry topic is not allowed to set mode",
    )
}

pub(crate) fn mode_group_absent() -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        "subscription group does not exist",
    )
}

pub(crate) fn too_many_modes(error: TooManyModes) -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, error.to_string())
}

// Names.

pub(crate) fn invalid_topic_name(topic: &str, error: NameError) -> Refusal {
    let is_of_group = names::is_retry_topic(topic) || names::is_dead_letter_topic(topic);
    let remark = match error {
        NameError::Blank => "The specified topic is blank.".to_owned(),
        NameError::IllegalCharacter { .. } => {
            format!(
                "The specified topic: {topic}, contains illegal characters, {ALLOWED_CHARACTERS}"
            )
        }
        NameError::TooLong { bytes_max, .. } if is_of_group => format!(
            "The specified topic is DLQ or Retry topic: {topic}, \
             and it's longer than topic max length: {bytes_max}"
        ),
        NameError::TooLong { bytes_max, .. } => {
            format!("The specified topic: {topic}, is longer than topic max length: {bytes_max}")
        }
    };
    refuse(ResponseCode::INVALID_PARAMETER, remark)
}

pub(crate) fn invalid_group_name(group: &str, error: NameError) -> Refusal {
    let remark = match error {
        NameError::Blank => "The specified group is blank.".to_owned(),
        NameError::IllegalCharacter { .. } => {
            format!(
                "The specified group: {group}, contains illegal characters, {ALLOWED_CHARACTERS}"
            )
        }
        NameError::TooLong { bytes_max, .. } => {
            format!("The specified group: {group}, is longer than group max length: {bytes_max}")
        }
    };
    refuse(ResponseCode::INVALID_PARAMETER, remark)
}

pub(crate) fn is_system_topic(topic: &str) -> Refusal {
    refuse(
        ResponseCode::INVALID_PARAMETER,
        format!("The topic[{topic}] is conflict with system topic."),
    )
}

pub(crate) fn mixed_messages_off() -> Refusal {
    refuse(
        ResponseCode::INVALID_PARAMETER,
        "MIXED message type is not supported.",
    )
}

pub(crate) fn queue_counts_out_of_range(topic: &str, queues_max: i32) -> Refusal {
    refuse(
        ResponseCode::INVALID_PARAMETER,
        format!("The topic[{topic}] can have from 0 to {queues_max} read and write queues."),
    )
}

pub(crate) fn unknown_filter_type(filter_type: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("topicFilterType = [{filter_type}] value invalid"),
    )
}

pub(crate) fn attributes_refused(error: impl Display) -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, error.to_string())
}

// Configuration.

pub(crate) fn config_update_refused(error: UpdateError) -> Refusal {
    let code = match error {
        UpdateError::BlackListed => ResponseCode::NO_PERMISSION,
        UpdateError::Fixed { .. } => ResponseCode::SYSTEM_ERROR,
        UpdateError::Set(_) => ResponseCode::INVALID_PARAMETER,
    };
    refuse(code, error.to_string())
}

pub(crate) fn properties_not_text() -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, "string2Properties error")
}

// Groups and their members.

pub(crate) fn no_consumer(group: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("no consumer for this group, {group}"),
    )
}

pub(crate) fn consumer_group_offline(group: &str) -> Refusal {
    refuse(
        ResponseCode::CONSUMER_NOT_ONLINE,
        format!("the consumer group[{group}] not online"),
    )
}

pub(crate) fn no_consumer_online(group: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("No Any Consumer online in the consumer group: [{group}]"),
    )
}

pub(crate) fn producer_group_absent(group: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("the producer group[{group}] not exist"),
    )
}

pub(crate) fn consumer_offline(group: &str, client_id: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("The Consumer <{group}> <{client_id}> not online"),
    )
}

pub(crate) fn consumer_timeout(group: &str, client_id: &str, error: &str) -> Refusal {
    refuse(
        ResponseCode::CONSUME_MSG_TIMEOUT,
        format!("consumer <{group}> <{client_id}> Timeout: {error}"),
    )
}

pub(crate) fn consumer_failed(group: &str, client_id: &str, error: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("invoke consumer <{group}> <{client_id}> Exception: {error}"),
    )
}

pub(crate) fn client_too_old(version: i32) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("the client does not support this feature. version={version}"),
    )
}

// What is asked for by name and is not there.

pub(crate) fn asked_topic_not_exist(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("topic[{topic}] not exist"),
    )
}

pub(crate) fn no_topic_here(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("No topic in this broker. topic: {topic}"),
    )
}

pub(crate) fn no_group_here() -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        "No group in this broker",
    )
}

pub(crate) fn no_such_statistic(name: &str, key: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("The stats <{name}> <{key}> not exist"),
    )
}

pub(crate) fn queue_not_exist(topic: &str, queue_id: i32) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("{queue_id}@{topic} is not exist!"),
    )
}

pub(crate) fn invalid_message_id(message_id: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("the message id can not be read: {message_id}"),
    )
}

// Offsets.

pub(crate) fn commit_group_absent(group: &str) -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        format!("Group {group} not exist!"),
    )
}

pub(crate) fn commit_topic_absent(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("Topic {topic} not exist!"),
    )
}

pub(crate) fn offset_not_found() -> Refusal {
    refuse(
        ResponseCode::QUERY_NOT_FOUND,
        "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first",
    )
}

pub(crate) fn offset_not_found_nor_zero() -> Refusal {
    refuse(
        ResponseCode::QUERY_NOT_FOUND,
        "Not found, do not set to zero, maybe this group boot first",
    )
}

pub(crate) fn reset_group_absent(group: &str) -> Refusal {
    refuse(
        ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
        format!("Group {group} does not exist"),
    )
}

pub(crate) fn reset_topic_absent(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("Topic {topic} does not exist"),
    )
}

pub(crate) fn reset_target_out_of_range(offset: i64, min: i64, max: i64) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("Target offset {offset} not in consume queue range [{min}-{max}]"),
    )
}

pub(crate) fn no_queue_to_reset() -> Refusal {
    refuse(ResponseCode::SYSTEM_ERROR, "No queues to reset.")
}

/// Java's text for a group without offsets, where consumers reset themselves.
pub(crate) fn client_reset_group_absent(group: &str) -> Refusal {
    refuse(
        ResponseCode::SYSTEM_ERROR,
        format!("THe consumer group <{group}> not exist"),
    )
}

pub(crate) fn client_reset_topic_absent(topic: &str) -> Refusal {
    refuse(
        ResponseCode::TOPIC_NOT_EXIST,
        format!("[reset-offset] reset offset failed, no topic in this broker. topic={topic}"),
    )
}

pub(crate) fn client_reset_offline(group: &str, topic: &str, timestamp_ms: i64) -> Refusal {
    refuse(
        ResponseCode::CONSUMER_NOT_ONLINE,
        format!(
            "Consumer not online, so can not reset offset, \
             Group: {group} Topic: {topic} Timestamp: {timestamp_ms}"
        ),
    )
}
