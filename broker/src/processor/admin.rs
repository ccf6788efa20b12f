//! What operators and their tools ask of a broker, by subject.

pub(crate) mod cleanup;
pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod correction;
pub(crate) mod group;
pub(crate) mod progress;
pub(crate) mod queue;
pub(crate) mod relay;
pub(crate) mod replica;
pub(crate) mod reset;
pub(crate) mod runtime_info;
pub(crate) mod stats;
pub(crate) mod timer;
pub(crate) mod topic;

mod disk_space;
mod page;
