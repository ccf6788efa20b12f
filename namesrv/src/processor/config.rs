//! The server's own configuration at run time: 318, 319.

use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Incoming, Refusal, Reply};
use thrustmq_settings::{Settings, UpdateError};

use super::system_error;
use crate::state::State;

/// 318: applies properties text.
pub(crate) fn update(state: &State, incoming: Incoming<()>) -> Handled<()> {
    let body = incoming.command.body.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| system_error("string2Properties error"))?;
    tracing::info!(peer = %incoming.peer, "configuration update");
    state.config.update(text).map_err(|error| refusal(&error))?;
    Ok(Reply::success())
}

/// 319: all keys and values.
pub(crate) fn get(state: &State, _incoming: Incoming<()>) -> Handled<()> {
    let text = state.config.current().to_properties();
    Ok(Reply::success().with_body(text.into_bytes()))
}

fn refusal(error: &UpdateError) -> Refusal {
    match error {
        UpdateError::BlackListed => Refusal::new(ResponseCode::NO_PERMISSION, error.to_string()),
        UpdateError::Fixed { .. } | UpdateError::Set(_) => system_error(error.to_string()),
    }
}
