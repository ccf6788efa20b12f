//! Mappings of static topics. We do not serve static topics, but Java brokers register with them.

use std::collections::BTreeMap;

use super::table::bodies;

bodies! {
    /// Which of a topic's logical queues a broker hosts.
    TopicQueueMappingInfo {
        bname "bname": String,
        curr_id_map "currIdMap": BTreeMap<i32, i32>,
        dirty "dirty": bool,
        epoch "epoch": i64,
        scope "scope": Option<String>,
        topic "topic": String,
        total_queues "totalQueues": i32,
    }

    /// The same, with the history of each logical queue.
    TopicQueueMappingDetail {
        bname "bname": Option<String>,
        curr_id_map "currIdMap": Option<BTreeMap<i32, i32>>,
        dirty "dirty": bool,
        epoch "epoch": i64,
        hosted_queues "hostedQueues": BTreeMap<i32, Vec<LogicQueueMappingItem>>,
        scope "scope": Option<String>,
        topic "topic": Option<String>,
        total_queues "totalQueues": i32,
    }

    /// A stretch of a logical queue that lies in one queue of one broker.
    LogicQueueMappingItem {
        bname "bname": Option<String>,
        end_offset "endOffset": i64 = -1,
        gen_ "gen": i32,
        logic_offset "logicOffset": i64,
        queue_id "queueId": i32,
        start_offset "startOffset": i64,
        time_of_end "timeOfEnd": i64 = -1,
        time_of_start "timeOfStart": i64 = -1,
    }
}
