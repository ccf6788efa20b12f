//! Java's properties text: the config files of broker and name server, and the bodies of the commands
//! that read and change settings (25, 26, 318, 319).

/// Reads keys and values. A key that comes again has its last value, at its first place. Malformed
/// escapes stand for themselves: no text is refused.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for line in logical_lines(text) {
        let Pair { key, value } = split(&line);
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => pairs.push((key, value)),
        }
    }
    pairs
}

/// Writes keys and values, a line each, so that [`parse`] and Java read the same back.
pub fn write<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        escape(key, true, &mut text);
        text.push('=');
        escape(value, false, &mut text);
        text.push('\n');
    }
    text
}

struct Pair {
    key: String,
    value: String,
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// The lines that say something, those that end in a backslash joined with their next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut joined: Option<String> = None;
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        let line = line.trim_start_matches(is_blank);
        if joined.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let mut whole = joined.take().unwrap_or_default();
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            whole.push_str(line.strip_suffix('\\').unwrap_or(line));
            joined = Some(whole);
        } else {
            whole.push_str(line);
            lines.push(whole);
        }
    }
    lines.extend(joined);
    lines
}

/// The key ends at the first `=`, `:` or blank that no backslash stands before.
fn split(line: &str) -> Pair {
    let mut is_escaped = false;
    let end = line.find(|c| {
        let ends = !is_escaped && (is_blank(c) || c == '=' || c == ':');
        is_escaped = !is_escaped && c == '\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    Pair {
        key: unescape(key),
        value: unescape(value.trim_start_matches(is_blank)),
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let mut behind = escape.chars();
        behind.next();
        match behind.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => match behind.as_str().get(..4).and_then(code_unit) {
                Some(c) => {
                    plain.push(c);
                    behind.nth(3);
                }
                None => plain.push('u'),
            },
            Some(other) => plain.push(other),
            None => {}
        }
        rest = behind.as_str();
    }
    plain.push_str(rest);
    plain
}

/// Half of a surrogate pair, which no text of settings has, becomes U+FFFD.
fn code_unit(digits: &str) -> Option<char> {
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let code = u32::from_str_radix(digits, 16).ok()?;
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn escape(plain: &str, is_key: bool, text: &mut String) {
    let starts_in_blank = plain.starts_with(is_blank);
    for (at, c) in plain.char_indices() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\\' => text.push_str("\\\\"),
            '=' | ':' | '#' | '!' | ' ' | '\t' | '\u{c}' if is_key => text.extend(['\\', c]),
            _ if at == 0 && starts_in_blank => text.extend(['\\', c]),
            _ => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse(text)
    }

    fn one(text: &str) -> (String, String) {
        let mut pairs = parsed(text);
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        pairs.remove(0)
    }

    #[test]
    fn the_ways_to_separate_are_java_s() {
        for text in [
            "k=v",
            "k = v",
            "k:v",
            "  k v",
            "k\t: v",
            "k=v\r\n",
            "\n\nk=v\n#c\n!d\n",
        ] {
            assert_eq!(one(text), ("k".into(), "v".into()), "{text:?}");
        }
        assert_eq!(one("k"), ("k".into(), String::new()));
        assert_eq!(one("k=a=b:c d "), ("k".into(), "a=b:c d ".into()));
        assert_eq!(one("a\\=b\\ c=d"), ("a=b c".into(), "d".into()));
    }

    #[test]
    fn lines_continue_behind_an_odd_number_of_backslashes() {
        assert_eq!(one("k=a,\\\n   b,\\\r\n\tc"), ("k".into(), "a,b,c".into()));
        assert_eq!(
            parsed("k=a\\\\\nj=b"),
            [("k".into(), "a\\".into()), ("j".into(), "b".into())]
        );
        assert_eq!(one("k=a\\"), ("k".into(), "a".into()));
        assert_eq!(one("k=a\\\n#b"), ("k".into(), "a#b".into()));
    }

    #[test]
    fn escapes_are_java_s_and_malformed_ones_stand_for_themselves() {
        assert_eq!(one("k=\\t\\n\\u4e2d\\q\\:").1, "\t\n中q:");
        assert_eq!(one("k=\\u12").1, "u12");
        assert_eq!(one("k=\\u中文中文").1, "u中文中文");
        assert_eq!(one("k=\\ud800").1, "\u{fffd}");
    }

    #[test]
    fn the_last_of_two_values_counts() {
        assert_eq!(
            parsed("a=1\nb=2\na=3"),
            [("a".into(), "3".into()), ("b".into(), "2".into())]
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        let pairs = [
            ("brokerName", "broker-a"),
            ("path", "C:\\data\\new"),
            ("odd key:=#", " leading, trailing "),
            ("lines", "a\nb\r\n"),
            ("empty", ""),
            ("中", "文 = : # !"),
        ];
        let text = write(pairs);
        assert!(text.starts_with("brokerName=broker-a\n"), "{text}");
        let back = parse(&text);
        let back: Vec<_> = back.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(back, pairs);
    }
}
