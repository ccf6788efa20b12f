//! Which messages a subscription by tags takes, decided by the hash in the queue entry alone.
//!
//! Hashes collide: consumers compare the tags themselves once more.

use std::sync::Arc;

use thrustmq_proto_compat::message::tags_code::string_hash;
use thrustmq_store::RecordFilter;

pub(super) const ALL: &str = "*";
const TAG_SEPARATOR: &str = "||";

/// A set of tag hashes, or everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TagFilter {
    /// None takes every message.
    codes: Option<Arc<[i32]>>,
}

impl TagFilter {
    /// Reads an expression: `*`, nothing, or tags separated by `||`.
    pub(crate) fn parse(expression: &str) -> Self {
        if expression.is_empty() || expression == ALL {
            return Self::default();
        }
        let tags = expression.split(TAG_SEPARATOR).map(str::trim);
        Self::of_codes(tags.filter(|tag| !tag.is_empty()).map(string_hash))
    }

    /// Takes messages whose tag has one of these hashes.
    pub(crate) fn of_codes(codes: impl IntoIterator<Item = i32>) -> Self {
        Self {
            codes: Some(codes.into_iter().collect()),
        }
    }

    /// Whether it takes every message.
    pub(crate) fn takes_all(&self) -> bool {
        self.codes.is_none()
    }
}

impl RecordFilter for TagFilter {
    fn by_tags_code(&self, tags_code: i64) -> bool {
        // Java compares the low half as well.
        let code = tags_code as i32;
        self.codes
            .as_ref()
            .is_none_or(|codes| codes.contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use thrustmq_proto_compat::message::tags_code::tags_code;

    use super::*;

    #[test]
    fn everything_is_taken_without_an_expression() {
        for expression in ["", "*"] {
            let filter = TagFilter::parse(expression);
            assert!(filter.takes_all());
            assert!(filter.by_tags_code(0) && filter.by_tags_code(7));
        }
    }

    #[test]
    fn named_tags_are_taken_and_no_others() {
        let filter = TagFilter::parse(" TagA || polygenelubricants||");
        assert!(filter.by_tags_code(tags_code("TagA")));
        assert!(filter.by_tags_code(tags_code("polygenelubricants")));
        assert!(!filter.by_tags_code(tags_code("TagB")));
        assert!(!filter.by_tags_code(0));
    }
}
