//! Text to a tree of values that borrow from it.
//!
//! Accepts what fastjson's default features accept, comments and class names apart: any JSON, keys
//! without quotes, keys that are objects, single quotes, more commas than needed, `\x41` and `\v`.

use std::borrow::Cow;

use super::scan::Scanner;
use super::{BodyError, DEPTH_MAX, VALUES_MAX};

/// One value. A number keeps its text, so that nothing is lost before its type is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<Member<'a>>),
}

/// One key with its value; the key is text, a number as text, an object or a list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member<'a> {
    pub(crate) key: Value<'a>,
    pub(crate) value: Value<'a>,
}

/// Parses a whole text.
pub(super) fn parse(json: &[u8]) -> Result<Value<'_>, BodyError> {
    let mut scanner = Scanner::new(json)?;
    let value = parse_value(&mut scanner)?;
    match scanner.next_token() {
        None => Ok(value),
        Some(_) => Err(scanner.error("more text after the value")),
    }
}

/// Parses the value that comes next.
pub(crate) fn parse_value<'a>(scanner: &mut Scanner<'a>) -> Result<Value<'a>, BodyError> {
    // Most are text, for which there is nothing to be parsed.
    if let Some(quote @ (b'"' | b'\'')) = scanner.next_token() {
        return scanner.quoted(quote).map(Value::Text);
    }
    Parser { scanner, values: 0 }.value(0)
}

struct Parser<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    values: usize,
}

impl<'a> Parser<'_, 'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.scanner.error("too many values"));
        }
        match self.scanner.next_token() {
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.list(self.deeper(depth)?),
            Some(quote @ (b'"' | b'\'')) => self.scanner.quoted(quote).map(Value::Text),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.scanner.number().map(Value::Number),
            Some(_) => self.word(),
            None => Err(self.scanner.error("a value is missing")),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, BodyError> {
        if depth >= DEPTH_MAX {
            return Err(self.scanner.error("nested too deep"));
        }
        Ok(depth + 1)
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        self.scanner.step();
        let mut members = Vec::new();
        while self.scanner.next_element() != Some(b'}') {
            let key = self.key(depth)?;
            self.scanner.colon()?;
            if matches!(&key, Value::Text(name) if name == "$ref") {
                let what = "a reference, which only fastjson 1 can resolve";
                return Err(self.scanner.error(what));
            }
            let value = self.value(depth)?;
            members.push(Member { key, value });
            self.scanner.end_of_element(b'}')?;
        }
        self.scanner.step();
        Ok(Value::Object(members))
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        self.scanner.step();
        let mut elements = Vec::new();
        while self.scanner.next_element() != Some(b']') {
            elements.push(self.value(depth)?);
            self.scanner.end_of_element(b']')?;
        }
        self.scanner.step();
        Ok(Value::List(elements))
    }

    fn key(&mut self, depth: usize) -> Result<Value<'a>, BodyError> {
        match self.scanner.next_token() {
            Some(b'{' | b'[') => self.value(depth),
            _ => self.scanner.key().map(Value::Text),
        }
    }

    fn word(&mut self) -> Result<Value<'a>, BodyError> {
        match self.scanner.bare() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" | "undefined" | "NaN" => Ok(Value::Null),
            _ => Err(self.scanner.error("unknown word")),
        }
    }
}
