//! Topics on a broker.

use crate::header;

header! {
    /// Creates or updates a topic.
    CreateTopicRequestHeader {
        topic "topic": String,
        /// No server uses it, but Java's demand it.
        default_topic "defaultTopic": Option<String>,
        read_queue_nums "readQueueNums": i32,
        write_queue_nums "writeQueueNums": i32,
        perm "perm": i32,
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type "topicFilterType": String,
        topic_sys_flag "topicSysFlag": Option<i32>,
        order "order": bool = false,
        /// `+key=value,-key`.
        attributes "attributes": Option<String>,
        force "force": bool = false,
    }

    /// A page of all topics' configurations; a caller before 5.3 asks for all by leaving all out.
    GetAllTopicConfigRequestHeader {
        topic_seq "topicSeq": Option<i32>,
        /// A DataVersion as JSON.
        data_version "dataVersion": Option<String>,
        max_topic_num "maxTopicNum": Option<i32>,
    }

    /// How many topics there are; a broker before 5.3 does not say.
    GetAllTopicConfigResponseHeader {
        total_topic_num "totalTopicNum": Option<i32>,
    }

    /// Minimum, maximum and last time of each queue.
    GetTopicStatsInfoRequestHeader {
        topic "topic": String,
    }

    /// Deletes a topic on a broker.
    DeleteTopicRequestHeader {
        topic "topic": String,
    }

    /// The configuration of one topic.
    GetTopicConfigRequestHeader {
        topic "topic": String,
    }

    /// The groups that consume a topic.
    QueryTopicConsumeByWhoRequestHeader {
        topic "topic": String,
    }
}
