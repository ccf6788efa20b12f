//! Which request is served by which handler, on which pool: the map of the broker.
//!
//! The fast port serves the same without pulls. Codes that are not here get code 3.

use std::sync::Arc;

use thrustmq_proto_compat::request_code::*;
use thrustmq_remoting::{Incoming, Responder, Routes, RoutesBuilder};

use crate::admission::SendAdmission;
use crate::broker::Broker;
use crate::processor::admin::{
    cleanup, config, connections, group, progress, queue, relay, replica, reset, runtime_info,
    stats, topic,
};
use crate::processor::{heartbeat, lock, offset, pull, query, send, send_back};

/// The routes of the main port.
pub(crate) fn routes(broker: &Arc<Broker>) -> Arc<Routes> {
    let pools = &broker.pools;
    let admission = SendAdmission::new(Arc::clone(&broker.store), broker.config.clone());
    let rows = Routes::builder(Arc::clone(broker))
        // Sending.
        .on_parked::<SendMessage>(&pools.send, send::send_message)
        .on_parked::<SendMessageV2>(&pools.send, send::send_message_v2)
        .on_parked::<SendBatchMessage>(&pools.send, send::send_message_v2)
        .on_parked::<ConsumerSendMsgBack>(
            &pools.send,
            shared(broker, send_back::consumer_send_back),
        )
        .admitted_by(&pools.send, Arc::new(admission))
        // Pulling.
        .on_parked::<PullMessage>(&pools.pull, shared(broker, pull::pull_message))
        .on_parked::<LitePullMessage>(&pools.lite_pull, shared(broker, pull::lite_pull_message))
        // Finding.
        .on::<QueryMessage>(&pools.query, query::query_message)
        .on::<ViewMessageById>(&pools.query, query::view_message_by_id)
        // Clients.
        .on::<HeartBeat>(&pools.heartbeat, heartbeat::heart_beat)
        .on::<UnregisterClient>(&pools.client_manage, heartbeat::unregister_client)
        .on::<CheckClientConfig>(&pools.client_manage, heartbeat::check_client_config)
        // Consumers.
        .on::<QueryConsumerOffset>(&pools.consumer_manage, offset::query_consumer_offset)
        .on::<UpdateConsumerOffset>(&pools.consumer_manage, offset::update_consumer_offset)
        .on::<GetConsumerListByGroup>(&pools.consumer_manage, offset::list_consumers)
        .on::<LockBatchMq>(&pools.admin, lock::lock_queues)
        .on::<UnlockBatchMq>(&pools.admin, lock::unlock_queues);
    let rows = tables(rows, broker);
    let rows = figures(rows, broker);
    clients(rows, broker).build()
}

/// Topics, groups, offsets and configuration: what operators change.
fn tables(rows: RoutesBuilder<Broker>, broker: &Arc<Broker>) -> RoutesBuilder<Broker> {
    let admin = &broker.pools.admin;
    rows.on_parked::<UpdateAndCreateTopic>(admin, shared(broker, topic::update_topic))
        .on_parked::<UpdateAndCreateTopicList>(admin, shared(broker, topic::update_topics))
        .on::<DeleteTopicInBroker>(admin, topic::delete_topic)
        .on::<GetAllTopicConfig>(admin, topic::all_topics)
        .on::<GetTopicConfig>(admin, topic::topic_config)
        .on::<GetSystemTopicListFromBroker>(admin, topic::system_topics)
        .on::<UpdateAndCreateSubscriptionGroup>(admin, group::update_group)
        .on::<UpdateAndCreateSubscriptionGroupList>(admin, group::update_groups)
        .on::<DeleteSubscriptionGroup>(admin, group::delete_group)
        .on::<GetAllSubscriptionGroupConfig>(admin, group::all_groups)
        .on::<GetSubscriptionGroupConfig>(admin, group::group_config)
        .on::<UpdateAndGetGroupForbidden>(admin, group::group_forbidden)
        .on_parked::<UpdateBrokerConfig>(admin, shared(broker, config::update_config))
        .on::<GetBrokerConfig>(admin, config::get_config)
        .on::<InvokeBrokerToResetOffset>(admin, reset::reset_offset)
        .on::<CloneGroupOffset>(admin, reset::clone_offsets)
        .on::<GetAllConsumerOffset>(admin, replica::all_consumer_offsets)
        .on::<GetAllDelayOffset>(admin, replica::all_delay_offsets)
        .on::<GetBrokerHaStatus>(admin, replica::ha_status)
        .on::<CleanExpiredConsumeQueue>(admin, cleanup::clean_expired_queues)
        .on::<CleanUnusedTopic>(admin, cleanup::clean_unused_topics)
        .on::<DeleteExpiredCommitLog>(admin, cleanup::delete_expired_log)
}

/// What queues hold, how far groups are, and what the broker does.
fn figures(rows: RoutesBuilder<Broker>, broker: &Arc<Broker>) -> RoutesBuilder<Broker> {
    let admin = &broker.pools.admin;
    rows.on::<SearchOffsetByTimestamp>(admin, queue::search_offset)
        .on::<GetMaxOffset>(admin, queue::max_offset)
        .on::<GetMinOffset>(admin, queue::min_offset)
        .on::<GetEarliestMsgStoretime>(admin, queue::earliest_store_time)
        .on::<QueryConsumeQueue>(admin, queue::query_queue)
        .on::<GetTopicStatsInfo>(admin, progress::topic_stats)
        .on::<GetConsumeStats>(admin, progress::consume_stats)
        .on::<GetBrokerConsumeStats>(admin, progress::all_consume_stats)
        .on::<QueryConsumeTimeSpan>(admin, progress::consume_time_span)
        .on::<GetBrokerRuntimeInfo>(admin, runtime_info::runtime_info)
        .on::<ViewBrokerStatsData>(admin, stats::view_stats)
}

/// Who is connected, and what only a consumer knows.
fn clients(rows: RoutesBuilder<Broker>, broker: &Arc<Broker>) -> RoutesBuilder<Broker> {
    let admin = &broker.pools.admin;
    rows.on::<GetConsumerConnectionList>(admin, connections::consumer_connections)
        .on::<GetProducerConnectionList>(admin, connections::producer_connections)
        .on::<GetAllProducerInfo>(admin, connections::all_producers)
        .on::<QueryTopicConsumeByWho>(admin, connections::groups_of_topic)
        .on::<QueryTopicsByConsumer>(admin, connections::topics_of_group)
        .on::<QuerySubscriptionByConsumer>(admin, connections::subscription)
        .on_parked::<GetConsumerRunningInfo>(admin, relay::running_info)
        .on_parked::<ConsumeMessageDirectly>(admin, relay::consume_directly)
        .on_parked::<InvokeBrokerToGetConsumerStatus>(admin, relay::consumer_status)
}

/// A handler that keeps the broker for after it has returned.
fn shared<H>(
    broker: &Arc<Broker>,
    handler: fn(&Arc<Broker>, Incoming<H>, Responder),
) -> impl Fn(&Broker, Incoming<H>, Responder) + Send + Sync + 'static
where
    H: 'static,
{
    let broker = Arc::clone(broker);
    move |_, incoming, responder| handler(&broker, incoming, responder)
}
