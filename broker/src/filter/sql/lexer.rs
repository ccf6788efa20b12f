//! From text to words and signs, one at a time: what the parser does not ask for is not looked at, as
//! in Java, where text behind a whole expression is never read.

use super::parser::SqlError;

/// A reserved word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
}

const WORDS: [(&str, Word); 12] = [
    ("NOT", Word::Not),
    ("AND", Word::And),
    ("OR", Word::Or),
    ("BETWEEN", Word::Between),
    ("IN", Word::In),
    ("TRUE", Word::True),
    ("FALSE", Word::False),
    ("NULL", Word::Null),
    ("IS", Word::Is),
    ("CONTAINS", Word::Contains),
    ("STARTSWITH", Word::StartsWith),
    ("ENDSWITH", Word::EndsWith),
];

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(Word),
    Property(&'a str),
    /// Digits, without the `L` behind them.
    Whole(&'a str),
    Fraction(&'a str),
    /// What stands between the quotes, doubled ones still doubled.
    Text(&'a str),
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Open,
    Close,
    Comma,
    End,
}

const SIGNS: [(&str, Token<'static>); 11] = [
    ("<>", Token::NotEqual),
    ("<=", Token::LessOrEqual),
    (">=", Token::GreaterOrEqual),
    ("=", Token::Equal),
    ("<", Token::Less),
    (">", Token::Greater),
    ("+", Token::Plus),
    ("-", Token::Minus),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
];

/// Reads tokens off the front of a text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, SqlError> {
        self.skip();
        let Some(first) = self.rest.chars().next() else {
            return Ok(Token::End);
        };
        if first == '\'' {
            return self.text();
        }
        if is_name_start(first) {
            let end = self.rest.find(|c| !is_name_part(c));
            return Ok(word_or_property(self.take(end.unwrap_or(self.rest.len()))));
        }
        if let Some(bytes) = fraction_bytes(self.rest) {
            return Ok(Token::Fraction(self.take(bytes)));
        }
        if first.is_ascii_digit() {
            return Ok(self.whole());
        }
        for (sign, token) in SIGNS {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Ok(token);
            }
        }
        Err(SqlError::unexpected(self.rest))
    }

    /// What is not read yet, for a message about an error.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Skips blanks and comments. A line comment needs the end of its line; without one `--` is two
    /// signs.
    fn skip(&mut self) {
        loop {
            let rest = self
                .rest
                .trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.rest = match comment_end(rest) {
                Some(behind) => behind,
                None => {
                    self.rest = rest;
                    return;
                }
            };
        }
    }

    /// A quoted text; a quote in it is doubled.
    fn text(&mut self) -> Result<Token<'a>, SqlError> {
        let inner = self.rest.strip_prefix('\'').unwrap_or(self.rest);
        let mut from = 0;
        loop {
            let quote = inner.get(from..).and_then(|rest| rest.find('\''));
            let quote = from + quote.ok_or_else(|| SqlError::unexpected(self.rest))?;
            let behind = inner.get(quote + 1..).unwrap_or_default();
            if !behind.starts_with('\'') {
                self.rest = behind;
                return Ok(Token::Text(inner.get(..quote).unwrap_or_default()));
            }
            from = quote + 2;
        }
    }

    /// `0` alone, or digits that begin with another, and an `L`.
    fn whole(&mut self) -> Token<'a> {
        if self.rest.starts_with('0') {
            return Token::Whole(self.take(1));
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit());
        let digits = self.take(end.unwrap_or(self.rest.len()));
        if let Some(rest) = self.rest.strip_prefix(['l', 'L']) {
            self.rest = rest;
        }
        Token::Whole(digits)
    }
}

fn comment_end(text: &str) -> Option<&str> {
    if let Some(comment) = text.strip_prefix("--") {
        let end = comment.find(['\n', '\r'])?;
        return comment.get(end..);
    }
    let (_, behind) = text.strip_prefix("/*")?.split_once("*/")?;
    Some(behind)
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '$')
}

fn is_name_part(c: char) -> bool {
    is_name_start(c) || c.is_ascii_digit()
}

fn word_or_property(name: &str) -> Token<'_> {
    let word = WORDS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(name));
    word.map_or(Token::Property(name), |(_, word)| Token::Word(*word))
}

/// Length of `5.5`, `5.`, `.5` or `5E10` at the start of a text.
fn fraction_bytes(text: &str) -> Option<usize> {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        rest.bytes().take_while(u8::is_ascii_digit).count()
    };
    let whole = digits(0);
    let is_dotted = text.get(whole..).is_some_and(|rest| rest.starts_with('.'));
    let mantissa = if is_dotted {
        let fraction = digits(whole + 1);
        if whole + fraction == 0 {
            return None;
        }
        whole + 1 + fraction
    } else {
        whole
    };
    let exponent = exponent_bytes(text.get(mantissa..).unwrap_or_default());
    let is_fraction = is_dotted || (whole > 0 && exponent > 0);
    is_fraction.then_some(mantissa + exponent)
}

/// Length of `E10` or `e-3` at the start of a text; 0 if none is there.
fn exponent_bytes(text: &str) -> usize {
    let Some(behind) = text.strip_prefix(['e', 'E']) else {
        return 0;
    };
    let unsigned = behind.strip_prefix(['+', '-']).unwrap_or(behind);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return 0;
    }
    text.len() - unsigned.len() + digits
}
