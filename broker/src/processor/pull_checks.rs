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
use crate::refusal;
use crate::tag_filter::TagFilter;
use crate::topic::PERM_READ;

/// The request brings its subscription along.
const HAS_SUBSCRIPTION: i32 = 4;
const TAG: &str = "TAG";
/// Groups of tools, which may pull where pull consumers are kept out.
const TOOL_GROUPS: [&str; 2] = [names::TOOLS_GROUP, "SELF_TEST_C_GROUP"];

/// A pull that passed.
pub(super) struct Checked {
    pub(super) topic: Arc<TopicConfig>,
    pub(super) group: Arc<SubscriptionGroupConfig>,
    pub(super) filter: TagFilter,
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
        subscribed(broker, header, &group)?
    } else {
        brought_along(header)?
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
fn brought_along(header: &PullMessageRequestHeader) -> Result<TagFilter, Refusal> {
    let expression = header.subscription.as_deref().unwrap_or("");
    match header.expression_type.as_deref() {
        None | Some(TAG) => Ok(TagFilter::parse(expression)),
        // An expression of another type must say something, Java finds, before it asks which type.
        Some(_) if expression.is_empty() => Err(refusal::subscription_unreadable()),
        Some(other) => Err(refusal::filter_type_not_supported(other)),
    }
}

/// The subscription that the group's heartbeats hold.
fn subscribed(
    broker: &Broker,
    header: &PullMessageRequestHeader,
    config: &SubscriptionGroupConfig,
) -> Result<TagFilter, Refusal> {
    let group = broker.consumers.find(&header.consumer_group);
    let group = group.ok_or_else(refusal::group_not_online)?;
    let is_broadcast = group.mode.message_model == MessageModel::Broadcasting;
    if is_broadcast && !config.consume_broadcast_enable {
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
    let subscription = group.subscriptions.get(&header.topic);
    let subscription = subscription.ok_or_else(refusal::subscription_not_exist)?;
    if subscription.sub_version < header.sub_version {
        return Err(refusal::subscription_not_latest());
    }
    match subscription.expression_type.as_deref() {
        None | Some("" | TAG) if subscription.sub_string == "*" => Ok(TagFilter::default()),
        None | Some("" | TAG) => Ok(TagFilter::of_codes(subscription.code_set.iter().copied())),
        Some(other) => Err(refusal::filter_type_not_supported(other)),
    }
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
