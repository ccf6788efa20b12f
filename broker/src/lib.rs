//! The broker: topics, groups and offsets around one store, served on two ports.
//!
//! `routes.rs` is the map of what it serves and on which pool; every handler is a free function in
//! `processor/` that reads the shared [`broker::Broker`]. The modules stand in dependency order,
//! leaves first: a module uses only what stands above it.
#![forbid(unsafe_code)]

pub mod config;
mod metadata_file;
mod refusal;

mod group;
mod lock;
mod member;
mod offset;
mod stats;
mod topic;

mod delay;
mod store_options;
mod tag_filter;

mod hold;
mod pools;

mod namesrv_link;

mod broker;
mod processor;

mod admission;
mod arrivals;
mod connections;
mod periodic;
mod registration;
mod routes;

mod options;
mod shutdown;
mod startup;

pub use options::BrokerOptions;
pub use startup::{BrokerAddresses, BrokerServer, StartError};
