//! The client against a name server and a broker in this process.
#![allow(clippy::disallowed_methods)] // tests measure real time
#![allow(clippy::unwrap_used)] // what helps tests fails as tests do

mod admin;
mod admin_messages;
mod choosing;
mod connecting;
mod consuming;
mod delaying;
mod group;
mod hooking;
mod lite_polling;
mod lite_pulling;
mod ordering;
mod popping;
mod producing;
mod pulling;
mod pushing;
mod requests;
mod scripted;
mod standalone;
mod surviving;
mod telemetry;
mod tls;
mod transactions;
