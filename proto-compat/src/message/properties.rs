//! Message properties in their text form: `name 0x01 value 0x02`, repeated.
//!
//! The functions work on the text itself, so that the hot paths build no map; [`Properties`] is the
//! map for those who change several. Rules are those of Java's `MessageDecoder`: an entry needs a
//! name and a value, a missing last separator is fine, and of two entries with one name the last
//! counts.

use std::borrow::Cow;

use crate::word_scan;

/// Stands between a name and its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Stands after every entry.
pub const ENTRY_SEPARATOR: char = '\u{2}';
/// Longest text that a record or a batch element can hold: its length is an i16.
pub const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// One property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name, never empty.
    pub name: &'a str,
    /// Its value, never empty.
    pub value: &'a str,
}

/// The valid entries of a text, in order; names may repeat. Every message passes here several times.
#[inline]
pub fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (name, behind) = cut_name(rest)?;
            let Some(behind) = behind.strip_prefix(NAME_VALUE_SEPARATOR) else {
                rest = behind.strip_prefix(ENTRY_SEPARATOR)?;
                continue;
            };
            let value;
            (value, rest) = cut_value(behind);
            if !name.is_empty() && !value.is_empty() {
                return Some(Entry { name, value });
            }
        }
    })
}

/// What stands before the first separator, of whichever kind, and what begins with it. `None`: there is none,
/// and thus no more entry.
#[inline]
fn cut_name(text: &str) -> Option<(&str, &str)> {
    let separators = [NAME_VALUE_SEPARATOR as u8, ENTRY_SEPARATOR as u8];
    text.split_at_checked(word_scan::find_either(text.as_bytes(), separators)?)
}

/// A value and what stands behind it and its separator, which the last value may lack.
#[inline]
fn cut_value(text: &str) -> (&str, &str) {
    let bytes = word_scan::find(text.as_bytes(), ENTRY_SEPARATOR as u8).unwrap_or(text.len());
    let (value, behind) = text.split_at(bytes);
    (
        value,
        behind.strip_prefix(ENTRY_SEPARATOR).unwrap_or_default(),
    )
}

/// The value of a name, without building a map.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    entries(text)
        .filter(|entry| entry.name == name)
        .last()
        .map(|entry| entry.value)
}

/// Adds an entry at the end, after the separator that may be missing there.
///
/// An older entry of that name stays in the text; readers take the last one.
pub fn push(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() && !text.ends_with(ENTRY_SEPARATOR) {
        text.push(ENTRY_SEPARATOR);
    }
    text.reserve(name.len() + value.len() + 2);
    text.push_str(name);
    text.push(NAME_VALUE_SEPARATOR);
    text.push_str(value);
    text.push(ENTRY_SEPARATOR);
}

/// The text without any entry of that name; borrowed if there is none.
pub fn without<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    if get(text, name).is_none() {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    for entry in entries(text).filter(|entry| entry.name != name) {
        push(&mut kept, entry.name, entry.value);
    }
    Cow::Owned(kept)
}

/// Properties as a map that keeps the order in which names first appeared.
///
/// A message has some ten of them, so a scan is faster than a hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<(String, String)>,
}

impl Properties {
    /// No properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Self {
        entries(text)
            .map(|entry| (entry.name, entry.value))
            .collect()
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.entries.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the name has a value.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a value, in place if the name is known.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name, value)),
        }
    }

    /// Takes a name out and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.entries.iter().position(|(known, _)| known == name)?;
        Some(self.entries.remove(at).1)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        let bytes = self
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum();
        let mut text = String::with_capacity(bytes);
        for (name, value) in self.iter() {
            push(&mut text, name, value);
        }
        text
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut properties = Self::new();
        for (name, value) in entries {
            properties.set(name, value);
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_a_round_trip() {
        let text = "KEYS\u{1}a b\u{2}TAGS\u{1}t\u{2}";
        let properties = Properties::parse(text);
        assert_eq!(properties.get("KEYS"), Some("a b"));
        assert_eq!(properties.len(), 2);
        assert_eq!(properties.to_text(), text);
        assert!(Properties::parse("").is_empty());
        assert_eq!(Properties::new().to_text(), "");
    }

    #[test]
    fn malformed_entries_are_dropped_as_java_does() {
        let text = "\u{1}v\u{2}n\u{1}\u{2}novalue\u{2}\u{2}a\u{1}b\u{1}c\u{2}last\u{1}x";
        let found: Vec<_> = entries(text).map(|e| (e.name, e.value)).collect();
        assert_eq!(found, [("a", "b\u{1}c"), ("last", "x")]);
    }

    /// Every text of up to seven pieces, which are separators and text around a word's length.
    #[test]
    fn entries_are_those_that_splitting_finds() {
        let simple = |text: &str| -> Vec<(String, String)> {
            let pairs = text.split(ENTRY_SEPARATOR);
            let pairs = pairs.filter_map(|pair| pair.split_once(NAME_VALUE_SEPARATOR));
            let whole = pairs.filter(|(name, value)| !name.is_empty() && !value.is_empty());
            whole
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        for filler in ["a", "é", "seven__", "eight___", "nine_____"] {
            let mut texts = vec![String::new()];
            for _ in 0..7 {
                let longer = texts.iter().flat_map(|text| {
                    [filler, "\u{1}", "\u{2}"].map(|piece| format!("{text}{piece}"))
                });
                texts = longer.collect();
                for text in &texts {
                    let seen: Vec<_> = entries(text)
                        .map(|e| (e.name.to_owned(), e.value.to_owned()))
                        .collect();
                    assert_eq!(seen, simple(text), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        let text = "a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3\u{2}";
        assert_eq!(get(text, "a"), Some("3"));
        let properties = Properties::parse(text);
        assert_eq!(properties.to_text(), "a\u{1}3\u{2}b\u{1}2\u{2}");
        assert_eq!(get(text, "c"), None);
    }

    #[test]
    fn pushing_mends_a_missing_separator() {
        let mut text = "a\u{1}1".to_owned();
        push(&mut text, "b", "2");
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}");
        let mut empty = String::new();
        push(&mut empty, "b", "2");
        assert_eq!(empty, "b\u{1}2\u{2}");
    }

    #[test]
    fn removing_from_text_copies_only_when_needed() {
        let text = "a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3\u{2}";
        assert!(matches!(without(text, "c"), Cow::Borrowed(_)));
        assert_eq!(without(text, "a"), "b\u{1}2\u{2}");
    }

    #[test]
    fn removing_returns_the_value() {
        let mut properties: Properties = [("a", "1"), ("b", "2")].into_iter().collect();
        assert_eq!(properties.remove("a").as_deref(), Some("1"));
        assert_eq!(properties.remove("a"), None);
        assert!(properties.contains("b"));
    }
}
