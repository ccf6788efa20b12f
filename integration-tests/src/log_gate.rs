//! A test fails on any WARN or ERROR line in the log of one of our servers that it did not announce.

/// The lines of `log` at WARN or ERROR that contain none of the `allowed` texts.
pub fn unexpected_lines<'a>(log: &'a str, allowed: &[&str]) -> Vec<&'a str> {
    log.lines()
        .filter(|line| is_warning(line) && !is_of_a_kill(line))
        .filter(|line| !contains_any(line, allowed))
        .collect()
}

/// The level stands alone, before the message; a panic has no level and counts as well.
fn is_warning(line: &str) -> bool {
    let is_level = |word: &str| matches!(word, "WARN" | "ERROR");
    line.split_whitespace().take(3).any(is_level) || line.contains("panicked at")
}

/// A kill may come in the middle of an append, whoever was killed: what it leaves is cut off.
fn is_of_a_kill(line: &str) -> bool {
    line.contains("its torn tail was cut off") && line.contains("after_crash: true")
}

fn contains_any(line: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::unexpected_lines;

    #[test]
    fn a_torn_tail_is_no_news_after_a_kill_only() {
        let line = |after_crash| {
            format!(
                "t WARN store: log recovered, its torn tail was cut off after_crash: {after_crash}"
            )
        };
        assert!(unexpected_lines(&line(true), &[]).is_empty());
        assert_eq!(unexpected_lines(&line(false), &[]).len(), 1);
    }

    #[test]
    fn only_announced_warnings_pass() {
        let log = "2026-01-01T00:00:00Z  INFO store: opened, no WARN\n\
                   2026-01-01T00:00:00Z  WARN remoting: frame too long length=5\n\
                   2026-01-01T00:00:00Z ERROR store: flush failed\n\
                   thread 'send' panicked at src/x.rs:1:2";
        assert_eq!(unexpected_lines(log, &["frame too long"]).len(), 2);
        assert_eq!(unexpected_lines(log, &[]).len(), 3);
    }
}
