//! JSON bodies of requests and answers.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_remoting::{Refusal, Reply};

use crate::refusal;

/// Reads a request's body.
pub(super) fn read<T: DeserializeOwned>(request: &Command) -> Result<T, Refusal> {
    fastjson::from_slice(&request.body.to_bytes()).map_err(|error| refusal::malformed_body(&error))
}

/// Gives an answer a body.
pub(super) fn answer<H, T: Serialize>(reply: Reply<H>, body: &T) -> Result<Reply<H>, Refusal> {
    let json = fastjson::to_vec(body).map_err(|error| refusal::unwritable_body(&error))?;
    Ok(reply.with_body(json))
}
