//! Clients that come, stay and leave: 34, 35 and 46, closed connections and silent clients.
//!
//! When a group's members or topics change, its consumers are told (40), so that they share the
//! queues again.

use thrustmq_proto_compat::body::{
    CheckClientRequestBody, ConsumeType, ConsumerData, HeartbeatData, TopicConfig,
};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{
    NotifyConsumerIdsChangedRequestHeader, UnregisterClientRequestHeader,
};
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::request_code::NotifyConsumerIdsChanged;
use thrustmq_remoting::{Handled, Incoming, Peer, Reply};

use super::json_body;
use crate::broker::Broker;
use crate::filter::{MessageFilter, Said, is_tag_type};
use crate::member::{ClientIdentity, ConsumeMode, ConsumerGroup, ConsumerHeartbeat, LeftGroup};
use crate::refusal;
use crate::topic::{PERM_READ, PERM_WRITE};

/// Topic flag: the topic is consumed across units.
const UNIT_SUBSCRIBED: i32 = 2;

/// `HEART_BEAT`. The answer says that subscriptions may be left out of the next one, and whether
/// the group was last seen with others.
pub(crate) fn heart_beat(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    let mut heartbeat: HeartbeatData = json_body::read(&incoming.command)?;
    let client = ClientIdentity {
        peer: incoming.peer,
        client_id: std::mem::take(&mut heartbeat.client_id),
        language: incoming.command.language,
        version: incoming.command.version,
    };
    let is_second_version = heartbeat.heartbeat_fingerprint != 0;
    let mut is_subscription_new = !is_second_version;
    for consumer in std::mem::take(&mut heartbeat.consumer_data_set) {
        let begun_ms = broker.clock.now_ms();
        is_subscription_new |= register_consumer(broker, &client, &heartbeat, consumer);
        let took_ms = broker.clock.now_ms() - begun_ms;
        broker.stats.record_consumer_registration(took_ms);
    }
    for producer in &heartbeat.producer_data_set {
        let begun_ms = broker.clock.now_ms();
        broker.producers.register(&producer.group_name, &client);
        let took_ms = broker.clock.now_ms() - begun_ms;
        broker.stats.record_producer_registration(took_ms);
    }
    Ok(Reply::success()
        .with_field("IS_SUPPORT_HEART_BEAT_V2", &true)
        .with_field("IS_SUB_CHANGE", &is_subscription_new))
}

/// `UNREGISTER_CLIENT`: a client leaves before its connection closes.
pub(crate) fn unregister_client(
    broker: &Broker,
    incoming: Incoming<UnregisterClientRequestHeader>,
) -> Handled<()> {
    if let Some(group) = &incoming.header.producer_group {
        broker.producers.unregister(group, &incoming.peer);
    }
    if let Some(group) = &incoming.header.consumer_group {
        let left = broker.consumers.unregister(group, &incoming.peer);
        notify_left(broker, left.into_iter().collect());
    }
    Ok(Reply::success())
}

/// `CHECK_CLIENT_CONFIG`: whether the broker can filter as a consumer wants.
pub(crate) fn check_client_config(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    if incoming.command.body.is_empty() {
        return Ok(Reply::success());
    }
    let check: CheckClientRequestBody = json_body::read(&incoming.command)?;
    let Some(wanted) = check.subscription_data else {
        return Ok(Reply::success());
    };
    let expression_type = wanted.expression_type.as_deref();
    if is_tag_type(expression_type) {
        return Ok(Reply::success());
    }
    if !broker.config.current().property_filter {
        let expression_type = expression_type.unwrap_or_default();
        return Err(refusal::filter_type_not_supported(expression_type));
    }
    MessageFilter::parse(expression_type, &wanted.sub_string).map_err(refusal::filter_refused)?;
    Ok(Reply::success())
}

/// Takes a closed connection's client out of all groups.
pub(crate) fn connection_closed(broker: &Broker, peer: &Peer) {
    broker.producers.remove_connection(peer);
    notify_left(broker, broker.consumers.remove_connection(peer));
}

