//! The broker's configuration: 25 and 26.

use thrustmq_proto_compat::header::GetBrokerConfigResponseHeader;
use thrustmq_proto_compat::properties_text;
use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::refusal;

/// `UPDATE_BROKER_CONFIG`: all keys of the body, or none. Keys that the broker doesn't know are
/// ignored, as Java does, and named in the remark.
pub(crate) fn update_config(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    let body = incoming.command.body.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| refusal::properties_not_text())?;
    let properties = properties_text::parse(text);
    tracing::info!(peer = %incoming.peer, ?properties, "configuration is to change");
    let updated = broker.config.update(&properties)?;
    if updated.changed.iter().any(|key| key == "brokerPermission") {
        broker.topics.touch();
        broker.namesrv.register_soon();
    }
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
    Ok(Reply::ok(header).with_body(broker.config.text().into_bytes()))
}
