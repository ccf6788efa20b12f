//! Handlers: free functions, one file a family of requests. `routes.rs` says which runs where.

pub(crate) mod admin;
pub(crate) mod heartbeat;
pub(crate) mod lock;
pub(crate) mod offset;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod send;
pub(crate) mod send_back;

mod cold;
mod json_body;
mod pull_checks;
mod send_batch;
mod send_checks;
mod send_properties;
mod send_refusals;
