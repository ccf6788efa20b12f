//! Answers requests: one file a row group of [`crate::routes`]. Handlers run on pool threads; they read
//! and change the tables through [`crate::state::State`], and neither wait nor keep anything themselves.

pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod kv;
pub(crate) mod route;
pub(crate) mod topic;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thrustmq_proto_compat::fastjson::{self, BodyError};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::Refusal;

/// Code 1 with this remark.
fn system_error(remark: impl Into<String>) -> Refusal {
    Refusal::new(ResponseCode::SYSTEM_ERROR, remark)
}

/// A body in fastjson's own style.
fn json<T: Serialize>(body: &T) -> Result<Vec<u8>, Refusal> {
    fastjson::to_vec(body).map_err(|error| malformed(&error))
}

/// A body in standard JSON.
fn standard_json<T: Serialize>(body: &T) -> Result<Vec<u8>, Refusal> {
    fastjson::to_standard_vec(body).map_err(|error| malformed(&error))
}

/// The body of a request.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    fastjson::from_slice(body).map_err(|error| malformed(&error))
}

fn malformed(error: &BodyError) -> Refusal {
    system_error(format!("malformed body: {error}"))
}
