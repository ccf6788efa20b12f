//! Where topics and brokers are.

use std::collections::{BTreeMap, BTreeSet};

use super::TopicQueueMappingInfo;
use super::table::bodies;

bodies! {
    /// One broker's queues of a topic.
    #[derive(Eq)]
    QueueData {
        broker_name "brokerName": String,
        perm "perm": i32,
        read_queue_nums "readQueueNums": i32,
        topic_sys_flag "topicSysFlag": i32,
        write_queue_nums "writeQueueNums": i32,
    }

    /// One broker group: master (id 0) and slaves.
    #[derive(Eq)]
    BrokerData {
        broker_addrs "brokerAddrs": BTreeMap<i64, String>,
        broker_name "brokerName": String,
        cluster "cluster": String,
        enable_acting_master "enableActingMaster": bool,
        zone_name "zoneName": Option<String>,
    }

    /// Where a topic is.
    TopicRouteData {
        broker_datas "brokerDatas": Vec<BrokerData>,
        filter_server_table "filterServerTable": BTreeMap<String, Vec<String>>,
        /// `broker-a:4;broker-b:4`, if the topic is globally ordered.
        order_topic_conf "orderTopicConf": Option<String>,
        queue_datas "queueDatas": Vec<QueueData>,
        topic_queue_mapping_by_broker "topicQueueMappingByBroker": Option<BTreeMap<String, TopicQueueMappingInfo>>,
    }

    /// All broker groups and clusters.
    #[derive(Eq)]
    ClusterInfo {
        broker_addr_table "brokerAddrTable": BTreeMap<String, BrokerData>,
        cluster_addr_table "clusterAddrTable": BTreeMap<String, BTreeSet<String>>,
    }

    /// The members of one broker group.
    #[derive(Eq)]
    BrokerMemberGroup {
        broker_addrs "brokerAddrs": BTreeMap<i64, String>,
        broker_name "brokerName": String,
        cluster "cluster": String,
    }

    /// The answer that carries them.
    #[derive(Eq)]
    GetBrokerMemberGroupResponseBody {
        broker_member_group "brokerMemberGroup": Option<BrokerMemberGroup>,
    }
}
