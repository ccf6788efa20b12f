//! Every byte that RocketMQ fixed: frames, headers, bodies, the stored record. No I/O.
//!
//! The modules stand in dependency order, leaves first.
#![forbid(unsafe_code)]

mod word_scan;

pub mod clock;
pub mod fastjson;
pub mod field;
pub mod local_time;
pub mod properties_text;
pub mod table;

pub mod message;

pub mod body;
pub mod command;
pub mod division;
pub mod frame;
pub mod header;
pub mod request_code;
pub mod response_code;
mod serialize;
