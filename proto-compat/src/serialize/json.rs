//! The JSON header (02-remoting §2.2): one flat object, key order irrelevant, unknown keys ignored.
//!
//! Every request and answer passes here, so it is read in one pass: the command keeps one copy of the
//! text, in which its fields are places.

use std::borrow::Cow;

use crate::command::{Command, Language};
use crate::fastjson::BodyError;
use crate::fastjson::parse::{Value, parse_value};
use crate::fastjson::scan::Scanner;
use crate::field::{ExtFields, FieldSink, FieldText};
use crate::frame::FrameError;
use crate::table::SentHeader;
use crate::word_scan;

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
    read_usual_members(&mut scanner, &mut command)?;
    while scanner.next_element() != Some(b'}') {
        if !read_usual_member(&mut scanner, &mut command)? {
            read_member(&mut scanner, &mut command)?;
        }
        scanner.end_of_element(b'}')?;
    }
    scanner.step();
    match scanner.next_token() {
        None => Ok(command),
        Some(_) => Err(scanner.error("more text after the header")),
    }
}

/// Members in the order in which Java's programs and ours write them, each of them with the comma before it.
fn read_usual_members(scanner: &mut Scanner<'_>, command: &mut Command) -> Result<(), BodyError> {
    if !scanner.takes(b"\"code\":") {
        return Ok(());
    }
    command.code = integer(scanner)?;
    if scanner.takes(b",\"extFields\":") {
        command.fields = read_fields(scanner)?;
    }
    if scanner.takes(b",\"flag\":") {
        command.flag = integer(scanner)?;
    }
    if scanner.takes(b",\"language\":") {
        command.language = language(scanner)?;
    }
    if scanner.takes(b",\"opaque\":") {
        command.opaque = integer(scanner)?;
    }
    if scanner.takes(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":") {
        command.version = integer(scanner)?;
    }
    scanner.end_of_element(b'}')
}

