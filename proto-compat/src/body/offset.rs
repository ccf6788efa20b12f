//! Offsets by queue, and locks on queues.

use std::collections::{BTreeMap, BTreeSet};

use super::MessageQueue;
use super::table::bodies;

bodies! {
    /// Offsets that clients must go to.
    #[derive(Eq)]
    ResetOffsetBody {
        offset_table "offsetTable": BTreeMap<MessageQueue, i64>,
    }

    /// The same as a list, for clients that cannot read keys that are objects.
    #[derive(Eq)]
    ResetOffsetBodyForC {
        offset_table "offsetTable": Vec<MessageQueueForC>,
    }

    /// A queue with the offset to go to.
    #[derive(Eq)]
    MessageQueueForC {
        broker_name "brokerName": String,
        offset "offset": i64,
        queue_id "queueId": i32,
        topic "topic": String,
    }

    /// Where clients are: of one client by queue, of several by client.
    #[derive(Eq)]
    GetConsumerStatusBody {
        consumer_table "consumerTable": BTreeMap<String, BTreeMap<MessageQueue, i64>>,
        message_queue_table "messageQueueTable": BTreeMap<MessageQueue, i64>,
    }

    /// Offsets that need correction, by queue number.
    #[derive(Eq)]
    QueryCorrectionOffsetBody {
        correction_offsets "correctionOffsets": BTreeMap<i32, i64>,
    }

    /// Queues to lock.
    #[derive(Eq)]
    LockBatchRequestBody {
        client_id "clientId": String,
        consumer_group "consumerGroup": String,
        mq_set "mqSet": BTreeSet<MessageQueue>,
        only_this_broker "onlyThisBroker": bool,
    }

    /// Queues that the client now holds.
    #[derive(Eq)]
    LockBatchResponseBody {
        lock_ok_mq_set "lockOKMQSet": BTreeSet<MessageQueue>,
    }

    /// Queues to unlock.
    #[derive(Eq)]
    UnlockBatchRequestBody {
        client_id "clientId": String,
        consumer_group "consumerGroup": String,
        mq_set "mqSet": BTreeSet<MessageQueue>,
        only_this_broker "onlyThisBroker": bool,
    }
}
