//! Sending: the long and the one-letter request, the answer, returns to the broker, replies, recall.

use crate::{header, header_view};

header! {
    /// Send with full names. The broker works with [`SendMessageRequestHeaderV2`], the client may
    /// send either.
    SendMessageRequestHeader {
        producer_group "producerGroup": String,
        topic "topic": String,
        default_topic "defaultTopic": String,
        default_topic_queue_nums "defaultTopicQueueNums": i32,
        queue_id "queueId": i32,
        sys_flag "sysFlag": i32,
        born_timestamp_ms "bornTimestamp": i64,
        flag "flag": i32,
        properties "properties": Option<String>,
        reconsume_times "reconsumeTimes": i32 = 0,
        unit_mode "unitMode": bool = false,
        batch "batch": bool = false,
        max_reconsume_times "maxReconsumeTimes": Option<i32>,
        broker_name "bname": Option<String>,
    }

    /// Send with one-letter names: what the broker works with.
    SendMessageRequestHeaderV2 {
        producer_group "a": String,
        topic "b": String,
        /// The topic whose settings a missing topic inherits.
        default_topic "c": String,
        default_topic_queue_nums "d": i32,
        queue_id "e": i32,
        sys_flag "f": i32,
        born_timestamp_ms "g": i64,
        flag "h": i32,
        /// In their string form (03-message-formats §3.1).
        properties "i": Option<String>,
        reconsume_times "j": i32 = 0,
        unit_mode "k": bool = false,
        max_reconsume_times "l": Option<i32>,
        /// Whether the body is a batch (§3.3); the code of the request does not say it.
        batch "m": bool = false,
        broker_name "n": Option<String>,
    }

    /// Where the message went. Also with codes 10, 11 and 12, where it is stored but not as safe as
    /// was asked for.
    SendMessageResponseHeader {
        /// The offset id; of a batch all of them, with commas between.
        msg_id "msgId": String,
        queue_id "queueId": i32,
        /// Of a batch the first.
        queue_offset "queueOffset": i64,
        transaction_id "transactionId": Option<String>,
        batch_uniq_id "batchUniqId": Option<String>,
        recall_handle "recallHandle": Option<String>,
    }

    /// A consumer returns a message to be retried.
    ConsumerSendMsgBackRequestHeader {
        /// Where the message stands in the commit log.
        offset "offset": i64,
        group "group": String,
        delay_level "delayLevel": i32,
        origin_msg_id "originMsgId": Option<String>,
        origin_topic "originTopic": Option<String>,
        unit_mode "unitMode": bool = false,
        max_reconsume_times "maxReconsumeTimes": Option<i32>,
        broker_name "bname": Option<String>,
    }

    /// Broker to requester: here is the reply.
    ReplyMessageRequestHeader {
        producer_group "producerGroup": String,
        topic "topic": String,
        default_topic "defaultTopic": String,
        default_topic_queue_nums "defaultTopicQueueNums": i32,
        queue_id "queueId": i32,
        sys_flag "sysFlag": i32,
        born_timestamp_ms "bornTimestamp": i64,
        flag "flag": i32,
        properties "properties": Option<String>,
        reconsume_times "reconsumeTimes": i32 = 0,
        unit_mode "unitMode": bool = false,
        born_host "bornHost": String,
        store_host "storeHost": String,
        store_timestamp_ms "storeTimestamp": i64 = 0,
    }

    /// Cancels a timer message that is not yet due.
    RecallMessageRequestHeader {
        producer_group "producerGroup": Option<String>,
        topic "topic": String,
        recall_handle "recallHandle": String,
        broker_name "bname": Option<String>,
    }

    /// The unique key of the message that was recalled.
    RecallMessageResponseHeader {
        msg_id "msgId": String,
    }
}

header_view! {
    /// What a broker reads of a send.
    SendMessageView<'a> {
        producer_group "a": &'a str,
        topic "b": &'a str,
        default_topic "c": &'a str,
        default_topic_queue_nums "d": i32,
        queue_id "e": i32,
        sys_flag "f": i32,
        born_timestamp_ms "g": i64,
        flag "h": i32,
        properties "i": Option<&'a str>,
        reconsume_times "j": i32 = 0,
        unit_mode "k": bool = false,
        max_reconsume_times "l": Option<i32>,
        batch "m": bool = false,
    }
}

