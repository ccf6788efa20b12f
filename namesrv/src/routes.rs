//! What the name server serves, on which pool: route queries on one, everything else on the other, so
//! that a storm of registrations does not keep clients from finding their brokers.

use std::sync::Arc;

use thrustmq_proto_compat::request_code::{
    AddWritePermOfBroker, BrokerHeartbeat, DeleteKvConfig, DeleteTopicInNamesrv,
    GetAllTopicListFromNameserver, GetBrokerClusterInfo, GetBrokerMemberGroup,
    GetHasUnitSubTopicList, GetHasUnitSubUnunitTopicList, GetKvConfig, GetKvListByNamespace,
    GetNamesrvConfig, GetRouteInfoByTopic, GetSystemTopicListFromNs, GetTopicsByCluster,
    GetUnitTopicList, PutKvConfig, QueryDataVersion, RegisterBroker, RegisterTopicInNamesrv,
    UnregisterBroker, UpdateNamesrvConfig, WipeWritePermOfBroker,
};
use thrustmq_remoting::{Pool, PoolOptions, Routes};

use crate::config::NamesrvConfig;
use crate::processor::{broker, cluster, config, kv, route, topic};
use crate::state::State;

/// The two pools of a name server.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    client: Arc<Pool>,
    default: Arc<Pool>,
}

impl Pools {
    pub(crate) fn new(config: &NamesrvConfig) -> Self {
        Self {
            client: Pool::new(PoolOptions {
                name: "namesrv-client",
                threads: config.client_request_threads,
                queue_capacity: config.client_request_queue_capacity,
                lends: 0,
            }),
            default: Pool::new(PoolOptions {
                name: "namesrv-default",
                threads: config.default_threads,
                queue_capacity: config.default_queue_capacity,
                lends: 0,
            }),
        }
    }

    /// Ends the threads; blocks until they have ended.
    pub(crate) fn shutdown(&self) {
        self.client.shutdown();
        self.default.shutdown();
    }
}

/// The table of all 23 codes.
pub(crate) fn routes(state: Arc<State>, pools: &Pools) -> Arc<Routes> {
    let default = &pools.default;
    Routes::builder(state)
        .on::<GetRouteInfoByTopic>(&pools.client, route::route_of_topic)
        .on::<RegisterBroker>(default, broker::register)
        .on::<UnregisterBroker>(default, broker::unregister)
        .on::<QueryDataVersion>(default, broker::query_data_version)
        .on::<BrokerHeartbeat>(default, broker::heartbeat)
        .on::<GetBrokerClusterInfo>(default, cluster::cluster_info)
        .on::<GetBrokerMemberGroup>(default, cluster::member_group)
        .on::<WipeWritePermOfBroker>(default, cluster::wipe_write_permission)
        .on::<AddWritePermOfBroker>(default, cluster::add_write_permission)
        .on::<GetAllTopicListFromNameserver>(default, topic::all_topics)
        .on::<GetTopicsByCluster>(default, topic::topics_of_cluster)
        .on::<GetSystemTopicListFromNs>(default, topic::system_topics)
        .on::<GetUnitTopicList>(default, topic::unit_topics)
        .on::<GetHasUnitSubTopicList>(default, topic::unit_sub_topics)
        .on::<GetHasUnitSubUnunitTopicList>(default, topic::unit_sub_topics_without_unit)
        .on::<DeleteTopicInNamesrv>(default, topic::delete_topic)
        .on::<RegisterTopicInNamesrv>(default, topic::register_topic)
        .on::<PutKvConfig>(default, kv::put)
        .on::<GetKvConfig>(default, kv::get)
        .on::<DeleteKvConfig>(default, kv::delete)
        .on::<GetKvListByNamespace>(default, kv::list)
        .on::<UpdateNamesrvConfig>(default, config::update)
        .on::<GetNamesrvConfig>(default, config::get)
        .build()
}
