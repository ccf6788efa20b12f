//! Names that stand in bodies, Java's enums. Their order is Java's: some clients send the number.

use super::table::names;

names! {
    /// Whether a group's clients pull by themselves, are driven, or pop.
    ConsumeType {
        Actively "CONSUME_ACTIVELY",
        #[default]
        Passively "CONSUME_PASSIVELY",
        Pop "CONSUME_POP",
    }

    /// Whether each client gets every message or the group shares them.
    MessageModel {
        Broadcasting "BROADCASTING",
        #[default]
        Clustering "CLUSTERING",
    }

    /// Where a group without offsets begins.
    ConsumeFromWhere {
        #[default]
        LastOffset "CONSUME_FROM_LAST_OFFSET",
        /// Treated as the last offset; so are the next two.
        LastOffsetAndFromMinWhenBootFirst "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        MinOffset "CONSUME_FROM_MIN_OFFSET",
        MaxOffset "CONSUME_FROM_MAX_OFFSET",
        FirstOffset "CONSUME_FROM_FIRST_OFFSET",
        Timestamp "CONSUME_FROM_TIMESTAMP",
    }

    /// What became of a message that was consumed directly.
    CMResult {
        #[default]
        Success "CR_SUCCESS",
        Later "CR_LATER",
        Rollback "CR_ROLLBACK",
        Commit "CR_COMMIT",
        ThrowException "CR_THROW_EXCEPTION",
        ReturnNull "CR_RETURN_NULL",
    }

    /// How a group takes its messages.
    MessageRequestMode {
        #[default]
        Pull "PULL",
        Pop "POP",
    }

    /// How the delay between retries grows.
    GroupRetryPolicyType {
        Exponential "EXPONENTIAL",
        #[default]
        Customized "CUSTOMIZED",
    }

    /// How many tags a message of the topic may have.
    TopicFilterType {
        #[default]
        SingleTag "SINGLE_TAG",
        MultiTag "MULTI_TAG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson::{from_slice, to_vec};

    #[test]
    fn names_numbers_and_strangers_are_read() {
        for (json, expected) in [
            ("\"BROADCASTING\"", MessageModel::Broadcasting),
            ("0", MessageModel::Broadcasting),
            ("1", MessageModel::Clustering),
            ("7", MessageModel::Clustering),
            ("-1", MessageModel::Clustering),
            ("\"LITE_SELECTIVE\"", MessageModel::Clustering),
        ] {
            assert_eq!(
                from_slice::<MessageModel>(json.as_bytes()).unwrap(),
                expected,
                "{json}"
            );
        }
        assert_eq!(
            to_vec(&ConsumeFromWhere::Timestamp).unwrap(),
            b"\"CONSUME_FROM_TIMESTAMP\""
        );
    }
}
