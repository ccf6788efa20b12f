//! JSON as fastjson reads and writes it (02-remoting §2.9): the bodies of commands and the config files.
//!
//! Peers write keys that are numbers without quotes and keys that are whole objects; strict parsers
//! refuse both. Reading builds a tree of borrowed values, then any `Deserialize` type from it, with
//! fastjson's leniency: text for a number, a number for text, null as if the field were absent.
//! Writing keeps a struct's order of fields, which is why the structs in [`crate::body`] are in
//! alphabetical order. A map whose keys are structs is an ordinary `BTreeMap`.

mod deserialize;
pub(crate) mod parse;
pub(crate) mod scan;
mod serialize;
mod text;

use serde::Serialize;
use serde::de::DeserializeOwned;

use serialize::{Style, Writer};

/// Objects and lists may stand this deep in one another.
pub const DEPTH_MAX: usize = 64;

/// How many values one text may have: a registration of 400 000 topics. More would let a frame of
/// 16 MiB take gigabytes.
pub const VALUES_MAX: usize = 4_000_000;

/// Why a body is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, not even fastjson's.
    #[error("malformed json at byte {at}: {what}")]
    Syntax {
        /// Where reading stopped.
        at: usize,
        /// What was wrong there.
        what: &'static str,
    },
    /// JSON, but not of the body's shape; or a value that JSON cannot hold.
    #[error("{0}")]
    Shape(String),
}

/// Reads a body.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, BodyError> {
    T::deserialize(parse::parse(json)?)
}

/// Writes a body as fastjson does by default: keys that are numbers or objects stand as they are,
/// fields that are null are left out, no blanks.
pub fn to_vec<T: Serialize + ?Sized>(body: &T) -> Result<Vec<u8>, BodyError> {
    write(body, Style::RELAXED)
}

/// Writes a body that any JSON parser reads: all keys quoted, all of it ASCII. It is how the name
/// server answers clients that ask for it (fastjson's BrowserCompatible).
pub fn to_standard_vec<T: Serialize + ?Sized>(body: &T) -> Result<Vec<u8>, BodyError> {
    write(body, Style::STANDARD)
}

/// Writes a config file: as [`to_vec`], with lines and tabs.
pub fn to_pretty_vec<T: Serialize + ?Sized>(body: &T) -> Result<Vec<u8>, BodyError> {
    write(body, Style::PRETTY)
}

fn write<T: Serialize + ?Sized>(body: &T, style: Style) -> Result<Vec<u8>, BodyError> {
    let mut writer = Writer::new(style);
    body.serialize(&mut writer)?;
    Ok(writer.into_bytes())
}

impl serde::de::Error for BodyError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string())
    }
}

impl serde::ser::Error for BodyError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string())
    }
}

#[cfg(test)]
mod tests;
