//! What a pull must pass before the queue is read, in Java's order (05 §5.3), and which messages it
//! wants.

use std::sync::Arc;

use thrustmq_proto_compat::body::{
    ConsumeType, MessageModel, SubscriptionGroupConfig, TopicConfig,
};
use thrustmq_proto_compat::header::PullMessageRequestHeader;
use thrustmq_proto_compat::message::names;
use thrustmq_remoting::{Incoming, Peer, Refusal};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::filter::{MessageFilter, is_tag_type};
use crate::refusal;
use crate::topic::PERM_READ;

/// The request brings its subscription along.
const HAS_SUBSCRIPTION: i32 = 4;
/// Groups of tools, which may pull where pull consumers are kept out.
const TOOL_GROUPS: [&str; 2] = [names::TOOLS_GROUP, "SELF_TEST_C_GROUP"];

/// A pull that passed.
pub(super) struct Checked {
    pub(super) topic: Arc<TopicConfig>,
    pub(super) group: Arc<SubscriptionGroupConfig>,
    pub(super) filter: MessageFilter,
}

pub(super) fn check_pull(
    broker: &Broker,
    config: &BrokerConfig,
    incoming: &Incoming<PullMessageRequestHeader>,
    lite: bool,
) -> Result<Checked, Refusal> {
    let header = &incoming.header;
    if config.broker_permission & PERM_READ == 0 {
        return Err(refusal::broker_not_readable(&config.broker_ip1));
    }
    if lite && !config.lite_pull_enable {
        return Err(refusal::lite_pull_off(&config.broker_ip1));
    }
    let group = broker.groups.find(&header.consumer_group);
    let group = group.ok_or_else(|| refusal::pulling_group_not_exist(&header.consumer_group))?;
    if !group.consume_enable {
        return Err(refusal::group_may_not_consume(&header.consumer_group));
    }
    let topic = broker.topics.find(&header.topic);
    let topic = topic.ok_or_else(|| refusal::pulled_topic_not_exist(&header.topic))?;
    if topic.perm & PERM_READ == 0 {
        return Err(refusal::topic_not_readable(&header.topic));
    }
    check_queue(header, &topic, &incoming.peer)?;
    let filter = if header.sys_flag & HAS_SUBSCRIPTION == 0 {
        subscribed(broker, config, incoming, &group)?
    } else {
        brought_along(config, header)?
    };
    if config.reject_pull_consumer {
        check_pull_consumer(broker, header, &incoming.peer)?;
    }
    Ok(Checked {
        topic,
        group,
        filter,
    })
}

fn check_queue(
    header: &PullMessageRequestHeader,
    topic: &TopicConfig,
    consumer: &Peer,
) -> Result<(), Refusal> {
    if (0..topic.read_queue_nums).contains(&header.queue_id) {
        return Ok(());
    }
    let read_queues = topic.read_queue_nums;
    let queue_id = header.queue_id;
    Err(refusal::pull_queue_out_of_range(
        queue_id,
        &header.topic,
        read_queues,
        consumer,
    ))
}

/// The subscription that the request holds.
fn brought_along(
    config: &BrokerConfig,
    header: &PullMessageRequestHeader,
) -> Result<MessageFilter, Refusal> {
    let expression_type = header.expression_type.as_deref();
    let expression = header.subscription.as_deref().unwrap_or("");
    let filter = MessageFilter::parse(expression_type, expression);
    // An expression of another type must say something, Java finds, before it asks which type.
    if !expression.is_empty() {
        check_type(config, expression_type)?;
    }
    filter.map_err(refusal::subscription_unreadable)
}

/// Only tags can be filtered by where properties are not looked at.
fn check_type(config: &BrokerConfig, expression_type: Option<&str>) -> Result<(), Refusal> {
    match expression_type {
        Some(other) if !is_tag_type(expression_type) && !config.property_filter => {
            Err(refusal::filter_type_not_supported(other))
        }
        _ => Ok(()),
    }
}

/// The subscription that heartbeats hold: the consumer's own, or else its group's.
fn subscribed(
    broker: &Broker,
    config: &BrokerConfig,
    incoming: &Incoming<PullMessageRequestHeader>,
    group_config: &SubscriptionGroupConfig,
) -> Result<MessageFilter, Refusal> {
    let header = &incoming.header;
    let group = broker.consumers.find(&header.consumer_group);
    let group = group.ok_or_else(refusal::group_not_online)?;
    let is_broadcast = group.mode.message_model == MessageModel::Broadcasting;
    if is_broadcast && !group_config.consume_broadcast_enable {
        return Err(refusal::broadcasting_off(&header.consumer_group));
    }
    if broker
        .groups
        .is_read_forbidden(&header.consumer_group, &header.topic)
    {
        return Err(refusal::topic_forbidden_to_group(
            &header.consumer_group,
            &header.topic,
        ));
    }
    let subscription = group.subscription_of(&incoming.peer, &header.topic);
    let subscription = subscription.ok_or_else(refusal::subscription_not_exist)?;
    if !group.is_latest(subscription, header.sub_version) {
        return Err(refusal::subscription_not_latest());
    }
    // Where Java looks into its table of filters, which heartbeats fill: what does not compile is not there.
    let filter = subscription.filter.clone();
    let filter = filter.map_err(|_| refusal::filter_not_exist())?;
    check_type(config, subscription.data.expression_type.as_deref())?;
    Ok(filter)
}

/// Keeps out consumers that pull on their own, of groups without heartbeats.
fn check_pull_consumer(
    broker: &Broker,
    header: &PullMessageRequestHeader,
    peer: &Peer,
) -> Result<(), Refusal> {
    let group = broker.consumers.find(&header.consumer_group);
    let is_push = group
        .as_ref()
        .is_some_and(|group| group.mode.consume_type != ConsumeType::Actively);
    let is_member =
        group.is_some_and(|group| group.members().any(|member| member.client.peer == *peer));
    if is_push || is_member || TOOL_GROUPS.contains(&header.consumer_group.as_str()) {
        return Ok(());
    }
    Err(refusal::pull_consumer_rejected())
}
