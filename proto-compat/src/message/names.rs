//! Names of topics and groups: which are valid, which are RocketMQ's own, and how they are built.

/// Longest ordinary topic.
pub const TOPIC_BYTES_MAX: usize = 127;
/// Longest retry or dead-letter topic.
pub const RETRY_TOPIC_BYTES_MAX: usize = 255;
/// Longest group; shorter than topics, for retry topics hold it with a prefix.
pub const GROUP_BYTES_MAX: usize = 120;

/// Before the group in the name of its retry topic.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Before the group in the name of its dead-letter topic.
pub const DEAD_LETTER_PREFIX: &str = "%DLQ%";
/// Begins the name of a light queue.
pub const LIGHT_QUEUE_PREFIX: &str = "%LMQ%";
/// Begins system topics.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Begins system groups.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Template of topics that are created on first use.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Delay levels: a queue each.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Timer wheel.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Half messages of transactions.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// What became of half messages.
pub const OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages whose state Java keeps in RocksDB.
pub const ROCKSDB_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC";
/// What became of them.
pub const ROCKSDB_OP_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC";
/// Half messages that were checked too often.
pub const CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Traces of clients.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Legacy.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Legacy.
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
/// Legacy.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// RocksDB offsets.
pub const CHECKPOINT_TOPIC: &str = "CHECKPOINT_TOPIC";
/// POP checkpoints, completed by the cluster's name.
pub const REVIVE_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// Group member sync, completed by the broker's name.
pub const SYNC_MEMBER_TOPIC_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";
/// Behind the cluster's name in its request-reply topic.
pub const REPLY_TOPIC_SUFFIX: &str = "_REPLY_TOPIC";

/// Group of the broker's own transaction service.
pub const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";
/// Group of mqadmin's consumers.
pub const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Group name that clients start with.
pub const DEFAULT_CONSUMER_GROUP: &str = "DEFAULT_CONSUMER";
/// Group name that clients start with.
pub const DEFAULT_PRODUCER_GROUP: &str = "DEFAULT_PRODUCER";
/// Group of producers inside clients, for sending back.
pub const CLIENT_INNER_PRODUCER_GROUP: &str = "CLIENT_INNER_PRODUCER";

/// Topics that a broker knows without being told; those of a cluster's or broker's name come on top.
pub const SYSTEM_TOPICS: &[&str] = &[
    AUTO_CREATE_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    HALF_TOPIC,
    TRACE_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
    CHECKPOINT_TOPIC,
    ROCKSDB_HALF_TOPIC,
    ROCKSDB_OP_HALF_TOPIC,
];

/// Topics that clients may not send to.
pub const NOT_SENDABLE_TOPICS: &[&str] = &[
    SCHEDULE_TOPIC,
    HALF_TOPIC,
    OP_HALF_TOPIC,
    CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
    ROCKSDB_HALF_TOPIC,
    ROCKSDB_OP_HALF_TOPIC,
];

/// Groups that a broker creates at its start.
pub const BROKER_GROUPS: &[&str] = &[
    TOOLS_GROUP,
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    TRANSACTION_GROUP,
];

/// Why a name is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or blanks only.
    #[error("name is blank")]
    Blank,
    /// A character outside `% | - _ a-z A-Z 0-9`.
    #[error("name contains {character:?}, allowed are ^[%|a-zA-Z0-9_-]+$")]
    IllegalCharacter {
        /// The first such character.
        character: char,
    },
    /// Longer than allowed.
    #[error("name takes {bytes} bytes, allowed are {bytes_max}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// Checks a topic's name.
///
/// # Errors
/// The name is blank, too long or holds an illegal character.
pub fn check_topic(topic: &str) -> Result<(), NameError> {
    let bytes_max = if is_retry_topic(topic) || is_dead_letter_topic(topic) {
        RETRY_TOPIC_BYTES_MAX
    } else {
        TOPIC_BYTES_MAX
    };
    check(topic, bytes_max)
}

/// Checks a group's name.
///
/// # Errors
/// The name is blank, too long or holds an illegal character.
pub fn check_group(group: &str) -> Result<(), NameError> {
    check(group, GROUP_BYTES_MAX)
}

/// Whether the topic is RocketMQ's own.
pub fn is_system_topic(topic: &str) -> bool {
    SYSTEM_TOPICS.contains(&topic) || topic.starts_with(SYSTEM_TOPIC_PREFIX)
}

/// Whether clients may send to the topic.
pub fn is_sendable_topic(topic: &str) -> bool {
    !NOT_SENDABLE_TOPICS.contains(&topic)
}

/// Whether the group is RocketMQ's own.
pub fn is_system_group(group: &str) -> bool {
    group.starts_with(SYSTEM_GROUP_PREFIX)
}

