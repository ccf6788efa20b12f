//! Topics as a whole: lists (206, 224, 304, 311, 312, 313), dropped (216) and put (217) by operators.

use thrustmq_proto_compat::body::TopicRouteData;
use thrustmq_proto_compat::header::{
    DeleteTopicFromNamesrvRequestHeader, GetTopicsByClusterRequestHeader,
    RegisterTopicRequestHeader,
};
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply};

use super::{json, read, system_error};
use crate::route_table::TopicFilter;
use crate::state::State;

/// Bits of a topic's system flag.
const UNIT: i32 = 1;
const UNIT_SUB: i32 = 2;

/// 206: all topics.
pub(crate) fn all_topics(state: &State, _incoming: Incoming<()>) -> Handled<()> {
    if !state.config.current().enable_all_topic_list {
        return Err(disabled());
    }
    let topics = state.routes.topics(TopicFilter::All);
    Ok(Reply::success().with_body(json(&topics)?))
}

/// 224: topics of a cluster.
pub(crate) fn topics_of_cluster(
    state: &State,
    incoming: Incoming<GetTopicsByClusterRequestHeader>,
) -> Handled<()> {
    list(state, TopicFilter::Cluster(&incoming.header.cluster))
}

/// 304: the topics that brokers make themselves.
pub(crate) fn system_topics(state: &State, _incoming: Incoming<()>) -> Handled<()> {
    Ok(Reply::success().with_body(json(&state.routes.system_topics())?))
}

/// 311: topics of a unit.
pub(crate) fn unit_topics(state: &State, _incoming: Incoming<()>) -> Handled<()> {
    list(state, TopicFilter::Flag(|flag| flag & UNIT != 0))
}

/// 312: topics with subscriptions of a unit.
pub(crate) fn unit_sub_topics(state: &State, _incoming: Incoming<()>) -> Handled<()> {
    list(state, TopicFilter::Flag(|flag| flag & UNIT_SUB != 0))
}

/// 313: those of them that are not of a unit themselves.
pub(crate) fn unit_sub_topics_without_unit(state: &State, _incoming: Incoming<()>) -> Handled<()> {
    list(
        state,
        TopicFilter::Flag(|flag| flag & (UNIT | UNIT_SUB) == UNIT_SUB),
    )
}

/// 216: drops a topic's routes; brokers that still have it bring it back.
pub(crate) fn delete_topic(
    state: &State,
    incoming: Incoming<DeleteTopicFromNamesrvRequestHeader>,
) -> Handled<()> {
    let DeleteTopicFromNamesrvRequestHeader {
        topic,
        cluster_name,
    } = incoming.header;
    let cluster = cluster_name.as_deref().filter(|name| !name.is_empty());
    state.routes.delete_topic(&topic, cluster);
    tracing::info!(topic, cluster, peer = %incoming.peer, "topic deleted");
    Ok(Reply::success())
}

/// 217: puts a topic's route, of brokers that are there; as in Java the answer is always success.
pub(crate) fn register_topic(
    state: &State,
    incoming: Incoming<RegisterTopicRequestHeader>,
) -> Handled<()> {
    let topic = incoming.header.topic;
    let body = incoming.command.body.to_bytes();
    if !body.is_empty() {
        let route: TopicRouteData = read(&body)?;
        let is_put = state.routes.put_topic(&topic, &route.queue_datas);
        tracing::info!(topic, is_put, peer = %incoming.peer, "topic registered");
    }
    Ok(Reply::success())
}

fn list(state: &State, filter: TopicFilter<'_>) -> Handled<()> {
    if !state.config.current().enable_topic_list {
        return Err(disabled());
    }
    Ok(Reply::success().with_body(json(&state.routes.topics(filter))?))
}

fn disabled() -> Refusal {
    system_error("disable")
}
