//! The table of the broker's keys: field, Java key, type, default, whether it may change while the
//! broker runs (`live`) or only at its start (`fixed`), and the numbers that are allowed.

use thrustmq_settings::{FixedKeys, Rules};

use super::host::{self, default_root_dir, environment, processors};
use super::without_effect::WITHOUT_EFFECT;
use super::words::{BrokerRole, FlushDiskType, RequestMode};

const RULES: Rules = Rules {
    without_effect: WITHOUT_EFFECT,
    never_changed: &[],
    fixed_keys: FixedKeys::Refused,
};

thrustmq_settings::config! {
    /// What the broker is told, by the file of `-c`, by `--set` and by mqadmin.
    BrokerConfig with RULES {
        // Who it is, and where.
        /// Cluster that the broker belongs to.
        broker_cluster_name "brokerClusterName": String = "DefaultCluster".to_owned(), fixed;
        /// Name that clients see in routes; brokers of one name hold the same messages.
        broker_name "brokerName": String = host::name(), fixed;
        /// Number among the brokers of one name: a master is 0, and this broker is one.
        broker_id "brokerId": i64 = 0, fixed in 0..=0;
        /// What it is to the others of its name. It has no replicas: other words are refused.
        broker_role "brokerRole": BrokerRole = BrokerRole::AsyncMaster, fixed;
        /// Name servers, separated by `;`.
        namesrv_addr "namesrvAddr": Option<String> = environment("NAMESRV_ADDR"), fixed;
        /// Address that clients are told.
        broker_ip1 "brokerIP1": String = host::address(), fixed;
        /// Address that replicas are told.
        broker_ip2 "brokerIP2": String = host::address(), fixed;
        /// Address to listen on.
        bind_address "bindAddress": String = "0.0.0.0".to_owned(), fixed;
        /// Main port; the fast port is two below.
        listen_port "listenPort": u16 = 10911, fixed;
        /// Port that replicas are told; 0 is the one above the main port.
        ha_listen_port "haListenPort": u16 = 0, fixed;
        /// What clients may do here: 4 read, 2 write.
        broker_permission "brokerPermission": i32 = 6, live in 0..=7;
        /// Keys that mqadmin may not change, separated by `;`.
        config_black_list "configBlackList": String = "configBlackList;brokerConfigPath".to_owned(), fixed;

        // Light queues: queues `%LMQ%…` whose entries point at messages of other topics.
        /// Whether there are light queues; `enableMultiDispatch` has to be on as well.
        light_queues "enableLmq": bool = false, fixed;
        /// Whether messages go to several queues.
        multi_dispatch "enableMultiDispatch": bool = false, fixed;
        /// Light queues, at most.
        light_queues_max "maxLmqConsumeQueueNum": usize = 20_000, fixed in 1..=10_000_000;

        // Connections.
        /// A connection without traffic is closed after this long, seconds.
        server_channel_idle_seconds_max "serverChannelMaxIdleTimeSeconds": u32 = 120, fixed in 1..=86_400;
        /// Asynchronous calls to clients under way at most.
        server_async_calls_max "serverAsyncSemaphoreValue": usize = 64, fixed in 1..=1_000_000;
        /// Oneway calls to clients under way at most.
        server_oneway_calls_max "serverOnewaySemaphoreValue": usize = 256, fixed in 1..=1_000_000;
        /// Send buffer of a socket, bytes; 0 leaves it to the system.
        server_socket_send_bytes "serverSocketSndBufSize": u32 = 0, fixed;
        /// Receive buffer of a socket, bytes; 0 leaves it to the system.
        server_socket_receive_bytes "serverSocketRcvBufSize": u32 = 0, fixed;
        /// A stop waits this long for requests under way, seconds.
        shutdown_wait_seconds "shutdownWaitTimeSeconds": u32 = 30, fixed in 0..=3_600;

        // Registration with the name servers.
        /// Time between two registrations, milliseconds; 10,000 to 60,000 are kept.
        register_period_ms "registerNameServerPeriod": i64 = 30_000, fixed in 1_000..=600_000;
        /// A registration may take this long, milliseconds.
        register_timeout_ms "registerBrokerTimeoutMills": i64 = 24_000, live in 1..=600_000;
        /// Whether to register even if the name server knows this data version.
        force_register "forceRegister": bool = true, live;

        // Topics and groups.
        /// Whether sending to an unknown topic creates it.
        auto_create_topic "autoCreateTopicEnable": bool = true, live;
        /// Queues of a topic that is created so, at most.
        default_topic_queues "defaultTopicQueueNums": i32 = 8, fixed in 1..=65_536;
        /// Whether a consumer of an unknown group creates it.
        auto_create_group "autoCreateSubscriptionGroup": bool = true, live;
        /// Whether the system may create its own groups where others may not.
        create_system_group "enableCreateSysGroup": bool = true, live;
        /// Whether the topic of the cluster's name may be used.
        cluster_topic_enable "clusterTopicEnable": bool = true, fixed;
        /// Whether the topic of the broker's name may be used.
        broker_topic_enable "brokerTopicEnable": bool = true, fixed;
        /// Whether the topic of clients' traces is created.
        trace_topic_enable "traceTopicEnable": bool = false, fixed;
        /// Name of that topic.
        trace_topic "msgTraceTopicName": String = "RMQ_SYS_TRACE_TOPIC".to_owned(), fixed;
        /// Queues of the topic of POP checkpoints.
        revive_queues "reviveQueueNum": i32 = 8, fixed in 1..=1_024;
        /// Whether the names of system topics are refused by topic commands.
        validate_system_topic "validateSystemTopicWhenUpdateTopic": bool = true, live;
        /// Whether a topic may take every type of message.
        mixed_message_type "enableMixedMessageType": bool = false, live;
        /// Whether a topic takes its POP retry topics along when it is deleted.
        clear_retry_topic "clearRetryTopicWhenDeleteTopic": bool = true, live;
        /// Whether lists of topics and groups are given out in pages.
        split_metadata "enableSplitMetadata": bool = true, live;
        /// Entries of a page at most.
        split_metadata_max "splitMetadataSize": usize = 2_000, live in 1..=1_000_000;

        // Sending.
        /// Longest message body, bytes.
        message_bytes_max "maxMessageSize": i32 = 4_194_304, live in 1..=16_000_000;
        /// Delay of each level: a number and one of s, m, h, d.
        message_delay_level "messageDelayLevel": String =
            "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".to_owned(), fixed;
        /// Time between two writes of delayOffset.json, milliseconds.
        delay_offset_flush_ms "flushDelayOffsetInterval": i64 = 10_000, live in 100..=3_600_000;
        /// Whether messages may have a time of their own at which they are delivered.
        timer_enable "timerWheelEnable": bool = true, fixed;
        /// How far ahead that time may be, seconds.
        timer_delay_seconds_max "timerMaxDelaySec": i64 = 259_200, live in 1..=2_147_483_647;
        /// Times are told apart by so much, milliseconds; the wheel has so many of them that it goes
        /// round in fourteen days of seconds.
        timer_precision_ms "timerPrecisionMs": i64 = 1_000, fixed in 1..=60_000;
        /// Messages further ahead than this are stored anew on the way, so that they are not deleted
        /// with old files; in units of the precision.
        timer_roll_window_slots "timerRollWindowSlot": i64 = 172_800, fixed in 0..=2_147_483_647;
        /// Time between two notes of how far the timer has come, milliseconds.
        timer_flush_interval_ms "timerFlushIntervalMs": i64 = 1_000, live in 10..=600_000;
        /// Size of a file of the timer log, bytes.
        timer_log_file_bytes "mappedFileSizeTimerLog": u64 = 104_857_600, fixed in 4_096..=2_147_483_647;
        /// Messages that may wait for one time; from here on some are refused, and from twice as many all.
        timer_slot_messages_max "timerCongestNumEachSlot": i64 = 2_147_483_647, live in 1..=2_147_483_647;
        /// Whether messages stay in the timer topic and do not enter the wheel.
        timer_stop_enqueue "timerStopEnqueue": bool = false, live;
        /// Whether messages stay in the wheel, due or not.
        timer_stop_dequeue "timerStopDequeue": bool = false, live;
        /// Whether messages that wait in the timer may be recalled.
        recall_enable "recallMessageEnable": bool = false, live;
        /// Whether that holds while the broker may not be written to.
        recall_not_writable "allowRecallWhenBrokerNotWriteable": bool = true, live;
        /// Whether a recall names the topic beside the message's key.
        recall_key_with_topic "appendTopicForTimerDeleteKey": bool = false, live;
        /// Whether the region and trace switch are told to producers.
        trace_on "traceOn": bool = true, live;
        /// Region that is told to producers.
        region_id "regionId": String = "DefaultRegion".to_owned(), live;
        /// Whether replies to requests are stored as well, beside being pushed to who asked.
        store_reply "storeReplyMessageEnable": bool = true, live;
        /// Sends are refused before this time, milliseconds since 1970.
        start_accept_send_ms "startAcceptSendRequestTimeStamp": i64 = 0, live in 0..=i64::MAX;

        // Transactions.
        /// Whether half messages are refused.
        reject_transactions "rejectTransactionMessage": bool = false, live;
        /// How long after its birth a half message is checked first, milliseconds.
        transaction_timeout_ms "transactionTimeOut": i64 = 6_000, live in 0..=86_400_000;
        /// A half message is given up after this many checks.
        transaction_check_max "transactionCheckMax": i32 = 15, live in 0..=1_000_000;
        /// Time between two looks for half messages to check, milliseconds.
        transaction_check_interval_ms "transactionCheckInterval": i64 = 30_000, live in 1..=86_400_000;
        /// Longest body of a message that marks half messages as done, bytes.
        transaction_op_bytes_max "transactionOpMsgMaxSize": usize = 4_096, live in 1..=1_048_576;
        /// How long such a mark may wait for others, milliseconds.
        transaction_op_interval_ms "transactionOpBatchInterval": i64 = 3_000, live in 0..=600_000;
        /// Time between two writes of transactionMetrics, milliseconds.
        transaction_metrics_flush_ms "transactionMetricFlushInterval": i64 = 10_000, live in 100..=3_600_000;

        // Pulling.
        /// Whether a pull without a message waits for one.
        long_polling "longPollingEnable": bool = true, live;
        /// How long it waits where long polling is off, milliseconds.
        short_polling_ms "shortPollingTimeMills": i64 = 1_000, live in 1..=60_000;
        /// Whether lite pull consumers are served.
        lite_pull_enable "litePullMessageEnable": bool = true, live;
        /// Whether consumers that lag far behind are sent to a replica.
        slave_read "slaveReadEnable": bool = false, live;
        /// Whether pull consumers are kept out.
        reject_pull_consumer "rejectPullConsumerEnable": bool = false, live;
        /// Whether messages can be filtered by SQL92 over their properties. On, where Java's is off.
        property_filter "enablePropertyFilter": bool = true, live;
        /// How long the expression of a group without consumers is kept, milliseconds.
        dead_filter_kept_ms "filterDataCleanTimeSpan": i64 = 86_400_000, live in 1_000..=31_536_000_000;
        /// Per cent of wrong hits of the bit positions that consumerFilter.json keeps for a group.
        bloom_error_percent "maxErrorRateOfBloomFilter": i32 = 20, fixed in 1..=99;
        /// Groups with an expression in a topic that those positions are meant for.
        bloom_groups "expectConsumerNumUseFilter": i32 = 32, fixed in 1..=100_000;
        /// Bytes of one answer, of messages that are in memory.
        memory_transfer_bytes_max "maxTransferBytesOnMessageInMemory": usize = 262_144, fixed in 1..=134_217_728;
        /// Messages of one answer, of messages that are in memory.
        memory_transfer_messages_max "maxTransferCountOnMessageInMemory": usize = 32, fixed in 1..=100_000;
        /// Bytes of one answer, of messages that are only on disk.
        disk_transfer_bytes_max "maxTransferBytesOnMessageInDisk": usize = 65_536, fixed in 1..=134_217_728;
        /// Messages of one answer, of messages that are only on disk.
        disk_transfer_messages_max "maxTransferCountOnMessageInDisk": usize = 8, fixed in 1..=100_000;
        /// Bytes of a queue that one pull with a filter looks through, at most: 20 are a message.
        filter_bytes_max "maxFilterMessageSize": u32 = 16_000, fixed in 20..=20_000_000;
        /// Per cent of the memory that recent messages are taken to fill.
        memory_ratio_max "accessMessageInMemoryMaxRatio": usize = 40, fixed in 0..=100;
        /// Messages of one answer to a query by key.
        query_messages_max "maxMsgsNumBatch": usize = 64, fixed in 1..=100_000;
        /// Messages of one answer to a query by unique id.
        default_query_messages_max "defaultQueryMaxNum": i32 = 32, live in 1..=100_000;

        // Popping.
        /// Threads for acknowledgements.
        ack_threads "ackMessageThreadPoolNums": usize = 16, fixed in 1..=1_024;
        /// Acknowledgements that wait for a thread, at most.
        ack_queue_max "ackThreadPoolQueueCapacity": usize = 100_000, fixed in 1..=10_000_000;
        /// Longest wait for a thread that acknowledges, milliseconds.
        ack_queue_wait_ms_max "waitTimeMillsInAckQueue": i64 = 3_000, live in 1..=3_600_000;
        /// Whether messages are retried in topics whose names can be taken apart.
        retry_topic_v2 "enableRetryTopicV2": bool = false, live;
        /// Whether the other retry topics are read then, too.
        read_retry_topic_v1 "retrieveMessageFromPopRetryTopicV1": bool = true, live;
        /// Pops of a hundred that look for messages to retry first.
        pop_from_retry_percent "popFromRetryProbability": usize = 20, live in 0..=100;
        /// The same of topics whose messages have priorities.
        priority_pop_from_retry_percent "popFromRetryProbabilityForPriority": usize = 0, live in 0..=100;
        /// Whether the highest number is the most urgent priority there; otherwise the lowest is.
        priority_ascends "priorityOrderAsc": bool = true, live;
        /// Whether retried messages tell their retry topic, and not the topic they were sent to.
        pop_tells_retry_topic "popResponseReturnActualRetryTopic": bool = false, live;
        /// Whether a group that never popped a topic begins with all of it if none of it is old.
        pop_init_in_memory "initPopOffsetByCheckMsgInMem": bool = true, live;
        /// Pops of one group and queue that wait for messages, at most.
        pop_polling_of_queue_max "popPollingSize": usize = 1_024, live in 0..=1_000_000;
        /// Groups and queues that pops wait for, at most.
        pop_polling_keys_max "popPollingMapSize": usize = 100_000, live in 0..=10_000_000;
        /// Pops that wait for messages, at most.
        pop_polling_max "maxPopPollingSize": usize = 100_000, live in 0..=10_000_000;
        /// Whether the messages of a queue that a group may have on lease are limited.
        pop_leases_limited "enablePopMessageThreshold": bool = false, live;
        /// How many they are then.
        pop_leases_max "popInflightMessageThreshold": usize = 10_000, live in 1..=1_000_000;

        // Consumers.
        /// Whether consumers are told that their group has changed.
        notify_consumer_ids_changed "notifyConsumerIdsChangedEnable": bool = true, live;
        /// Silence after which a client is forgotten, milliseconds.
        channel_expired_ms "channelExpiredTimeout": i64 = 120_000, live in 1_000..=86_400_000;
        /// Time between two writes of consumerOffset.json, milliseconds.
        consumer_offset_flush_ms "flushConsumerOffsetInterval": i64 = 5_000, live in 100..=3_600_000;
        /// Commits after which the data version of the offsets moves.
        consumer_offset_version_step "consumerOffsetUpdateVersionStep": u64 = 500, fixed in 1..=1_000_000_000;
        /// Whether the broker itself resets offsets, or asks the consumers to.
        server_side_reset "useServerSideResetOffset": bool = true, live;

        /// A lock of an ordered consumer ends when it was not renewed for this long, milliseconds. Java has the
        /// system property rocketmq.broker.rebalance.lockMaxLiveTime.
        lock_live_ms_max "lockMaxLiveTime": i64 = 60_000, live in 1_000..=3_600_000;
        /// How groups take messages for which no mode was set.
        default_request_mode "defaultMessageRequestMode": RequestMode = RequestMode::Pull, live;
        /// How many members each member of a group that pops shares queues with; all of them below 1.
        default_pop_share_queues "defaultPopShareQueueNum": i32 = -1, live;
        /// Whether the broker divides queues when it is asked; otherwise everyone is given all.
        server_load_balancer "serverLoadBalancerEnable": bool = true, live;
        /// How old the queues of a topic may be before a name server is asked again, milliseconds.
        route_poll_ms "loadBalancePollNameServerInterval": i64 = 30_000, live in 100..=3_600_000;

        // Statistics.
        /// Whether queues are counted one by one.
        detail_stat "enableDetailStat": bool = true, fixed;
        /// Whether counters go with their topic or group.
        auto_delete_unused_stats "autoDeleteUnusedStats": bool = true, live;

        // Threads. One thread sends: the log has one writer.
        /// Threads that send.
        send_threads "sendMessageThreadPoolNums": usize = 1, fixed in 1..=1_024;
        /// Threads that pull.
        pull_threads "pullMessageThreadPoolNums": usize = 16 + 2 * processors(), fixed in 1..=1_024;
        /// Threads that pull for lite pull consumers.
        lite_pull_threads "litePullMessageThreadPoolNums": usize = 16 + 2 * processors(), fixed in 1..=1_024;
        /// Threads that take replies.
        reply_threads "processReplyMessageThreadPoolNums": usize = 16 + 2 * processors(), fixed in 1..=1_024;
        /// Threads that query.
        query_threads "queryMessageThreadPoolNums": usize = 8 + 2 * processors(), fixed in 1..=1_024;
        /// Threads for everything without a pool of its own.
        admin_threads "adminBrokerThreadPoolNums": usize = 16, fixed in 1..=1_024;
        /// Threads for clients that leave.
        client_manage_threads "clientManageThreadPoolNums": usize = 32, fixed in 1..=1_024;
        /// Threads for offsets and group members.
        consumer_manage_threads "consumerManageThreadPoolNums": usize = 32, fixed in 1..=1_024;
        /// Threads that divide queues among consumers.
        load_balance_threads "loadBalanceProcessorThreadPoolNums": usize = 32, fixed in 1..=1_024;
        /// Threads that end transactions.
        end_transaction_threads "endTransactionThreadPoolNums": usize = 8 + 2 * processors(), fixed in 1..=1_024;
        /// Threads for heartbeats.
        heartbeat_threads "heartbeatThreadPoolNums": usize = processors().min(32), fixed in 1..=1_024;
        /// Requests that wait for a sending thread, at most.
        send_queue_max "sendThreadPoolQueueCapacity": usize = 10_000, fixed in 1..=10_000_000;
        /// Requests that wait for a pulling thread, at most.
        pull_queue_max "pullThreadPoolQueueCapacity": usize = 100_000, fixed in 1..=10_000_000;
        /// Requests that wait for a lite-pull thread, at most.
        lite_pull_queue_max "litePullThreadPoolQueueCapacity": usize = 100_000, fixed in 1..=10_000_000;
        /// Replies that wait for a thread, at most.
        reply_queue_max "replyThreadPoolQueueCapacity": usize = 10_000, fixed in 1..=10_000_000;
        /// Requests that wait for a query thread, at most.
        query_queue_max "queryThreadPoolQueueCapacity": usize = 20_000, fixed in 1..=10_000_000;
        /// Requests that wait for an admin thread, at most.
        admin_queue_max "adminBrokerThreadPoolQueueCapacity": usize = 10_000, fixed in 1..=10_000_000;
        /// Requests that wait for a client-manage thread, at most.
        client_manage_queue_max "clientManagerThreadPoolQueueCapacity": usize = 1_000_000, fixed in 1..=10_000_000;
        /// Requests that wait for a consumer-manage thread, at most.
        consumer_manage_queue_max "consumerManagerThreadPoolQueueCapacity": usize = 1_000_000, fixed in 1..=10_000_000;
        /// Requests that wait for a load-balance thread, at most.
        load_balance_queue_max "loadBalanceThreadPoolQueueCapacity": usize = 100_000, fixed in 1..=10_000_000;
        /// Ends of transactions that wait for a thread, at most.
        end_transaction_queue_max "endTransactionPoolQueueCapacity": usize = 100_000, fixed in 1..=10_000_000;
        /// Requests that wait for a heartbeat thread, at most.
        heartbeat_queue_max "heartbeatThreadPoolQueueCapacity": usize = 50_000, fixed in 1..=10_000_000;

        // Fast failure: a request that waited too long is answered at once that the broker is busy.
        /// Whether requests fail fast.
        fast_failure "brokerFastFailureEnable": bool = true, live;
        /// Bytes of sends in flight, at most: queued, being stored or waiting for the disk. Ours, not Java's.
        send_bytes_max "sendBytesInFlightMax": usize = 268_435_456, live in 1_048_576..=1_099_511_627_776;
        /// Longest wait for a sending thread while appends are slow, milliseconds; others wait until their
        /// sender has given up.
        send_queue_wait_ms_max "waitTimeMillsInSendQueue": i64 = 200, live in 1..=3_600_000;
        /// Longest wait for a pulling thread, milliseconds.
        pull_queue_wait_ms_max "waitTimeMillsInPullQueue": i64 = 5_000, live in 1..=3_600_000;
        /// Longest wait for a lite-pull thread, milliseconds.
        lite_pull_queue_wait_ms_max "waitTimeMillsInLitePullQueue": i64 = 5_000, live in 1..=3_600_000;
        /// Longest wait for a thread that ends transactions, milliseconds.
        end_transaction_queue_wait_ms_max "waitTimeMillsInTransactionQueue": i64 = 3_000, live in 1..=3_600_000;
        /// Longest wait for a heartbeat thread, milliseconds.
        heartbeat_queue_wait_ms_max "waitTimeMillsInHeartbeatQueue": i64 = 31_000, live in 1..=3_600_000;
        /// Longest wait for an admin thread, milliseconds.
        admin_queue_wait_ms_max "waitTimeMillsInAdminBrokerQueue": i64 = 5_000, live in 1..=3_600_000;
        /// Sends are refused while an append takes longer than this, milliseconds.
        log_busy_ms_max "osPageCacheBusyTimeOutMills": i64 = 1_000, live in 1..=10_000_000;

        // Disk.
        /// Directory of everything that is kept.
        store_root_dir "storePathRootDir": String = default_root_dir(), fixed;
        /// Directory of the log; `commitlog` in the root directory if absent.
        commit_log_dir "storePathCommitLog": Option<String> = None, fixed;
        /// When a message is on disk.
        flush_disk_type "flushDiskType": FlushDiskType = FlushDiskType::AsyncFlush, fixed;
        /// A producer waits this long for its message to be on disk, milliseconds.
        sync_flush_timeout_ms "syncFlushTimeout": i64 = 5_000, fixed in 1..=600_000;
        /// Time between two flushes of the log, milliseconds.
        flush_interval_ms "flushIntervalCommitLog": i64 = 500, fixed in 1..=600_000;
        /// Pages of 4,096 bytes that such a flush is worth; fewer wait for company.
        flush_pages_min "flushCommitLogLeastPages": i64 = 4, fixed in 0..=1_000_000;
        /// But no longer than this, milliseconds.
        flush_delay_ms_max "flushCommitLogThoroughInterval": i64 = 10_000, fixed in 0..=3_600_000;
        /// Time between two flushes of queues and index, milliseconds.
        queue_flush_interval_ms "flushIntervalConsumeQueue": i64 = 1_000, fixed in 10..=600_000;
        /// Time between two flushes of what lies scattered, milliseconds: the slots of the index.
        queue_flush_thorough_ms "flushConsumeQueueThoroughInterval": i64 = 60_000, fixed in 0..=3_600_000;
        /// Size of a file of the log, bytes.
        commit_log_file_bytes "mappedFileSizeCommitLog": u64 = 1_073_741_824, fixed in 1_024..=2_147_483_647;
        /// Size of a file of a consume queue, bytes: a multiple of 20.
        consume_queue_file_bytes "mappedFileSizeConsumeQueue": u64 = 6_000_000, fixed in 20..=2_147_483_640;
        /// Whether messages can be found by key.
        message_index "messageIndexEnable": bool = true, fixed;
        /// Slots of a file of the key index.
        index_slots "maxHashSlotNum": u32 = 5_000_000, fixed in 1..=100_000_000;
        /// Entries of a file of the key index.
        index_entries "maxIndexNum": u32 = 20_000_000, fixed in 1..=100_000_000;
        /// Whether checksums are checked when the log is read back after a start.
        check_crc_on_recover "checkCRCOnRecover": bool = true, fixed;
        /// Whether messages are stored with a checksum over the whole record: the property `__CRC32#`.
        record_checksum "enabledAppendPropCRC": bool = true, fixed;
        /// Whether messages without that checksum are refused when the log is read back after a start.
        force_record_checksum "forceVerifyPropCRC": bool = false, fixed;
        /// Hours of the day at which old files are deleted, separated by `;`.
        delete_when "deleteWhen": String = "04".to_owned(), live;
        /// Files of the log are kept this long after they were last written, hours.
        file_reserved_hours "fileReservedTime": i64 = 72, live in 1..=876_000;
        /// Time between two looks at the disk and for old files, milliseconds.
        clean_interval_ms "cleanResourceInterval": i64 = 10_000, fixed in 10..=3_600_000;
        /// Files of the log that are deleted at one look, at most.
        delete_files_max "deleteFileBatchMax": usize = 10, live in 1..=1_000;
        /// Time between two deletions of files of the log, milliseconds.
        delete_pause_ms "deleteCommitLogFilesInterval": i64 = 100, live in 0..=60_000;
        /// Per cent of the disk above which old files are deleted at any hour; 10 to 95 are kept.
        disk_used_ratio_max "diskMaxUsedSpaceRatio": u32 = 75, live in 0..=100;
        /// Per cent of the disk above which even files that are not old are deleted.
        disk_clean_forcibly_ratio "diskSpaceCleanForciblyRatio": u32 = 85, live in 30..=99;
        /// Whether files that are not old are ever deleted.
        clean_forcibly "cleanFileForciblyEnable": bool = true, live;
        /// Above that, a file that a reader holds is deleted all the same after this long, milliseconds.
        held_file_ms_max "destroyMapedFileIntervalForcibly": i64 = 120_000, live in 0..=3_600_000;
        /// Per cent of the disk above which sends are refused.
        disk_warning_ratio "diskSpaceWarningLevelRatio": u32 = 90, live in 35..=99;
    }
}
