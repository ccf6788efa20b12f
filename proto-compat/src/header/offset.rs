//! Offsets: those of groups, those of queues, and resetting them.

use crate::field::{FieldText, FieldValue, TextSink};
use crate::header;

/// Which of several messages with one store time a search by time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoundaryType {
    /// The first.
    #[default]
    Lower,
    /// The last.
    Upper,
}

impl FieldText for BoundaryType {
    fn write(&self, out: &mut impl TextSink) {
        out.push_str(match self {
            Self::Lower => "LOWER",
            Self::Upper => "UPPER",
        });
    }
}

impl FieldValue for BoundaryType {
    fn parse(text: &str) -> Option<Self> {
        // Java's BoundaryType.getType: anything but "upper" is LOWER.
        if text.eq_ignore_ascii_case("upper") {
            Some(Self::Upper)
        } else {
            Some(Self::Lower)
        }
    }
}

header! {
    /// Reads what a group has committed.
    QueryConsumerOffsetRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        set_zero_if_not_found "setZeroIfNotFound": Option<bool>,
        broker_name "bname": Option<String>,
    }

    /// What the group has committed.
    QueryConsumerOffsetResponseHeader {
        offset "offset": i64,
    }

    /// Commits a group's offset.
    UpdateConsumerOffsetRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": String,
        queue_id "queueId": i32,
        commit_offset "commitOffset": i64,
        broker_name "bname": Option<String>,
    }

    /// The offset of the message stored at a time.
    SearchOffsetRequestHeader {
        topic "topic": String,
        queue_id "queueId": i32,
        timestamp_ms "timestamp": i64,
        boundary_type "boundaryType": Option<BoundaryType>,
        broker_name "bname": Option<String>,
    }

    /// What the search found.
    SearchOffsetResponseHeader {
        offset "offset": i64,
    }

    /// The offset after a queue's last message.
    GetMaxOffsetRequestHeader {
        topic "topic": String,
        queue_id "queueId": i32,
        /// Whether only committed messages count.
        committed "committed": bool = true,
        broker_name "bname": Option<String>,
    }

    /// The offset after the last message.
    GetMaxOffsetResponseHeader {
        offset "offset": i64,
    }

    /// The offset of a queue's first message.
    GetMinOffsetRequestHeader {
        topic "topic": String,
        queue_id "queueId": i32,
        broker_name "bname": Option<String>,
    }

    /// The offset of the first message.
    GetMinOffsetResponseHeader {
        offset "offset": i64,
    }

    /// When a queue's first message was stored.
    GetEarliestMsgStoretimeRequestHeader {
        topic "topic": String,
        queue_id "queueId": i32,
        broker_name "bname": Option<String>,
    }

    /// When it was stored.
    GetEarliestMsgStoretimeResponseHeader {
        timestamp_ms "timestamp": i64,
    }

    /// Resets a group's offsets by time; to the broker, and from there to the clients.
    ResetOffsetRequestHeader {
        group "group": String,
        topic "topic": String,
        /// -1: all queues.
        queue_id "queueId": i32 = -1,
        offset "offset": Option<i64>,
        /// Negative: the end of each queue.
        timestamp_ms "timestamp": i64 = 0,
        is_force "isForce": bool = false,
    }

    /// Asks the clients of a group how far they are.
    GetConsumerStatusRequestHeader {
        topic "topic": String,
        group "group": String,
        client_address "clientAddr": Option<String>,
    }

    /// Copies one group's offsets to another.
    CloneGroupOffsetRequestHeader {
        src_group "srcGroup": String,
        dest_group "destGroup": String,
        topic "topic": Option<String>,
        offline "offline": bool = false,
    }

    /// Groups whose offsets are to be compared with another's.
    QueryCorrectionOffsetHeader {
        filter_groups "filterGroups": Option<String>,
        compare_group "compareGroup": String,
        topic "topic": String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::ExtFields;
    use crate::table::Header;

    #[test]
    fn boundary_reads_as_java_reads_it() {
        for (text, expected) in [
            ("UPPER", BoundaryType::Upper),
            ("upper", BoundaryType::Upper),
            ("LOWER", BoundaryType::Lower),
            ("nonsense", BoundaryType::Lower),
        ] {
            assert_eq!(BoundaryType::parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn go_leaves_out_force_and_queue_when_it_resets() {
        let fields: ExtFields = [("topic", "t"), ("group", "g"), ("timestamp", "-1")]
            .into_iter()
            .collect();
        let header = ResetOffsetRequestHeader::decode(&fields).unwrap();
        assert_eq!((header.queue_id, header.timestamp_ms), (-1, -1));
        assert!(!header.is_force && header.offset.is_none());
    }
}
