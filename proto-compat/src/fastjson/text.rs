//! Quoted text and numbers, escaped and spelt as fastjson 1.2.83 does.

/// Appends `text` in quotes. `ascii` also escapes the slash and everything beyond ASCII.
pub(super) fn write_text(text: &str, ascii: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut written = 0;
    for (at, c) in text.char_indices() {
        if !is_escaped(c, ascii) {
            continue;
        }
        out.extend_from_slice(text.get(written..at).unwrap_or_default().as_bytes());
        write_escape(c, out);
        written = at + c.len_utf8();
    }
    out.extend_from_slice(text.get(written..).unwrap_or_default().as_bytes());
    out.push(b'"');
}

fn is_escaped(c: char, ascii: bool) -> bool {
    match c {
        '"' | '\\' | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => true,
        '/' => ascii,
        other => ascii && !other.is_ascii(),
    }
}

fn write_escape(c: char, out: &mut Vec<u8>) {
    let letter = match c {
        '"' => b'"',
        '\\' => b'\\',
        '/' => b'/',
        '\u{8}' => b'b',
        '\t' => b't',
        '\n' => b'n',
        '\u{c}' => b'f',
        '\r' => b'r',
        other => return write_utf16(other, out),
    };
    out.extend_from_slice(&[b'\\', letter]);
}

fn write_utf16(c: char, out: &mut Vec<u8>) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
    }
}

/// Appends a number as Java's `Double.toString` spells it; what is no number is null.
pub(super) fn write_double(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    if !value.is_finite() {
        out.extend_from_slice(b"null");
    } else if size == 0.0 || (1e-3..1e7).contains(&size) {
        out.extend_from_slice(format!("{value:?}").as_bytes());
    } else {
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let fraction = if digits.contains('.') { "" } else { ".0" };
        out.extend_from_slice(format!("{digits}{fraction}E{exponent}").as_bytes());
    }
}
