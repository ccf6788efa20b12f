//! Topics: create, change, delete and show. 17, 18, 21, 215, 305 and 351.

use std::sync::Arc;

use thrustmq_proto_compat::body::{
    CreateTopicListRequestBody, TopicConfig, TopicConfigAndMappingSerializeWrapper,
    TopicConfigAndQueueMapping, TopicFilterType, TopicList,
};
use thrustmq_proto_compat::header::{
    CreateTopicRequestHeader, DeleteTopicRequestHeader, GetAllTopicConfigRequestHeader,
    GetAllTopicConfigResponseHeader, GetTopicConfigRequestHeader,
};
use thrustmq_proto_compat::message::names;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply, Responder};

use super::page::{self, PageRequest};
use crate::broker::Broker;
use crate::processor::json_body;
use crate::refusal;
use crate::registration;
use crate::topic::QUEUES_MAX;
use crate::topic::attributes::{self, MESSAGE_TYPE};

/// `UPDATE_AND_CREATE_TOPIC`. The answer waits until the name servers have heard of the topic, so
/// that whoever asks them next finds it.
pub(crate) fn update_topic(
    broker: &Arc<Broker>,
    incoming: Incoming<CreateTopicRequestHeader>,
    responder: Responder,
) {
    let outcome = topic_of(incoming.header)
        .and_then(|topic| check(broker, &topic).map(|()| topic))
        .and_then(|topic| {
            let outcome = broker.topics.upsert(topic);
            outcome.map_err(refusal::attributes_refused)
        });
    match outcome {
        Ok(outcome) if outcome.is_changed => {
            registration::answer_once_registered(broker, responder, Ok(Reply::success()))
        }
        Ok(_) => responder.send(Ok(Reply::success())),
        Err(refusal) => responder.refuse(refusal),
    }
}

/// `UPDATE_AND_CREATE_TOPIC_LIST`: all of them or none.
pub(crate) fn update_topics(broker: &Arc<Broker>, incoming: Incoming<()>, responder: Responder) {
    let outcomes =
        json_body::read::<CreateTopicListRequestBody>(&incoming.command).and_then(|body| {
            let topics = body.topic_config_list;
            topics.iter().try_for_each(|topic| check(broker, topic))?;
            let outcomes = broker.topics.upsert_all(topics);
            outcomes.map_err(refusal::attributes_refused)
        });
    match outcomes {
        Ok(outcomes) if outcomes.iter().any(|outcome| outcome.is_changed) => {
            registration::answer_once_registered(broker, responder, Ok(Reply::success()));
        }
        Ok(_) => responder.send(Ok(Reply::success())),
        Err(refusal) => responder.refuse(refusal),
    }
}

/// `DELETE_TOPIC_IN_BROKER`: the topic, its queues and offsets, and its POP retry topics. Records
/// stay in the log until they are too old.
pub(crate) fn delete_topic(
    broker: &Broker,
    incoming: Incoming<DeleteTopicRequestHeader>,
) -> Handled<()> {
    let topic = &incoming.header.topic;
    if topic.trim().is_empty() {
        return Err(refusal::invalid_topic_name(topic, names::NameError::Blank));
    }
    check_is_not_system(broker, topic)?;
    let mut topics = vec![topic.clone()];
    if broker.config.current().clear_retry_topic {
        for group in broker.offsets.groups_of(topic) {
            let pop_retry = [format!("{group}+{topic}"), format!("{group}_{topic}")];
            let pop_retry = pop_retry.map(|name| names::retry_topic(&name));
            topics.extend(
                pop_retry
                    .into_iter()
                    .filter(|name| broker.topics.contains(name)),
            );
        }
    }
    tracing::info!(peer = %incoming.peer, ?topics, "topics are deleted");
    for topic in &topics {
        broker.topics.remove(topic);
        broker.offsets.remove_topic(topic);
        if let Some(timer) = &broker.timer {
            timer.remove_topic(topic);
        }
        broker.store.delete_topic(topic);
        if broker.config.current().auto_delete_unused_stats {
            broker.stats.remove_topic(topic);
        }
    }
    Ok(Reply::success())
}

