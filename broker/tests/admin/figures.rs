use thrustmq_proto_compat::body::{
    BrokerStatsData, ConsumeStatsList, DelayOffsetSerializeWrapper, HARuntimeInfo, KVTable,
    QueryConsumeQueueResponseBody, QueryConsumeTimeSpanBody, TopicStatsTable,
};
use thrustmq_proto_compat::header::{
    GetConsumeStatsInBrokerHeader, GetEarliestMsgStoretimeRequestHeader, GetMinOffsetRequestHeader,
    GetTopicStatsInfoRequestHeader, QueryConsumeQueueRequestHeader,
    QueryConsumeTimeSpanRequestHeader, SearchOffsetRequestHeader,
    UpdateConsumerOffsetRequestHeader, ViewBrokerStatsDataRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    CleanExpiredConsumeQueue, CleanUnusedTopic, DeleteExpiredCommitLog, GetAllDelayOffset,
    GetBrokerConsumeStats, GetBrokerHaStatus, GetBrokerRuntimeInfo, GetEarliestMsgStoretime,
    GetMinOffset, GetTopicStatsInfo, QueryConsumeQueue, QueryConsumeTimeSpan,
    SearchOffsetByTimestamp, UpdateConsumerOffset, ViewBrokerStatsData,
};

use crate::harness::{Consumer, TestBroker};

/// What monitors read of `brokerStatus` (08-mqadmin).
const KEYS: &[&str] = &[
    "brokerVersionDesc",
    "brokerActive",
    "bootTimestamp",
    "runtime",
    "putTps",
    "getTotalTps",
    "getFoundTps",
    "getMissTps",
    "getTransferredTps",
    "msgPutTotalYesterdayMorning",
    "msgPutTotalTodayMorning",
    "msgPutTotalTodayNow",
    "msgGetTotalYesterdayMorning",
    "msgGetTotalTodayMorning",
    "msgGetTotalTodayNow",
    "putMessageTimesTotal",
    "putMessageSizeTotal",
    "putMessageAverageSize",
    "putMessageDistributeTime",
    "putMessageEntireTimeMax",
    "getMessageEntireTimeMax",
    "dispatchBehindBytes",
    "dispatchMaxBuffer",
    "pageCacheLockTimeMills",
    "earliestMessageTimeStamp",
    "commitLogMinOffset",
    "commitLogMaxOffset",
    "commitLogDiskRatio",
    "consumeQueueDiskRatio",
    "commitLogDirCapacity",
    "remainHowManyDataToFlush",
    "remainTransientStoreBufferNumbs",
    "timerReadBehind",
    "timerOffsetBehind",
    "timerCongestNum",
    "timerEnqueueTps",
    "timerDequeueTps",
    "EndTransactionQueueSize",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "litePullThreadPoolQueueSize",
    "queryThreadPoolQueueSize",
    "ackThreadPoolQueueSize",
];

