//! What the name server answers.

use crate::header;

header! {
    /// Sets a value in a namespace.
    PutKVConfigRequestHeader {
        namespace "namespace": String,
        key "key": String,
        value "value": String,
    }

    /// Reads a value of a namespace.
    GetKVConfigRequestHeader {
        namespace "namespace": String,
        key "key": String,
    }

    /// The value.
    GetKVConfigResponseHeader {
        value "value": Option<String>,
    }

    /// Deletes a value of a namespace.
    DeleteKVConfigRequestHeader {
        namespace "namespace": String,
        key "key": String,
    }

    /// All values of a namespace.
    GetKVListByNamespaceRequestHeader {
        namespace "namespace": String,
    }

    /// A broker announces itself; its topics are the body.
    RegisterBrokerRequestHeader {
        broker_name "brokerName": String,
        broker_address "brokerAddr": String,
        cluster_name "clusterName": String,
        ha_server_address "haServerAddr": String,
        broker_id "brokerId": i64,
        heartbeat_timeout_ms "heartbeatTimeoutMillis": Option<i64>,
        enable_acting_master "enableActingMaster": Option<bool>,
        compressed "compressed": bool = false,
        /// CRC-32 of the body as it travels; 0 is not checked.
        body_crc32 "bodyCrc32": i32 = 0,
    }

    /// The master of the broker's group.
    RegisterBrokerResponseHeader {
        ha_server_address "haServerAddr": Option<String>,
        master_address "masterAddr": Option<String>,
    }

    /// A broker leaves.
    UnRegisterBrokerRequestHeader {
        broker_name "brokerName": String,
        broker_address "brokerAddr": String,
        cluster_name "clusterName": String,
        broker_id "brokerId": i64,
    }

    /// Where a topic is.
    GetRouteInfoRequestHeader {
        topic "topic": String,
        accept_standard_json_only "acceptStandardJsonOnly": Option<bool>,
    }

    /// Takes the write permission from a broker's queues.
    WipeWritePermOfBrokerRequestHeader {
        broker_name "brokerName": String,
    }

    /// How many topics lost it.
    WipeWritePermOfBrokerResponseHeader {
        wipe_topic_count "wipeTopicCount": i32,
    }

    /// Gives the write permission back.
    AddWritePermOfBrokerRequestHeader {
        broker_name "brokerName": String,
    }

    /// How many topics have it back.
    AddWritePermOfBrokerResponseHeader {
        add_topic_count "addTopicCount": i32,
    }

    /// Forgets a topic's route, of all clusters or of one.
    DeleteTopicFromNamesrvRequestHeader {
        topic "topic": String,
        cluster_name "clusterName": Option<String>,
    }

    /// Puts a topic's route; the route is the body.
    RegisterTopicRequestHeader {
        topic "topic": String,
    }

    /// The topics of a cluster.
    GetTopicsByClusterRequestHeader {
        cluster "cluster": String,
    }

    /// Whether the name server has the broker's latest topics; also keeps the broker alive.
    QueryDataVersionRequestHeader {
        broker_name "brokerName": String,
        broker_address "brokerAddr": String,
        cluster_name "clusterName": String,
        broker_id "brokerId": i64,
    }

    /// Whether the broker has to register again.
    QueryDataVersionResponseHeader {
        changed "changed": bool,
    }

    /// The members of a broker group.
    GetBrokerMemberGroupRequestHeader {
        cluster_name "clusterName": String,
        broker_name "brokerName": String,
    }

    /// The light sign of life; to the name server or the controller.
    BrokerHeartbeatRequestHeader {
        cluster_name "clusterName": String,
        broker_address "brokerAddr": String,
        broker_name "brokerName": String,
        broker_id "brokerId": Option<i64>,
        epoch "epoch": Option<i32>,
        max_offset "maxOffset": Option<i64>,
        confirm_offset "confirmOffset": Option<i64>,
        /// The name on the wire has a letter missing.
        heartbeat_timeout_ms "heartbeatTimeoutMills": Option<i64>,
        election_priority "electionPriority": Option<i32>,
    }
}
