//! Clients: leaving, and what a broker asks of them or passes on to them.

use crate::header;

header! {
    /// A client leaves a producer group, a consumer group or both.
    UnregisterClientRequestHeader {
        client_id "clientID": String,
        producer_group "producerGroup": Option<String>,
        consumer_group "consumerGroup": Option<String>,
    }

    /// Broker to client: the members of the group changed.
    NotifyConsumerIdsChangedRequestHeader {
        consumer_group "consumerGroup": String,
    }

    /// What a consumer is doing; the broker passes it on.
    GetConsumerRunningInfoRequestHeader {
        consumer_group "consumerGroup": String,
        client_id "clientId": String,
        jstack_enable "jstackEnable": bool = false,
    }

    /// Consume one message now; the broker passes it on.
    ConsumeMessageDirectlyResultRequestHeader {
        consumer_group "consumerGroup": String,
        client_id "clientId": Option<String>,
        msg_id "msgId": Option<String>,
        broker_name "brokerName": Option<String>,
        topic "topic": Option<String>,
        topic_sys_flag "topicSysFlag": Option<i32>,
        group_sys_flag "groupSysFlag": Option<i32>,
    }
}
