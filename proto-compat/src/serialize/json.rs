//! The JSON header (02-remoting §2.2): one flat object, key order irrelevant, unknown keys ignored.

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, BytesMut};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::command::{Command, Language};
use crate::field::ExtFields;
use crate::frame::FrameError;

/// Reads a header; the body is the caller's.
pub(crate) fn decode(header: &[u8]) -> Result<Command, FrameError> {
    let parsed: JsonHeader =
        serde_json::from_slice(header).map_err(|e| FrameError::Header(e.to_string()))?;
    Ok(parsed.0)
}

/// Appends the header.
pub(crate) fn encode(command: &Command, out: &mut BytesMut) {
    let mut number = itoa::Buffer::new();
    out.put_slice(b"{\"code\":");
    out.put_slice(number.format(command.code).as_bytes());
    if !command.fields.is_empty() {
        out.put_slice(b",\"extFields\":");
        encode_fields(&command.fields, out);
    }
    out.put_slice(b",\"flag\":");
    out.put_slice(number.format(command.flag).as_bytes());
    out.put_slice(b",\"language\":\"");
    out.put_slice(command.language.name().as_bytes());
    out.put_slice(b"\",\"opaque\":");
    out.put_slice(number.format(command.opaque).as_bytes());
    if let Some(remark) = &command.remark {
        out.put_slice(b",\"remark\":");
        encode_text(remark, out);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    out.put_slice(number.format(command.version).as_bytes());
    out.put_u8(b'}');
}

fn encode_fields(fields: &ExtFields, out: &mut BytesMut) {
    let mut separator = b'{';
    for (key, value) in fields.iter() {
        out.put_u8(separator);
        encode_text(key, out);
        out.put_u8(b':');
        encode_text(value, out);
        separator = b',';
    }
    out.put_u8(b'}');
}

fn encode_text(text: &str, out: &mut BytesMut) {
    serde_json::to_writer(out.writer(), text)
        .expect("text always has a JSON form, and memory takes it");
}

struct JsonHeader(Command);

impl<'de> Deserialize<'de> for JsonHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = JsonHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonHeader, A::Error> {
        let mut command = Command::new(0);
        command.language = Language::Other;
        command.version = 0;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match key.0.as_ref() {
                "code" => command.code = map.next_value()?,
                "language" => command.language = language(map.next_value()?),
                "version" => command.version = map.next_value()?,
                "opaque" => command.opaque = map.next_value()?,
                "flag" => command.flag = map.next_value()?,
                "remark" => command.remark = map.next_value()?,
                "extFields" => command.fields = map.next_value::<Fields>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(JsonHeader(command))
    }
}

fn language(name: Option<Text<'_>>) -> Language {
    name.map_or(Language::Other, |name| Language::from_name(&name.0))
}

/// Text that borrows from the frame where it has no escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// The `extFields` object, or null.
struct Fields(ExtFields);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldsVisitor)
    }
}

struct FieldsVisitor;

/// Java's send headers have some 15 fields in some 400 bytes.
const FIELDS_EXPECTED: usize = 16;
const FIELD_TEXT_BYTES_EXPECTED: usize = 512;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of text fields")
    }

    fn visit_unit<E>(self) -> Result<Fields, E> {
        Ok(Fields(ExtFields::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = ExtFields::with_capacity(FIELDS_EXPECTED, FIELD_TEXT_BYTES_EXPECTED);
        while let Some(key) = map.next_key::<Text<'de>>()? {
            map.next_value_seed(FieldSeed {
                key: &key.0,
                fields: &mut fields,
            })?;
        }
        Ok(Fields(fields))
    }
}

/// Puts one value straight into the map's text buffer.
struct FieldSeed<'a> {
    key: &'a str,
    fields: &'a mut ExtFields,
}

impl<'de> serde::de::DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, a boolean or null")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.fields.push_text(self.key, text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.fields.push(self.key, &value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.fields.push(self.key, &value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.fields
            .push_text(self.key, itoa::Buffer::new().format(value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.fields.push_text(self.key, &value.to_string());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
