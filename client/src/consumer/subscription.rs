//! What a consumer wants of a topic: all messages, or those with one of several tags.

use thrustmq_proto_compat::body::SubscriptionData;
use thrustmq_proto_compat::message::tags_code::string_hash;

/// Matches every message.
pub(crate) const ALL: &str = "*";

const TAG_TYPE: &str = "TAG";
const SEPARATOR: &str = "||";

/// A tag expression such as `*` or `paid || shipped`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagFilter {
    expression: String,
    /// Empty: every message.
    tags: Vec<String>,
}

impl TagFilter {
    /// Reads an expression; empty and `*` are all messages.
    pub(crate) fn parse(expression: &str) -> Self {
        let expression = expression.trim();
        if expression.is_empty() || expression == ALL {
            return Self {
                expression: ALL.to_owned(),
                tags: Vec::new(),
            };
        }
        let tags = expression
            .split(SEPARATOR)
            .map(str::trim)
            .filter(|tag| !tag.is_empty());
        Self {
            expression: expression.to_owned(),
            tags: tags.map(str::to_owned).collect(),
        }
    }

    /// Whether a message with this tag is wanted. Brokers compare hashes only, so that a message
    /// with another tag of the same hash has to be sorted out here.
    pub(crate) fn matches(&self, tag: Option<&str>) -> bool {
        self.tags.is_empty() || tag.is_some_and(|tag| self.tags.iter().any(|want| want == tag))
    }

    /// The form that heartbeats carry; `version` is when the subscription was made, milliseconds.
    pub(crate) fn to_data(&self, topic: &str, version: i64) -> SubscriptionData {
        SubscriptionData {
            topic: topic.to_owned(),
            sub_string: self.expression.clone(),
            tags_set: self.tags.iter().cloned().collect(),
            code_set: self.tags.iter().map(|tag| string_hash(tag)).collect(),
            sub_version: version,
            expression_type: Some(TAG_TYPE.to_owned()),
            ..SubscriptionData::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_split_and_trimmed() {
        let filter = TagFilter::parse(" paid||shipped || ");
        assert!(filter.matches(Some("paid")) && filter.matches(Some("shipped")));
        assert!(!filter.matches(Some("open")) && !filter.matches(None));
        for all in ["", "*", " * "] {
            let filter = TagFilter::parse(all);
            assert!(filter.matches(None) && filter.matches(Some("x")));
            assert_eq!(filter.to_data("t", 0).sub_string, "*");
        }
    }

    #[test]
    fn tags_of_one_hash_are_told_apart() {
        assert_eq!(string_hash("Aa"), string_hash("BB"));
        let filter = TagFilter::parse("Aa");
        assert!(filter.matches(Some("Aa")) && !filter.matches(Some("BB")));
    }

    #[test]
    fn heartbeats_carry_tags_and_hashes() {
        let data = TagFilter::parse("a || b").to_data("t", 7);
        assert_eq!((data.topic.as_str(), data.sub_version), ("t", 7));
        assert!(data.code_set.contains(&97) && data.code_set.contains(&98));
        assert_eq!(data.tags_set.len(), 2);
    }
}
