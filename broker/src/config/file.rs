//! The properties file of `-c`: read at the start, and kept in step with what mqadmin changes.

use thrustmq_proto_compat::properties_text;

/// Keys and values in the file's order.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    properties_text::parse(text)
}

/// The text with some keys changed. Everything else stays as its author wrote it, comments
/// included; keys that were not there stand at the end.
pub(super) fn with_changes(text: &str, changes: &[(String, String)]) -> String {
    let mut missing: Vec<&(String, String)> = changes.iter().collect();
    let mut changed = String::with_capacity(text.len());
    for line in text.lines() {
        let key = key_of(line);
        match changes.iter().find(|(changed_key, _)| changed_key == key) {
            Some((key, value)) => {
                missing.retain(|(missing_key, _)| missing_key != key);
                push_entry(&mut changed, key, value);
            }
            None => {
                changed.push_str(line);
                changed.push('\n');
            }
        }
    }
    for (key, value) in missing {
        push_entry(&mut changed, key, value);
    }
    changed
}

fn key_of(line: &str) -> &str {
    let line = line.trim_start();
    let end = line.find(['=', ':', ' ', '\t']).unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

fn push_entry(text: &mut String, key: &str, value: &str) {
    // A backslash begins an escape in properties.
    let value = value.replace('\\', "\\\\");
    text.push_str(key);
    text.push('=');
    text.push_str(&value);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, key: &str, value: &str) -> String {
        with_changes(text, &[(key.to_owned(), value.to_owned())])
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
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = changed("", "storePathRootDir", "C:\\store");
        assert_eq!(
            parse(&text),
            [("storePathRootDir".to_owned(), "C:\\store".to_owned())]
        );
    }
}
