//! The JSON header (02-remoting §2.2): one flat object, key order irrelevant, unknown keys ignored.
//!
//! Every request and answer passes here, so it is read in one pass, and the values of `extFields` go
//! straight into the command's text buffer.

use crate::command::{Command, Language};
use crate::fastjson::BodyError;
use crate::fastjson::parse::{Value, parse_value};
use crate::fastjson::scan::Scanner;
use crate::field::ExtFields;
use crate::frame::FrameError;

/// Java's send headers have some 15 fields in some 400 bytes.
const FIELDS_EXPECTED: usize = 16;

/// Reads a header; the body is the caller's.
pub(crate) fn decode(header: &[u8]) -> Result<Command, FrameError> {
    read(header).map_err(|e| FrameError::Header(e.to_string()))
}

fn read(header: &[u8]) -> Result<Command, BodyError> {
    let mut scanner = Scanner::new(header)?;
    let mut command = Command::new(0);
    command.language = Language::Other;
    command.version = 0;
    if scanner.next_token() != Some(b'{') {
        return Err(scanner.error("a header is an object"));
    }
    scanner.step();
    while scanner.next_element() != Some(b'}') {
        let key = scanner.key()?;
        scanner.colon()?;
        match key.as_ref() {
            "code" => command.code = integer(&mut scanner)?,
            "language" => command.language = language(&mut scanner)?,
            "version" => command.version = integer(&mut scanner)?,
            "opaque" => command.opaque = integer(&mut scanner)?,
            "flag" => command.flag = integer(&mut scanner)?,
            "remark" => command.remark = text(&mut scanner)?,
            "extFields" => command.fields = read_fields(&mut scanner, header.len())?,
            _ => drop(parse_value(&mut scanner)?),
        }
        scanner.end_of_element(b'}')?;
    }
    scanner.step();
    match scanner.next_token() {
        None => Ok(command),
        Some(_) => Err(scanner.error("more text after the header")),
    }
}

fn integer(scanner: &mut Scanner<'_>) -> Result<i32, BodyError> {
    let number = match parse_value(scanner)? {
        Value::Number(number) => number.parse().ok(),
        Value::Text(number) => number.parse().ok(),
        Value::Null => Some(0),
        Value::Bool(_) | Value::List(_) | Value::Object(_) => None,
    };
    number.ok_or_else(|| scanner.error("a number of 32 bits was expected"))
}

fn text(scanner: &mut Scanner<'_>) -> Result<Option<String>, BodyError> {
    match parse_value(scanner)? {
        Value::Text(text) => Ok(Some(text.into_owned())),
        Value::Null => Ok(None),
        Value::Number(_) | Value::Bool(_) | Value::List(_) | Value::Object(_) => {
            Err(scanner.error("text was expected"))
        }
    }
}

fn language(scanner: &mut Scanner<'_>) -> Result<Language, BodyError> {
    let name = text(scanner)?;
    Ok(name.map_or(Language::Other, |name| Language::from_name(&name)))
}

fn read_fields(scanner: &mut Scanner<'_>, text_bytes: usize) -> Result<ExtFields, BodyError> {
    if scanner.next_token() != Some(b'{') {
        if parse_value(scanner)? == Value::Null {
            return Ok(ExtFields::new());
        }
        return Err(scanner.error("an object of text fields was expected"));
    }
    scanner.step();
    let mut fields = ExtFields::with_capacity(FIELDS_EXPECTED, text_bytes);
    while scanner.next_element() != Some(b'}') {
        let key = scanner.key()?;
        scanner.colon()?;
        if let Some(quote @ (b'"' | b'\'')) = scanner.next_token() {
            fields.try_push_with(&key, |out| scanner.quoted_into(quote, out))?;
        } else {
            match parse_value(scanner)? {
                Value::Number(number) => fields.push_text(&key, number),
                Value::Bool(value) => fields.push(&key, &value),
                Value::Null => {}
                Value::Text(_) | Value::List(_) | Value::Object(_) => {
                    return Err(scanner.error("a field is text, a number, a boolean or null"));
                }
            }
        }
        scanner.end_of_element(b'}')?;
    }
    scanner.step();
    Ok(fields)
}

/// Everything of a header but its fields and remark, and the quotes of one field.
const FRAMING_BYTES: usize = 160;
const FIELD_FRAMING_BYTES: usize = 6;

/// Appends the header.
pub(crate) fn encode(command: &Command, out: &mut Vec<u8>) {
    let fields = &command.fields;
    out.reserve(FRAMING_BYTES + fields.text_bytes() + fields.len() * FIELD_FRAMING_BYTES);
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"{\"code\":");
    out.extend_from_slice(number.format(command.code).as_bytes());
    if !fields.is_empty() {
        out.extend_from_slice(b",\"extFields\":");
        encode_fields(fields, out);
    }
    out.extend_from_slice(b",\"flag\":");
    out.extend_from_slice(number.format(command.flag).as_bytes());
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(command.language.name().as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    out.extend_from_slice(number.format(command.opaque).as_bytes());
    if let Some(remark) = &command.remark {
        out.extend_from_slice(b",\"remark\":");
        encode_text(remark, out);
    }
    out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    out.extend_from_slice(number.format(command.version).as_bytes());
    out.push(b'}');
}

fn encode_fields(fields: &ExtFields, out: &mut Vec<u8>) {
    let mut separator = b'{';
    for (key, value) in fields.iter() {
        out.push(separator);
        encode_text(key, out);
        out.push(b':');
        encode_text(value, out);
        separator = b',';
    }
    out.push(b'}');
}

/// Most text needs no escapes, and looking for them costs a fraction of the escaping writer.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    if text.bytes().fold(false, |found, b| found | needs_escape(b)) {
        serde_json::to_writer(out, text).expect("text always has a JSON form, and memory takes it");
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

fn needs_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_another_writer_is_read() {
        let header = br#" {"version":"317","unknown":{"a":[1,{}]},"extFields":{"a":1,"b":true,"c":null,
            "d":"x\u0001\"y","e":-1.5},"language":"GO","opaque":7,"flag":2,"remark":null,"code":10} "#;
        let command = decode(header).unwrap();
        assert_eq!(
            (command.code, command.version, command.opaque),
            (10, 317, 7)
        );
        assert_eq!(command.language, Language::Go);
        assert!(command.is_oneway() && command.remark.is_none());
        let expected = [("a", "1"), ("b", "true"), ("d", "x\u{1}\"y"), ("e", "-1.5")];
        assert_eq!(command.fields, expected.into_iter().collect());
        let bare = decode(br#"{"extFields":null}"#).unwrap();
        assert_eq!((bare.code, bare.language), (0, Language::Other));
        assert!(bare.fields.is_empty());
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for header in [
            "",
            "[]",
            "{",
            "{\"code\":3000000000}",
            "{\"code\":[]}",
            "{\"remark\":5}",
            "{\"extFields\":[]}",
            "{\"extFields\":{\"a\":{}}}",
            "{\"extFields\":{\"a\":\"b}",
            "{} {}",
        ] {
            assert!(decode(header.as_bytes()).is_err(), "{header}");
        }
    }
}
