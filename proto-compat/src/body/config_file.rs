//! Config files that are not also the body of a command with another name (04-store-files §4.8).
//! `topics.json` is a [`super::TopicConfigSerializeWrapper`], `subscriptionGroup.json` a
//! [`super::SubscriptionGroupWrapper`].

use std::collections::BTreeMap;

use super::table::bodies;
use super::{DataVersion, TopicQueueMappingDetail};

bodies! {
    /// `consumerOffset.json`, and the answer to GET_ALL_CONSUMER_OFFSET: `topic@group`, queue, offset.
    #[derive(Eq)]
    ConsumerOffsetSerializeWrapper {
        data_version "dataVersion": Option<DataVersion>,
        offset_table "offsetTable": BTreeMap<String, BTreeMap<i32, i64>>,
    }

    /// `delayOffset.json`: level, offset.
    #[derive(Eq)]
    DelayOffsetSerializeWrapper {
        data_version "dataVersion": Option<DataVersion>,
        offset_table "offsetTable": BTreeMap<i32, i64>,
    }

    /// `kvConfig.json` of the name server: namespace, key, value.
    #[derive(Eq)]
    KVConfigSerializeWrapper {
        config_table "configTable": BTreeMap<String, BTreeMap<String, String>>,
    }

    /// `timermetrics`: topic, messages that wait.
    #[derive(Eq)]
    TimerMetricsSerializeWrapper {
        data_version "dataVersion": Option<DataVersion>,
        timing_count "timingCount": BTreeMap<String, Metric>,
    }

    /// `transactionMetrics`: topic, half messages.
    #[derive(Eq)]
    TransactionMetricsSerializeWrapper {
        data_version "dataVersion": Option<DataVersion>,
        transaction_count "transactionCount": BTreeMap<String, Metric>,
    }

    /// A count and when it changed.
    #[derive(Eq)]
    Metric {
        count "count": i64,
        time_stamp "timeStamp": i64,
    }

    /// A client's own `offsets.json` of broadcast groups.
    #[derive(Eq)]
    OffsetSerializeWrapper {
        offset_table "offsetTable": BTreeMap<super::MessageQueue, i64>,
    }

    /// `lmqConsumerOffset.json`: as consumerOffset.json, with queues of their own by `topic@group`.
    #[derive(Eq)]
    LmqConsumerOffsetSerializeWrapper {
        data_version "dataVersion": Option<DataVersion>,
        lmq_offset_table "lmqOffsetTable": BTreeMap<String, i64>,
        offset_table "offsetTable": BTreeMap<String, BTreeMap<i32, i64>>,
    }

    /// `topicQueueMapping.json`.
    TopicQueueMappingSerializeWrapper {
        data_version "dataVersion": Option<DataVersion>,
        topic_queue_mapping_info_map "topicQueueMappingInfoMap": BTreeMap<String, TopicQueueMappingDetail>,
    }

    /// `consumerFilter.json`.
    #[derive(Eq)]
    ConsumerFilterSerializeWrapper {
        filter_data_by_topic "filterDataByTopic": BTreeMap<String, FilterDataMapByTopic>,
    }

    /// The SQL expressions on a topic, by group.
    #[derive(Eq)]
    FilterDataMapByTopic {
        group_filter_data "groupFilterData": BTreeMap<String, ConsumerFilterData>,
        topic "topic": String,
    }

    /// A group's SQL expression; times in milliseconds since 1970-01-01 UTC.
    #[derive(Eq)]
    ConsumerFilterData {
        bloom_filter_data "bloomFilterData": Option<BloomFilterData>,
        born_time "bornTime": i64,
        client_version "clientVersion": i64,
        consumer_group "consumerGroup": String,
        /// What Java works out from the two times; it is not read.
        dead "dead": bool,
        /// 0: alive.
        dead_time "deadTime": i64,
        expression "expression": String,
        expression_type "expressionType": String,
        topic "topic": String,
    }

    /// The bits that a group has in the filter's bit map.
    #[derive(Eq)]
    BloomFilterData {
        bit_num "bitNum": i32,
        bit_pos "bitPos": Vec<i32>,
    }

    /// `consumerOrderInfo.json`: `topic@group`, queue, what was popped in order.
    #[derive(Eq)]
    ConsumerOrderInfoSerializeWrapper {
        table "table": BTreeMap<String, BTreeMap<i32, OrderInfo>>,
    }

    /// One pop of an ordered queue.
    #[derive(Eq)]
    OrderInfo {
        attempt_id "a": Option<String>,
        /// A bit for each message that is done.
        commit_offset_bit "cm": i64,
        invisible_time "i": Option<i64>,
        last_consume_timestamp "l": i64,
        /// The first offset, then the distances to it.
        offset_list "o": Vec<i64>,
        offset_consumed_count "oc": Option<BTreeMap<i64, i32>>,
        offset_next_visible_time "ot": Option<BTreeMap<i64, i64>>,
        pop_time "popTime": i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson::{from_slice, to_vec};

    /// As Java 5.5.0 writes it, without `dead`, which it derives.
    #[test]
    fn filters_are_written_as_java_writes_them() {
        let json = r#"{"filterDataByTopic":{"TopicA":{"groupFilterData":{"GroupA":{"bloomFilterData":{"bitNum":112,"bitPos":[1,2,3]},"bornTime":5,"clientVersion":7,"consumerGroup":"GroupA","dead":false,"deadTime":0,"expression":"a > 1","expressionType":"SQL92","topic":"TopicA"}},"topic":"TopicA"}}}"#;
        let file: ConsumerFilterSerializeWrapper = from_slice(json.as_bytes()).unwrap();
        let data = &file.filter_data_by_topic["TopicA"].group_filter_data["GroupA"];
        assert_eq!(data.bloom_filter_data.as_ref().unwrap().bit_pos, [1, 2, 3]);
        assert_eq!(to_vec(&file).unwrap(), json.as_bytes());
    }

    #[test]
    fn order_information_is_read_by_its_short_names() {
        let json = r#"{"table":{"t@g":{0:{"a":"x","cm":3,"i":60000,"l":5,"o":[100,1,3],"oc":{100:2},"ot":{100:7},"popTime":9}}}}"#;
        let file: ConsumerOrderInfoSerializeWrapper = from_slice(json.as_bytes()).unwrap();
        let info = &file.table["t@g"][&0];
        assert_eq!(
            (info.commit_offset_bit, info.invisible_time),
            (3, Some(60_000))
        );
        assert_eq!(info.offset_consumed_count.as_ref().unwrap()[&100], 2);
        assert_eq!(to_vec(&file).unwrap(), json.as_bytes());
    }
}