impl<'a> From<&'a SendMessageRequestHeader> for SendMessageView<'a> {
    fn from(long: &'a SendMessageRequestHeader) -> Self {
        Self {
            producer_group: &long.producer_group,
            topic: &long.topic,
            default_topic: &long.default_topic,
            default_topic_queue_nums: long.default_topic_queue_nums,
            queue_id: long.queue_id,
            sys_flag: long.sys_flag,
            born_timestamp_ms: long.born_timestamp_ms,
            flag: long.flag,
            properties: long.properties.as_deref(),
            reconsume_times: long.reconsume_times,
            unit_mode: long.unit_mode,
            max_reconsume_times: long.max_reconsume_times,
            batch: long.batch,
        }
    }
}

impl From<SendMessageRequestHeaderV2> for SendMessageRequestHeader {
    fn from(short: SendMessageRequestHeaderV2) -> Self {
        Self {
            producer_group: short.producer_group,
            topic: short.topic,
            default_topic: short.default_topic,
            default_topic_queue_nums: short.default_topic_queue_nums,
            queue_id: short.queue_id,
            sys_flag: short.sys_flag,
            born_timestamp_ms: short.born_timestamp_ms,
            flag: short.flag,
            properties: short.properties,
            reconsume_times: short.reconsume_times,
            unit_mode: short.unit_mode,
            batch: short.batch,
            max_reconsume_times: short.max_reconsume_times,
            broker_name: short.broker_name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{ExtFields, HeaderError};
    use crate::table::{Header, SentHeader};

    fn sample() -> SendMessageRequestHeaderV2 {
        SendMessageRequestHeaderV2 {
            producer_group: "pg".into(),
            topic: "orders".into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            queue_id: 3,
            sys_flag: 1,
            born_timestamp_ms: 1_700_000_000_000,
            flag: 7,
            properties: Some("KEYS\u{1}k\u{2}".into()),
            reconsume_times: 2,
            unit_mode: true,
            max_reconsume_times: Some(16),
            batch: true,
            broker_name: Some("broker-a".into()),
        }
    }

    #[test]
    fn both_send_headers_show_a_broker_the_same() {
        let mut fields = ExtFields::new();
        sample().encode(&mut fields);
        let view = SendMessageView::read(&fields).unwrap();
        let long = SendMessageRequestHeader::from(sample());
        assert_eq!(SendMessageView::from(&long), view);
        let seen = (view.topic, view.properties, view.max_reconsume_times);
        assert_eq!(seen, ("orders", Some("KEYS\u{1}k\u{2}"), Some(16)));
        fields.set("i", "");
        assert_eq!(SendMessageView::read(&fields).unwrap().properties, None);
        fields.remove("b");
        let missing = SendMessageView::read(&fields).unwrap_err();
        assert_eq!(missing, HeaderError::Missing("b"));
    }

    #[test]
    fn the_long_header_uses_the_long_names() {
        let mut fields = ExtFields::new();
        SendMessageRequestHeader::from(sample()).encode(&mut fields);
        assert_eq!(fields.get("producerGroup"), Some("pg"));
        assert_eq!(fields.get("bname"), Some("broker-a"));
        assert_eq!(fields.get("a"), None);
    }

    #[test]
    fn what_java_may_leave_out_has_java_s_defaults() {
        let mut fields = ExtFields::new();
        sample().encode(&mut fields);
        for key in ["i", "j", "k", "l", "m", "n"] {
            fields.remove(key);
        }
        let header = SendMessageRequestHeaderV2::decode(&fields).unwrap();
        assert_eq!(
            (header.reconsume_times, header.max_reconsume_times),
            (0, None)
        );
        assert!(!header.unit_mode && !header.batch);
        fields.remove("e");
        let missing = SendMessageRequestHeaderV2::decode(&fields).unwrap_err();
        assert_eq!(missing, HeaderError::Missing("e"));
    }
}
