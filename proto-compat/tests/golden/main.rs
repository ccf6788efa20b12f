//! Bytes that Java wrote decode to what Java means by them, and encode to the same bytes again.
//!
//! The bytes are in `fixtures/`, captured from Java by `fixtures/capture`.
#![allow(clippy::unwrap_used)]

mod bit_flips;
mod bodies;
mod fixture;
mod frames;
mod headers;
mod messages;
mod records;
