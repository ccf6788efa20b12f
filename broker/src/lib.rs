//! The broker: topics, groups and offsets around one store, served on two ports.
//!
//! `routes.rs` is the map of what it serves and on which pool; every handler is a free function in
//! `processor/` that reads the shared [`broker::Broker`]. The modules stand in dependency order,
//! leaves first: a module uses only what stands above it.
#![forbid(unsafe_code)]

pub mod config;
mod metadata_file;

mod filter;
mod refusal;

mod alarm;
mod assignment;
mod group;
mod lock;
mod member;
mod metadata_writer;
mod offset;
mod stats;
mod topic;

mod waited;

mod delay;
mod store_options;
mod timer;
mod transaction;

mod hold;
mod pools;

mod namesrv_link;

mod pop;

mod broker;
mod processor;

mod admission;
mod arrivals;
mod connections;
mod periodic;
mod registration;
mod routes;
mod threads;

mod options;
mod shutdown;
mod startup;

pub use options::BrokerOptions;
pub use startup::{BrokerAddresses, BrokerServer, StartError};
