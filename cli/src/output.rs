//! Lines for people and scripts: results on stdout, complaints on stderr.
//!
//! A reader that goes away, as `head` does, is no error of ours: the line is dropped.

use std::io::{self, Write};

/// Prints a result.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints a complaint.
pub(crate) fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints an error and what caused it as one line.
pub(crate) fn complain(error: &anyhow::Error) {
    print_error(&one_line(error));
}

fn one_line(error: &anyhow::Error) -> String {
    let mut line = "thrustmq: ".to_owned();
    let mut said = String::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        // Many errors already end with their cause.
        if said.contains(&text) {
            continue;
        }
        if !said.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
        said = text;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_without_repetition() {
        let root = anyhow::anyhow!("in use\nby another");
        let error = root
            .context("listen on 1: in use by another")
            .context("start the broker");
        assert_eq!(
            one_line(&error),
            "thrustmq: start the broker: listen on 1: in use by another"
        );
    }
}
