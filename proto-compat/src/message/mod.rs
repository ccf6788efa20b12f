//! What a message is made of: the stored record, properties, ids, names, batches, compression.
//!
//! Store, broker and client all read and write messages through these modules; nothing else parses
//! them. Leaves first: each module uses only those above it.

mod cursor;

pub mod batch;
pub mod compress;
pub mod id;
pub mod names;
pub mod properties;
pub mod property_name;
pub mod record;
pub mod sys_flag;
pub mod tags_code;

pub mod message_ext;
