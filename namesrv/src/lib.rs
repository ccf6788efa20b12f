//! The name server: which broker serves which topic.
//!
//! Modules in dependency order, leaves first. All state is rebuilt from the brokers' registrations; only
//! the key-value configuration is kept on disk. Name servers do not know of each other.
//!
//! ```text
//! routes  code → pool, handler ─▶ processor/*  ─▶ route_table   four tables, one lock
//!                                              └▶ kv_config     the one file
//! unregistration  closed connections, 104, scan ─▶ queue ─▶ route_table ─▶ notices (905)
//! ```
#![forbid(unsafe_code)]

pub mod config;
pub mod kv_config;

mod route_table;

mod notices;
mod unregistration;

mod state;

mod processor;
mod routes;

mod server;

pub use config::NamesrvConfig;
pub use server::{NameServer, NamesrvOptions, StartError};
