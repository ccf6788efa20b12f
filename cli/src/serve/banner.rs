//! The few lines that a server prints when it serves.

use std::time::Duration;

use crate::output;

/// Facts about a server, one a line.
pub(super) struct Banner {
    lines: Vec<String>,
}

impl Banner {
    /// A banner of `what`: `standalone`, `name server` or `broker`.
    pub(super) fn new(what: &str) -> Self {
        Self {
            lines: vec![format!("ThrustMQ {} {what}", env!("CARGO_PKG_VERSION"))],
        }
    }

    pub(super) fn fact(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.lines.push(format!("  {name:<12} {value}"));
        self
    }

    /// Prints it; the last line tells scripts that requests are served.
    pub(super) fn print_ready(self, after: Duration) {
        output::print(&self.text(after));
    }

    fn text(mut self, after: Duration) -> String {
        self.lines
            .push(format!("ready after {:.2} s", after.as_secs_f64()));
        self.lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_ready() {
        let banner = Banner::new("broker").fact("data", "/tmp");
        let text = banner.text(Duration::from_millis(120));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "  data         /tmp");
        assert_eq!(lines[2], "ready after 0.12 s");
    }
}
