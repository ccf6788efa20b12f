//! Handlers: free functions, one file a family of requests. `routes.rs` says which runs where.

pub(crate) mod ack;
pub(crate) mod admin;
pub(crate) mod assignment;
pub(crate) mod change_invisible;
pub(crate) mod end_transaction;
pub(crate) mod heartbeat;
pub(crate) mod lock;
pub(crate) mod notification;
pub(crate) mod offset;
pub(crate) mod peek;
pub(crate) mod pop;
pub(crate) mod pop_order;
pub(crate) mod pop_polling;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod recall;
pub(crate) mod reply;
pub(crate) mod send;
pub(crate) mod send_back;

mod ack_ahead;
mod cold;
mod json_body;
mod pop_checks;
mod pop_queues;
mod pop_records;
mod pull_checks;
mod send_answer;
mod send_batch;
mod send_checks;
mod send_destination;
mod send_properties;
mod send_refusals;
mod send_request;
mod when_flushed;
mod woken;
