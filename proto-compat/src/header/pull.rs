//! Pulling messages.

use crate::header;

header! {
    /// Wants messages from an offset on, and may wait for them.
    PullMessageRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        queue_offset "queueOffset": i64,
        max_msg_nums "maxMsgNums": i32,
        /// Bit 0 commit `commit_offset`, 1 may wait, 2 carries the subscription, 3 class filter,
        /// 4 lite pull.
        sys_flag "sysFlag": i32,
        commit_offset "commitOffset": i64,
        suspend_timeout_ms "suspendTimeoutMillis": i64,
        subscription "subscription": Option<String>,
        sub_version "subVersion": i64,
        /// `TAG` or `SQL92`; absent is `TAG`.
        expression_type "expressionType": Option<String>,
        max_msg_bytes "maxMsgBytes": Option<i32>,
        request_source "requestSource": Option<i32>,
        /// The client behind a proxy; the name on the wire has a letter too many.
        proxy_forward_client_id "proxyFrowardClientId": Option<String>,
        broker_name "bname": Option<String>,
    }

    /// Where to go on; the messages are the body.
    PullMessageResponseHeader {
        suggest_which_broker_id "suggestWhichBrokerId": i64,
        next_begin_offset "nextBeginOffset": i64,
        min_offset "minOffset": i64,
        max_offset "maxOffset": i64,
        offset_delta "offsetDelta": Option<i64>,
        topic_sys_flag "topicSysFlag": Option<i32>,
        group_sys_flag "groupSysFlag": Option<i32>,
        forbidden_type "forbiddenType": Option<i32>,
    }
}
