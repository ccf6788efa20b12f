//! The broker's configuration: 25 and 26.

use std::sync::Arc;

use thrustmq_proto_compat::header::GetBrokerConfigResponseHeader;
use thrustmq_remoting::{Handled, Incoming, Reply, Responder};
use thrustmq_settings::Settings;

use crate::broker::Broker;
use crate::refusal;
use crate::registration;

/// `UPDATE_BROKER_CONFIG`: all keys of the body, or none. Keys that the broker doesn't know are
/// ignored, as Java does, and named in the remark.
/// Where the broker's permission changes, the answer waits until the name servers have heard of it.
pub(crate) fn update_config(broker: &Arc<Broker>, incoming: Incoming<()>, responder: Responder) {
    let permission = broker.config.current().broker_permission;
    let handled = update(broker, &incoming);
    if handled.is_err() || broker.config.current().broker_permission == permission {
        return responder.send(handled);
    }
    broker.topics.touch();
    registration::answer_once_registered(broker, responder, handled);
}

fn update(broker: &Broker, incoming: &Incoming<()>) -> Handled<()> {
    let body = incoming.command.body.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| refusal::properties_not_text())?;
    tracing::info!(peer = %incoming.peer, ?text, "configuration is to change");
    let updated = broker
        .config
        .update(text)
        .map_err(refusal::config_update_refused)?;
    let reply = Reply::success();
    if updated.unknown.is_empty() {
        return Ok(reply);
    }
    Ok(reply.with_remark(format!(
        "ignored unknown keys: {}",
        updated.unknown.join(", ")
    )))
}

/// `GET_BROKER_CONFIG`: every key that has a value, as properties.
pub(crate) fn get_config(
    broker: &Broker,
    _: Incoming<()>,
) -> Handled<GetBrokerConfigResponseHeader> {
    let header = GetBrokerConfigResponseHeader {
        version: broker.config.version_json(),
    };
    let text = broker.config.current().to_properties();
    Ok(Reply::ok(header).with_body(text.into_bytes()))
}
