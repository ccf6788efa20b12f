//! Which queues the members of a group take, when the broker divides them (400): whether a group
//! pulls or pops a topic (`request_modes`), which queues a topic has in the whole cluster
//! (`topic_queues`), and who gets which (`share`).
//!
//! Only `processor/assignment.rs` calls this.

mod request_modes;
mod share;
mod topic_queues;

pub(crate) use request_modes::{RequestModes, TooManyModes};
pub(crate) use share::{Strategy, share};
pub(crate) use topic_queues::{Learned, Look, Queues, TopicQueues};
