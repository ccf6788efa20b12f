//! Request and reply: 324 and 325, the answer of a consumer to who sent the message.
//!
//! Runs on the reply pool. The reply is stored, which nobody waits for, and pushed (326) to the producer
//! whose client id it names; the sender learns what became of the push. That a requester is gone is no
//! fault of the broker: it has given up waiting.

use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{
    ReplyMessageRequestHeader, SendMessageRequestHeader, SendMessageResponseHeader,
};
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_proto_compat::message::sys_flag;
use thrustmq_proto_compat::request_code::PushReplyMessageToClient;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{CallError, Incoming, Peer, Refusal, Reply, Responder};
use thrustmq_store::NewMessage;
use tokio::sync::OwnedSemaphorePermit;

use super::send_answer::{WithOrigin, told_origin};
use super::send_checks::check_send;
use super::send_destination::any_queue;
use super::send_request::SendRequest;
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::refusal;

/// How long a requester may take to confirm that it has the reply.
const PUSH_WAIT: Duration = Duration::from_secs(10);
/// Replies that wait for their requesters, at most: each keeps its body until then.
pub(crate) const PUSHES_MAX: usize = 10_000;
/// Pause before a push that found too many others under way to the same requester.
const CROWDED_PAUSE: Duration = Duration::from_millis(2);
/// So often, for 3 s in all: then the sender of the reply has given up.
const CROWDED_TRIES_MAX: u32 = 1_500;
/// What a flag keeps: how the body is packed. Nothing of it makes a reply invisible.
const KEPT_FLAGS: i32 = sys_flag::COMPRESSED | sys_flag::COMPRESSION_MASK;

/// 324 SEND_REPLY_MESSAGE.
pub(crate) fn send_reply(
    broker: &Arc<Broker>,
    incoming: Incoming<SendMessageRequestHeader>,
    responder: Responder,
) {
    handle(broker, &SendRequest::of_long(&incoming), responder);
}

/// 325 SEND_REPLY_MESSAGE_V2.
pub(crate) fn send_reply_v2(broker: &Arc<Broker>, incoming: Incoming<()>, responder: Responder) {
    match SendRequest::read(&incoming) {
        Ok(request) => handle(broker, &request, responder),
        Err(refusal) => responder.refuse(refusal),
    }
}

fn handle(broker: &Arc<Broker>, request: &SendRequest<'_>, responder: Responder) {
    let config = broker.config.current();
    match accept(broker, &config, request) {
        Ok(accepted) => accepted.push_and_answer(broker, config, responder),
        Err(refusal) => responder.send(Ok(told_origin(config, Reply::refused(refusal)))),
    }
}

/// A reply that passed its checks and is stored, or was tried to be.
struct Accepted {
    /// The request with the reply, and the requester; or why there is nobody to push it to.
    push: Result<Push, Refusal>,
    header: SendMessageResponseHeader,
}

struct Push {
    requester: Peer,
    client_id: String,
    request: Command,
    _held: OwnedSemaphorePermit,
}

fn accept(
    broker: &Broker,
    config: &BrokerConfig,
    request: &SendRequest<'_>,
) -> Result<Accepted, Refusal> {
    let topic = check_send(broker, config, request)?;
    let header = &request.header;
    let queue_id = match header.queue_id {
        asked if asked >= 0 => asked,
        _ => any_queue(request.command.opaque, topic.write_queue_nums),
    };
    let properties_text = with_origin(config, header.properties.unwrap_or(""));
    let push = Push::to_requester(broker, request, &properties_text);
    let mut answer = SendMessageResponseHeader {
        msg_id: "0".to_owned(),
        queue_id,
        ..SendMessageResponseHeader::default()
    };
    if config.store_reply {
        store(broker, request, &properties_text, &mut answer);
    }
    Ok(Accepted {
        push,
        header: answer,
    })
}

/// The properties with what the broker says of itself.
fn with_origin(config: &BrokerConfig, sent: &str) -> String {
    let mut text = sent.to_owned();
    let trace_on = if config.trace_on { "true" } else { "false" };
    for (own, value) in [
        (name::MSG_REGION, config.region_id.as_str()),
        (name::TRACE_ON, trace_on),
    ] {
        text = properties::without(&text, own).into_owned();
        properties::push(&mut text, own, value);
    }
    text
}

