//! Reading the fixture files.

use std::path::PathBuf;

use serde_json::Value;

/// A file of the fixtures' directory.
pub(crate) fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", name]
        .iter()
        .collect()
}

/// All fixtures of a file.
pub(crate) fn read(name: &str) -> Vec<Value> {
    let text = std::fs::read(path(name)).unwrap();
    let fixtures: Vec<Value> = serde_json::from_slice(&text).unwrap();
    assert!(!fixtures.is_empty(), "{name} is empty");
    fixtures
}

/// The bytes that a fixture gives in hexadecimal.
pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let digits = text(hex).as_bytes();
    let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// A text that must be there.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A number that must be there.
pub(crate) fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}
