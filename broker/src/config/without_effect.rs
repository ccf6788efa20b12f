//! Keys of Java's broker that are taken here and change nothing, each group with its reason.
//!
//! A file that worked with Java's broker starts ours without a warning about them. Keys whose absence
//! would be missed are not here: those are unknown, and said to be.

/// They are taken with a line in the log.
pub(super) const WITHOUT_EFFECT: &[&str] = &[
    // Java's 5.5.0 reads them nowhere either.
    "timerInterceptDelayLevel",
    "timerWarmEnable",
    "cleanOfflineBrokerInterval",
    "dispatchCqCacheNum",
    "dispatchCqThreads",
    "dispatchFromSenderThread",
    "enableAsyncReput",
    "enableCleanExpiredOffset",
    "flushConsumerOffsetHistoryInterval",
    "highSpeedMode",
    "mappedFileSwapEnable",
    "cleanSwapedMapInterval",
    "commitLogForceSwapMapInterval",
    "commitLogSwapMapInterval",
    "commitLogSwapMapReserveFileNum",
    "logicQueueForceSwapMapInterval",
    "logicQueueSwapMapInterval",
    "logicQueueSwapMapReserveFileNum",
    "maxBatchDeleteFilesNum",
    "maxRecoveryCommitlogFiles",
    "maxTopicLength",
    "pullBatchMaxMessageCount",
    "putMsgIndexHightWater",
    "serverSocketBacklog",
    // Keys of versions 3 and 4 that guides still name: files lie where the root directory says.
    "abortFile",
    "checkTransactionMessageEnable",
    "storeCheckpoint",
    "storePathConsumeQueue",
    "storePathIndex",
    // There is no directory of an installation to find things in.
    "rocketmqHome",
    // What can be put later is always tried again, and what never can is skipped with a warning.
    "timerEnableRetryUntilSuccess",
    "timerSkipUnknownError",
    // What waits is counted from the timer's log at every start, and exactly from then on.
    "timerEnableCheckMetrics",
    "timerCheckMetricsWhen",
    "timerMetricSmallThreshold",
    // One thread moves timers: it has nothing to hand over, and sleeps until one is due.
    "timerGetMessageThreadNum",
    "timerPutMessageThreadNum",
    "timerEnableDisruptor",
    "timerProgressLogIntervalMs",
    "timerColdDataCheckIntervalMs",
    // One thread delivers delay levels: batches, without an order to keep among pending ones.
    "enableScheduleAsyncDeliver",
    "scheduleAsyncDeliverMaxPendingLimit",
    "scheduleAsyncDeliverMaxResendNum2Blocked",
    // Leases are in memory and in the journal at once: nothing is merged, scanned or put off.
    "enablePopBufferMerge",
    "enablePopBatchAck",
    "appendAckAsync",
    "appendCkAsync",
    "popCkStayBufferTime",
    "popCkStayBufferTimeOut",
    "popCkMaxBufferSize",
    "popCkOffsetMaxQueueSize",
    "reviveInterval",
    "reviveMaxSlow",
    "reviveScanTime",
    "reviveAckWaitMs",
    "enableSkipLongAwaitingAck",
    "skipWhenCKRePutReachMaxTimes",
    "enablePopLog",
    // A pop that waits is woken by what it waits for, and forgotten with it.
    "popLongPollingForceNotifyInterval",
    "popPollingMapExpireTimeSeconds",
    "enableNotifyAfterPopOrderLockRelease",
    // SQL92 is decided by the record itself, whose properties are at hand.
    "enableCalcFilterBitMap",
    "enableConsumeQueueExt",
    "mappedFileSizeConsumeQueueExt",
    "bitMapLengthConsumeQueueExt",
    // Java's filter of retry topics looks at SQL92 only, and clients subscribe to those topics by tag.
    "filterSupportRetry",
    // Each member's subscription goes with the member.
    "subscriptionExpiredTimeout",
    // Members are told at once that their group has changed; Java can put that off for some seconds.
    "realTimeNotifyConsumerChange",
    // The log is written through the system's page cache: there is no pool beside it, and answers are copied as fits.
    "transferMsgByHeap",
    "transientStorePoolEnable",
    "transientStorePoolSize",
    "fastFailIfNoBufferInStorePool",
    "commitIntervalCommitLog",
    "commitCommitLogLeastPages",
    "commitCommitLogThoroughInterval",
    "wakeCommitWhenPutMessage",
    // Pages that the log is about to fill are always touched beforehand, and never locked.
    "warmMapedFileEnable",
    "flushLeastPagesWhenWarmMapedFile",
    // Log and queues are written through maps of their files.
    "writeWithoutMmap",
    "sharedByteBufferNum",
    "putConsumeQueueDataByFileChannel",
    "readUnCommitted",
    // Every flush of queues takes all that is there, however little.
    "flushConsumeQueueLeastPages",
    // A failed flush always stops the broker from taking messages.
    "enableRunningFlagsInFlush",
    // A file that a reader holds is tried again at each look; files of queues go with the log, without a pause.
    "redeleteHangedFileInterval",
    "deleteConsumeQueueFilesInterval",
    // A read goes on in the next file of its queue.
    "travelCqFileNumWhenGetMessage",
    // A start reads the log from where queues and index are known to be on the disk, and once.
    "recoverConcurrently",
    "recoverThreadPoolNums",
    "enableBuildConsumeQueueConcurrently",
    "batchDispatchRequestThreadPoolNums",
    "commitLogRecoverMaxNum",
    "enableAcceleratedRecovery",
    "messageIndexSafe",
    // One writer appends, so that there is no lock to choose and no pool that waits for it.
    "useReentrantLockWhenPutMessage",
    "useABSLock",
    "spinLockCollisionRetreatOptimalDegree",
    "topicQueueLockNum",
    "asyncSendEnable",
    "putMessageFutureThreadPoolNums",
    "maxAsyncPutMessageRequests",
    "putThreadPoolQueueCapacity",
    // Connections share a few threads, as many as the processors need; what a peer has not read
    // yet is bounded for each of them.
    "serverWorkerThreads",
    "serverSelectorThreads",
    "serverCallbackExecutorThreads",
    "serverNettyWorkerGroupEnable",
    "serverPooledByteBufAllocatorEnable",
    "useEpollNativeSelector",
    "writeBufferHighWaterMark",
    "writeBufferLowWaterMark",
    "enableFastChannelEventProcess",
    // A stop always waits for requests under way.
    "enableShutdownGracefully",
    // Name servers are told of all topics, in the one form that all of them read.
    "compressedRegister",
    "compatibleWithOldNameSrv",
    "enableSingleTopicRegister",
    // The version of the delay offsets moves with each write of them.
    "delayOffsetUpdateVersionStep",
    // What Java writes into log files of its own: there are none here.
    "accountStatsEnable",
    "accountStatsPrintZeroValues",
    "commercialBaseCount",
    "commercialSizePerMsg",
    "debugLockEnable",
    "diskFallRecorded",
    "enableLogConsumeQueueRepeatedlyBuildWhenRecover",
    "isolateLogEnable",
    "printChannelGroups",
    "printChannelGroupsMinNum",
];
