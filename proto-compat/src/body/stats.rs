//! Progress and counters.

use std::collections::BTreeMap;

use super::table::bodies;
use super::{MessageQueue, SubscriptionData};

bodies! {
    /// How far a group is.
    ConsumeStats {
        consume_tps "consumeTps": f64,
        offset_table "offsetTable": BTreeMap<MessageQueue, OffsetWrapper>,
    }

    /// How far it is on one queue.
    OffsetWrapper {
        broker_offset "brokerOffset": i64,
        consumer_offset "consumerOffset": i64,
        last_timestamp "lastTimestamp": i64,
        pull_offset "pullOffset": i64,
    }

    /// How far all groups are.
    ConsumeStatsList {
        broker_addr "brokerAddr": Option<String>,
        consume_stats_list "consumeStatsList": Vec<BTreeMap<String, Vec<ConsumeStats>>>,
        total_diff "totalDiff": i64,
        total_inflight_diff "totalInflightDiff": i64,
    }

    /// What a topic's queues hold.
    TopicStatsTable {
        offset_table "offsetTable": BTreeMap<MessageQueue, TopicOffset>,
        topic_put_tps "topicPutTps": f64,
    }

    /// What one queue holds.
    TopicOffset {
        last_update_timestamp "lastUpdateTimestamp": i64,
        max_offset "maxOffset": i64,
        min_offset "minOffset": i64,
    }

    /// One item of the statistics.
    BrokerStatsData {
        stats_day "statsDay": BrokerStatsItem,
        stats_hour "statsHour": BrokerStatsItem,
        stats_minute "statsMinute": BrokerStatsItem,
    }

    /// It, over one span.
    BrokerStatsItem {
        /// The average of one event.
        avgpt "avgpt": f64,
        sum "sum": i64,
        tps "tps": f64,
    }

    /// The times of each queue of a topic.
    QueryConsumeTimeSpanBody {
        consume_time_span_set "consumeTimeSpanSet": Vec<QueueTimeSpan>,
    }

    /// Oldest, newest and consumed time of one queue, milliseconds since 1970-01-01 UTC.
    QueueTimeSpan {
        consume_time_stamp "consumeTimeStamp": i64,
        delay_time "delayTime": i64,
        max_time_stamp "maxTimeStamp": i64,
        message_queue "messageQueue": MessageQueue,
        min_time_stamp "minTimeStamp": i64,
    }

    /// Entries of a consume queue.
    QueryConsumeQueueResponseBody {
        filter_data "filterData": Option<String>,
        max_queue_index "maxQueueIndex": i64,
        min_queue_index "minQueueIndex": i64,
        queue_data "queueData": Vec<ConsumeQueueData>,
        subscription_data "subscriptionData": Option<SubscriptionData>,
    }

    /// One of them.
    ConsumeQueueData {
        bit_map "bitMap": Option<String>,
        eval "eval": bool,
        extend_data_json "extendDataJson": Option<String>,
        msg "msg": Option<String>,
        physic_offset "physicOffset": i64,
        physic_size "physicSize": i32,
        tags_code "tagsCode": i64,
    }
}
