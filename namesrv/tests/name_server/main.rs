//! A real name server over sockets, with remoting's client as brokers, clients and operators.
// The harness is test code too, and clippy.toml allows this only in test functions.
#![allow(clippy::unwrap_used)]

mod asking;
mod bad_input;
mod harness;
mod leaving;
mod operating;
mod registering;
mod scale;
