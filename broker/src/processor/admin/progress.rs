//! How far topics and groups are: 202, 208, 303 and 317.

use std::collections::{BTreeMap, BTreeSet};

use thrustmq_proto_compat::body::{
    ConsumeStats, ConsumeStatsList, MessageQueue, OffsetWrapper, QueryConsumeTimeSpanBody,
    QueueTimeSpan, TopicConfig, TopicOffset, TopicStatsTable,
};
use thrustmq_proto_compat::header::{
    GetConsumeStatsInBrokerHeader, GetConsumeStatsRequestHeader, GetTopicStatsInfoRequestHeader,
    QueryConsumeTimeSpanRequestHeader,
};
use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::offset::GroupQueue;
use crate::processor::json_body;
use crate::refusal;

/// `GET_TOPIC_STATS_INFO`: first and last offset of each queue, and when it last grew.
pub(crate) fn topic_stats(
    broker: &Broker,
    incoming: Incoming<GetTopicStatsInfoRequestHeader>,
) -> Handled<()> {
    let topic = &incoming.header.topic;
    let config = broker.topics.find(topic);
    let config = config.ok_or_else(|| refusal::asked_topic_not_exist(topic))?;
    let queues = 0..config.write_queue_nums.max(config.read_queue_nums);
    let body = TopicStatsTable {
        offset_table: queues
            .map(|queue_id| {
                (
                    queue(broker, topic, queue_id),
                    topic_offset(broker, topic, queue_id),
                )
            })
            .collect(),
        topic_put_tps: broker.stats.topic_put_rate(topic),
    };
    json_body::answer(Reply::success(), &body)
}

/// `GET_CONSUME_STATS`: how far a group is on its topics. Topics that are asked for as a list are
/// shown in any case; others only if the group's live consumers subscribe to them.
pub(crate) fn consume_stats(
    broker: &Broker,
    incoming: Incoming<GetConsumeStatsRequestHeader>,
) -> Handled<()> {
    let header = &incoming.header;
    let group = &header.consumer_group;
    let mut body = ConsumeStats::default();
    for topic in topics_to_show(broker, header) {
        if let Some(config) = broker.topics.find(&topic) {
            add_progress(broker, group, &config, config.read_queue_nums, &mut body);
        }
    }
    json_body::answer(Reply::success(), &body)
}

/// `GET_BROKER_CONSUME_STATS`: how far all groups are.
pub(crate) fn all_consume_stats(
    broker: &Broker,
    incoming: Incoming<GetConsumeStatsInBrokerHeader>,
) -> Handled<()> {
    let mut body = ConsumeStatsList {
        broker_addr: Some(broker.address.clone()),
        ..ConsumeStatsList::default()
    };
    for group in broker.groups.snapshot().groups.into_keys() {
        let mut of_group = Vec::new();
        for topic in broker.offsets.topics_of(&group) {
            let config = broker.topics.find(&topic);
            let config = config.filter(|config| config.order || !incoming.header.is_order);
            let Some(config) = config.filter(|_| !broker.consumers.leaves_out(&group, &topic))
            else {
                continue;
            };
            let mut stats = ConsumeStats::default();
            add_progress(broker, &group, &config, config.write_queue_nums, &mut stats);
            for offsets in stats.offset_table.values() {
                let consumed = offsets.consumer_offset;
                let diff = offsets.broker_offset.saturating_sub(consumed);
                body.total_diff = body.total_diff.saturating_add(diff);
                let inflight = offsets.pull_offset.saturating_sub(consumed);
                body.total_inflight_diff = body.total_inflight_diff.saturating_add(inflight);
            }
            of_group.push(stats);
        }
        body.consume_stats_list
            .push(BTreeMap::from([(group, of_group)]));
    }
    json_body::answer(Reply::success(), &body)
}

