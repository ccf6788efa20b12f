//! A real broker on free ports, asked what operators, their tools and clients ask beside messages.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod assignment;
mod clients;
mod config;
mod figures;
mod groups;
mod harness;
mod hostile;
mod offsets;
mod relay;
mod topics;
