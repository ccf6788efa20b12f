//! Compares answers, and knows which differences are meant: those of the table in docs/differences.md.

use std::cell::Cell;
use std::fmt::{self, Display};

use anyhow::Context;
use serde_json::Value;

/// One place at which two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The request.
    pub request: String,
    /// Where in the answer, as `fields.offset`.
    pub place: String,
    /// What Java's broker says.
    pub java: String,
    /// What ours says.
    pub ours: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            request,
            place,
            java,
            ours,
        } = self;
        write!(
            f,
            "{request}  {place}\n    java {java:.400}\n    ours {ours:.400}"
        )
    }
}

/// All places at which the answers to one request differ.
pub fn compare(request: &str, java: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    descend(request, String::new(), (Some(java), Some(ours)), &mut found);
    found
}

fn descend(
    request: &str,
    place: String,
    pair: (Option<&Value>, Option<&Value>),
    found: &mut Vec<Difference>,
) {
    match pair {
        (Some(Value::Object(java)), Some(Value::Object(ours))) => {
            for key in java
                .keys()
                .chain(ours.keys().filter(|key| !java.contains_key(*key)))
            {
                let below = if place.is_empty() {
                    key.clone()
                } else {
                    format!("{place}.{key}")
                };
                descend(request, below, (java.get(key), ours.get(key)), found);
            }
        }
        (Some(Value::Array(java)), Some(Value::Array(ours))) => {
            // One item more or less must not make all behind it differ.
            let missing: Vec<_> = java.iter().filter(|item| !ours.contains(item)).collect();
            let added: Vec<_> = ours.iter().filter(|item| !java.contains(item)).collect();
            for index in 0..missing.len().max(added.len()) {
                let pair = (missing.get(index).copied(), added.get(index).copied());
                descend(request, format!("{place}[{index}]"), pair, found);
            }
        }
        (java, ours) if java != ours => found.push(Difference {
            request: request.to_owned(),
            place,
            java: shown(java),
            ours: shown(ours),
        }),
        _ => {}
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

/// One row of the table: a difference that is meant.
#[derive(Debug)]
pub struct Meant {
    request: String,
    place: String,
    java: String,
    matched: Cell<bool>,
}

/// The rows of the table of docs/differences.md whose first three cells are code: request, place, and what Java says,
/// each with `*` for any text.
pub fn meant(page: &str) -> anyhow::Result<Vec<Meant>> {
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let &[request, place, java, ours, why] = cells.as_slice() else {
            anyhow::bail!("not a row of request, place, Java, ours, why: {line}");
        };
        anyhow::ensure!(
            !ours.is_empty() && !why.is_empty(),
            "a difference without a reason: {line}"
        );
        let code = |cell: &str| -> anyhow::Result<String> {
            let inner = cell
                .strip_prefix('`')
                .and_then(|cell| cell.strip_suffix('`'));
            Ok(inner
                .with_context(|| format!("{cell} is not code: {line}"))?
                .to_owned())
        };
        rows.push(Meant {
            request: code(request)?,
            place: code(place)?,
            java: code(java)?,
            matched: Cell::new(false),
        });
    }
    Ok(rows)
}

/// The differences that no row explains.
pub fn unexplained(differences: Vec<Difference>, rows: &[Meant]) -> Vec<Difference> {
    let is_explained = |difference: &Difference| {
        let row = rows.iter().find(|row| {
            matches(&row.request, &difference.request)
                && matches(&row.place, &difference.place)
                && matches(&row.java, &difference.java)
        });
        row.inspect(|row| row.matched.set(true)).is_some()
    };
    differences
        .into_iter()
        .filter(|difference| !is_explained(difference))
        .collect()
}

/// Rows that explained nothing: what they say is no longer so.
pub fn stale(rows: &[Meant]) -> Vec<String> {
    let stale = rows.iter().filter(|row| !row.matched.get());
    stale
        .map(|row| format!("{} {} {}", row.request, row.place, row.java))
        .collect()
}

/// `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len()).any(|at| text.get(at..).is_some_and(|tail| matches(rest, tail)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{compare, meant, stale, unexplained};

    #[test]
    fn every_place_that_differs_is_told() {
        let java = json!({"code": 0, "fields": {"a": "1", "b": "2"}, "body": [1, 2]});
        let ours = json!({"code": 0, "fields": {"a": "1", "c": "2"}, "body": [1]});
        let places: Vec<_> = compare("x", &java, &ours)
            .into_iter()
            .map(|found| found.place)
            .collect();
        assert_eq!(places, ["body[0]", "fields.b", "fields.c"]);
    }

    #[test]
    fn rows_explain_and_go_stale() {
        let page = "| request | place | Java | ours | why |\n|---|---|---|---|---|\n\
                    | `send/*` | `remark` | `*bad*` | x | y |\n| `gone` | `code` | `*` | x | y |\n";
        let rows = meant(page).unwrap();
        let differences = compare(
            "send/1",
            &json!({"remark": "a bad one", "code": 1}),
            &json!({"remark": "z", "code": 2}),
        );
        let left = unexplained(differences, &rows);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].place, "code");
        assert_eq!(stale(&rows), ["gone code *"]);
        assert!(meant("| `a` | `b` | `c` | ours |  |").is_err(), "no reason");
    }
}
