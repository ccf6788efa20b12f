//! Text to a tree of values that borrow from it.
//!
//! Accepts what fastjson's default features accept, comments and class names apart: any JSON, keys
//! without quotes, keys that are objects, single quotes, more commas than needed, `\x41` and `\v`.

use std::borrow::Cow;

use super::{BodyError, DEPTH_MAX, VALUES_MAX};

/// One value. A number keeps its text, so that nothing is lost before its type is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<Member<'a>>),
}

/// One key with its value; the key is text, a number as text, an object or a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member<'a> {
    pub(super) key: Value<'a>,
    pub(super) value: Value<'a>,
}

/// Parses a whole text.
pub(super) fn parse(json: &[u8]) -> Result<Value<'_>, BodyError> {
    let text = std::str::from_utf8(json).map_err(|e| BodyError::Syntax {
        at: e.valid_up_to(),
        what: "not UTF-8",
    })?;
    let mut parser = Parser {
        text,
        at: 0,
        values: 0,
    };
    let value = parser.value(0)?;
    parser.skip_blanks();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.error("more text after the value")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Always on a character's first byte: only ASCII is stepped over a byte at a time.
    at: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        self.skip_blanks();
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.error("too many values"));
        }
        match self.peek() {
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.list(self.deeper(depth)?),
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote).map(Value::Text),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => Err(self.error("a value is missing")),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, BodyError> {
        if depth >= DEPTH_MAX {
            return Err(self.error("nested too deep"));
        }
        Ok(depth + 1)
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.skip_commas();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            let key = self.key(depth)?;
            self.skip_blanks();
            if !self.take(b':') {
                return Err(self.error("a colon is missing"));
            }
            if matches!(&key, Value::Text(name) if name == "$ref") {
                return Err(self.error("a reference, which only fastjson 1 can resolve"));
            }
            let value = self.value(depth)?;
            members.push(Member { key, value });
            self.end_of_element(b'}')?;
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.skip_commas();
            if self.take(b']') {
                return Ok(Value::List(elements));
            }
            elements.push(self.value(depth)?);
            self.end_of_element(b']')?;
        }
    }

    /// Only a comma or the closing bracket may follow an element.
    fn end_of_element(&mut self, close: u8) -> Result<(), BodyError> {
        self.skip_blanks();
        match self.peek() {
            Some(b',') => Ok(()),
            Some(found) if found == close => Ok(()),
            _ => Err(self.error("a comma or a closing bracket is missing")),
        }
    }

    fn key(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        match self.peek() {
            Some(b'"' | b'\'' | b'{' | b'[') => self.value(depth),
            _ => match self.bare() {
                "" => Err(self.error("a key is missing")),
                name => Ok(Value::Text(Cow::Borrowed(name))),
            },
        }
    }

    fn number(&mut self) -> Result<Value<'a>, BodyError> {
        let number = self.bare();
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_integer = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if is_integer || number.parse::<f64>().is_ok_and(f64::is_finite) {
            Ok(Value::Number(number))
        } else {
            Err(self.error("malformed number"))
        }
    }

    fn word(&mut self) -> Result<Value<'a>, BodyError> {
        match self.bare() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" | "undefined" | "NaN" => Ok(Value::Null),
            _ => Err(self.error("unknown word")),
        }
    }

    /// Takes the longest run of characters that stand in numbers, names and words.
    fn bare(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest
            .bytes()
            .position(|b| {
                !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'-' | b'+' | b'.'))
            })
            .unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn quoted(&mut self, quote: u8) -> Result<Cow<'a, str>, BodyError> {
        self.at += 1;
        let mut unescaped = String::new();
        loop {
            let rest = self.rest();
            let Some(length) = rest.bytes().position(|b| b == quote || b == b'\\') else {
                return Err(self.error("text without its closing quote"));
            };
            let plain = rest.get(..length).unwrap_or_default();
            self.at += length;
            if self.take(quote) {
                if unescaped.is_empty() {
                    return Ok(Cow::Borrowed(plain));
                }
                unescaped.push_str(plain);
                return Ok(Cow::Owned(unescaped));
            }
            unescaped.push_str(plain);
            unescaped.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, BodyError> {
        self.at += 1;
        let Some(letter) = self.peek() else {
            return Err(self.error("text ends in an escape"));
        };
        let escaped = match letter {
            b'"' | b'\\' | b'/' | b'\'' => char::from(letter),
            b'b' => '\u{8}',
            b't' => '\t',
            b'n' => '\n',
            b'v' => '\u{b}',
            b'f' | b'F' => '\u{c}',
            b'r' => '\r',
            b'0'..=b'7' => char::from(letter - b'0'),
            b'x' => return self.hex(2).map(|code| char::from(code as u8)),
            b'u' => return self.utf16(),
            _ => return Err(self.error("unknown escape")),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// `\uXXXX`, with its second half if it is the first half of a pair; half a pair becomes U+FFFD.
    fn utf16(&mut self) -> Result<char, BodyError> {
        let first = self.hex(4)?;
        let before_second = self.at;
        if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
            self.at += 1;
            let second = self.hex(4)?;
            if let Some(Ok(pair)) = char::decode_utf16([first, second]).next() {
                return Ok(pair);
            }
            self.at = before_second;
        }
        Ok(char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The letter at hand and the hexadecimal digits behind it.
    fn hex(&mut self, digits: usize) -> Result<u16, BodyError> {
        self.at += 1;
        let code = self
            .rest()
            .get(..digits)
            .filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|code| u16::from_str_radix(code, 16).ok())
            .ok_or_else(|| self.error("malformed escape"))?;
        self.at += digits;
        Ok(code)
    }

    fn skip_blanks(&mut self) {
        self.skip(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x08 | 0x0c));
    }

    fn skip_commas(&mut self) {
        self.skip(|b| matches!(b, b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x08 | 0x0c));
    }

    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) {
        let rest = self.rest();
        self.at += rest
            .bytes()
            .position(|b| !is_skipped(b))
            .unwrap_or(rest.len());
    }

    fn take(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, what: &'static str) -> BodyError {
        BodyError::Syntax { at: self.at, what }
    }
}
