//! The typed fields of each command (01-request-codes, 03-message-formats §3.2).
//!
//! A file for each owner of the commands; all names are also here. The names are Java's. A field is
//! required where Java's own server fails without it, has a default where Java's primitive has one,
//! and is an `Option` otherwise. Processors and clients use these through [`crate::request_code`].

mod admin;
mod client;
mod group;
mod namesrv;
mod offset;
mod pop;
mod pull;
mod query;
mod send;
mod topic;
mod transaction;

pub use admin::*;
pub use client::*;
pub use group::*;
pub use namesrv::*;
pub use offset::*;
pub use pop::*;
pub use pull::*;
pub use query::*;
pub use send::*;
pub use topic::*;
pub use transaction::*;
