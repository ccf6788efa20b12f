//! Changes a few keys of a properties file and leaves the rest as its author wrote it.

use thrustmq_proto_compat::properties_text;

/// The text with some keys changed. Everything else stays, comments included; keys that were not
/// there stand at the end.
pub(crate) fn with_changes(text: &str, changes: &[(&str, String)]) -> String {
    let mut missing: Vec<_> = changes.iter().collect();
    let mut changed = String::with_capacity(text.len());
    for entry in entries(text) {
        let key = key_of(entry);
        match changes.iter().find(|(changed_key, _)| *changed_key == key) {
            Some((key, value)) => {
                missing.retain(|(missing_key, _)| missing_key != key);
                changed.push_str(&properties_text::write([(*key, value.as_str())]));
            }
            None => {
                changed.push_str(entry);
                changed.push('\n');
            }
        }
    }
    for (key, value) in missing {
        changed.push_str(&properties_text::write([(*key, value.as_str())]));
    }
    changed
}

/// Lines, each with those that continue it.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = entry_end(rest);
        let (entry, behind) = rest.split_at(end);
        rest = behind.strip_prefix('\n').unwrap_or(behind);
        Some(entry)
    })
}

/// Where the first entry ends: at a line break behind an even number of backslashes. A comment has
/// no continuation.
fn entry_end(text: &str) -> usize {
    let is_comment = text.trim_start().starts_with(['#', '!']);
    let breaks = text.match_indices('\n').map(|(at, _)| at);
    let ends = |at: &usize| {
        let line = text.get(..*at).unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        is_comment || backslashes % 2 == 0
    };
    breaks.into_iter().find(ends).unwrap_or(text.len())
}

fn key_of(entry: &str) -> &str {
    let entry = entry.trim_start();
    let end = entry
        .find(['=', ':', ' ', '\t', '\r'])
        .unwrap_or(entry.len());
    entry.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, key: &str, value: &str) -> String {
        with_changes(text, &[(key, value.to_owned())])
    }

    #[test]
    fn only_the_line_of_the_key_changes() {
        let text = "# listenPort=1\nlistenPort = 2\nbrokerName: x\n";
        assert_eq!(
            changed(text, "listenPort", "3"),
            "# listenPort=1\nlistenPort=3\nbrokerName: x\n"
        );
        assert_eq!(
            changed(text, "brokerName", "y"),
            "# listenPort=1\nlistenPort = 2\nbrokerName=y\n"
        );
        assert_eq!(changed("a=1", "b", "2"), "a=1\nb=2\n");
        assert_eq!(changed("\n\na=1\r\n", "a", "2"), "\n\na=2\n");
    }

    #[test]
    fn lines_that_continue_a_value_go_and_stay_with_it() {
        let text = "# a comment\\\na=1,\\\n  a=2\nb=x\\\\\nc=3\n";
        assert_eq!(
            changed(text, "a", "9"),
            "# a comment\\\na=9\nb=x\\\\\nc=3\n"
        );
        assert_eq!(
            changed(text, "c", "9"),
            "# a comment\\\na=1,\\\n  a=2\nb=x\\\\\nc=9\n"
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in ["C:\\store", " leading", "two\nlines", ""] {
            let text = changed("storePath=old\n", "storePath", value);
            assert_eq!(
                properties_text::parse(&text),
                [("storePath".to_owned(), value.to_owned())]
            );
        }
    }
}