/// Stores the reply; that it could not be is told to nobody, as who waits has it anyway.
fn store(
    broker: &Broker,
    request: &SendRequest<'_>,
    properties_text: &str,
    answer: &mut SendMessageResponseHeader,
) {
    let header = &request.header;
    let body = request.command.body.in_one_piece();
    let appended = broker.store.append(&NewMessage {
        topic: header.topic,
        queue_id: answer.queue_id,
        flag: header.flag,
        sys_flag: header.sys_flag & KEPT_FLAGS,
        born_timestamp: header.born_timestamp_ms,
        born_host: request.peer.remote_addr(),
        store_host: broker.advertised,
        reconsume_times: header.reconsume_times,
        prepared_transaction_offset: 0,
        body: &body,
        properties: properties_text,
    });
    match appended {
        Ok(appended) => {
            let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
            let (topic, queue_id) = (header.topic, answer.queue_id);
            broker.stats.record_put(topic, queue_id, 1, bytes);
            let id = OffsetId {
                store_host: broker.advertised,
                physical_offset: appended.physical_offset,
            };
            answer.msg_id = id.encode();
            answer.queue_offset = appended.queue_offset;
        }
        Err(error) => {
            broker.stats.record_put_failure();
            tracing::info!(topic = header.topic, %error, "reply is not stored");
        }
    }
}

impl Push {
    fn to_requester(
        broker: &Broker,
        request: &SendRequest<'_>,
        properties_text: &str,
    ) -> Result<Self, Refusal> {
        let client_id = properties::get(properties_text, name::REPLY_TO_CLIENT);
        let client_id = client_id.ok_or_else(refusal::reply_to_nobody)?;
        let requester = broker.producers.connection_of(client_id);
        let requester = requester.ok_or_else(|| refusal::requester_not_found(client_id))?;
        let permit = Arc::clone(&broker.reply_pushes).try_acquire_owned();
        let permit = permit.map_err(|_| {
            Refusal::overload(format_args!("{PUSHES_MAX} replies wait for requesters"))
        })?;
        let header = push_header(broker, request, properties_text);
        let pushed = Command::request::<PushReplyMessageToClient>(&header);
        Ok(Self {
            requester,
            client_id: client_id.to_owned(),
            request: pushed.with_body(request.command.body.clone()),
            _held: permit,
        })
    }

    /// Waits until the requester has it.
    async fn deliver(&self) -> Result<(), Refusal> {
        let mut answer = self.call().await;
        for _ in 0..CROWDED_TRIES_MAX {
            if !matches!(answer, Err(CallError::TooManyInFlight { .. })) {
                break;
            }
            tokio::time::sleep(CROWDED_PAUSE).await;
            answer = self.call().await;
        }
        let client_id = self.client_id.as_str();
        match answer {
            Ok(answer) if answer.response_code() == ResponseCode::SUCCESS => return Ok(()),
            Ok(answer) => {
                tracing::info!(
                    client_id,
                    code = answer.code,
                    remark = answer.remark,
                    "requester refuses a reply"
                );
            }
            Err(error) => tracing::info!(client_id, %error, "reply does not reach its requester"),
        }
        Err(refusal::reply_not_pushed(client_id))
    }

    async fn call(&self) -> Result<Command, CallError> {
        self.requester.call(self.request.clone(), PUSH_WAIT).await
    }
}

fn push_header(
    broker: &Broker,
    request: &SendRequest<'_>,
    properties_text: &str,
) -> ReplyMessageRequestHeader {
    let header = request.header;
    let now_ms = broker.clock.now_ms();
    let mut pushed = properties::without(properties_text, name::PUSH_REPLY_TIME).into_owned();
    properties::push(&mut pushed, name::PUSH_REPLY_TIME, &now_ms.to_string());
    ReplyMessageRequestHeader {
        producer_group: header.producer_group.to_owned(),
        topic: header.topic.to_owned(),
        default_topic: header.default_topic.to_owned(),
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp_ms: header.born_timestamp_ms,
        flag: header.flag,
        properties: Some(pushed),
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode,
        born_host: request.peer.remote_addr().to_string(),
        store_host: broker.advertised.to_string(),
        store_timestamp_ms: now_ms,
    }
}

impl Accepted {
    fn push_and_answer(self, broker: &Broker, config: Arc<BrokerConfig>, responder: Responder) {
        let Self { push, header } = self;
        let reply = told_origin(config, Reply::ok(header));
        match push {
            Ok(push) => {
                broker.runtime.spawn(async move {
                    let pushed = push.deliver().await;
                    answer(reply, pushed, responder);
                });
            }
            Err(refusal) => answer(reply, Err(refusal), responder),
        }
    }
}

fn answer(
    reply: Reply<WithOrigin<SendMessageResponseHeader>>,
    pushed: Result<(), Refusal>,
    responder: Responder,
) {
    responder.send(Ok(match pushed {
        Ok(()) => reply,
        Err(refusal) => reply.with_code(refusal.code).with_remark(refusal.remark),
    }));
}
