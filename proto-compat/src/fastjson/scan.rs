//! Steps over JSON text: blanks, words, quoted text. Bodies and JSON headers both stand on it.

use std::borrow::Cow;
use std::ops::Range;

use super::BodyError;
use crate::word_scan;

const UNCLOSED: &str = "text without its closing quote";
const QUOTE_OR_ESCAPE: [u8; 2] = [b'"', b'\\'];

/// A place in a text. It is always a character's first byte: only ASCII is stepped over by bytes.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Stands at the beginning of a text.
    pub(crate) fn new(json: &'a [u8]) -> Result<Self, BodyError> {
        let text = std::str::from_utf8(json).map_err(|e| BodyError::Syntax {
            at: e.valid_up_to(),
            what: "not UTF-8",
        })?;
        Ok(Self { text, at: 0 })
    }

    /// All of the text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Steps over blanks, which hardly anybody writes, to the byte that says what comes.
    #[inline]
    pub(crate) fn next_token(&mut self) -> Option<u8> {
        match self.peek() {
            Some(byte) if byte > b' ' => Some(byte),
            _ => self.token_behind(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x08 | 0x0c)),
        }
    }

    /// The same, and steps over commas as well: fastjson does not mind how many there are.
    #[inline]
    pub(crate) fn next_element(&mut self) -> Option<u8> {
        if self.peek() == Some(b',') {
            self.step();
        }
        match self.peek() {
            Some(byte) if byte > b',' || byte == b'"' => Some(byte),
            _ => self
                .token_behind(|b| matches!(b, b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x08 | 0x0c)),
        }
    }

    /// After an element: only a comma or the closing bracket may follow.
    #[inline]
    pub(crate) fn end_of_element(&mut self, close: u8) -> Result<(), BodyError> {
        match self.next_token() {
            Some(b',') => Ok(()),
            Some(found) if found == close => Ok(()),
            _ => Err(self.error("a comma or a closing bracket is missing")),
        }
    }

    /// Steps over the byte at hand, which must be ASCII.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Steps over blanks and then a colon.
    #[inline]
    pub(crate) fn colon(&mut self) -> Result<(), BodyError> {
        if self.next_token() != Some(b':') {
            return Err(self.error("a colon is missing"));
        }
        self.step();
        Ok(())
    }

    /// A key of an object: quoted text or a name without quotes.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, BodyError> {
        if let Some(quote @ (b'"' | b'\'')) = self.peek() {
            return self.quoted(quote);
        }
        match self.bare() {
            "" => Err(self.error("a key is missing")),
            name => Ok(Cow::Borrowed(name)),
        }
    }

    /// Takes the longest run of characters that stand in numbers, names and words.
    pub(crate) fn bare(&mut self) -> &'a str {
        let rest = self.rest();
        let is_inside =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'-' | b'+' | b'.');
        let length = rest.bytes().position(|b| !is_inside(b));
        let length = length.unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// An integer of 32 bits as programs write it, before a comma or a bracket. `None`: it is something
    /// else, or written otherwise, and still to be read.
    #[inline]
    pub(crate) fn plain_integer(&mut self) -> Option<i32> {
        let bytes = self.text.as_bytes();
        let is_negative = bytes.get(self.at) == Some(&b'-');
        let start = self.at + usize::from(is_negative);
        let mut at = start;
        let mut number = 0_i32;
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            let digit = i32::from(digit - b'0');
            number = number.checked_mul(10)?.checked_add(digit)?;
            at += 1;
        }
        if at == start || !matches!(bytes.get(at), Some(b',' | b'}' | b']')) {
            return None;
        }
        self.at = at;
        Some(if is_negative { -number } else { number })
    }

    /// A number's text.
    pub(crate) fn number(&mut self) -> Result<&'a str, BodyError> {
        let number = self.bare();
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_integer = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if is_integer || number.parse::<f64>().is_ok_and(f64::is_finite) {
            Ok(number)
        } else {
            Err(self.error("malformed number"))
        }
    }

    /// Text in quotes; borrowed if it has no escapes.
    #[inline]
    pub(crate) fn quoted(&mut self, quote: u8) -> Result<Cow<'a, str>, BodyError> {
        if let Some(place) = self.quoted_place(quote)? {
            return Ok(Cow::Borrowed(self.text.get(place).unwrap_or_default()));
        }
        let mut text = String::new();
        self.quoted_into(quote, &mut text)?;
        Ok(Cow::Owned(text))
    }

    /// The byte behind the one at hand: a key's first, where a key in quotes comes.
    #[inline]
    pub(crate) fn second_byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at + 1).copied()
    }

    /// Steps over text that stands here, and says whether it does.
    #[inline]
    pub(crate) fn takes<const BYTES: usize>(&mut self, text: &[u8; BYTES]) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let stands_here = rest.first_chunk() == Some(text);
        if stands_here {
            self.at += BYTES;
        }
        stands_here
    }

    /// Steps over a member of an object, both parts of which are text without escapes, as programs write
    /// it; says where they stand. `None`: it is something else, and still to be read.
    #[inline]
    pub(crate) fn text_member(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        const BETWEEN: &[u8; 3] = b"\":\"";
        let bytes = self.text.as_bytes();
        let key = self.at + 1;
        let rest = bytes.get(key..)?;
        let key_bytes = match rest {
            // Send headers have keys of one letter.
            [b'a'..=b'z', b'"', ..] => 1,
            _ => word_scan::find_either(rest, QUOTE_OR_ESCAPE)?,
        };
        let rest = rest.get(key_bytes..)?;
        if self.peek() != Some(b'"') || rest.first_chunk() != Some(BETWEEN) {
            return None;
        }
        let rest = rest.get(BETWEEN.len()..)?;
        let value_bytes = word_scan::find_either(rest, QUOTE_OR_ESCAPE)?;
        if rest.get(value_bytes) != Some(&b'"') {
            return None;
        }
        let value = key + key_bytes + BETWEEN.len();
        self.at = value + value_bytes + 1;
        Some((key..key + key_bytes, value..value + value_bytes))
    }

    /// Steps over text in quotes that has no escapes; says where it stands. `None`: it has some, and is
    /// still to be read.
    #[inline]
    pub(crate) fn quoted_place(&mut self, quote: u8) -> Result<Option<Range<usize>>, BodyError> {
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let Some(length) = word_scan::find_either(rest, [quote, b'\\']) else {
            let what = UNCLOSED;
            return Err(BodyError::Syntax { at: start, what });
        };
        let end = start + length;
        if rest.get(length) != Some(&quote) {
            return Ok(None);
        }
        self.at = end + 1;
        Ok(Some(start..end))
    }

    /// Appends text in quotes to `text`.
    pub(crate) fn quoted_into(&mut self, quote: u8, text: &mut String) -> Result<(), BodyError> {
        self.step();
        text.push_str(self.plain(quote)?);
        self.quoted_rest(quote, text)
    }

    /// Stands at an escape or at the closing quote.
    fn quoted_rest(&mut self, quote: u8, text: &mut String) -> Result<(), BodyError> {
        while self.peek() != Some(quote) {
            // What stands between properties comes several times with each message.
            let escaped = if self.takes(b"\\u0001") {
                '\u{1}'
            } else if self.takes(b"\\u0002") {
                '\u{2}'
            } else {
                self.escape()?
            };
            text.push(escaped);
            text.push_str(self.plain(quote)?);
        }
        self.step();
        Ok(())
    }

    /// Takes text up to an escape or the closing quote, one of which must come.
    fn plain(&mut self, quote: u8) -> Result<&'a str, BodyError> {
        let rest = self.rest();
        let length = word_scan::find_either(rest.as_bytes(), [quote, b'\\']);
        let length = length.ok_or_else(|| self.error(UNCLOSED))?;
        self.at += length;
        Ok(rest.get(..length).unwrap_or_default())
    }

    fn escape(&mut self) -> Result<char, BodyError> {
        self.step();
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
        self.step();
        Ok(escaped)
    }

    /// `\uXXXX`, with its second half if it is the first half of a pair; half a pair becomes U+FFFD.
    fn utf16(&mut self) -> Result<char, BodyError> {
        let first = self.hex(4)?;
        let before_second = self.at;
        if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
            self.step();
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
        self.step();
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let digit = digit.ok_or_else(|| self.error("malformed escape"))?;
            code = code << 4 | digit as u16;
            self.step();
        }
        Ok(code)
    }

    #[cold]
    fn token_behind(&mut self, is_skipped: impl Fn(u8) -> bool) -> Option<u8> {
        while self.peek().is_some_and(&is_skipped) {
            self.step();
        }
        self.peek()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// An error at this place.
    pub(crate) fn error(&self, what: &'static str) -> BodyError {
        BodyError::Syntax { at: self.at, what }
    }
}
