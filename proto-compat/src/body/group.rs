//! Consumer groups: their configuration, and lists of them.

use std::collections::{BTreeMap, BTreeSet};

use super::table::bodies;
use super::{DataVersion, GroupRetryPolicyType};

bodies! {
    /// How a broker treats a group.
    SubscriptionGroupConfig {
        attributes "attributes": BTreeMap<String, String>,
        broker_id "brokerId": i64,
        consume_broadcast_enable "consumeBroadcastEnable": bool = true,
        consume_enable "consumeEnable": bool = true,
        consume_from_min_enable "consumeFromMinEnable": bool = true,
        consume_message_orderly "consumeMessageOrderly": bool,
        consume_timeout_minute "consumeTimeoutMinute": i32 = 15,
        group_name "groupName": String,
        group_retry_policy "groupRetryPolicy": GroupRetryPolicy,
        group_sys_flag "groupSysFlag": i32,
        notify_consumer_ids_changed_enable "notifyConsumerIdsChangedEnable": bool = true,
        retry_max_times "retryMaxTimes": i32 = 16,
        retry_queue_nums "retryQueueNums": i32 = 1,
        subscription_data_set "subscriptionDataSet": Option<Vec<SimpleSubscriptionData>>,
        /// The broker to pull from when the master is busy.
        which_broker_when_consume_slowly "whichBrokerWhenConsumeSlowly": i64 = 1,
    }

    /// How the delay between retries grows; without a policy of its type, by Java's default.
    GroupRetryPolicy {
        customized_retry_policy "customizedRetryPolicy": Option<CustomizedRetryPolicy>,
        exponential_retry_policy "exponentialRetryPolicy": Option<ExponentialRetryPolicy>,
        r#type "type": GroupRetryPolicyType,
    }

    /// Delays by number of retry, milliseconds.
    CustomizedRetryPolicy {
        next "next": Vec<i64> = CUSTOMIZED_DELAYS_MS.to_vec(),
    }

    /// `initial` times `multiplier` for each retry, up to `max`; milliseconds.
    ExponentialRetryPolicy {
        initial "initial": i64 = 5_000,
        max "max": i64 = 7_200_000,
        multiplier "multiplier": i64 = 2,
    }

    /// A subscription that is bound to a group.
    SimpleSubscriptionData {
        expression "expression": Option<String>,
        expression_type "expressionType": Option<String>,
        topic "topic": String,
        version "version": i64,
    }

    /// All groups of a broker: `subscriptionGroup.json`.
    SubscriptionGroupWrapper {
        data_version "dataVersion": DataVersion,
        /// Group, topic, bits.
        forbidden_table "forbiddenTable": BTreeMap<String, BTreeMap<String, i32>>,
        subscription_group_table "subscriptionGroupTable": BTreeMap<String, SubscriptionGroupConfig>,
    }

    /// Groups to create.
    SubscriptionGroupList {
        group_config_list "groupConfigList": Vec<SubscriptionGroupConfig>,
    }

    /// Names of groups.
    GroupList {
        group_list "groupList": BTreeSet<String>,
    }

    /// Whether a group may read a topic.
    GroupForbidden {
        group "group": Option<String>,
        readable "readable": Option<bool>,
        topic "topic": Option<String>,
    }
}

/// 1 s, 5 s, 10 s, 30 s, 1 to 10 min, 20 min, 30 min, 1 h, 2 h.
const CUSTOMIZED_DELAYS_MS: [i64; 18] = [
    1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000,
    480_000, 540_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
];

impl SubscriptionGroupConfig {
    /// A group with Java's defaults.
    pub fn new(group_name: impl Into<String>) -> Self {
        Self {
            group_name: group_name.into(),
            ..Self::default()
        }
    }
}
