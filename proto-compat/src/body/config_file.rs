//! Config files that are not also the body of a command with another name (04-store-files §4.8).
//! `topics.json` is a [`super::TopicConfigSerializeWrapper`], `subscriptionGroup.json` a
//! [`super::SubscriptionGroupWrapper`].

use std::collections::BTreeMap;

use super::DataVersion;
use super::table::bodies;

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
}
