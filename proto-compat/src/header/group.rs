//! Consumer and producer groups on a broker.

use crate::header;

header! {
    /// The client ids of a group.
    GetConsumerListByGroupRequestHeader {
        consumer_group "consumerGroup": String,
    }

    /// A page of all groups' configurations; a caller before 5.3 asks for all by leaving all out.
    GetAllSubscriptionGroupRequestHeader {
        group_seq "groupSeq": Option<i32>,
        /// A DataVersion as JSON.
        data_version "dataVersion": Option<String>,
        max_group_num "maxGroupNum": Option<i32>,
    }

    /// How many groups there are; a broker before 5.3 does not say.
    GetAllSubscriptionGroupResponseHeader {
        total_group_num "totalGroupNum": Option<i32>,
    }

    /// The configuration of one group.
    GetSubscriptionGroupConfigRequestHeader {
        group "group": String,
    }

    /// Deletes a group.
    DeleteSubscriptionGroupRequestHeader {
        group_name "groupName": String,
        clean_offset "cleanOffset": bool = false,
    }

    /// The connections of a consumer group.
    GetConsumerConnectionListRequestHeader {
        consumer_group "consumerGroup": String,
    }

    /// The connections of a producer group.
    GetProducerConnectionListRequestHeader {
        producer_group "producerGroup": String,
    }

    /// A group's progress on each queue.
    GetConsumeStatsRequestHeader {
        consumer_group "consumerGroup": String,
        topic "topic": Option<String>,
        /// Topics with `;` between.
        topic_list "topicList": Option<String>,
    }

    /// The progress of all groups.
    GetConsumeStatsInBrokerHeader {
        is_order "isOrder": bool = false,
    }

    /// The topics that a group consumes.
    QueryTopicsByConsumerRequestHeader {
        group "group": String,
    }

    /// A group's subscription to a topic.
    QuerySubscriptionByConsumerRequestHeader {
        group "group": String,
        topic "topic": Option<String>,
    }

    /// Sets or reads whether a group may read a topic.
    UpdateGroupForbiddenRequestHeader {
        group "group": String,
        topic "topic": String,
        readable "readable": Option<bool>,
    }
}
