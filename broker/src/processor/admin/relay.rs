//! Questions that only a consumer can answer, passed on to it: 223, 307 and 309.
//!
//! The responder waits in the call; no thread does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_proto_compat::body::{GetConsumerStatusBody, MessageQueue};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader,
};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::request_code::GetConsumerStatusFromClient;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{CallError, Incoming, Refusal, Reply, Responder};

use crate::broker::Broker;
use crate::member::Member;
use crate::processor::json_body;
use crate::refusal;

/// How long a consumer may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long each of several consumers may take.
const STATUS_WAIT: Duration = Duration::from_secs(5);
/// Clients before 3.0.7 have no answer.
const STATUS_VERSION_MIN: i32 = 28;

/// `GET_CONSUMER_RUNNING_INFO`: what a consumer is doing.
pub(crate) fn running_info(
    broker: &Broker,
    incoming: Incoming<GetConsumerRunningInfoRequestHeader>,
    responder: Responder,
) {
    let header = incoming.header;
    let request = repeated(&incoming.command);
    call_consumer(
        broker,
        &header.consumer_group,
        &header.client_id,
        request,
        responder,
    );
}

/// `CONSUME_MESSAGE_DIRECTLY`: a consumer gets one message and says what became of it.
pub(crate) fn consume_directly(
    broker: &Broker,
    incoming: Incoming<ConsumeMessageDirectlyResultRequestHeader>,
    responder: Responder,
) {
    match with_message(broker, &incoming) {
        Ok(request) => {
            let header = incoming.header;
            let client_id = header.client_id.unwrap_or_default();
            call_consumer(
                broker,
                &header.consumer_group,
                &client_id,
                request,
                responder,
            );
        }
        Err(refusal) => responder.refuse(refusal),
    }
}

/// `INVOKE_BROKER_TO_GET_CONSUMER_STATUS`: how far each consumer of a group is, or one of them.
pub(crate) fn consumer_status(
    broker: &Broker,
    incoming: Incoming<GetConsumerStatusRequestHeader>,
    responder: Responder,
) {
    let header = incoming.header;
    match members_to_ask(broker, &header) {
        Ok(members) => ask_all(members, &header, responder),
        Err(refusal) => responder.refuse(refusal),
    }
}

/// The same request, to be sent on.
fn repeated(request: &Command) -> Command {
    let mut repeated = Command::new(request.code);
    repeated.fields = request.fields.clone();
    repeated.body = request.body.clone();
    repeated
}

fn with_message(
    broker: &Broker,
    incoming: &Incoming<ConsumeMessageDirectlyResultRequestHeader>,
) -> Result<Command, Refusal> {
    let header = &incoming.header;
    let message_id = header.msg_id.as_deref().unwrap_or_default();
    let message_id =
        OffsetId::decode(message_id).map_err(|_| refusal::invalid_message_id(message_id))?;
    let offset = message_id.physical_offset;
    let record = broker.store.record_at(offset);
    let record = record.map_err(|error| refusal::message_not_read(error, offset))?;
    let mut request = repeated(&incoming.command).with_body(record);
    let broker_name = &broker.config.current().broker_name;
    request.fields.set("brokerName", broker_name);
    let topic = header
        .topic
        .as_deref()
        .and_then(|topic| broker.topics.find(topic));
    if let Some(topic) = topic {
        let flag = topic.topic_sys_flag.to_string();
        request.fields.set("topicSysFlag", &flag);
    }
    if let Some(group) = broker.groups.find(&header.consumer_group) {
        let flag = group.group_sys_flag.to_string();
        request.fields.set("groupSysFlag", &flag);
    }
    Ok(request)
}

fn call_consumer(
    broker: &Broker,
    group: &str,
    client_id: &str,
    request: Command,
    responder: Responder,
) {
    let Some(member) = broker.consumers.member(group, client_id) else {
        return responder.refuse(refusal::consumer_offline(group, client_id));
    };
    let (group, client_id) = (group.to_owned(), client_id.to_owned());
    let peer = &member.client.peer;
    peer.call_then(request, ANSWER_WAIT, move |answer| match answer {
        Ok(answer) => responder.raw(answer),
        Err(error) => responder.refuse(refusal_of(&error, &group, &client_id)),
    });
}

fn refusal_of(error: &CallError, group: &str, client_id: &str) -> Refusal {
    let text = error.to_string();
    if matches!(error, CallError::Timeout { .. }) {
        refusal::consumer_timeout(group, client_id, &text)
    } else {
        refusal::consumer_failed(group, client_id, &text)
    }
}

fn members_to_ask(
    broker: &Broker,
    header: &GetConsumerStatusRequestHeader,
) -> Result<Vec<Arc<Member>>, Refusal> {
    let group = &header.group;
    let state = broker.consumers.find(group);
    let state = state.ok_or_else(|| refusal::no_consumer_online(group))?;
    let wanted = header.client_address.as_deref().unwrap_or_default().trim();
    let members: Vec<_> = state
        .members()
        .filter(|member| wanted.is_empty() || member.client.client_id == wanted)
        .cloned()
        .collect();
    let too_old = members
        .iter()
        .map(|member| member.client.version)
        .find(|version| *version < STATUS_VERSION_MIN);
    match too_old {
        Some(version) => Err(refusal::client_too_old(version)),
        None => Ok(members),
    }
}

/// The answers of several consumers; the last one to come answers the asker.
struct Gathering {
    answers: Mutex<BTreeMap<String, BTreeMap<MessageQueue, i64>>>,
    responder: Mutex<Option<Responder>>,
}

fn ask_all(
    members: Vec<Arc<Member>>,
    header: &GetConsumerStatusRequestHeader,
    responder: Responder,
) {
    let gathering = Arc::new(Gathering {
        answers: Mutex::default(),
        responder: Mutex::new(Some(responder)),
    });
    for member in members {
        let request = Command::request::<GetConsumerStatusFromClient>(header);
        let gathering = Arc::clone(&gathering);
        let client_id = member.client.client_id.clone();
        member
            .client
            .peer
            .call_then(request, STATUS_WAIT, move |answer| {
                gathering.add(client_id, answer);
            });
    }
}

impl Gathering {
    fn add(&self, client_id: String, answer: Result<Command, CallError>) {
        let status = match answer {
            Ok(answer) if answer.response_code() == ResponseCode::SUCCESS => {
                fastjson::from_slice::<GetConsumerStatusBody>(&answer.body.to_bytes()).ok()
            }
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(client_id, %error, "consumer does not say how far it is");
                None
            }
        };
        if let Some(status) = status {
            let mut answers = self.answers.lock().expect("no holder of this lock panics");
            answers.insert(client_id, status.message_queue_table);
        }
    }
}

impl Drop for Gathering {
    /// Nobody can add anything any more: this is what there is.
    fn drop(&mut self) {
        let responder = self.responder.get_mut().ok().and_then(Option::take);
        let answers = self
            .answers
            .get_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let body = GetConsumerStatusBody {
            consumer_table: answers,
            ..GetConsumerStatusBody::default()
        };
        if let Some(responder) = responder {
            responder.send(json_body::answer(Reply::success(), &body));
        }
    }
}
