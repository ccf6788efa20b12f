//! What two servers print in common, once addresses, times and measured values are taken out.

use regex::Regex;

/// Patterns and what stands for them, applied in this order.
const RULES: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(,\d{3})?", "TIME"),
    (r"\d{4}-\d\d-\d\d#\d\d:\d\d:\d\d:\d{3}", "TIME"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b[0-9A-F]{32,}\b", "ID"),
    (r"(?:/[\w-]+)+/\.tmp[\w/-]+", "DIRECTORY"),
    // Ours adds a sentence that says what to do.
    (r"(06FAQ for further details\.).*", "${1}"),
    (r"\b\d{12,}\b", "NUMBER"),
    (r"(CommitLog Offset: +|commitLogOffset=)\d+", "${1}NUMBER"),
    (r"@ID@\d+", "@ID@NUMBER"),
    (r"\d+\.\d+", "FLOAT"),
    (r"\d+ms", "MS"),
    // How many requests wait in a pool at that moment.
    (r"FLOAT\(\d+,MS\)", "FLOAT(N,MS)"),
    // How many seconds the timer is behind at that moment.
    (r"\b\d+-(\d+\(FLOATw)", "SECONDS-${1}"),
    (r"[ \t]+", " "),
];

/// Brings printed text to its normal form, line by line.
#[derive(Debug)]
pub struct NormalForm {
    rules: Vec<(Regex, &'static str)>,
}

impl NormalForm {
    /// Compiles the rules.
    pub fn new() -> anyhow::Result<Self> {
        let rules = RULES
            .iter()
            .map(|(pattern, replacement)| Ok((Regex::new(pattern)?, *replacement)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { rules })
    }

    /// The lines without Java's stack frames and blank lines.
    pub fn lines(&self, printed: &str) -> Vec<String> {
        printed
            .lines()
            .filter(|line| !is_stack_frame(line) && !line.trim().is_empty() && !line.contains("|-"))
            .map(|line| self.line(line))
            .collect()
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.trim_end().to_owned();
        for (pattern, replacement) in &self.rules {
            line = pattern.replace_all(&line, *replacement).into_owned();
        }
        line
    }
}

fn is_stack_frame(line: &str) -> bool {
    line.starts_with("\tat ") || line.starts_with("\t... ")
}

#[cfg(test)]
mod tests {
    use super::NormalForm;

    #[test]
    fn measured_values_are_taken_out() {
        let form = NormalForm::new().unwrap();
        let printed = "broker-a   0  2026-11-22 11:09:53,673  0.90(0,12ms)\n\tat some.Class\n\n\
                       /127.0.0.1:39660 7F00000100007942000000000000040F";
        assert_eq!(
            form.lines(printed),
            ["broker-a 0 TIME FLOAT(N,MS)", "/ADDRESS ID"]
        );
        assert_eq!(form.lines("2026-11-22#11:09:53:673"), ["TIME"]);
        assert_eq!(form.lines("ratio_/dev/shm/.tmpX/a"), ["ratio_DIRECTORY"]);
        assert_eq!(form.lines("1-0(0.0w, 0.0)"), ["SECONDS-0(FLOATw, FLOAT)"]);
    }
}
