//! A real broker on free ports and a real data directory, driven through remoting's client: the path
//! of a message from its send to its consumers.
#![allow(clippy::unwrap_used)] // every line of these files is a test

mod admission;
mod delay;
mod filter;
mod harness;
mod hostile;
mod lifecycle;
mod light_queues;
mod long_polling;
mod name_server;
mod old_messages;
mod pop;
mod pop_order;
mod pull;
mod query;
mod reply;
mod retry;
mod send;
mod send_as_java;
mod timer;
mod transaction;
