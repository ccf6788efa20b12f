//! Java's `.properties` text: what configuration files, and the bodies of the two configuration
//! commands, are written in. Used by [`crate::config`] only.

/// One `key=value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// All properties of a text, in order; a key that comes twice is there twice.
pub(crate) fn parse(text: &str) -> Vec<Property> {
    logical_lines(text).iter().map(|l| property(l)).collect()
}

/// One line of properties text, without its line end.
pub(crate) fn line(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// Lines without comments and blank ones; a line that ends in an odd number of backslashes goes on in the next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for natural in text.split(['\n', '\r']) {
        let piece = natural.trim_start_matches([' ', '\t', '\u{c}']);
        let is_comment = piece.is_empty() || piece.starts_with(['#', '!']);
        if open.is_none() && is_comment {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        let backslashes = piece.chars().rev().take_while(|&c| c == '\\').count();
        let goes_on = backslashes % 2 == 1;
        let kept = if goes_on {
            piece.strip_suffix('\\').unwrap_or(piece)
        } else {
            piece
        };
        whole.push_str(kept);
        if goes_on {
            open = Some(whole);
        } else {
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}

/// Splits at the first unescaped `=`, `:` or white space.
fn property(line: &str) -> Property {
    let is_blank = |c: char| c == ' ' || c == '\t' || c == '\u{c}';
    let mut escaped = false;
    let mut key_end = line.len();
    for (at, c) in line.char_indices() {
        if !escaped && (c == '=' || c == ':' || is_blank(c)) {
            key_end = at;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let (key, rest) = line.split_at(key_end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    Property {
        key: unescape(key),
        value: unescape(rest.trim_start_matches(is_blank))
            .trim_end()
            .to_owned(),
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(unicode(&mut chars)),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// The character of the four hexadecimal digits after `\u`; the replacement character if they are none.
fn unicode(chars: &mut std::str::Chars<'_>) -> char {
    let digits: String = chars.by_ref().take(4).collect();
    let code = u32::from_str_radix(&digits, 16).ok();
    code.and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let properties = parse(text).into_iter();
        properties.map(|p| (p.key, p.value)).collect()
    }

    fn expect(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        assert_eq!(pairs(text), expected, "of {text:?}");
    }

    #[test]
    fn separators_comments_and_blank_lines() {
        expect(
            "# note\n! note\n\n  a = 1\nb:2\r\nc 3\nd\n",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "")],
        );
    }

    #[test]
    fn escapes_and_continued_lines() {
        expect(
            "path=C:\\\\data\\\n   \\\\x\nk\\=ey=v\\u0041\\t!",
            &[("path", "C:\\data\\x"), ("k=ey", "vA\t!")],
        );
    }

    #[test]
    fn a_backslash_at_the_end_and_bad_unicode_do_no_harm() {
        expect("a=1\\", &[("a", "1")]);
        expect("a=\\uZZZZ", &[("a", "\u{fffd}")]);
    }
}
