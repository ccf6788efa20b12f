//! The client against a name server and a broker in this process.

mod admin;
mod consuming;
mod group;
mod producing;
mod standalone;
