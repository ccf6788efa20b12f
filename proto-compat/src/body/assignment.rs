//! Division of queues by the broker.

use std::collections::BTreeMap;

use super::table::bodies;
use super::{MessageModel, MessageQueue, MessageRequestMode};

bodies! {
    /// Which queues are mine?
    QueryAssignmentRequestBody {
        client_id "clientId": String,
        consumer_group "consumerGroup": String,
        message_model "messageModel": MessageModel,
        strategy_name "strategyName": Option<String>,
        topic "topic": String,
    }

    /// These are; `None` if the broker can't say, and what the client has stays its own.
    QueryAssignmentResponseBody {
        message_queue_assignments "messageQueueAssignments": Option<Vec<MessageQueueAssignment>>,
    }

    /// One of them.
    MessageQueueAssignment {
        attachments "attachments": Option<BTreeMap<String, String>>,
        message_queue "messageQueue": MessageQueue,
        mode "mode": MessageRequestMode,
    }

    /// How a group takes a topic's messages.
    SetMessageRequestModeRequestBody {
        consumer_group "consumerGroup": String,
        mode "mode": MessageRequestMode,
        pop_share_queue_num "popShareQueueNum": i32,
        topic "topic": String,
    }

    /// All of these by topic and group: `messageRequestMode.json`.
    MessageRequestModeSerializeWrapper {
        message_request_mode_map "messageRequestModeMap": BTreeMap<String, BTreeMap<String, SetMessageRequestModeRequestBody>>,
    }
}
