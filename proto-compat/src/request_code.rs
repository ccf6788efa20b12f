//! Every request code we know, and the headers of its request and its answer (01-request-codes).
//!
//! Servers register handlers by these rows, clients send by them, so a code and its headers cannot
//! disagree. Controller, auth and container commands are absent: nothing here serves them.

use crate::commands;
use crate::header::*;

commands! {
    /// Sends a message, or a batch if the header says so.
    SendMessage "SEND_MESSAGE" = 10: SendMessageRequestHeader => SendMessageResponseHeader;
    /// Wants messages from an offset on; may wait.
    PullMessage "PULL_MESSAGE" = 11: PullMessageRequestHeader => PullMessageResponseHeader;
    /// Search by key.
    QueryMessage "QUERY_MESSAGE" = 12: QueryMessageRequestHeader => QueryMessageResponseHeader;
    /// Reads a group's committed offset.
    QueryConsumerOffset "QUERY_CONSUMER_OFFSET" = 14: QueryConsumerOffsetRequestHeader => QueryConsumerOffsetResponseHeader;
    /// Commits a group's offset.
    UpdateConsumerOffset "UPDATE_CONSUMER_OFFSET" = 15: UpdateConsumerOffsetRequestHeader => ();
    /// Creates or updates a topic.
    UpdateAndCreateTopic "UPDATE_AND_CREATE_TOPIC" = 17: CreateTopicRequestHeader => ();
    /// Creates or updates several topics.
    UpdateAndCreateTopicList "UPDATE_AND_CREATE_TOPIC_LIST" = 18: () => ();
    /// The configuration of all topics, in pages since 5.3.
    GetAllTopicConfig "GET_ALL_TOPIC_CONFIG" = 21: GetAllTopicConfigRequestHeader => GetAllTopicConfigResponseHeader;
    /// Changes the broker's settings while it runs.
    UpdateBrokerConfig "UPDATE_BROKER_CONFIG" = 25: () => ();
    /// The broker's settings.
    GetBrokerConfig "GET_BROKER_CONFIG" = 26: () => GetBrokerConfigResponseHeader;
    /// Counters of the running broker.
    GetBrokerRuntimeInfo "GET_BROKER_RUNTIME_INFO" = 28: () => ();
    /// The queue offset at a time.
    SearchOffsetByTimestamp "SEARCH_OFFSET_BY_TIMESTAMP" = 29: SearchOffsetRequestHeader => SearchOffsetResponseHeader;
    /// The offset after a queue's last message.
    GetMaxOffset "GET_MAX_OFFSET" = 30: GetMaxOffsetRequestHeader => GetMaxOffsetResponseHeader;
    /// The offset of a queue's first message.
    GetMinOffset "GET_MIN_OFFSET" = 31: GetMinOffsetRequestHeader => GetMinOffsetResponseHeader;
    /// When a queue's first message was stored.
    GetEarliestMsgStoretime "GET_EARLIEST_MSG_STORETIME" = 32: GetEarliestMsgStoretimeRequestHeader => GetEarliestMsgStoretimeResponseHeader;
    /// The record at an offset of the commit log.
    ViewMessageById "VIEW_MESSAGE_BY_ID" = 33: ViewMessageRequestHeader => ();
    /// A client's sign of life, with its groups.
    HeartBeat "HEART_BEAT" = 34: () => ();
    /// A client leaves.
    UnregisterClient "UNREGISTER_CLIENT" = 35: UnregisterClientRequestHeader => ();
    /// Returns a message to be retried.
    ConsumerSendMsgBack "CONSUMER_SEND_MSG_BACK" = 36: ConsumerSendMsgBackRequestHeader => ();
    /// Commits or rolls back a half message.
    EndTransaction "END_TRANSACTION" = 37: EndTransactionRequestHeader => ();
    /// The client ids of a group.
    GetConsumerListByGroup "GET_CONSUMER_LIST_BY_GROUP" = 38: GetConsumerListByGroupRequestHeader => ();
    /// To the client: what became of a half message.
    CheckTransactionState "CHECK_TRANSACTION_STATE" = 39: CheckTransactionStateRequestHeader => ();
    /// To the client: the group's members changed.
    NotifyConsumerIdsChanged "NOTIFY_CONSUMER_IDS_CHANGED" = 40: NotifyConsumerIdsChangedRequestHeader => ();
    /// Locks queues for orderly consumption.
    LockBatchMq "LOCK_BATCH_MQ" = 41: () => ();
    /// Unlocks queues.
    UnlockBatchMq "UNLOCK_BATCH_MQ" = 42: () => ();
    /// All groups' offsets, for a slave.
    GetAllConsumerOffset "GET_ALL_CONSUMER_OFFSET" = 43: () => ();
    /// The delay levels' offsets, for a slave.
    GetAllDelayOffset "GET_ALL_DELAY_OFFSET" = 45: () => ();
    /// Whether a subscription's expression is valid.
    CheckClientConfig "CHECK_CLIENT_CONFIG" = 46: () => ();
    /// The timer's checkpoint, for a slave.
    GetTimerCheckPoint "GET_TIMER_CHECK_POINT" = 60: () => ();
    /// The timer's metrics, for a slave.
    GetTimerMetrics "GET_TIMER_METRICS" = 61: () => ();
    /// Sets a value in a namespace.
    PutKvConfig "PUT_KV_CONFIG" = 100: PutKVConfigRequestHeader => ();
    /// Reads a value of a namespace.
    GetKvConfig "GET_KV_CONFIG" = 101: GetKVConfigRequestHeader => GetKVConfigResponseHeader;
    /// Deletes a value of a namespace.
    DeleteKvConfig "DELETE_KV_CONFIG" = 102: DeleteKVConfigRequestHeader => ();
    /// A broker announces itself and its topics.
    RegisterBroker "REGISTER_BROKER" = 103: RegisterBrokerRequestHeader => RegisterBrokerResponseHeader;
    /// A broker leaves.
    UnregisterBroker "UNREGISTER_BROKER" = 104: UnRegisterBrokerRequestHeader => ();
    /// Where a topic is.
    GetRouteInfoByTopic "GET_ROUTEINFO_BY_TOPIC" = 105: GetRouteInfoRequestHeader => ();
    /// All clusters, brokers and addresses.
    GetBrokerClusterInfo "GET_BROKER_CLUSTER_INFO" = 106: () => ();
    /// Creates or updates a group.
    UpdateAndCreateSubscriptionGroup "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP" = 200: () => ();
    /// The configuration of all groups, in pages since 5.3.
    GetAllSubscriptionGroupConfig "GET_ALL_SUBSCRIPTIONGROUP_CONFIG" = 201: GetAllSubscriptionGroupRequestHeader => GetAllSubscriptionGroupResponseHeader;
    /// Minimum, maximum and last time of each queue.
    GetTopicStatsInfo "GET_TOPIC_STATS_INFO" = 202: GetTopicStatsInfoRequestHeader => ();
    /// The connections of a consumer group.
    GetConsumerConnectionList "GET_CONSUMER_CONNECTION_LIST" = 203: GetConsumerConnectionListRequestHeader => ();
    /// The connections of a producer group.
    GetProducerConnectionList "GET_PRODUCER_CONNECTION_LIST" = 204: GetProducerConnectionListRequestHeader => ();
    /// Takes the write permission from a broker's queues.
    WipeWritePermOfBroker "WIPE_WRITE_PERM_OF_BROKER" = 205: WipeWritePermOfBrokerRequestHeader => WipeWritePermOfBrokerResponseHeader;
    /// Every topic's name.
    GetAllTopicListFromNameserver "GET_ALL_TOPIC_LIST_FROM_NAMESERVER" = 206: () => ();
    /// Deletes a group.
    DeleteSubscriptionGroup "DELETE_SUBSCRIPTIONGROUP" = 207: DeleteSubscriptionGroupRequestHeader => ();
    /// A group's progress on each queue.
    GetConsumeStats "GET_CONSUME_STATS" = 208: GetConsumeStatsRequestHeader => ();
    /// Deletes a topic and its queues.
    DeleteTopicInBroker "DELETE_TOPIC_IN_BROKER" = 215: DeleteTopicRequestHeader => ();
    /// Forgets a topic's route.
    DeleteTopicInNamesrv "DELETE_TOPIC_IN_NAMESRV" = 216: DeleteTopicFromNamesrvRequestHeader => ();
    /// Puts a topic's route.
    RegisterTopicInNamesrv "REGISTER_TOPIC_IN_NAMESRV" = 217: RegisterTopicRequestHeader => ();
    /// All values of a namespace.
    GetKvListByNamespace "GET_KVLIST_BY_NAMESPACE" = 219: GetKVListByNamespaceRequestHeader => ();
    /// To the client: reset your offsets.
    ResetConsumerClientOffset "RESET_CONSUMER_CLIENT_OFFSET" = 220: ResetOffsetRequestHeader => ();
    /// To the client: how far are you.
    GetConsumerStatusFromClient "GET_CONSUMER_STATUS_FROM_CLIENT" = 221: GetConsumerStatusRequestHeader => ();
    /// Resets a group's offsets by time.
    InvokeBrokerToResetOffset "INVOKE_BROKER_TO_RESET_OFFSET" = 222: ResetOffsetRequestHeader => ();
    /// Asks the clients of a group how far they are.
    InvokeBrokerToGetConsumerStatus "INVOKE_BROKER_TO_GET_CONSUMER_STATUS" = 223: GetConsumerStatusRequestHeader => ();
    /// The topics of a cluster.
    GetTopicsByCluster "GET_TOPICS_BY_CLUSTER" = 224: GetTopicsByClusterRequestHeader => ();
    /// Creates or updates several groups.
    UpdateAndCreateSubscriptionGroupList "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST" = 225: () => ();
    /// The groups that consume a topic.
    QueryTopicConsumeByWho "QUERY_TOPIC_CONSUME_BY_WHO" = 300: QueryTopicConsumeByWhoRequestHeader => ();
    /// Oldest, newest and consumed time of each queue.
    QueryConsumeTimeSpan "QUERY_CONSUME_TIME_SPAN" = 303: QueryConsumeTimeSpanRequestHeader => ();
    /// The system topics the name server knows.
    GetSystemTopicListFromNs "GET_SYSTEM_TOPIC_LIST_FROM_NS" = 304: () => ();
    /// The system topics on a broker.
    GetSystemTopicListFromBroker "GET_SYSTEM_TOPIC_LIST_FROM_BROKER" = 305: () => ();
    /// Deletes expired consume queues.
    CleanExpiredConsumeQueue "CLEAN_EXPIRED_CONSUMEQUEUE" = 306: () => ();
    /// What a consumer is doing; the broker passes it on.
    GetConsumerRunningInfo "GET_CONSUMER_RUNNING_INFO" = 307: GetConsumerRunningInfoRequestHeader => ();
    /// Offsets that need correction.
    QueryCorrectionOffset "QUERY_CORRECTION_OFFSET" = 308: QueryCorrectionOffsetHeader => ();
    /// Consume one message now; the broker passes it on.
    ConsumeMessageDirectly "CONSUME_MESSAGE_DIRECTLY" = 309: ConsumeMessageDirectlyResultRequestHeader => ();
    /// Sends a message, with one-letter names.
    SendMessageV2 "SEND_MESSAGE_V2" = 310: SendMessageRequestHeaderV2 => SendMessageResponseHeader;
    /// Topics with the unit flag.
    GetUnitTopicList "GET_UNIT_TOPIC_LIST" = 311: () => ();
    /// Topics with the unit subscription flag.
    GetHasUnitSubTopicList "GET_HAS_UNIT_SUB_TOPIC_LIST" = 312: () => ();
    /// Topics with the unit subscription flag only.
    GetHasUnitSubUnunitTopicList "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST" = 313: () => ();
    /// Copies one group's offsets to another.
    CloneGroupOffset "CLONE_GROUP_OFFSET" = 314: CloneGroupOffsetRequestHeader => ();
    /// One item of the statistics.
    ViewBrokerStatsData "VIEW_BROKER_STATS_DATA" = 315: ViewBrokerStatsDataRequestHeader => ();
    /// Deletes the queues of unknown topics.
    CleanUnusedTopic "CLEAN_UNUSED_TOPIC" = 316: () => ();
    /// The progress of all groups.
    GetBrokerConsumeStats "GET_BROKER_CONSUME_STATS" = 317: GetConsumeStatsInBrokerHeader => ();
    /// Changes the name server's settings while it runs.
    UpdateNamesrvConfig "UPDATE_NAMESRV_CONFIG" = 318: () => ();
    /// The name server's settings.
    GetNamesrvConfig "GET_NAMESRV_CONFIG" = 319: () => ();
    /// Sends a batch.
    SendBatchMessage "SEND_BATCH_MESSAGE" = 320: SendMessageRequestHeaderV2 => SendMessageResponseHeader;
    /// Entries of a consume queue.
    QueryConsumeQueue "QUERY_CONSUME_QUEUE" = 321: QueryConsumeQueueRequestHeader => ();
    /// Whether the broker has to register again.
    QueryDataVersion "QUERY_DATA_VERSION" = 322: QueryDataVersionRequestHeader => QueryDataVersionResponseHeader;
    /// Lets a half message be checked again.
    ResumeCheckHalfMessage "RESUME_CHECK_HALF_MESSAGE" = 323: ResumeCheckHalfMessageRequestHeader => ();
    /// Sends a reply.
    SendReplyMessage "SEND_REPLY_MESSAGE" = 324: SendMessageRequestHeader => SendMessageResponseHeader;
    /// Sends a reply, with one-letter names.
    SendReplyMessageV2 "SEND_REPLY_MESSAGE_V2" = 325: SendMessageRequestHeaderV2 => SendMessageResponseHeader;
    /// To the client: here is the reply.
    PushReplyMessageToClient "PUSH_REPLY_MESSAGE_TO_CLIENT" = 326: ReplyMessageRequestHeader => ();
    /// Gives the write permission back.
    AddWritePermOfBroker "ADD_WRITE_PERM_OF_BROKER" = 327: AddWritePermOfBrokerRequestHeader => AddWritePermOfBrokerResponseHeader;
    /// All producers' connections.
    GetAllProducerInfo "GET_ALL_PRODUCER_INFO" = 328: () => ();
    /// Deletes expired commit log files now.
    DeleteExpiredCommitLog "DELETE_EXPIRED_COMMITLOG" = 329: () => ();
    /// The topics that a group consumes.
    QueryTopicsByConsumer "QUERY_TOPICS_BY_CONSUMER" = 343: QueryTopicsByConsumerRequestHeader => ();
    /// A group's subscription to a topic.
    QuerySubscriptionByConsumer "QUERY_SUBSCRIPTION_BY_CONSUMER" = 345: QuerySubscriptionByConsumerRequestHeader => ();
    /// The configuration of one topic.
    GetTopicConfig "GET_TOPIC_CONFIG" = 351: GetTopicConfigRequestHeader => ();
    /// The configuration of one group.
    GetSubscriptionGroupConfig "GET_SUBSCRIPTIONGROUP_CONFIG" = 352: GetSubscriptionGroupConfigRequestHeader => ();
    /// Sets or reads whether a group may read a topic.
    UpdateAndGetGroupForbidden "UPDATE_AND_GET_GROUP_FORBIDDEN" = 353: UpdateGroupForbiddenRequestHeader => ();
    /// A pull of the lite pull consumer.
    LitePullMessage "LITE_PULL_MESSAGE" = 361: PullMessageRequestHeader => PullMessageResponseHeader;
    /// Cancels a timer message.
    RecallMessage "RECALL_MESSAGE" = 370: RecallMessageRequestHeader => RecallMessageResponseHeader;
    /// The broker divides the queues.
    QueryAssignment "QUERY_ASSIGNMENT" = 400: () => ();
    /// Whether a group pulls or pops.
    SetMessageRequestMode "SET_MESSAGE_REQUEST_MODE" = 401: () => ();
    /// All groups' modes, for a slave.
    GetAllMessageRequestMode "GET_ALL_MESSAGE_REQUEST_MODE" = 402: () => ();
    /// The members of a broker group.
    GetBrokerMemberGroup "GET_BROKER_MEMBER_GROUP" = 901: GetBrokerMemberGroupRequestHeader => ();
    /// A broker's light sign of life.
    BrokerHeartbeat "BROKER_HEARTBEAT" = 904: BrokerHeartbeatRequestHeader => ();
    /// To the broker: the smallest broker id is another.
    NotifyMinBrokerIdChange "NOTIFY_MIN_BROKER_ID_CHANGE" = 905: NotifyMinBrokerIdChangeRequestHeader => ();
    /// Master and slave exchange addresses.
    ExchangeBrokerHaInfo "EXCHANGE_BROKER_HA_INFO" = 906: ExchangeHAInfoHeader => ExchangeHAInfoHeader;
    /// How replication goes.
    GetBrokerHaStatus "GET_BROKER_HA_STATUS" = 907: () => ();
    /// Sets how far the master is flushed.
    ResetMasterFlushOffset "RESET_MASTER_FLUSH_OFFSET" = 908: ResetMasterFlushOffsetHeader => ();
    /// The broker's epochs.
    GetBrokerEpochCache "GET_BROKER_EPOCH_CACHE" = 1007: () => ();
    /// To the broker: another master.
    NotifyBrokerRoleChanged "NOTIFY_BROKER_ROLE_CHANGED" = 1008: NotifyBrokerRoleChangedRequestHeader => ();
    /// Takes messages on lease.
    PopMessage "POP_MESSAGE" = 200050: PopMessageRequestHeader => PopMessageResponseHeader;
    /// A message on lease is done.
    AckMessage "ACK_MESSAGE" = 200051: AckMessageRequestHeader => ();
    /// Reads without a lease.
    PeekMessage "PEEK_MESSAGE" = 200052: PeekMessageRequestHeader => PopMessageResponseHeader;
    /// Makes a lease longer or shorter.
    ChangeMessageInvisibleTime "CHANGE_MESSAGE_INVISIBLETIME" = 200053: ChangeInvisibleTimeRequestHeader => ChangeInvisibleTimeResponseHeader;
    /// Waits until there are messages.
    Notification "NOTIFICATION" = 200054: NotificationRequestHeader => NotificationResponseHeader;
    /// How many POP requests wait.
    PollingInfo "POLLING_INFO" = 200055: PollingInfoRequestHeader => PollingInfoResponseHeader;
    /// Many messages on lease are done.
    BatchAckMessage "BATCH_ACK_MESSAGE" = 200151: () => ();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::CommandSpec;

    #[test]
    fn names_are_found_by_code() {
        assert_eq!(name_of(SendMessageV2::CODE), Some("SEND_MESSAGE_V2"));
        assert_eq!(name_of(200_050), Some("POP_MESSAGE"));
        assert_eq!(name_of(99_999), None);
    }
}
