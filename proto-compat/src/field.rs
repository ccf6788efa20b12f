//! Text values of header fields, and the list of fields a command carries.
//!
//! RocketMQ's headers are string maps whatever the encoding. [`ExtFields`] keeps one in a single text
//! buffer with a list of spans: two allocations a command, however many fields it has. Fields that were
//! read from JSON are spans of a copy of the header's text; what has escapes stands behind it. Fields that
//! are about to be sent stand in their text as JSON has them, so that writing them is one copy.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;

use crate::serialize::json;

/// What text is appended to.
pub trait TextSink {
    /// Appends a piece.
    fn push_str(&mut self, text: &str);
}

impl TextSink for String {
    #[inline]
    fn push_str(&mut self, text: &str) {
        String::push_str(self, text);
    }
}

impl TextSink for Vec<u8> {
    #[inline]
    fn push_str(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

/// A value that has the text form of a header field.
pub trait FieldText {
    /// Its text never has anything that JSON escapes.
    const IS_PLAIN: bool = false;

    /// Appends the text form, as Java's `toString` writes it.
    fn write(&self, out: &mut impl TextSink);
}

/// A type that a header field can have.
pub trait FieldValue: FieldText + Sized {
    /// Reads the text form; `None` if the text is not of this type.
    fn parse(text: &str) -> Option<Self>;
}

/// What takes the fields of a command that is sent.
pub trait FieldSink {
    /// Appends a field. The key must be one of those that need no escapes in JSON, as all of the
    /// protocol's are.
    fn push<T: FieldText + ?Sized>(&mut self, key: &'static str, value: &T);
}

impl FieldText for str {
    #[inline]
    fn write(&self, out: &mut impl TextSink) {
        out.push_str(self);
    }
}

impl FieldText for String {
    #[inline]
    fn write(&self, out: &mut impl TextSink) {
        out.push_str(self);
    }
}

impl FieldValue for String {
    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl FieldText for bool {
    const IS_PLAIN: bool = true;

    #[inline]
    fn write(&self, out: &mut impl TextSink) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl FieldValue for bool {
    fn parse(text: &str) -> Option<Self> {
        // Java's Boolean.parseBoolean: anything but "true" is false.
        Some(text.eq_ignore_ascii_case("true"))
    }
}

macro_rules! integer_field {
    ($($integer:ty),*) => {$(
        impl FieldText for $integer {
            const IS_PLAIN: bool = true;

            #[inline]
            fn write(&self, out: &mut impl TextSink) {
                out.push_str(itoa::Buffer::new().format(*self));
            }
        }

        impl FieldValue for $integer {
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}
integer_field!(i32, i64, u32);

/// Why the fields of a command do not make its header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A field that the command cannot do without is absent.
    #[error("the custom field <{0}> is null")]
    Missing(&'static str),
    /// A field is there, and its text is not of the field's type.
    #[error("the custom field <{field}> is not a valid {expected}: '{text}'")]
    Malformed {
        /// The field's name on the wire.
        field: &'static str,
        /// The type that the field should have.
        expected: &'static str,
        /// What came instead, cut to 64 characters.
        text: String,
    },
}

/// Reads one field, naming it if its text is malformed.
pub fn parse_field<T: FieldValue>(field: &'static str, text: &str) -> Result<T, HeaderError> {
    T::parse(text).ok_or_else(|| HeaderError::Malformed {
        field,
        expected: std::any::type_name::<T>(),
        text: text.chars().take(64).collect(),
    })
}

/// Where a field stands in the text.
#[derive(Clone, Copy)]
struct Span {
    key_start: u32,
    key_end: u32,
    value_start: u32,
    value_end: u32,
}

/// The string map of a command, in the order in which it was written.
#[derive(Clone, Default)]
pub struct ExtFields {
    text: String,
    spans: Vec<Span>,
    /// Keys and values stand anywhere in the text. Else it is the members of a JSON object, each with a
    /// comma behind it.
    is_loose: bool,
}

/// What stands around a key and a value where the text is JSON.
const BEFORE_KEY: &str = "\"";
const BEFORE_VALUE: &str = "\":\"";
const BEHIND_VALUE: &str = "\",";

impl ExtFields {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map with room for `fields` fields of `text_bytes` bytes in all.
    pub fn with_capacity(fields: usize, text_bytes: usize) -> Self {
        Self {
            text: String::with_capacity(text_bytes),
            spans: Vec::with_capacity(fields),
            is_loose: false,
        }
    }

    /// The same for fields that are read and hardly ever written.
    pub(crate) fn loose(fields: usize, text_bytes: usize) -> Self {
        Self {
            is_loose: true,
            ..Self::with_capacity(fields, text_bytes)
        }
    }

    /// An empty map over a text in which fields stand, for [`ExtFields::push_found`]. Others, which
    /// are pushed behind it, find room for half as much.
    pub(crate) fn over(text: &str, fields: usize) -> Self {
        let mut map = Self::loose(fields, text.len() + text.len() / 2);
        map.text.push_str(text);
        map
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How long the text is in which all keys and values stand, and maybe more.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The members of a JSON object with commas between them, if the fields stand so in their text.
    pub(crate) fn json_members(&self) -> Option<&str> {
        let members = Some(self.text.as_str()).filter(|_| !self.is_loose)?;
        Some(members.strip_suffix(',').unwrap_or(members))
    }

    /// The value of `key`; of two with the same key, the later.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.spans.iter().rev().find(|span| self.key(span) == key)?;
        Some(self.value(found))
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spans
            .iter()
            .map(|span| (self.key(span), self.value(span)))
    }

    /// Appends a field. A caller that may replace one uses [`ExtFields::set`]. The key must be one of
    /// those that need no escapes in JSON, as all of the protocol's are.
    #[inline]
    pub fn push<T: FieldText + ?Sized>(&mut self, key: &'static str, value: &T) {
        debug_assert!(
            !json::needs_escapes(key.as_bytes()),
            "{key:?} is no name of a field"
        );
        let key = self.begin(key);
        let start = self.text.len();
        value.write(&mut self.text);
        let value = start..self.text.len();
        self.end(key, start);
        let is_odd =
            !T::IS_PLAIN && !self.is_loose && json::needs_escapes(self.text[value].as_bytes());
        self.is_loose |= is_odd;
    }

    /// Appends a field whose value is text.
    pub fn push_text(&mut self, key: &str, value: &str) {
        let infallible: Result<(), Infallible> = self.try_push_with(key, |out| {
            out.push_str(value);
            Ok(())
        });
        infallible.unwrap_or_else(|never| match never {});
    }

    /// Appends a field whose value `write` appends to the text, unless it turns out to be none; then
    /// the map is unchanged.
    pub(crate) fn try_push_with<E>(
        &mut self,
        key: &str,
        write: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.text.len();
        let key_place = self.begin(key);
        let start = self.text.len();
        if let Err(error) = write(&mut self.text) {
            self.text.truncate(before);
            return Err(error);
        }
        let value = start..self.text.len();
        self.end(key_place, start);
        self.is_loose = self.is_loose
            || json::needs_escapes(key.as_bytes())
            || json::needs_escapes(self.text[value].as_bytes());
        Ok(())
    }

    /// The same for a key that stands in the text already, of a map that was made over it.
    pub(crate) fn try_push_found<E>(
        &mut self,
        key: Range<usize>,
        write: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(self.is_loose, "the text is no JSON any more");
        let before = self.text.len();
        if let Err(error) = write(&mut self.text) {
            self.text.truncate(before);
            return Err(error);
        }
        self.push_found(key, before..self.text.len());
        Ok(())
    }

    /// Appends a key, up to where its value begins.
    #[inline]
    fn begin(&mut self, key: &str) -> Range<usize> {
        self.push_framing(BEFORE_KEY);
        let start = self.text.len();
        self.text.push_str(key);
        let end = self.text.len();
        self.push_framing(BEFORE_VALUE);
        start..end
    }

    /// The value of the key that was begun has been appended.
    #[inline]
    fn end(&mut self, key: Range<usize>, value_start: usize) {
        self.push_found(key, value_start..self.text.len());
        self.push_framing(BEHIND_VALUE);
    }

    #[inline]
    fn push_framing(&mut self, framing: &str) {
        if !self.is_loose {
            self.text.push_str(framing);
        }
    }

    /// Appends a field whose key and value stand in the text already, both at characters' bounds, the
    /// value behind the key.
    #[inline]
    pub(crate) fn push_found(&mut self, key: Range<usize>, value: Range<usize>) {
        // The last of the four places is the greatest, so that it alone need be looked at.
        self.spans.push(Span {
            key_start: key.start as u32,
            key_end: key.end as u32,
            value_start: value.start as u32,
            value_end: place(value.end),
        });
    }

    /// Sets a field, replacing one of the same key.
    pub fn set(&mut self, key: &str, value: &str) {
        self.remove(key);
        self.push_text(key, value);
    }

    /// Removes a field; its text stays in the buffer until the command goes.
    pub fn remove(&mut self, key: &str) {
        let text = &self.text;
        let before = self.spans.len();
        self.spans
            .retain(|span| &text[span.key_start as usize..span.key_end as usize] != key);
        self.is_loose |= self.spans.len() < before;
    }

    fn key(&self, span: &Span) -> &str {
        &self.text[span.key_start as usize..span.key_end as usize]
    }

    fn value(&self, span: &Span) -> &str {
        &self.text[span.value_start as usize..span.value_end as usize]
    }
}

impl FieldSink for ExtFields {
    #[inline]
    fn push<T: FieldText + ?Sized>(&mut self, key: &'static str, value: &T) {
        ExtFields::push(self, key, value);
    }
}

#[inline]
fn place(at: usize) -> u32 {
    u32::try_from(at).expect("a frame is shorter than 16 MiB")
}

impl fmt::Debug for ExtFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for ExtFields {
    /// Two maps are equal if they give the same value for every key, whatever the order.
    fn eq(&self, other: &Self) -> bool {
        let agree = |a: &Self, b: &Self| a.iter().all(|(key, _)| a.get(key) == b.get(key));
        agree(self, other) && agree(other, self)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for ExtFields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Self {
        let mut map = Self::new();
        for (key, value) in fields {
            map.push_text(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_and_remove_forgets() {
        let mut fields: ExtFields = [("a", "1"), ("b", "2")].into_iter().collect();
        fields.set("a", "3");
        assert_eq!(fields.get("a"), Some("3"));
        assert_eq!(fields.len(), 2);
        fields.remove("b");
        assert_eq!(fields.get("b"), None);
    }

    #[test]
    fn equality_is_that_of_maps() {
        let map = |fields: &[(&'static str, &'static str)]| -> ExtFields {
            fields.iter().copied().collect()
        };
        assert_eq!(
            map(&[("a", "1"), ("b", "2")]),
            map(&[("b", "2"), ("a", "1")])
        );
        let twice = map(&[("a", "1"), ("a", "2")]);
        assert_eq!(twice, twice.clone());
        assert_eq!(twice, map(&[("a", "2")]));
        assert_ne!(twice, map(&[("a", "1")]));
        assert_ne!(map(&[("a", "1")]), map(&[("a", "1"), ("b", "2")]));
        assert_ne!(map(&[("a", "1"), ("b", "2")]), map(&[("a", "1")]));
    }

    #[test]
    fn values_are_written_as_java_writes_them() {
        let mut fields = ExtFields::new();
        fields.push("i", &-7_i32);
        fields.push("l", &i64::MAX);
        fields.push("b", &true);
        let seen: Vec<_> = fields.iter().collect();
        assert_eq!(
            seen,
            [("i", "-7"), ("l", "9223372036854775807"), ("b", "true")]
        );
    }

    #[test]
    fn malformed_text_names_the_field() {
        let error = parse_field::<i32>("queueId", "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the custom field <queueId> is not a valid i32: 'x'"
        );
    }
}
