//! Which request is served by which handler, on which pool: the map of the broker.
//!
//! The fast port serves the same without pulls and pops. Codes that are not here get code 3.

use std::sync::Arc;

use thrustmq_proto_compat::request_code::*;
use thrustmq_proto_compat::table::SentHeader;
use thrustmq_remoting::{Handled, Incoming, Responder, Routes, RoutesBuilder};

use crate::admission::SendAdmission;
use crate::broker::Broker;
use crate::processor::admin::{
    cleanup, config, connections, correction, group, progress, queue, relay, replica, reset,
    runtime_info, stats, timer, topic,
};
use crate::processor::{
    ack, assignment, change_invisible, end_transaction, heartbeat, lock, notification, offset,
    peek, pop, pull, query, recall, reply, send, send_back,
};

/// The routes of the main port.
pub(crate) fn routes(broker: &Arc<Broker>) -> Arc<Routes> {
    let pools = &broker.pools;
    // Threads that read do not wait for the disk: heartbeats and pulls would with them.
    let store = Arc::clone(&broker.store);
    pools.send.lend_while(move || store.is_ready_to_append());
    let admission = SendAdmission::new(Arc::clone(&broker.store), broker.config.clone());
    let rows = Routes::builder(Arc::clone(broker))
        // Sending.
        .on_parked::<SendMessage>(&pools.send, send::send_message)
        .on_unread::<SendMessageV2>(&pools.send, send::send_message_v2)
        .on_unread::<SendBatchMessage>(&pools.send, send::send_message_v2)
        .on_parked::<ConsumerSendMsgBack>(
            &pools.send,
            shared(broker, send_back::consumer_send_back),
        )
        .on_parked::<RecallMessage>(&pools.send, recall::recall_message)
        .admitted_by(&pools.send, Arc::new(admission))
        // Replying.
        .on_parked::<SendReplyMessage>(&pools.reply, shared(broker, reply::send_reply))
        .on_unread::<SendReplyMessageV2>(&pools.reply, shared(broker, reply::send_reply_v2))
        .on_parked::<EndTransaction>(&pools.end_transaction, end_transaction::end_transaction)
        // Pulling.
        .on_parked::<PullMessage>(&pools.pull, shared(broker, pull::pull_message))
        .on_parked::<LitePullMessage>(&pools.lite_pull, shared(broker, pull::lite_pull_message))
        // Popping.
        .on_parked::<PopMessage>(&pools.pull, shared(broker, pop::pop_message))
        .on_parked::<Notification>(&pools.pull, shared(broker, notification::notify))
        .on_parked::<PeekMessage>(&pools.pull, shared(broker, peek::peek_message))
        .on::<PollingInfo>(&pools.pull, peek::polling_info)
        .on_parked::<AckMessage>(&pools.ack, shared(broker, ack::ack_message))
        .on_parked::<BatchAckMessage>(&pools.ack, shared(broker, ack::batch_ack_message))
        .on_parked::<ChangeMessageInvisibleTime>(
            &pools.ack,
            shared(broker, change_invisible::change_invisible_time),
        )
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
        .on_parked::<QueryAssignment>(
            &pools.load_balance,
            shared(broker, assignment::query_assignment),
        )
        .on_parked::<SetMessageRequestMode>(
            &pools.load_balance,
            once_written(broker, assignment::set_request_mode),
        )
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
        .on_parked::<DeleteTopicInBroker>(admin, once_written(broker, topic::delete_topic))
        .on::<GetAllTopicConfig>(admin, topic::all_topics)
        .on::<GetTopicConfig>(admin, topic::topic_config)
        .on::<GetSystemTopicListFromBroker>(admin, topic::system_topics)
        .on_parked::<UpdateAndCreateSubscriptionGroup>(
            admin,
            once_written(broker, group::update_group),
        )
        .on_parked::<UpdateAndCreateSubscriptionGroupList>(
            admin,
            once_written(broker, group::update_groups),
        )
        .on_parked::<DeleteSubscriptionGroup>(admin, once_written(broker, group::delete_group))
        .on::<GetAllSubscriptionGroupConfig>(admin, group::all_groups)
        .on_parked::<GetSubscriptionGroupConfig>(admin, once_written(broker, group::group_config))
        .on_parked::<UpdateAndGetGroupForbidden>(
            admin,
            once_written(broker, group::group_forbidden),
        )
        .on_parked::<UpdateBrokerConfig>(admin, shared(broker, config::update_config))
        .on::<GetBrokerConfig>(admin, config::get_config)
        .on::<InvokeBrokerToResetOffset>(admin, reset::reset_offset)
        .on::<CloneGroupOffset>(admin, reset::clone_offsets)
        .on::<GetAllConsumerOffset>(admin, replica::all_consumer_offsets)
        .on::<GetAllDelayOffset>(admin, replica::all_delay_offsets)
        .on::<GetAllMessageRequestMode>(admin, assignment::all_request_modes)
        .on::<GetBrokerHaStatus>(admin, replica::ha_status)
        .on::<GetTimerCheckPoint>(admin, timer::checkpoint)
        .on::<GetTimerMetrics>(admin, timer::metrics)
        .on::<CleanExpiredConsumeQueue>(admin, cleanup::clean_expired_queues)
        .on::<CleanUnusedTopic>(admin, cleanup::clean_unused_topics)
        .on::<DeleteExpiredCommitLog>(admin, cleanup::delete_expired_log)
        .on::<ResumeCheckHalfMessage>(admin, end_transaction::resume_check)
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
        .on::<QueryCorrectionOffset>(admin, correction::query_correction)
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

/// A handler whose changes are written before its answer goes.
fn once_written<H, R>(
    broker: &Arc<Broker>,
    handler: fn(&Broker, Incoming<H>) -> Handled<R>,
) -> impl Fn(&Broker, Incoming<H>, Responder) + Send + Sync + 'static
where
    H: 'static,
    R: SentHeader + Send + 'static,
{
    let broker = Arc::clone(broker);
    move |_, incoming, responder| {
        let handled = handler(&broker, incoming);
        let noted = broker.metadata.noted();
        if handled.is_err() || broker.metadata.is_written(noted) {
            return responder.send(handled);
        }
        let metadata = broker.metadata.clone();
        broker.runtime.spawn(async move {
            metadata.all_written(noted).await;
            responder.send(handled);
        });
    }
}
