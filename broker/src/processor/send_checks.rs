//! What a send must pass before the message itself is looked at, in Java's order (03 §3.2, 1 to 4).

use std::sync::Arc;

use thrustmq_proto_compat::body::TopicConfig;
use thrustmq_proto_compat::header::SendMessageView;
use thrustmq_proto_compat::local_time::LocalTime;
use thrustmq_proto_compat::message::names;
use thrustmq_remoting::{Peer, Refusal};

use super::send_request::SendRequest;
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::refusal;
use crate::topic::{AutoTopic, PERM_READ, PERM_WRITE};

/// Topic flag: the topic belongs to one unit.
const UNIT: i32 = 1;
/// Topic flag: the topic is consumed across units.
const UNIT_SUBSCRIBED: i32 = 2;

/// The topic of a send that passes; creates it where that is allowed.
pub(super) fn check_send(
    broker: &Broker,
    config: &BrokerConfig,
    request: &SendRequest<'_>,
) -> Result<Arc<TopicConfig>, Refusal> {
    let header = &request.header;
    let until_ms = config.start_accept_send_ms;
    if until_ms > 0 && broker.clock.now_ms() < until_ms {
        return Err(refusal::not_accepting_until(&human_time(until_ms)));
    }
    if config.broker_permission & PERM_WRITE == 0 && broker.topics.is_ordered(header.topic) {
        return Err(refusal::broker_not_writable(&config.broker_ip1));
    }
    let topic = match broker.topics.find(header.topic) {
        // Names were checked when the topic came into being; those that only the broker writes to
        // are in the table as well.
        Some(topic) if names::is_sendable_topic(header.topic) => topic,
        known => check_name(header.topic)
            .and_then(|()| known.map_or_else(|| create(broker, header), Ok))?,
    };
    check_queue(&topic, header.queue_id, request.peer)?;
    Ok(topic)
}

/// `yyyy-MM-dd HH:mm:ss,SSS`, local time.
fn human_time(at_ms: i64) -> String {
    let digits = LocalTime::at(at_ms).digits();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{} {}:{}:{},{}",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14),
        part(14, 17)
    )
}

/// Refuses names that are no topic's, and topics that only the broker writes to.
fn check_name(topic: &str) -> Result<(), Refusal> {
    names::check_topic(topic).map_err(|error| refusal::invalid_topic_name(topic, error))?;
    if !names::is_sendable_topic(topic) {
        return Err(refusal::topic_not_sendable(topic));
    }
    Ok(())
}

fn create(broker: &Broker, header: &SendMessageView<'_>) -> Result<Arc<TopicConfig>, Refusal> {
    let is_retry = names::is_retry_topic(header.topic);
    let sys_flag = match (header.unit_mode, is_retry) {
        (false, _) => 0,
        (true, false) => UNIT,
        (true, true) => UNIT_SUBSCRIBED,
    };
    let inherited = broker.topics.create_for_send(AutoTopic {
        topic: header.topic,
        default_topic: header.default_topic,
        queues: header.default_topic_queue_nums,
        sys_flag,
    });
    let outcome = inherited.or_else(|| {
        is_retry.then(|| {
            broker
                .topics
                .create_for_group(group_topic(header.topic, 1, sys_flag))
        })
    });
    let outcome = outcome.ok_or_else(|| refusal::topic_not_exist(header.topic))?;
    if outcome.is_changed {
        broker.namesrv.register_soon();
    }
    Ok(outcome.config)
}

/// A retry or dead-letter topic as the broker creates it.
pub(super) fn group_topic(topic: &str, queues: i32, sys_flag: i32) -> TopicConfig {
    TopicConfig {
        topic_name: topic.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: PERM_READ | PERM_WRITE,
        topic_sys_flag: sys_flag,
        ..TopicConfig::default()
    }
}

fn check_queue(topic: &TopicConfig, queue_id: i32, producer: &Peer) -> Result<(), Refusal> {
    if queue_id < topic.write_queue_nums.max(topic.read_queue_nums) {
        return Ok(());
    }
    let described = describe(topic);
    Err(refusal::send_queue_out_of_range(
        queue_id, described, producer,
    ))
}

/// The topic as Java's `TopicConfig.toString` shows it, which ends up in a remark.
fn describe(topic: &TopicConfig) -> String {
    let bit = |mask: i32, letter: char| if topic.perm & mask == 0 { '-' } else { letter };
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}{}{}, \
         topicFilterType={}, topicSysFlag={}, order={}, attributes={:?}]",
        topic.topic_name,
        topic.read_queue_nums,
        topic.write_queue_nums,
        bit(PERM_READ, 'R'),
        bit(PERM_WRITE, 'W'),
        bit(crate::topic::PERM_INHERIT, 'X'),
        topic.topic_filter_type,
        topic.topic_sys_flag,
        topic.order,
        topic.attributes,
    )
}