/// Takes clients out that have been silent for too long, and closes their connections; called
/// every 10 s.
pub(crate) fn remove_expired(broker: &Broker) {
    let silence_ms_max = broker.config.current().channel_expired_ms;
    for producer in broker.producers.remove_expired(silence_ms_max) {
        producer
            .client
            .peer
            .close("its producer has been silent for too long");
    }
    let left = broker.consumers.remove_expired(silence_ms_max);
    for consumer in left.iter().flat_map(|left| &left.gone) {
        consumer
            .client
            .peer
            .close("its consumer has been silent for too long");
    }
    notify_left(broker, left);
}

/// Whether the group was last seen with other subscriptions.
fn register_consumer(
    broker: &Broker,
    client: &ClientIdentity,
    heartbeat: &HeartbeatData,
    consumer: ConsumerData,
) -> bool {
    let is_rejected = consumer.consume_type == ConsumeType::Actively
        && broker.config.current().reject_pull_consumer;
    if is_rejected {
        return false;
    }
    let Some(group) = broker.groups.find(&consumer.group_name) else {
        tracing::warn!(group = consumer.group_name, peer = %client.peer, "consumer of an unknown group is not registered");
        return false;
    };
    create_retry_topic(broker, &consumer, group.retry_queue_nums);
    let leaves_out_subscriptions = heartbeat.heartbeat_fingerprint != 0 && heartbeat.without_sub;
    let registered = broker.consumers.register(ConsumerHeartbeat {
        group: &consumer.group_name,
        client,
        mode: ConsumeMode {
            consume_type: consumer.consume_type,
            message_model: consumer.message_model,
            consume_from_where: consumer.consume_from_where,
        },
        subscriptions: (!leaves_out_subscriptions).then_some(consumer.subscription_data_set),
        fingerprint: heartbeat.heartbeat_fingerprint,
    });
    if registered.is_new
        && let Some(state) = broker.consumers.find(&consumer.group_name)
    {
        let said = state.subscriptions.values().map(|subscription| Said {
            subscription: &subscription.data,
            is_sound: subscription.filter.is_ok(),
        });
        broker.filters.register(&consumer.group_name, said);
        if registered.is_changed {
            notify(broker, &consumer.group_name, &state);
        }
    }
    registered.is_fingerprint_new
}

fn create_retry_topic(broker: &Broker, consumer: &ConsumerData, queues: i32) {
    let subscriptions = &consumer.subscription_data_set;
    let is_ordered = subscriptions
        .iter()
        .any(|one| broker.topics.is_ordered(&one.topic));
    let outcome = broker.topics.create_for_group(TopicConfig {
        topic_name: names::retry_topic(&consumer.group_name),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: PERM_READ | PERM_WRITE,
        topic_sys_flag: if consumer.unit_mode {
            UNIT_SUBSCRIBED
        } else {
            0
        },
        order: is_ordered,
        ..TopicConfig::default()
    });
    if outcome.is_changed {
        broker.namesrv.register_soon();
    }
}

fn notify_left(broker: &Broker, left: Vec<LeftGroup>) {
    for LeftGroup { group, state, .. } in left {
        match state {
            Some(state) => notify(broker, &group, &state),
            None => broker.filters.unregister(&group),
        }
    }
}

/// Tells the consumers of a group that it has changed.
fn notify(broker: &Broker, group: &str, state: &ConsumerGroup) {
    let config = broker.groups.find_existing(group);
    let is_wanted = broker.config.current().notify_consumer_ids_changed
        && config.is_none_or(|config| config.notify_consumer_ids_changed_enable);
    if !is_wanted || state.is_broadcast() {
        return;
    }
    let header = NotifyConsumerIdsChangedRequestHeader {
        consumer_group: group.to_owned(),
    };
    for member in state.members() {
        let peer = &member.client.peer;
        let notice = Command::request::<NotifyConsumerIdsChanged>(&header);
        if let Err(error) = peer.oneway(notice) {
            // It rebalances by itself within 20 s, or its connection is about to be closed.
            tracing::debug!(group, %peer, %error, "consumer is not told of its group's change");
        }
    }
}
