//! Finding messages by key, by place, and what the consume queues hold.

use crate::header;

header! {
    /// Search by key through the index.
    QueryMessageRequestHeader {
        topic "topic": String,
        key "key": String,
        max_num "maxNum": i32,
        begin_timestamp_ms "beginTimestamp": i64,
        end_timestamp_ms "endTimestamp": i64,
        broker_name "bname": Option<String>,
    }

    /// How far the index has come; the records are the body.
    QueryMessageResponseHeader {
        index_last_update_timestamp_ms "indexLastUpdateTimestamp": i64,
        index_last_update_physical_offset "indexLastUpdatePhyoffset": i64,
    }

    /// The record that begins at an offset of the commit log.
    ViewMessageRequestHeader {
        topic "topic": Option<String>,
        offset "offset": i64,
    }

    /// Entries of a consume queue from an index on.
    QueryConsumeQueueRequestHeader {
        topic "topic": String,
        queue_id "queueId": i32 = 0,
        index "index": i64 = 0,
        count "count": i32 = 0,
        consumer_group "consumerGroup": Option<String>,
    }

    /// Oldest, newest and consumed time of each queue of a topic.
    QueryConsumeTimeSpanRequestHeader {
        topic "topic": String,
        group "group": String,
    }
}
