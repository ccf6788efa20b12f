//! What the servers do alike with their settings: a table of keys ([`config!`]), its values as text,
//! the properties file and `key=value` pairs that change them ([`Settings`]), the settings in force
//! while a server runs ([`LiveSettings`]), and files that are replaced as a whole ([`atomic_file`]).
//!
//! Which keys there are, their defaults and their rules is each server's own. Modules in dependency
//! order, leaves first.
#![forbid(unsafe_code)]

pub mod atomic_file;
mod nearest;
mod properties_file;

#[macro_use]
mod value;

#[macro_use]
mod table;
mod settings;

mod live;

#[cfg(test)]
#[expect(
    unreachable_pub,
    reason = "tables are public where servers declare them"
)]
mod example;

pub use live::{KeptIn, LiveSettings, UpdateError, Updated};
pub use settings::{ConfigError, FixedKeys, Rules, Settings};
pub use table::{Key, SetError};
pub use value::ConfigValue;

/// What [`config!`] expands to; not for anybody else.
#[doc(hidden)]
pub mod expansion {
    pub use crate::table::{read_value, unknown_key};
}
