//! The harness of the integration tests: real servers on free ports, real foreign clients, and the gate on our logs.
//!
//! The tests stand in `tests/all`; the Java and Go programs that they run stand in `peers/`. Modules are listed in
//! dependency order.
#![forbid(unsafe_code)]

pub mod log_gate;
pub mod normal_form;
pub mod ports;
pub mod wait;
pub mod wire;

pub mod server;
pub mod toolchain;

pub mod cluster;
pub mod counted;
pub mod peer;
pub mod popping;
pub mod requests;
pub mod victim;

pub mod admin;
pub mod replay;