async fn broker_with_message() -> TestBroker {
    let broker = TestBroker::start().await;
    broker.send("t", 1, "hello").await;
    let header = GetTopicStatsInfoRequestHeader {
        topic: "t".to_owned(),
    };
    broker
        .eventually("the message is in its queue", async || {
            let stats: TopicStatsTable = broker.show::<GetTopicStatsInfo, _>(&header).await;
            stats
                .offset_table
                .values()
                .any(|queue| queue.max_offset == 1)
        })
        .await;
    broker
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_every_key_that_monitors_read() {
    let broker = broker_with_message().await;
    // A send is counted when its turn ends, just after its answer.
    broker
        .eventually("the message is counted", async || {
            let info: KVTable = broker.show::<GetBrokerRuntimeInfo, _>(&()).await;
            info.table["msgPutTotalTodayNow"] == "1"
        })
        .await;
    let info: KVTable = broker.show::<GetBrokerRuntimeInfo, _>(&()).await;
    let missing: Vec<_> = KEYS
        .iter()
        .filter(|key| !info.table.contains_key(**key))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(info.table["putMessageTimesTotal"], "1");
    assert_ne!(info.table["commitLogMaxOffset"], "0");
    assert_eq!(info.table["brokerVersionDesc"], "V5_5_0");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_measured() {
    let broker = broker_with_message().await;
    let header = GetTopicStatsInfoRequestHeader {
        topic: "t".to_owned(),
    };
    let stats: TopicStatsTable = broker.show::<GetTopicStatsInfo, _>(&header).await;
    assert_eq!(stats.offset_table.len(), 4);
    let newest = stats
        .offset_table
        .values()
        .map(|queue| queue.last_update_timestamp)
        .max();
    let header = GetEarliestMsgStoretimeRequestHeader {
        topic: "t".to_owned(),
        queue_id: 1,
        ..GetEarliestMsgStoretimeRequestHeader::default()
    };
    let answer = broker
        .done::<GetEarliestMsgStoretime>(&header, vec![])
        .await;
    assert_eq!(
        answer.fields.get("timestamp"),
        Some(newest.unwrap().to_string().as_str())
    );
    let header = GetMinOffsetRequestHeader {
        topic: "t".to_owned(),
        queue_id: 1,
        ..GetMinOffsetRequestHeader::default()
    };
    let answer = broker.done::<GetMinOffset>(&header, vec![]).await;
    assert_eq!(answer.fields.get("offset"), Some("0"));
    let header = SearchOffsetRequestHeader {
        topic: "t".to_owned(),
        queue_id: 1,
        timestamp_ms: newest.unwrap() + 60_000,
        ..SearchOffsetRequestHeader::default()
    };
    let answer = broker
        .done::<SearchOffsetByTimestamp>(&header, vec![])
        .await;
    assert_eq!(answer.fields.get("offset"), Some("1"));
    let absent = GetTopicStatsInfoRequestHeader {
        topic: "u".to_owned(),
    };
    let refusal = broker.refused::<GetTopicStatsInfo>(&absent, vec![]).await;
    assert_eq!(refusal, (17, "topic[u] not exist".to_owned()));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_measured_against_their_queues() {
    let broker = broker_with_message().await;
    let consumer = Consumer::new(&broker, "one");
    consumer.join("g", &["t"]).await;
    let commit = UpdateConsumerOffsetRequestHeader {
        consumer_group: "g".to_owned(),
        topic: "t".to_owned(),
        queue_id: 1,
        commit_offset: 0,
        broker_name: None,
    };
    broker.done::<UpdateConsumerOffset>(&commit, vec![]).await;
    let header = GetConsumeStatsInBrokerHeader::default();
    let all: ConsumeStatsList = broker.show::<GetBrokerConsumeStats, _>(&header).await;
    assert_eq!(all.total_diff, 1);
    let of_group = all
        .consume_stats_list
        .iter()
        .find_map(|groups| groups.get("g"));
    assert_eq!(of_group.unwrap()[0].offset_table.len(), 4);
    let header = QueryConsumeTimeSpanRequestHeader {
        topic: "t".to_owned(),
        group: "g".to_owned(),
    };
    let spans: QueryConsumeTimeSpanBody = broker.show::<QueryConsumeTimeSpan, _>(&header).await;
    let span = &spans.consume_time_span_set[1];
    assert!(span.min_time_stamp > 0 && span.min_time_stamp == span.max_time_stamp);
    assert!(span.delay_time >= 0);
    assert_eq!(spans.consume_time_span_set[0].min_time_stamp, -1);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_entries_and_statistics_are_shown() {
    let broker = broker_with_message().await;
    let mut header = QueryConsumeQueueRequestHeader {
        topic: "t".to_owned(),
        queue_id: 1,
        index: 0,
        count: 10,
        consumer_group: Some("g".to_owned()),
    };
    let entries: QueryConsumeQueueResponseBody = broker.show::<QueryConsumeQueue, _>(&header).await;
    assert_eq!(entries.queue_data.len(), 1);
    assert_eq!(entries.filter_data.as_deref(), Some("g@t is not online!"));
    header.index = 5;
    let beyond = broker.done::<QueryConsumeQueue>(&header, vec![]).await;
    assert_eq!(
        beyond.remark.as_deref(),
        Some("Index 5 of 1@t is not exist!")
    );
    header.queue_id = 9;
    let refusal = broker.refused::<QueryConsumeQueue>(&header, vec![]).await;
    assert_eq!(refusal, (1, "9@t is not exist!".to_owned()));
    let mut header = ViewBrokerStatsDataRequestHeader {
        stats_name: "TOPIC_PUT_NUMS".to_owned(),
        stats_key: "t".to_owned(),
    };
    let _: BrokerStatsData = broker.show::<ViewBrokerStatsData, _>(&header).await;
    header.stats_key = "u".to_owned();
    let refusal = broker.refused::<ViewBrokerStatsData>(&header, vec![]).await;
    assert_eq!(
        refusal,
        (1, "The stats <TOPIC_PUT_NUMS> <u> not exist".to_owned())
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_without_replicas_says_so() {
    let broker = broker_with_message().await;
    let status: HARuntimeInfo = broker.show::<GetBrokerHaStatus, _>(&()).await;
    assert!(status.master && status.master_commit_log_max_offset > 0);
    assert!(status.ha_connection_info.is_empty());
    let delays: DelayOffsetSerializeWrapper = broker.show::<GetAllDelayOffset, _>(&()).await;
    assert!(delays.offset_table.values().all(|offset| *offset == 0));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_leaves_what_is_needed() {
    let broker = broker_with_message().await;
    broker.done::<CleanExpiredConsumeQueue>(&(), vec![]).await;
    broker.done::<CleanUnusedTopic>(&(), vec![]).await;
    broker.done::<DeleteExpiredCommitLog>(&(), vec![]).await;
    let header = GetTopicStatsInfoRequestHeader {
        topic: "t".to_owned(),
    };
    let stats: TopicStatsTable = broker.show::<GetTopicStatsInfo, _>(&header).await;
    assert!(
        stats
            .offset_table
            .values()
            .any(|queue| queue.max_offset == 1)
    );
    broker.stop().await;
}