/// `GET_ALL_TOPIC_CONFIG`: all topics, or a page of them.
pub(crate) fn all_topics(
    broker: &Broker,
    incoming: Incoming<GetAllTopicConfigRequestHeader>,
) -> Handled<GetAllTopicConfigResponseHeader> {
    let header = incoming.header;
    let snapshot = broker.topics.snapshot();
    let total = i32::try_from(snapshot.topics.len()).unwrap_or(i32::MAX);
    let page = page::take(
        PageRequest {
            first: header.topic_seq,
            entries_max: header.max_topic_num,
            data_version: header.data_version.as_deref(),
        },
        &broker.config.current(),
        &snapshot.data_version,
        snapshot.topics,
    );
    let body = TopicConfigAndMappingSerializeWrapper {
        topic_config_table: page
            .map(|(name, topic)| (name, TopicConfig::clone(&topic)))
            .collect(),
        data_version: snapshot.data_version,
        ..TopicConfigAndMappingSerializeWrapper::default()
    };
    let header = GetAllTopicConfigResponseHeader {
        total_topic_num: Some(total),
    };
    json_body::answer(Reply::ok(header), &body)
}

/// `GET_TOPIC_CONFIG`: one topic.
pub(crate) fn topic_config(
    broker: &Broker,
    incoming: Incoming<GetTopicConfigRequestHeader>,
) -> Handled<()> {
    let topic = &incoming.header.topic;
    let config = broker.topics.find(topic);
    let config = config.ok_or_else(|| refusal::no_topic_here(topic))?;
    let body = TopicConfigAndQueueMapping::from(TopicConfig::clone(&config));
    json_body::answer(Reply::success(), &body)
}

/// `GET_SYSTEM_TOPIC_LIST_FROM_BROKER`.
pub(crate) fn system_topics(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    let body = TopicList {
        topic_list: broker.topics.system_names(),
        broker_addr: None,
    };
    json_body::answer(Reply::success(), &body)
}

fn topic_of(header: CreateTopicRequestHeader) -> Result<TopicConfig, Refusal> {
    let changes = attributes::parse(header.attributes.as_deref().unwrap_or_default());
    let filter_type = TopicFilterType::from_name(&header.topic_filter_type);
    Ok(TopicConfig {
        attributes: changes.map_err(refusal::attributes_refused)?,
        order: header.order,
        perm: header.perm,
        read_queue_nums: header.read_queue_nums,
        topic_filter_type: filter_type
            .ok_or_else(|| refusal::unknown_filter_type(&header.topic_filter_type))?,
        topic_name: header.topic,
        topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
        write_queue_nums: header.write_queue_nums,
    })
}

fn check(broker: &Broker, topic: &TopicConfig) -> Result<(), Refusal> {
    let name = &topic.topic_name;
    names::check_topic(name).map_err(|error| refusal::invalid_topic_name(name, error))?;
    check_is_not_system(broker, name)?;
    let message_type = topic.attributes.get(&format!("+{MESSAGE_TYPE}"));
    let is_mixed = message_type.is_some_and(|message_type| message_type == "MIXED");
    if is_mixed && !broker.config.current().mixed_message_type {
        return Err(refusal::mixed_messages_off());
    }
    let queues = 0..=QUEUES_MAX;
    if !queues.contains(&topic.read_queue_nums) || !queues.contains(&topic.write_queue_nums) {
        return Err(refusal::queue_counts_out_of_range(name, QUEUES_MAX));
    }
    Ok(())
}

fn check_is_not_system(broker: &Broker, topic: &str) -> Result<(), Refusal> {
    if broker.config.current().validate_system_topic && broker.topics.is_system(topic) {
        return Err(refusal::is_system_topic(topic));
    }
    Ok(())
}
