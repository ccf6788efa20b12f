//! What a consumer tells about itself.

use std::collections::BTreeMap;

use super::table::bodies;
use super::{CMResult, MessageQueue, SubscriptionData};

bodies! {
    /// A consumer's state.
    ConsumerRunningInfo {
        jstack "jstack": Option<String>,
        mq_pop_table "mqPopTable": BTreeMap<MessageQueue, PopProcessQueueInfo>,
        mq_table "mqTable": BTreeMap<MessageQueue, ProcessQueueInfo>,
        /// `PROP_NAMESERVER_ADDR`, `PROP_THREADPOOL_CORE_SIZE`, `PROP_CONSUMEORDERLY`,
        /// `PROP_CONSUMER_START_TIMESTAMP`, `PROP_CONSUME_TYPE`, `PROP_CLIENT_VERSION`.
        properties "properties": BTreeMap<String, String>,
        status_table "statusTable": BTreeMap<String, ConsumeStatus>,
        subscription_set "subscriptionSet": Vec<SubscriptionData>,
        user_consumer_info "userConsumerInfo": BTreeMap<String, String>,
    }

    /// One queue that it pulls.
    ProcessQueueInfo {
        cached_msg_count "cachedMsgCount": i32,
        cached_msg_max_offset "cachedMsgMaxOffset": i64,
        cached_msg_min_offset "cachedMsgMinOffset": i64,
        cached_msg_size_in_mib "cachedMsgSizeInMiB": i32,
        commit_offset "commitOffset": i64,
        droped "droped": bool,
        last_consume_timestamp "lastConsumeTimestamp": i64,
        last_lock_timestamp "lastLockTimestamp": i64,
        last_pull_timestamp "lastPullTimestamp": i64,
        locked "locked": bool,
        transaction_msg_count "transactionMsgCount": i32,
        transaction_msg_max_offset "transactionMsgMaxOffset": i64,
        transaction_msg_min_offset "transactionMsgMinOffset": i64,
        try_unlock_times "tryUnlockTimes": i64,
    }

    /// One queue that it pops.
    PopProcessQueueInfo {
        droped "droped": bool,
        last_pop_timestamp "lastPopTimestamp": i64,
        wait_ack_count "waitAckCount": i32,
    }

    /// Rates of one topic: round-trip times in milliseconds, messages a second.
    ConsumeStatus {
        consume_failed_msgs "consumeFailedMsgs": i64,
        consume_failed_tps "consumeFailedTPS": f64,
        consume_ok_tps "consumeOKTPS": f64,
        consume_rt "consumeRT": f64,
        pull_rt "pullRT": f64,
        pull_tps "pullTPS": f64,
    }

    /// What became of a message that was consumed directly.
    ConsumeMessageDirectlyResult {
        auto_commit "autoCommit": bool = true,
        consume_result "consumeResult": Option<CMResult>,
        order "order": bool,
        remark "remark": Option<String>,
        spent_time_mills "spentTimeMills": i64,
    }
}