/// A member as nearly all programs write it: a comparison with constant text costs a fraction of reading a
/// key. `false`: it is another, or written otherwise.
fn read_usual_member(scanner: &mut Scanner<'_>, command: &mut Command) -> Result<bool, BodyError> {
    match scanner.second_byte() {
        Some(b'c') if scanner.takes(b"\"code\":") => command.code = integer(scanner)?,
        Some(b'e') if scanner.takes(b"\"extFields\":") => command.fields = read_fields(scanner)?,
        Some(b'f') if scanner.takes(b"\"flag\":") => command.flag = integer(scanner)?,
        Some(b'l') if scanner.takes(b"\"language\":") => command.language = language(scanner)?,
        Some(b'o') if scanner.takes(b"\"opaque\":") => command.opaque = integer(scanner)?,
        Some(b's') if scanner.takes(b"\"serializeTypeCurrentRPC\":\"JSON\"") => {}
        Some(b'v') if scanner.takes(b"\"version\":") => command.version = integer(scanner)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn read_member(scanner: &mut Scanner<'_>, command: &mut Command) -> Result<(), BodyError> {
    let key = scanner.key()?;
    scanner.colon()?;
    match key.as_ref() {
        "code" => command.code = integer(scanner)?,
        "language" => command.language = language(scanner)?,
        "version" => command.version = integer(scanner)?,
        "opaque" => command.opaque = integer(scanner)?,
        "flag" => command.flag = integer(scanner)?,
        "remark" => command.remark = text(scanner)?.map(Cow::into_owned),
        "extFields" => command.fields = read_fields(scanner)?,
        _ => drop(parse_value(scanner)?),
    }
    Ok(())
}

#[inline]
fn integer(scanner: &mut Scanner<'_>) -> Result<i32, BodyError> {
    match scanner.plain_integer() {
        Some(number) => Ok(number),
        None => odd_integer(scanner),
    }
}

/// With blanks before or behind it, in quotes, or null.
#[cold]
fn odd_integer(scanner: &mut Scanner<'_>) -> Result<i32, BodyError> {
    let number = match scanner.next_token() {
        Some(b'-' | b'0'..=b'9') => scanner.bare().parse().ok(),
        _ => match parse_value(scanner)? {
            Value::Text(number) => number.parse().ok(),
            Value::Null => Some(0),
            Value::Number(_) | Value::Bool(_) | Value::List(_) | Value::Object(_) => None,
        },
    };
    number.ok_or_else(|| scanner.error("a number of 32 bits was expected"))
}

fn text<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Cow<'a, str>>, BodyError> {
    match parse_value(scanner)? {
        Value::Text(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        Value::Number(_) | Value::Bool(_) | Value::List(_) | Value::Object(_) => {
            Err(scanner.error("text was expected"))
        }
    }
}

#[inline]
fn language(scanner: &mut Scanner<'_>) -> Result<Language, BodyError> {
    if scanner.takes(b"\"JAVA\"") {
        return Ok(Language::Java);
    }
    if scanner.takes(b"\"RUST\"") {
        return Ok(Language::Rust);
    }
    let name = text(scanner)?;
    Ok(name.map_or(Language::Other, |name| Language::from_name(&name)))
}

fn read_fields(scanner: &mut Scanner<'_>) -> Result<ExtFields, BodyError> {
    if scanner.next_token() != Some(b'{') {
        if parse_value(scanner)? == Value::Null {
            return Ok(ExtFields::new());
        }
        return Err(scanner.error("an object of text fields was expected"));
    }
    scanner.step();
    let mut fields = ExtFields::over(scanner.text(), FIELDS_EXPECTED);
    loop {
        match scanner.short_members(|key, value| fields.push_found(key, value)) {
            Some(key) => fields.try_push_found(key, |out| scanner.quoted_into(b'"', out))?,
            None if scanner.next_element() == Some(b'}') => break,
            None => read_field(scanner, &mut fields)?,
        }
        scanner.end_of_element(b'}')?;
    }
    scanner.step();
    Ok(fields)
}

/// A field that is no short one: with a longer key, with blanks, or without quotes.
fn read_field(scanner: &mut Scanner<'_>, fields: &mut ExtFields) -> Result<(), BodyError> {
    if let Some(key) = scanner.key_of_text() {
        if let Some(value) = scanner.quoted_place(b'"')? {
            fields.push_found(key, value);
            return Ok(());
        }
        return fields.try_push_found(key, |out| scanner.quoted_into(b'"', out));
    }
    let key = scanner.key()?;
    scanner.colon()?;
    if let Some(quote @ (b'"' | b'\'')) = scanner.next_token() {
        return fields.try_push_with(&key, |out| scanner.quoted_into(quote, out));
    }
    match parse_value(scanner)? {
        Value::Number(number) => fields.push_text(&key, number),
        Value::Bool(value) => fields.push_text(&key, if value { "true" } else { "false" }),
        Value::Null => {}
        Value::Text(_) | Value::List(_) | Value::Object(_) => {
            return Err(scanner.error("a field is text, a number, a boolean or null"));
        }
    }
    Ok(())
}

/// Everything of a header but its fields and remark, and the quotes of one field.
const FRAMING_BYTES: usize = 160;
const FIELD_FRAMING_BYTES: usize = 6;

/// Appends the header.
pub(crate) fn encode(command: &Command, header: &impl SentHeader, out: &mut Vec<u8>) {
    let fields = &command.fields;
    out.reserve(FRAMING_BYTES + fields.text_bytes() + fields.len() * FIELD_FRAMING_BYTES);
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"{\"code\":");
    out.extend_from_slice(number.format(command.code).as_bytes());
    let mut members = Members::new(out);
    members.push_all(fields);
    header.encode(&mut members);
    members.end();
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

/// The object of the fields, which is there only if there is one.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    is_begun: bool,
}

impl<'a> Members<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            is_begun: false,
        }
    }

    #[inline]
    fn begin_member(&mut self) {
        if self.is_begun {
            self.out.push(b',');
        } else {
            self.out.extend_from_slice(b",\"extFields\":{");
            self.is_begun = true;
        }
    }

    fn push_all(&mut self, fields: &ExtFields) {
        match fields.json_members() {
            Some("") => {}
            Some(members) => {
                self.begin_member();
                self.out.extend_from_slice(members.as_bytes());
            }
            None => fields.iter().for_each(|(key, value)| {
                self.begin_member();
                encode_text(key, self.out);
                self.out.push(b':');
                encode_text(value, self.out);
            }),
        }
    }

    fn end(self) {
        if self.is_begun {
            self.out.push(b'}');
        }
    }
}

impl FieldSink for Members<'_> {
    #[inline]
    fn push<T: FieldText + ?Sized>(&mut self, key: &'static str, value: &T) {
        debug_assert!(
            !needs_escapes(key.as_bytes()),
            "{key:?} is no name of a field"
        );
        self.begin_member();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":\"");
        let start = self.out.len();
        value.write(self.out);
        if !T::IS_PLAIN && needs_escapes(&self.out[start..]) {
            escape_from(start, self.out);
        }
        self.out.push(b'"');
    }
}

/// What stands from `start` on, as it stands within quotes.
#[cold]
fn escape_from(start: usize, out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(&out[start..]).into_owned();
    out.truncate(start - 1);
    encode_text(&text, out);
    out.pop();
}

/// Whether text stands otherwise in JSON than by itself.
pub(crate) fn needs_escapes(text: &[u8]) -> bool {
    word_scan::has_below_or_either(text, b' ', b'"', b'\\')
}

