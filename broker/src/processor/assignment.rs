//! Division of queues by the broker, for clients that do not divide themselves: 400, 401 and 402.

use std::sync::Arc;

use thrustmq_proto_compat::body::{
    MessageModel, MessageQueue, MessageQueueAssignment, MessageRequestMode,
    QueryAssignmentRequestBody, QueryAssignmentResponseBody, SetMessageRequestModeRequestBody,
};
use thrustmq_proto_compat::division::readable_queues;
use thrustmq_proto_compat::message::names;
use thrustmq_remoting::{CallError, Handled, Incoming, Reply, Responder};

use super::json_body;
use crate::assignment::{Learned, Look, Queues, Strategy, share};
use crate::broker::Broker;
use crate::config::RequestMode;
use crate::refusal;
use crate::topic::PERM_READ;

/// The one queue of a light queue's topic.
const LIGHT_QUEUE_ID: i32 = 0;

/// 400 `QUERY_ASSIGNMENT`. An answer without a list means "I can not say", and the client goes on
/// with what it has; an empty list takes everything from it.
pub(crate) fn query_assignment(broker: &Arc<Broker>, incoming: Incoming<()>, responder: Responder) {
    let asked: QueryAssignmentRequestBody = match json_body::read(&incoming.command) {
        Ok(asked) => asked,
        Err(refusal) => return responder.refuse(refusal),
    };
    let topic = asked.topic.clone();
    let is_shared = asked.message_model == MessageModel::Clustering;
    let answering = Arc::clone(broker);
    let answer = move |queues: Option<Queues>| {
        responder.send(answer(&answering, &asked, queues.as_deref()));
    };
    if is_shared && topic.starts_with(names::LIGHT_QUEUE_PREFIX) {
        let queue = own_queue(broker, &topic, LIGHT_QUEUE_ID);
        answer(Some([queue].into()));
    } else if broker.namesrv.addresses().is_empty() {
        answer(own_queues(broker, &topic));
    } else {
        look_up(broker, topic, answer);
    }
}

/// 401 `SET_MESSAGE_REQUEST_MODE`: whether a group pulls or pops a topic.
pub(crate) fn set_request_mode(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    let mode: SetMessageRequestModeRequestBody = json_body::read(&incoming.command)?;
    if names::is_retry_topic(&mode.topic) {
        return Err(refusal::retry_topic_has_no_mode());
    }
    if !broker.topics.contains(&mode.topic) {
        return Err(refusal::asked_topic_not_exist(&mode.topic));
    }
    if broker.groups.find(&mode.consumer_group).is_none() {
        return Err(refusal::mode_group_absent());
    }
    tracing::info!(peer = %incoming.peer, ?mode, "message request mode is set");
    let set = broker.request_modes.set(mode);
    set.map_err(refusal::too_many_modes)?;
    Ok(Reply::success())
}

/// 402 `GET_ALL_MESSAGE_REQUEST_MODE`.
pub(crate) fn all_request_modes(broker: &Broker, _: Incoming<()>) -> Handled<()> {
    json_body::answer(Reply::success(), &broker.request_modes.snapshot())
}

/// Calls `answer` with what the name server says of a topic's queues, or said a while ago.
fn look_up(
    broker: &Arc<Broker>,
    topic: String,
    answer: impl FnOnce(Option<Queues>) + Send + 'static,
) {
    let fresh_ms = broker.config.current().route_poll_ms;
    let now_ms = broker.clock.now_ms();
    let look = broker.topic_queues.look(&topic, now_ms, fresh_ms, answer);
    if look == Look::Ask {
        let broker = Arc::clone(broker);
        broker.runtime.clone().spawn(async move {
            let learned = match broker.namesrv.route(&topic).await {
                Ok(Some(route)) => Learned::Queues(readable_queues(&topic, &route).into()),
                Ok(None) => Learned::Absent,
                Err(error) => {
                    log_failure(&topic, &error);
                    Learned::Nothing
                }
            };
            let now_ms = broker.clock.now_ms();
            broker.topic_queues.learn(&topic, learned, now_ms);
        });
    }
}

/// `registration.rs` warns, once, of a name server that is away.
fn log_failure(topic: &str, error: &CallError) {
    tracing::info!(topic, %error, "no name server tells where a topic is");
}

/// What a broker that stands alone knows.
fn own_queues(broker: &Broker, topic: &str) -> Option<Queues> {
    let config = broker.topics.find(topic)?;
    let is_readable = config.perm & PERM_READ != 0;
    let count = if is_readable {
        config.read_queue_nums
    } else {
        0
    };
    Some(
        (0..count)
            .map(|queue_id| own_queue(broker, topic, queue_id))
            .collect(),
    )
}

fn own_queue(broker: &Broker, topic: &str, queue_id: i32) -> MessageQueue {
    MessageQueue {
        broker_name: broker.config.current().broker_name.clone(),
        queue_id,
        topic: topic.to_owned(),
    }
}

fn answer(
    broker: &Broker,
    asked: &QueryAssignmentRequestBody,
    queues: Option<&[MessageQueue]>,
) -> Handled<()> {
    let mode = mode_of(broker, asked);
    let assigned = queues.and_then(|queues| match asked.message_model {
        MessageModel::Broadcasting => Some(queues.to_vec()),
        MessageModel::Clustering => share_of(broker, asked, &mode, queues),
    });
    if assigned.is_none() {
        let QueryAssignmentRequestBody {
            topic,
            consumer_group: group,
            client_id,
            ..
        } = asked;
        tracing::info!(
            topic,
            group,
            client_id,
            "nobody can say which queues are the client's"
        );
    }
    let assignment = |message_queue| MessageQueueAssignment {
        attachments: None,
        message_queue,
        mode: mode.mode,
    };
    let body = QueryAssignmentResponseBody {
        message_queue_assignments: assigned
            .map(|queues| queues.into_iter().map(assignment).collect()),
    };
    json_body::answer(Reply::success(), &body)
}

/// What was set for the group and topic, or the default. Retries are always pulled.
fn mode_of(
    broker: &Broker,
    asked: &QueryAssignmentRequestBody,
) -> SetMessageRequestModeRequestBody {
    if let Some(mode) = broker
        .request_modes
        .find(&asked.topic, &asked.consumer_group)
    {
        return mode;
    }
    let config = broker.config.current();
    let is_popped =
        config.default_request_mode == RequestMode::Pop && !names::is_retry_topic(&asked.topic);
    SetMessageRequestModeRequestBody {
        mode: if is_popped {
            MessageRequestMode::Pop
        } else {
            MessageRequestMode::Pull
        },
        pop_share_queue_num: config.default_pop_share_queues,
        ..SetMessageRequestModeRequestBody::default()
    }
}

/// What one member of a group takes; `None` if nobody can say.
fn share_of(
    broker: &Broker,
    asked: &QueryAssignmentRequestBody,
    mode: &SetMessageRequestModeRequestBody,
    queues: &[MessageQueue],
) -> Option<Vec<MessageQueue>> {
    if !broker.config.current().server_load_balancer {
        return Some(queues.to_vec());
    }
    let group = broker.consumers.find(&asked.consumer_group)?;
    let members = group.members();
    let mut clients: Vec<_> = members
        .map(|member| member.client.client_id.clone())
        .collect();
    clients.sort();
    clients.dedup();
    let strategy = Strategy::of_name(asked.strategy_name.as_deref()?)?;
    let pop_shares = (mode.mode == MessageRequestMode::Pop).then_some(mode.pop_share_queue_num);
    share(strategy, queues, &clients, &asked.client_id, pop_shares)
}
