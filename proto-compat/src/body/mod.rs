//! The JSON bodies of commands and the config files (13-json-bodies), as [`crate::fastjson`] reads
//! and writes them.
//!
//! Names are Java's, in snake case. Sets are `BTreeSet`s and maps `BTreeMap`s, so that the same body
//! always has the same bytes. Derived values that Java also writes (texts of times) are left out: no
//! reader takes them.

mod assignment;
mod client;
mod config_file;
mod data_version;
mod group;
mod ha;
mod message_queue;
mod name;
mod offset;
mod pop;
mod register;
mod route;
mod running_info;
mod static_topic;
mod stats;
mod table;
mod topic;

pub use assignment::*;
pub use client::*;
pub use config_file::*;
pub use data_version::*;
pub use group::*;
pub use ha::*;
pub use message_queue::*;
pub use name::*;
pub use offset::*;
pub use pop::*;
pub use register::*;
pub use route::*;
pub use running_info::*;
pub use static_topic::*;
pub use stats::*;
pub use topic::*;
