//! The names of POP's retry topics: `%RETRY%group_topic` (v1) and `%RETRY%group+topic` (v2).

use thrustmq_proto_compat::message::names::{RETRY_PREFIX, is_retry_topic};

/// Between group and topic, v1.
const SEPARATOR_V1: char = '_';
/// Between group and topic, v2.
const SEPARATOR_V2: char = '+';

/// Which of a group's topics a message lies in, as handles and answers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicKind {
    /// The topic itself.
    Normal,
    /// The retry topic of old.
    RetryV1,
    /// The retry topic whose name can be taken apart.
    RetryV2,
}

impl TopicKind {
    /// As Java tells it by the name.
    pub(crate) fn of(topic: &str) -> Self {
        if !is_retry_topic(topic) {
            return Self::Normal;
        }
        if topic.contains(SEPARATOR_V2) {
            Self::RetryV2
        } else {
            Self::RetryV1
        }
    }

    /// By its sign in handles.
    pub(crate) fn from_sign(sign: &str) -> Option<Self> {
        match sign {
            "0" => Some(Self::Normal),
            "1" => Some(Self::RetryV1),
            "2" => Some(Self::RetryV2),
            _ => None,
        }
    }

    /// Its sign in handles.
    pub(crate) fn sign(self) -> char {
        match self {
            Self::Normal => '0',
            Self::RetryV1 => '1',
            Self::RetryV2 => '2',
        }
    }

    /// The topic of this kind.
    pub(crate) fn topic(self, topic: &str, group: &str) -> String {
        match self {
            Self::Normal => topic.to_owned(),
            Self::RetryV1 => format!("{RETRY_PREFIX}{group}{SEPARATOR_V1}{topic}"),
            Self::RetryV2 => format!("{RETRY_PREFIX}{group}{SEPARATOR_V2}{topic}"),
        }
    }
}

/// The topic whose messages a group retries in `topic`; itself if it is no retry topic.
pub(crate) fn normal_topic<'a>(topic: &'a str, group: &str) -> &'a str {
    let behind_group = |rest: &'a str| {
        let rest = rest.strip_prefix(group)?;
        rest.strip_prefix([SEPARATOR_V1, SEPARATOR_V2])
    };
    let rest = topic.strip_prefix(RETRY_PREFIX);
    rest.and_then(behind_group).unwrap_or(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_built_and_taken_apart() {
        for (kind, name) in [
            (TopicKind::Normal, "a_b"),
            (TopicKind::RetryV1, "%RETRY%g_1_a_b"),
            (TopicKind::RetryV2, "%RETRY%g_1+a_b"),
        ] {
            assert_eq!(kind.topic("a_b", "g_1"), name);
            assert_eq!(TopicKind::of(name), kind);
            assert_eq!(normal_topic(name, "g_1"), "a_b");
            assert_eq!(TopicKind::from_sign(&kind.sign().to_string()), Some(kind));
        }
        assert_eq!(normal_topic("%RETRY%other", "g_1"), "%RETRY%other");
    }
}
