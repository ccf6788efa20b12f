//! Sockets, request pools and replies of the RocketMQ remoting protocol.
//!
//! It knows codes and frames, but no topic, group or queue. Either side of a connection sends
//! requests and answers those of the other. The modules stand in dependency order, leaves first:
//!
//! ```text
//! connection  bytes → frame::split → Command ─▶ routes  find(code) ─▶ pool  bounded queue, OS threads
//!      ▲                                                                     │ handler
//!      └──────────── outbox  encode, wake once a batch ◀── reply  Responder::send
//! ```
//!
//! Invariants: every request that is not oneway is answered exactly once or its connection closes;
//! every call ends exactly once, with an answer or an error; no callback or event listener runs on an
//! I/O thread, and handlers only of pools that lend; every queue and table has a limit.
#![forbid(unsafe_code)]

mod error;
mod hooks;
mod integer_hash;
mod options;
mod queue;
mod refusal;

mod batch;
mod turn;

mod outbox;
mod worker;

mod callbacks;
mod pending;

mod peer;
mod reply;

mod admission;
mod budget;
mod pool;

mod routes;

mod events;

mod endpoint;

mod connection;
mod io_threads;
mod socket;
#[cfg(feature = "tls")]
mod tls;

mod server;

mod client;

pub use admission::{Admission, Overdue, OverdueReason, QueueLook};
pub use client::Client;
pub use error::CallError;
pub use events::{ConnectionEvent, ConnectionEvents};
pub use hooks::{Hooks, RequestInfo, RpcHook};
pub use io_threads::CONNECTION_THREADS_MAX;
#[cfg(feature = "tls")]
pub use options::TlsOptions;
pub use options::{ClientOptions, PoolOptions, ServerOptions};
pub use peer::Peer;
pub use pool::{Pool, PoolFull};
pub use refusal::Refusal;
pub use reply::{Handled, Incoming, Reply, Responder};
pub use routes::{Routes, RoutesBuilder};
pub use server::Server;
pub use turn::wake_after_turn;
