//! What a pop, a notification or a look must pass before a queue is read, in Java's order (05 §5.10).

use std::sync::Arc;

use thrustmq_proto_compat::body::{SubscriptionGroupConfig, TopicConfig};
use thrustmq_proto_compat::header::PopMessageRequestHeader;
use thrustmq_remoting::{Incoming, Peer, Refusal};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::filter::MessageFilter;
use crate::refusal;
use crate::topic::PERM_READ;

/// Messages of one pop at most.
const MESSAGES_MAX: i32 = 32;
/// A request that is later than this is not worth an answer with messages, milliseconds.
const LATE_MS_MAX: i64 = 500;

/// A pop that passed.
pub(super) struct Checked {
    pub(super) topic: Arc<TopicConfig>,
    /// None takes all.
    pub(super) filter: Option<MessageFilter>,
}

/// Whose messages are asked for.
pub(super) struct Asked<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) queue_id: i32,
    pub(super) peer: &'a Peer,
}

pub(super) fn check_pop(
    broker: &Broker,
    config: &BrokerConfig,
    incoming: &Incoming<PopMessageRequestHeader>,
) -> Result<Checked, Refusal> {
    let header = &incoming.header;
    let given_up_ms = header.born_time_ms.saturating_add(header.poll_time_ms);
    if broker.clock.now_ms().saturating_sub(given_up_ms) > LATE_MS_MAX {
        return Err(refusal::pop_too_late(&config.broker_ip1));
    }
    if config.broker_permission & PERM_READ == 0 {
        return Err(refusal::pop_forbidden(&config.broker_ip1));
    }
    if header.max_msg_nums > MESSAGES_MAX {
        return Err(refusal::pop_too_many(&config.broker_ip1));
    }
    let (topic, _) = check_asked(
        broker,
        &Asked {
            group: &header.consumer_group,
            topic: &header.topic,
            queue_id: header.queue_id,
            peer: &incoming.peer,
        },
    )?;
    let filter = filter(header)?;
    Ok(Checked { topic, filter })
}

/// Broker, topic, queue and group, of requests that only look.
pub(super) fn check_look(
    broker: &Broker,
    config: &BrokerConfig,
    asked: &Asked<'_>,
) -> Result<Arc<TopicConfig>, Refusal> {
    if config.broker_permission & PERM_READ == 0 {
        return Err(refusal::peek_forbidden(&config.broker_ip1));
    }
    Ok(check_asked(broker, asked)?.0)
}

fn check_asked(
    broker: &Broker,
    asked: &Asked<'_>,
) -> Result<(Arc<TopicConfig>, Arc<SubscriptionGroupConfig>), Refusal> {
    let topic = broker.topics.find(asked.topic);
    let topic = topic.ok_or_else(|| refusal::pulled_topic_not_exist(asked.topic))?;
    if topic.perm & PERM_READ == 0 {
        return Err(refusal::topic_not_poppable(asked.topic));
    }
    if asked.queue_id >= topic.read_queue_nums {
        let read_queues = topic.read_queue_nums;
        return Err(refusal::pull_queue_out_of_range(
            asked.queue_id,
            asked.topic,
            read_queues,
            asked.peer,
        ));
    }
    let group = broker.groups.find(asked.group);
    let group = group.ok_or_else(|| refusal::pulling_group_not_exist(asked.group))?;
    if !group.consume_enable {
        return Err(refusal::group_may_not_consume(asked.group));
    }
    Ok((topic, group))
}

fn filter(header: &PopMessageRequestHeader) -> Result<Option<MessageFilter>, Refusal> {
    let expression = header.expression.as_deref().unwrap_or("");
    if expression.is_empty() {
        return Ok(None);
    }
    let filter = MessageFilter::parse(header.expression_type.as_deref(), expression);
    filter
        .map(Some)
        .map_err(|_| refusal::pop_subscription_unreadable())
}
