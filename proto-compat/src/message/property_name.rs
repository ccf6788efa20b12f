//! The property names that RocketMQ itself reads or writes.

macro_rules! property_names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        /// Every known name.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

property_names! {
    /// Keys to find the message by, separated by single blanks.
    KEYS = "KEYS";
    /// The tag that consumers filter by.
    TAGS = "TAGS";
    /// `false`: the producer does not wait for flush and replicas.
    WAIT_STORE_OK = "WAIT";
    /// Delay level, 1 to 18.
    DELAY_LEVEL = "DELAY";
    /// Topic that a retried message came from.
    RETRY_TOPIC = "RETRY_TOPIC";
    /// Topic that a scheduled, half or timer message is meant for.
    REAL_TOPIC = "REAL_TOPIC";
    /// Queue that a scheduled, half or timer message is meant for.
    REAL_QUEUE_ID = "REAL_QID";
    /// `true`: a half message.
    TRANSACTION_PREPARED = "TRAN_MSG";
    /// Producer group.
    PRODUCER_GROUP = "PGROUP";
    /// Smallest offset of the queue; set by clients on pulled messages.
    MIN_OFFSET = "MIN_OFFSET";
    /// Largest offset of the queue; set by clients on pulled messages.
    MAX_OFFSET = "MAX_OFFSET";
    /// Legacy.
    BUYER_ID = "BUYER_ID";
    /// Offset message id of the first delivery.
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
    /// Legacy.
    TRANSFER_FLAG = "TRANSFER_FLAG";
    /// Legacy.
    CORRECTION_FLAG = "CORRECTION_FLAG";
    /// Legacy.
    MQ2_FLAG = "MQ2_FLAG";
    /// Reconsume times, carried in a retried message.
    RECONSUME_TIME = "RECONSUME_TIME";
    /// Region of the broker.
    MSG_REGION = "MSG_REGION";
    /// Whether clients should trace.
    TRACE_ON = "TRACE_ON";
    /// The id that the producer gave.
    UNIQUE_KEY = "UNIQ_KEY";
    /// Extra of the unique key.
    EXTEND_UNIQ_INFO = "EXTEND_UNIQ_INFO";
    /// Largest number of retries.
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
    /// When the consumer began with it, set in clients only.
    CONSUME_START_TIME = "CONSUME_START_TIME";
    /// Messages in an inner batch.
    INNER_NUM = "INNER_NUM";
    /// First offset of an inner batch.
    INNER_BASE = "INNER_BASE";
    /// DLedger's deduplication.
    DUP_INFO = "DUP_INFO";
    /// Seconds before the first transaction check.
    CHECK_IMMUNITY_TIME_IN_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Queue offset of the half message that a check or commit belongs to.
    TRANSACTION_PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
    /// Transaction id given by the client.
    TRANSACTION_ID = "__transactionId__";
    /// Checks done so far.
    TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
    /// Instance (namespace) of the client.
    INSTANCE_ID = "INSTANCE_ID";
    /// Ties a reply to its request.
    CORRELATION_ID = "CORRELATION_ID";
    /// Client id that the reply goes to.
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
    /// Milliseconds that a request waits for its reply.
    TTL = "TTL";
    /// When the reply reached the broker.
    ARRIVE_TIME = "ARRIVE_TIME";
    /// When the broker pushed the reply.
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
    /// Cluster of the broker.
    CLUSTER = "CLUSTER";
    /// `reply`, or the message type.
    MESSAGE_TYPE = "MSG_TYPE";
    /// POP checkpoint: the receipt handle.
    POP_CK = "POP_CK";
    /// Queue offset inside the POP checkpoint.
    POP_CK_OFFSET = "POP_CK_OFFSET";
    /// First time that POP delivered it.
    FIRST_POP_TIME = "1ST_POP_TIME";
    /// Message group for ordered delivery.
    SHARDING_KEY = "__SHARDINGKEY";
    /// Priority of the message: the queue that it goes to.
    PRIORITY = "_SYS_MSG_PRIORITY_";
    /// Queue of a forwarded message.
    FORWARD_QUEUE_ID = "PROPERTY_FORWARD_QUEUE_ID";
    /// Legacy.
    REDIRECT = "REDIRECT";
    /// Light queues that the message goes to as well.
    INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
    /// Its offsets in those light queues.
    INNER_MULTI_QUEUE_OFFSET = "INNER_MULTI_QUEUE_OFFSET";
    /// Trace context.
    TRACE_CONTEXT = "TRACE_CONTEXT";
    /// Seconds until delivery.
    TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
    /// Time of delivery, milliseconds.
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
    /// Born host, in text.
    BORN_HOST = "__BORNHOST";
    /// Born time, in text.
    BORN_TIMESTAMP = "BORN_TIMESTAMP";
    /// When it entered the timer.
    TIMER_ENQUEUE_MS = "TIMER_ENQUEUE_MS";
    /// When it left the timer.
    TIMER_DEQUEUE_MS = "TIMER_DEQUEUE_MS";
    /// How often it was rolled on the timer wheel.
    TIMER_ROLL_TIMES = "TIMER_ROLL_TIMES";
    /// When the timer has to deliver it.
    TIMER_OUT_MS = "TIMER_OUT_MS";
    /// Unique key of the timer message to delete.
    TIMER_DEL_UNIQUE_KEY = "TIMER_DEL_UNIQKEY";
    /// Delay level of a timer message.
    TIMER_DELAY_LEVEL = "TIMER_DELAY_LEVEL";
    /// Milliseconds until delivery.
    TIMER_DELAY_MS = "TIMER_DELAY_MS";
    /// Checksum of the whole record.
    CRC32 = "__CRC32#";
    /// Topic of a dead letter before it died.
    DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC";
    /// Id of a dead letter before it died.
    DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID";
}

/// Properties whose name starts so are not stored.
pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";
/// Stands between two keys in [`KEYS`].
pub const KEY_SEPARATOR: char = ' ';

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn there_are_62_different_names() {
        let names: BTreeSet<_> = super::ALL.iter().collect();
        assert_eq!(names.len(), super::ALL.len());
        assert_eq!(names.len(), 62);
    }
}