/// Most text needs no escapes, and looking for them costs a fraction of the escaping writer.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    if needs_escapes(text.as_bytes()) {
        serde_json::to_writer(out, text).expect("text always has a JSON form, and memory takes it");
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fastjson::parse::Member;
    use crate::header::SendMessageResponseHeader;

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

    /// As programs write it there is a short way, and for all else a long one: both read the same.
    #[test]
    fn a_header_reads_the_same_however_it_is_written() {
        let usual = r#"{"code":310,"extFields":{"a":"group","e":"-3","i":"K\u0001v\u0002","n":""},"flag":0,"language":"JAVA","opaque":-7,"remark":"r","serializeTypeCurrentRPC":"JSON","version":513}"#;
        let expected = decode(usual.as_bytes()).unwrap();
        let numbers = (expected.code, expected.opaque, expected.version);
        assert_eq!(numbers, (310, -7, 513));
        assert_eq!(expected.language, Language::Java);
        let fields = [
            ("a", "group"),
            ("e", "-3"),
            ("i", "K\u{1}v\u{2}"),
            ("n", ""),
        ];
        assert_eq!(expected.fields, fields.into_iter().collect());
        for written in [
            usual.replace(':', " : ").replace(',', " ,\n"),
            usual.replace('"', "'"),
            usual
                .replace("group", r"gr\u006fup")
                .replace("\"e\"", r#""\x65""#),
            usual.replace("-7", "\"-7\"").replace("310", "310 "),
            usual.replace("\"-3\"", "-3").replace("JAVA", r"\u004aAVA"),
        ] {
            let command = decode(written.as_bytes()).expect(&written);
            assert_eq!(command.fields, expected.fields, "{written}");
            let (seen, wanted) = (without_fields(command), without_fields(expected.clone()));
            assert_eq!(format!("{seen:?}"), format!("{wanted:?}"), "{written}");
        }
    }

    /// Values of every length around a word's bounds, whole, cut at every byte, and with every byte replaced
    /// by one that means something: the same is read, or refused, as by the parser of bodies.
    #[test]
    fn a_damaged_header_reads_as_a_body_does() {
        for length in 0..20 {
            let header = header_of(&"v".repeat(length));
            assert!(decode(header.as_bytes()).is_ok(), "{header}");
            for at in 0..=header.len() {
                let (head, tail) = header.split_at(at);
                reads_as_a_body(head);
                for odd in "\"'\\,:{}[] 0-aZu\u{1}é".chars() {
                    reads_as_a_body(&format!("{head}{odd}{tail}"));
                    reads_as_a_body(&format!("{head}{odd}{}", tail.get(1..).unwrap_or_default()));
                }
            }
        }
    }

    fn header_of(value: &str) -> String {
        let fields = format!(
            r#""a":"{value}","b":"{value}\"","topic":"{value}","i":"{value}\u0001{value}\u0002","z":"{value}""#
        );
        format!(
            r#"{{"code":310,"extFields":{{{fields}}},"flag":0,"language":"GO","opaque":7,"serializeTypeCurrentRPC":"JSON","version":513}}"#
        )
    }

    fn reads_as_a_body(header: &str) {
        let (seen, expected) = (decode(header.as_bytes()).ok(), decode_as_a_body(header));
        let fields = |command: &Option<Command>| {
            let fields = &command.as_ref()?.fields;
            Some(format!("{fields:?}"))
        };
        assert_eq!(fields(&seen), fields(&expected), "{header}");
        let others = |command: Option<Command>| format!("{:?}", command.map(without_fields));
        assert_eq!(others(seen), others(expected), "{header}");
    }

    fn decode_as_a_body(header: &str) -> Option<Command> {
        let mut scanner = Scanner::new(header.as_bytes()).ok()?;
        let mut command = Command::new(0);
        (command.language, command.version) = (Language::Other, 0);
        for (name, value) in members(parse_value(&mut scanner).ok()?)? {
            match name.as_ref() {
                "code" => command.code = integer_of(value)?,
                "language" => {
                    let name = text_of(value)?;
                    command.language = name.map_or(Language::Other, |n| Language::from_name(&n));
                }
                "version" => command.version = integer_of(value)?,
                "opaque" => command.opaque = integer_of(value)?,
                "flag" => command.flag = integer_of(value)?,
                "remark" => command.remark = text_of(value)?.map(Cow::into_owned),
                "extFields" if value == Value::Null => command.fields = ExtFields::new(),
                "extFields" => command.fields = fields_of(value)?,
                _ => {}
            }
        }
        scanner.next_token().is_none().then_some(command)
    }

    fn members(object: Value<'_>) -> Option<Vec<(Cow<'_, str>, Value<'_>)>> {
        let Value::Object(members) = object else {
            return None;
        };
        let named = members.into_iter();
        named
            .map(|Member { key, value }| Some((text_of(key)??, value)))
            .collect()
    }

    fn integer_of(value: Value<'_>) -> Option<i32> {
        match value {
            Value::Number(number) if number.starts_with('+') => None,
            Value::Number(number) => number.parse().ok(),
            Value::Null => Some(0),
            Value::Text(number) => number.parse().ok(),
            Value::Bool(_) | Value::List(_) | Value::Object(_) => None,
        }
    }

    fn text_of(value: Value<'_>) -> Option<Option<Cow<'_, str>>> {
        match value {
            Value::Text(text) => Some(Some(text)),
            Value::Null => Some(None),
            Value::Number(_) | Value::Bool(_) | Value::List(_) | Value::Object(_) => None,
        }
    }

    fn fields_of(value: Value<'_>) -> Option<ExtFields> {
        let mut fields = ExtFields::new();
        for (name, value) in members(value)? {
            match value {
                Value::Text(text) => fields.push_text(&name, &text),
                Value::Number(number) => fields.push_text(&name, number),
                Value::Bool(value) => fields.push_text(&name, &value.to_string()),
                Value::Null => {}
                Value::List(_) | Value::Object(_) => return None,
            }
        }
        Some(fields)
    }

    fn without_fields(mut command: Command) -> Command {
        command.fields = ExtFields::new();
        command
    }

    /// Fields stand as JSON in their text until one needs escapes or goes.
    #[test]
    fn fields_are_written_as_they_are_by_then() {
        let written = |fields: &ExtFields| {
            let mut out = Vec::new();
            let mut members = Members::new(&mut out);
            members.push_all(fields);
            members.end();
            let text = String::from_utf8(out).unwrap();
            text.strip_prefix(",\"extFields\":").unwrap().to_owned()
        };
        let mut fields = ExtFields::new();
        fields.push("a", &1);
        fields.push_text("ü", "");
        assert_eq!(written(&fields), r#"{"a":"1","ü":""}"#);
        fields.remove("absent");
        fields.set("a", "2");
        assert_eq!(written(&fields), r#"{"ü":"","a":"2"}"#);
        let mut escaped: ExtFields = [("k\"", "v")].into_iter().collect();
        escaped.push_text("l", "\u{1}");
        escaped.push("m", &true);
        let expected = r#"{"k\"":"v","l":"\u0001","m":"true"}"#;
        assert_eq!(written(&escaped), expected);
        let read = decode(format!("{{\"extFields\":{expected}}}").as_bytes()).unwrap();
        assert_eq!(
            (read.fields.clone(), written(&read.fields)),
            (escaped, expected.into())
        );
    }

    /// A typed header that is written straight into the text reads as one that went through a map.
    #[test]
    fn a_header_is_written_as_its_fields_are() {
        for text in ["", "plain", "q\"\\", "\u{1}\u{2}", "ü\u{10FFFF}"] {
            let header = SendMessageResponseHeader {
                msg_id: text.to_owned(),
                queue_id: -3,
                transaction_id: Some(text.to_owned()),
                ..SendMessageResponseHeader::default()
            };
            for more in [None, Some("more")] {
                let mut command = Command::new(310);
                if let Some(more) = more {
                    command.fields.push("more", more);
                }
                let mut straight = Vec::new();
                encode(&command, &header, &mut straight);
                let mut by_map = Vec::new();
                encode(&command.clone().with_header(&header), &(), &mut by_map);
                let texts = [straight, by_map].map(|out| String::from_utf8(out).unwrap());
                assert_eq!(texts[0], texts[1]);
                let read = decode(texts[0].as_bytes()).unwrap();
                assert_eq!(read.fields.get("msgId"), Some(text));
                assert_eq!(read.fields.get("more"), more);
            }
        }
        let mut bare = Vec::new();
        encode(&Command::new(1), &(), &mut bare);
        assert!(bare.starts_with(b"{\"code\":1,\"flag\":0"), "{bare:?}");
    }

    #[test]
    fn numbers_have_32_bits() {
        let opaque = |number: &str| {
            let header = format!("{{\"opaque\":{number}}}");
            decode(header.as_bytes()).map(|command| command.opaque)
        };
        assert_eq!(opaque("-2147483648"), Ok(i32::MIN));
        assert_eq!(opaque("2147483647"), Ok(i32::MAX));
        assert_eq!(opaque("007"), Ok(7));
        for number in [
            "2147483648",
            "-2147483649",
            "-",
            "1.5",
            "99999999999999999999",
            "7x",
        ] {
            assert!(opaque(number).is_err(), "{number}");
        }
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