/// `QUERY_CONSUME_TIME_SPAN`: when the oldest, the newest and the last consumed message of each
/// queue were stored.
pub(crate) fn consume_time_span(
    broker: &Broker,
    incoming: Incoming<QueryConsumeTimeSpanRequestHeader>,
) -> Handled<()> {
    let (topic, group) = (&incoming.header.topic, &incoming.header.group);
    let config = broker.topics.find(topic);
    let config = config.ok_or_else(|| refusal::asked_topic_not_exist(topic))?;
    let body = QueryConsumeTimeSpanBody {
        consume_time_span_set: (0..config.write_queue_nums)
            .map(|queue_id| {
                time_span(
                    broker,
                    GroupQueue {
                        group,
                        topic,
                        queue_id,
                    },
                )
            })
            .collect(),
    };
    json_body::answer(Reply::success(), &body)
}

fn topics_to_show(broker: &Broker, header: &GetConsumeStatsRequestHeader) -> BTreeSet<String> {
    let listed = header.topic_list.as_deref().unwrap_or_default().split(';');
    let listed: BTreeSet<_> = listed
        .filter(|topic| !topic.trim().is_empty())
        .map(str::to_owned)
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let group = &header.consumer_group;
    let mut topics = match header.topic.as_deref() {
        Some(topic) if !topic.trim().is_empty() => BTreeSet::from([topic.to_owned()]),
        _ => broker.offsets.topics_of(group),
    };
    topics.retain(|topic| !broker.consumers.leaves_out(group, topic));
    topics
}

fn add_progress(
    broker: &Broker,
    group: &str,
    topic: &TopicConfig,
    queues: i32,
    stats: &mut ConsumeStats,
) {
    let topic = &topic.topic_name;
    for queue_id in 0..queues {
        let offsets = progress(
            broker,
            GroupQueue {
                group,
                topic,
                queue_id,
            },
        );
        stats
            .offset_table
            .insert(queue(broker, topic, queue_id), offsets);
    }
    stats.consume_tps += broker.stats.group_get_rate(group, topic);
}

fn progress(broker: &Broker, queue: GroupQueue<'_>) -> OffsetWrapper {
    let GroupQueue {
        topic, queue_id, ..
    } = queue;
    let consumer_offset = broker.offsets.query(queue).unwrap_or(0).max(0);
    let pull_offset = broker.offsets.query_pulled(queue).unwrap_or(0);
    let consumed_ms = if consumer_offset > 0 {
        broker
            .store
            .store_time_at(topic, queue_id, consumer_offset - 1)
    } else {
        None
    };
    OffsetWrapper {
        broker_offset: broker.store.queue_range(topic, queue_id).max.max(0),
        consumer_offset,
        last_timestamp: consumed_ms.unwrap_or(0).max(0),
        pull_offset: pull_offset.max(consumer_offset),
    }
}

fn topic_offset(broker: &Broker, topic: &str, queue_id: i32) -> TopicOffset {
    let range = broker.store.queue_range(topic, queue_id);
    let newest_ms = if range.max > 0 {
        broker.store.store_time_at(topic, queue_id, range.max - 1)
    } else {
        None
    };
    TopicOffset {
        last_update_timestamp: newest_ms.unwrap_or(0),
        max_offset: range.max.max(0),
        min_offset: range.min.max(0),
    }
}

/// Times that are not known are -1, as in Java.
fn time_span(broker: &Broker, group_queue: GroupQueue<'_>) -> QueueTimeSpan {
    let GroupQueue {
        topic, queue_id, ..
    } = group_queue;
    let time_at = |offset| {
        broker
            .store
            .store_time_at(topic, queue_id, offset)
            .unwrap_or(-1)
    };
    let min_ms = broker
        .store
        .earliest_store_time(topic, queue_id)
        .unwrap_or(-1);
    let end = broker.store.queue_range(topic, queue_id).max;
    let consumed = broker.offsets.query(group_queue).unwrap_or(-1);
    QueueTimeSpan {
        consume_time_stamp: if consumed > 0 {
            time_at(consumed - 1)
        } else {
            min_ms
        },
        delay_time: if consumed < end {
            broker.clock.now_ms() - time_at(consumed)
        } else {
            0
        },
        max_time_stamp: time_at(end - 1),
        message_queue: queue(broker, topic, queue_id),
        min_time_stamp: min_ms,
    }
}

fn queue(broker: &Broker, topic: &str, queue_id: i32) -> MessageQueue {
    MessageQueue {
        broker_name: broker.config.current().broker_name.clone(),
        queue_id,
        topic: topic.to_owned(),
    }
}
