//! Steps over JSON text: blanks, words, quoted text. Bodies and JSON headers both stand on it.

use std::borrow::Cow;
use std::ops::Range;

use super::BodyError;
use crate::word_scan::{self, WORD_BYTES};

const UNCLOSED: &str = "text without its closing quote";
const QUOTE_OR_ESCAPE: [u8; 2] = [b'"', b'\\'];
/// Between a key and its value, where both are text.
const BETWEEN: &[u8; 3] = b"\":\"";
/// Before a value that is text, where the key is one letter, such as this.
const SHORT_HEAD: &[u8; 5] = b"\"a\":\"";

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
        let rest = self.text.as_bytes().get(self.at..);
        let stands_here = rest.and_then(|rest| rest.first_chunk()) == Some(text);
        if stands_here {
            self.at += BYTES;
        }
        stands_here
    }

    /// Steps over a comma, and over members of an object as send headers have them: keys of one letter, text
    /// without escapes, no blanks. Tells where key and value stand. If a value with escapes ends it, the
    /// scanner stands at its quote, and the answer is where its key stands; else what comes is still to be read.
    #[inline]
    pub(crate) fn short_members(
        &mut self,
        mut found: impl FnMut(Range<usize>, Range<usize>),
    ) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + usize::from(self.peek() == Some(b','));
        while let Some(member) = bytes.get(at..).and_then(ShortMember::read) {
            let key = at + 1..at + 2;
            let value = at + SHORT_HEAD.len();
            let value_end = value + member.value_bytes;
            at = match member.behind {
                Behind::Comma => value_end + 2,
                Behind::Bracket => value_end + 1,
                Behind::Escape => {
                    self.at = value - 1;
                    return Some(key);
                }
            };
            found(key, value..value_end);
        }
        self.at = at;
        None
    }

    /// Steps over the key of a member whose value is text, as programs write it, up to the value's
    /// opening quote; says where it stands. `None`: it is written otherwise, and still to be read.
    #[inline]
    pub(crate) fn key_of_text(&mut self) -> Option<Range<usize>> {
        let key = self.at + 1;
        let rest = self.text.as_bytes().get(self.at..)?.strip_prefix(b"\"")?;
        let key_bytes = word_scan::find_either(rest, QUOTE_OR_ESCAPE)?;
        if rest.get(key_bytes..)?.first_chunk() != Some(BETWEEN) {
            return None;
        }
        let end = key + key_bytes;
        self.at = end + BETWEEN.len() - 1;
        Some(key..end)
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
    #[inline]
    pub(crate) fn quoted_into(&mut self, quote: u8, text: &mut String) -> Result<(), BodyError> {
        self.step();
        let mut rest = self.rest();
        loop {
            let plain_bytes = word_scan::find_either(rest.as_bytes(), [quote, b'\\']);
            let (plain, behind) = rest.split_at(plain_bytes.ok_or_else(|| self.error(UNCLOSED))?);
            text.push_str(plain);
            // What stands between properties comes several times with each message.
            rest = if let Some(behind) = behind.strip_prefix("\\u0001") {
                text.push('\u{1}');
                behind
            } else if let Some(behind) = behind.strip_prefix("\\u0002") {
                text.push('\u{2}');
                behind
            } else {
                self.at = self.text.len() - behind.len();
                if self.peek() == Some(quote) {
                    break;
                }
                text.push(self.escape()?);
                self.rest()
            };
            self.at = self.text.len() - rest.len();
        }
        self.step();
        Ok(())
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

/// A member of an object with a key of one letter and text for a value.
struct ShortMember {
    /// Up to the closing quote or the first escape.
    value_bytes: usize,
    behind: Behind,
}

/// What stands behind a value and its quote, or at its first escape.
enum Behind {
    Comma,
    Bracket,
    Escape,
}

impl ShortMember {
    /// The member that a text begins with. `None`: it is none, or is written otherwise.
    #[inline]
    fn read(text: &[u8]) -> Option<Self> {
        const FIRST_KEY: u32 = u32::from_le_bytes(*b"a\":\"");
        const LAST_KEY: u32 = u32::from_le_bytes(*b"z\":\"");
        let (head, _) = text.split_first_chunk::<{ SHORT_HEAD.len() + WORD_BYTES }>()?;
        let ([quote, key @ ..], value) = head.split_first_chunk::<{ SHORT_HEAD.len() }>()?;
        if *quote != b'"' || !(FIRST_KEY..=LAST_KEY).contains(&u32::from_le_bytes(*key)) {
            return None;
        }
        let value_bytes = match word_scan::find_in_word(value.first_chunk()?, QUOTE_OR_ESCAPE) {
            Some(at) => at,
            None => WORD_BYTES + word_scan::find_either(text.get(head.len()..)?, QUOTE_OR_ESCAPE)?,
        };
        let behind = match text.get(SHORT_HEAD.len() + value_bytes..)?.first_chunk()? {
            b"\"," => Behind::Comma,
            b"\"}" => Behind::Bracket,
            [b'\\', _] => Behind::Escape,
            _ => return None,
        };
        Some(Self {
            value_bytes,
            behind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Escapes, what they stand for, and text that is none.
    const PIECES: [(&str, &str); 11] = [
        ("", ""),
        ("\\u0001", "\u{1}"),
        ("\\u0002", "\u{2}"),
        ("\\u0001\\u0002", "\u{1}\u{2}"),
        ("\\u0000", "\0"),
        ("\\\"", "\""),
        ("\\\\", "\\"),
        ("\\n", "\n"),
        ("\\x41", "A"),
        ("\\ud83d\\ude00é", "\u{1f600}é"),
        ("'", "'"),
    ];

    /// At every place of texts of every length around a word's bounds, whole and cut at every byte.
    #[test]
    fn escapes_are_read_wherever_they_stand() {
        for (written, meant) in PIECES {
            for (before, behind) in (0..18).flat_map(|b| (0..18).map(move |a| (b, a))) {
                let around =
                    |piece: &str| format!("{}{piece}{}", "x".repeat(before), "y".repeat(behind));
                let quoted = format!("\"{}\"", around(written));
                assert_eq!(
                    read_quoted(&quoted).as_deref(),
                    Some(around(meant).as_str()),
                    "{quoted}"
                );
                for cut in (1..quoted.len()).filter_map(|end| quoted.get(..end)) {
                    assert_eq!(read_quoted(cut), None, "{cut}");
                }
            }
        }
    }

    fn read_quoted(json: &str) -> Option<String> {
        let mut scanner = Scanner::new(json.as_bytes()).ok()?;
        let mut text = String::new();
        scanner.quoted_into(b'"', &mut text).ok()?;
        assert_eq!(scanner.next_token(), None, "{json}");
        Some(text)
    }

    /// The same as looking at one byte after the other finds, but for a member in the last few bytes, which
    /// may be left to the reader of others.
    #[test]
    fn short_members_are_found_as_byte_by_byte() {
        let values = (0..20).map(|length| "v".repeat(length));
        for value in values.chain(["é".repeat(5), "a\\u0001".into()]) {
            let text =
                format!(r#""a":"{value}","z":"{value}","b":"{value}"}},"long":"no","A":"b""#);
            for at in 0..text.len() {
                let Some((head, tail)) = text.split_at_checked(at) else {
                    continue;
                };
                finds_as_byte_by_byte(head);
                for odd in ["\"", "\\", ",", "}", ":", " ", "z", "`", "{", "A", "é"] {
                    finds_as_byte_by_byte(&format!("{head}{odd}{tail}"));
                }
            }
        }
    }

    fn finds_as_byte_by_byte(text: &str) {
        let mut scanner = Scanner::new(text.as_bytes()).unwrap();
        let mut seen = Vec::new();
        let escaped = scanner.short_members(|key, value| seen.push((key, value)));
        let mut at = usize::from(text.starts_with(','));
        for (key, value) in &seen {
            let (simple_key, simple_value) = simple_member(text, at).expect(text);
            assert_eq!((key, value), (&simple_key, &simple_value), "{text}");
            at = value.end + 1 + usize::from(text[value.end + 1..].starts_with(','));
        }
        if let Some(key) = escaped {
            assert_eq!(key, at + 1..at + 2, "{text}");
            assert_eq!(text.get(at + 2..at + 5), Some("\":\""), "{text}");
            assert_eq!(scanner.at, at + 4, "{text}");
            let value = &text[at + 5..];
            let end = value.find(['"', '\\']).expect(text);
            assert!(value[end..].starts_with('\\'), "{text}");
        } else {
            assert_eq!(scanner.at, at, "{text}");
            let is_near_end = text.len() - at < SHORT_HEAD.len() + WORD_BYTES;
            assert!(is_near_end || simple_member(text, at).is_none(), "{text}");
        }
    }

    fn simple_member(text: &str, at: usize) -> Option<(Range<usize>, Range<usize>)> {
        let bytes = text.as_bytes();
        let stands = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
        let has_key = stands(at, b'"') && bytes.get(at + 1)?.is_ascii_lowercase();
        let is_text = stands(at + 2, b'"') && stands(at + 3, b':') && stands(at + 4, b'"');
        let mut end = at + 5;
        while !matches!(bytes.get(end)?, b'"' | b'\\') {
            end += 1;
        }
        let ends = stands(end, b'"') && (stands(end + 1, b',') || stands(end + 1, b'}'));
        (has_key && is_text && ends).then_some((at + 1..at + 2, at + 5..end))
    }
}
