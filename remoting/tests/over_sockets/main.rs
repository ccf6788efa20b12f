//! Servers and clients over real loopback sockets, most of them against a peer that follows a script.
#![allow(clippy::unwrap_used)] // every line of these files is a test

mod budget;
mod calling;
mod flow_control;
mod garbage;
mod handling;
mod log;
mod pressure;
mod scripted_peer;
mod shutdown;
