//! Clients that are alive: producers and consumers by group, as heartbeats announce them.
//!
//! `processor/heartbeat.rs` registers and removes; pulls read what a group subscribes to; admin
//! handlers read who is there. Closed connections leave at once, silent ones after
//! `channelExpiredTimeout`.

mod consumers;

mod client;
mod producers;
mod subscription;

pub(crate) use client::{ClientIdentity, Member};
pub(crate) use consumers::{
    ConsumeMode, ConsumerGroup, ConsumerHeartbeat, ConsumerTable, LeftGroup,
};
pub(crate) use producers::ProducerTable;

#[cfg(test)]
mod tests;
