//! Clients: their heartbeats, and the connections that tools ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::table::bodies;
use super::{ConsumeFromWhere, ConsumeType, MessageModel};
use crate::command::{CURRENT_VERSION, Language};

bodies! {
    /// What a group wants of a topic.
    #[derive(Eq)]
    SubscriptionData {
        class_filter_mode "classFilterMode": bool,
        /// Java's hash codes of the tags.
        code_set "codeSet": BTreeSet<i32>,
        /// `TAG` or `SQL92`.
        expression_type "expressionType": Option<String> = Some("TAG".to_owned()),
        sub_string "subString": String,
        /// Milliseconds since 1970-01-01 UTC; the later of two counts.
        sub_version "subVersion": i64,
        tags_set "tagsSet": BTreeSet<String>,
        topic "topic": String,
    }

    /// A producer group of a client.
    #[derive(Eq)]
    ProducerData {
        group_name "groupName": String,
    }

    /// A consumer group of a client.
    #[derive(Eq)]
    ConsumerData {
        consume_from_where "consumeFromWhere": ConsumeFromWhere,
        consume_type "consumeType": ConsumeType,
        group_name "groupName": String,
        message_model "messageModel": MessageModel,
        subscription_data_set "subscriptionDataSet": Vec<SubscriptionData>,
        unit_mode "unitMode": bool,
    }

    /// A client's sign of life.
    #[derive(Eq)]
    HeartbeatData {
        client_id "clientID": String,
        consumer_data_set "consumerDataSet": Vec<ConsumerData>,
        /// Of the subscriptions, in the second version of heartbeats.
        heartbeat_fingerprint "heartbeatFingerprint": i32,
        producer_data_set "producerDataSet": Vec<ProducerData>,
        /// The subscriptions are as in the heartbeat before.
        without_sub "withoutSub": bool,
    }

    /// A client, as tools see it.
    #[derive(Eq)]
    Connection {
        client_addr "clientAddr": String,
        client_id "clientId": String,
        language "language": Language = Language::Other,
        version "version": i32,
    }

    /// The clients of a consumer group.
    #[derive(Eq)]
    ConsumerConnection {
        connection_set "connectionSet": Vec<Connection>,
        consume_from_where "consumeFromWhere": ConsumeFromWhere,
        consume_type "consumeType": ConsumeType,
        message_model "messageModel": MessageModel,
        subscription_table "subscriptionTable": BTreeMap<String, SubscriptionData>,
    }

    /// The clients of a producer group.
    #[derive(Eq)]
    ProducerConnection {
        connection_set "connectionSet": Vec<Connection>,
    }

    /// A producer, in the table of all.
    #[derive(Eq)]
    ProducerInfo {
        client_id "clientId": String,
        language "language": Language = Language::Other,
        last_update_timestamp "lastUpdateTimestamp": i64,
        remote_ip "remoteIP": String,
        version "version": i32 = CURRENT_VERSION,
    }

    /// All producers by group.
    #[derive(Eq)]
    ProducerTableInfo {
        data "data": BTreeMap<String, Vec<ProducerInfo>>,
    }

    /// The client ids of a group.
    #[derive(Eq)]
    GetConsumerListByGroupResponseBody {
        consumer_id_list "consumerIdList": Vec<String>,
    }

    /// A subscription to check.
    #[derive(Eq)]
    CheckClientRequestBody {
        client_id "clientId": String,
        group "group": String,
        namespace "namespace": Option<String>,
        subscription_data "subscriptionData": Option<SubscriptionData>,
    }

    /// A group's subscription to a topic.
    #[derive(Eq)]
    QuerySubscriptionResponseBody {
        group "group": Option<String>,
        subscription_data "subscriptionData": Option<SubscriptionData>,
        topic "topic": Option<String>,
    }
}

impl serde::Serialize for Language {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Language {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(Self::from_name(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson;

    /// The C++ client writes numbers for names and text for numbers.
    #[test]
    fn a_heartbeat_of_the_cpp_client_is_read() {
        let json = r#"{"clientID":"10.0.0.1@1","consumerDataSet":[{"groupName":"g","consumeType":1,
            "messageModel":1,"consumeFromWhere":4,"subscriptionDataSet":[{"topic":"t","subString":"*",
            "subVersion":"1700000000000","tagsSet":[],"codeSet":["2598919"]}]}],"producerDataSet":null}"#;
        let heartbeat: HeartbeatData = fastjson::from_slice(json.as_bytes()).unwrap();
        let consumer = &heartbeat.consumer_data_set[0];
        assert_eq!(consumer.consume_type, ConsumeType::Passively);
        assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
        let subscription = &consumer.subscription_data_set[0];
        assert_eq!(subscription.sub_version, 1_700_000_000_000);
        assert!(subscription.code_set.contains(&2_598_919));
        assert_eq!(subscription.expression_type.as_deref(), Some("TAG"));
        assert!(heartbeat.producer_data_set.is_empty());
    }
}
