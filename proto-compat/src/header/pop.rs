//! POP: messages on lease. These codes do not fit the binary encoding; they travel as JSON.

use crate::header;

header! {
    /// Takes messages on lease.
    PopMessageRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        max_msg_nums "maxMsgNums": i32,
        invisible_time_ms "invisibleTime": i64,
        poll_time_ms "pollTime": i64,
        born_time_ms "bornTime": i64 = 0,
        init_mode "initMode": i32,
        expression_type "expType": Option<String>,
        expression "exp": Option<String>,
        order "order": Option<bool>,
        attempt_id "attemptId": Option<String>,
        broker_name "bname": Option<String>,
    }

    /// The lease; the records are the body.
    PopMessageResponseHeader {
        pop_time_ms "popTime": i64,
        invisible_time_ms "invisibleTime": i64,
        revive_queue_id "reviveQid": i32,
        rest_num "restNum": i64,
        start_offset_info "startOffsetInfo": Option<String>,
        msg_offset_info "msgOffsetInfo": Option<String>,
        order_count_info "orderCountInfo": Option<String>,
    }

    /// A message on lease is done.
    AckMessageRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        extra_info "extraInfo": String,
        offset "offset": i64,
        broker_name "bname": Option<String>,
    }

    /// Makes a lease longer or shorter.
    ChangeInvisibleTimeRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        extra_info "extraInfo": String,
        offset "offset": i64,
        invisible_time_ms "invisibleTime": i64,
        broker_name "bname": Option<String>,
    }

    /// The new lease.
    ChangeInvisibleTimeResponseHeader {
        pop_time_ms "popTime": i64,
        invisible_time_ms "invisibleTime": i64,
        revive_queue_id "reviveQid": i32,
    }

    /// Reads without a lease.
    PeekMessageRequestHeader {
        topic "topic": String,
        queue_id "queueId": i32,
        max_msg_nums "maxMsgNums": i32,
        consumer_group "consumerGroup": String,
    }

    /// Waits until there are messages.
    NotificationRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        poll_time_ms "pollTime": i64,
        born_time_ms "bornTime": i64 = 0,
        order "order": Option<bool>,
        attempt_id "attemptId": Option<String>,
        broker_name "bname": Option<String>,
    }

    /// Whether there are.
    NotificationResponseHeader {
        has_msg "hasMsg": bool = false,
        polling_full "pollingFull": bool = false,
    }

    /// How many POP requests wait.
    PollingInfoRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
    }

    /// How many wait.
    PollingInfoResponseHeader {
        polling_num "pollingNum": i32,
    }
}
