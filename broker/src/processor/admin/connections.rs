//! Who is connected, and what groups subscribe to: 203, 204, 300, 328, 343 and 345.

use std::sync::Arc;

use thrustmq_proto_compat::body::{
    Connection, ConsumerConnection, GroupList, ProducerConnection, ProducerInfo, ProducerTableInfo,
    QuerySubscriptionResponseBody, TopicList,
};
use thrustmq_proto_compat::header::{
    GetConsumerConnectionListRequestHeader, GetProducerConnectionListRequestHeader,
    QuerySubscriptionByConsumerRequestHeader, QueryTopicConsumeByWhoRequestHeader,
    QueryTopicsByConsumerRequestHeader,
};
use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::member::Member;
use crate::processor::json_body;
use crate::refusal;

/// `GET_CONSUMER_CONNECTION_LIST`.
pub(crate) fn consumer_connections(
    broker: &Broker,
    incoming: Incoming<GetConsumerConnectionListRequestHeader>,
) -> Handled<()> {
    let group = &incoming.header.consumer_group;
    let state = broker.consumers.find(group);
    let state = state.ok_or_else(|| refusal::consumer_group_offline(group))?;
    let subscriptions = state.subscriptions.iter();
    let body = ConsumerConnection {
        connection_set: state.members().map(connection).collect(),
        consume_from_where: state.mode.consume_from_where,
        consume_type: state.mode.consume_type,
        message_model: state.mode.message_model,
        subscription_table: subscriptions
            .map(|(topic, subscription)| (topic.clone(), subscription.data.clone()))
            .collect(),
    };
    json_body::answer(Reply::success(), &body)
}

/// `GET_PRODUCER_CONNECTION_LIST`.
pub(crate) fn producer_connections(
    broker: &Broker,
    incoming: Incoming<GetProducerConnectionListRequestHeader>,
) -> Handled<()> {
    let group = &incoming.header.producer_group;
    let members = broker.producers.members(group);
    let members = members.ok_or_else(|| refusal::producer_group_absent(group))?;
    let body = ProducerConnection {
        connection_set: members.iter().map(connection).collect(),
    };
    json_body::answer(Reply::success(), &body)
}

/// `GET_ALL_PRODUCER_INFO`: all producers by group.
pub(crate) fn all_producers(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    let groups = broker.producers.all().into_iter();
    let body = ProducerTableInfo {
        data: groups
            .map(|(group, members)| (group, members.iter().map(producer_info).collect()))
            .collect(),
    };
    json_body::answer(Reply::success(), &body)
}

/// `QUERY_TOPIC_CONSUME_BY_WHO`: groups that consume a topic now, or have consumed it.
pub(crate) fn groups_of_topic(
    broker: &Broker,
    incoming: Incoming<QueryTopicConsumeByWhoRequestHeader>,
) -> Handled<()> {
    let topic = &incoming.header.topic;
    let mut group_list = broker.consumers.groups_of(topic);
    group_list.extend(broker.offsets.groups_of(topic));
    json_body::answer(Reply::success(), &GroupList { group_list })
}

/// `QUERY_TOPICS_BY_CONSUMER`: topics that a group has consumed.
pub(crate) fn topics_of_group(
    broker: &Broker,
    incoming: Incoming<QueryTopicsByConsumerRequestHeader>,
) -> Handled<()> {
    let body = TopicList {
        broker_addr: Some(broker.address.clone()),
        topic_list: broker.offsets.topics_of(&incoming.header.group),
    };
    json_body::answer(Reply::success(), &body)
}

/// `QUERY_SUBSCRIPTION_BY_CONSUMER`: what a group subscribes to in a topic.
pub(crate) fn subscription(
    broker: &Broker,
    incoming: Incoming<QuerySubscriptionByConsumerRequestHeader>,
) -> Handled<()> {
    let QuerySubscriptionByConsumerRequestHeader { group, topic } = incoming.header;
    let subscription = topic
        .as_deref()
        .and_then(|topic| broker.consumers.subscription(&group, topic));
    let body = QuerySubscriptionResponseBody {
        group: Some(group),
        subscription_data: subscription.map(|subscription| subscription.data.clone()),
        topic,
    };
    json_body::answer(Reply::success(), &body)
}

fn connection(member: &Arc<Member>) -> Connection {
    let client = &member.client;
    Connection {
        client_addr: client.peer.remote_addr().to_string(),
        client_id: client.client_id.clone(),
        language: client.language,
        version: client.version,
    }
}

fn producer_info(member: &Arc<Member>) -> ProducerInfo {
    let client = &member.client;
    ProducerInfo {
        client_id: client.client_id.clone(),
        language: client.language,
        last_update_timestamp: member.last_seen_ms(),
        // Java shows the address as its socket class does, with a slash before it.
        remote_ip: format!("/{}", client.peer.remote_addr()),
        version: client.version,
    }
}
