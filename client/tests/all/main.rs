//! The client against a name server and a broker in this process.
#![allow(clippy::disallowed_methods)] // tests measure real time
#![allow(clippy::unwrap_used)] // what helps tests fails as tests do

mod admin;
mod consuming;
mod group;
mod producing;
mod scripted;
mod standalone;