/// Whether a topic is a light queue, or a group one of theirs.
pub fn is_light_queue(name: &str) -> bool {
    name.starts_with(LIGHT_QUEUE_PREFIX)
}

/// Whether the topic holds messages to consume again.
pub fn is_retry_topic(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

/// Whether the topic holds messages given up.
pub fn is_dead_letter_topic(topic: &str) -> bool {
    topic.starts_with(DEAD_LETTER_PREFIX)
}

/// Name of a group's retry topic.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// Name of a group's dead-letter topic.
pub fn dead_letter_topic(group: &str) -> String {
    format!("{DEAD_LETTER_PREFIX}{group}")
}

/// Group whose retry topic this is.
pub fn group_of_retry_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(RETRY_PREFIX)
}

/// Name of a cluster's request-reply topic.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}{REPLY_TOPIC_SUFFIX}")
}

/// A topic or group inside a namespace: the namespace stands behind a retry or dead-letter prefix.
pub fn with_namespace(namespace: &str, name: &str) -> String {
    if namespace.is_empty() || is_system_topic(name) || is_system_group(name) {
        return name.to_owned();
    }
    let (prefix, plain) = split_prefix(name);
    let known = plain
        .strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with('%'));
    if known {
        name.to_owned()
    } else {
        format!("{prefix}{namespace}%{plain}")
    }
}

/// A topic or group as it is called inside its namespace.
pub fn without_namespace(namespace: &str, name: &str) -> String {
    let (prefix, plain) = split_prefix(name);
    let inner = plain
        .strip_prefix(namespace)
        .and_then(|rest| rest.strip_prefix('%'))
        .filter(|_| !namespace.is_empty());
    match inner {
        Some(inner) => format!("{prefix}{inner}"),
        None => name.to_owned(),
    }
}

fn split_prefix(name: &str) -> (&str, &str) {
    for prefix in [RETRY_PREFIX, DEAD_LETTER_PREFIX] {
        if let Some(plain) = name.strip_prefix(prefix) {
            return (prefix, plain);
        }
    }
    ("", name)
}

fn check(name: &str, bytes_max: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank);
    }
    let illegal = name
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"%|_-".contains(*c));
    if let Some(character) = illegal {
        return Err(NameError::IllegalCharacter { character });
    }
    if name.len() > bytes_max {
        return Err(NameError::TooLong {
            bytes: name.len(),
            bytes_max,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_checked_for_characters_and_length() {
        assert_eq!(check_topic("a%|-_Z9"), Ok(()));
        assert_eq!(check_topic(" "), Err(NameError::Blank));
        assert_eq!(
            check_topic("a.b"),
            Err(NameError::IllegalCharacter { character: '.' })
        );
        assert_eq!(
            check_topic("ä"),
            Err(NameError::IllegalCharacter { character: 'ä' })
        );
        assert_eq!(check_topic(&"t".repeat(127)), Ok(()));
        let long = NameError::TooLong {
            bytes: 128,
            bytes_max: 127,
        };
        assert_eq!(check_topic(&"t".repeat(128)), Err(long));
        assert_eq!(check_topic(&retry_topic(&"g".repeat(248))), Ok(()));
        assert!(check_topic(&dead_letter_topic(&"g".repeat(251))).is_err());
    }

    #[test]
    fn groups_are_shorter() {
        assert_eq!(check_group(&"g".repeat(120)), Ok(()));
        assert!(check_group(&"g".repeat(121)).is_err());
    }

    #[test]
    fn system_names_are_known() {
        assert!(is_system_topic("TBW102") && is_system_topic("rmq_sys_anything"));
        assert!(!is_system_topic("order"));
        assert!(!is_sendable_topic(HALF_TOPIC) && is_sendable_topic(TRACE_TOPIC));
        assert!(is_system_group(TRANSACTION_GROUP) && !is_system_group("g"));
    }

    #[test]
    fn retry_topics_and_groups_translate() {
        assert_eq!(group_of_retry_topic(&retry_topic("g")), Some("g"));
        assert_eq!(group_of_retry_topic("g"), None);
        assert_eq!(reply_topic("c"), "c_REPLY_TOPIC");
    }

    #[test]
    fn namespaces_stand_behind_the_prefix() {
        assert_eq!(with_namespace("ns", "t"), "ns%t");
        assert_eq!(with_namespace("ns", "ns%t"), "ns%t");
        assert_eq!(with_namespace("ns", "%RETRY%g"), "%RETRY%ns%g");
        assert_eq!(with_namespace("", "t"), "t");
        assert_eq!(with_namespace("ns", HALF_TOPIC), HALF_TOPIC);
        assert_eq!(without_namespace("ns", "%DLQ%ns%g"), "%DLQ%g");
        assert_eq!(without_namespace("ns", "nst"), "nst");
        assert_eq!(without_namespace("", "a%b"), "a%b");
    }
}
