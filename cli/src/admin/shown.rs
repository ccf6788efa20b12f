//! What a command found, as a table or as JSON.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Map, Value};

use crate::moment;
use crate::output;

/// Columns of milliseconds since 1970.
const MOMENTS: &[&str] = &[
    "happened_ms",
    "last_consumed_ms",
    "last_heartbeat_ms",
    "last_pulled_ms",
    "last_stored_ms",
    "stored_ms",
];

/// `V4_0_0_SNAPSHOT`, behind which the list is regular.
const PLACE_OF_4: i32 = 212;

/// What a command found or did.
pub(super) enum Shown {
    Rows(Rows),
    /// Something was done; a sentence.
    Done(String),
}

/// Rows with named columns. The names are those of the JSON, so that they tell units.
pub(super) struct Rows {
    names: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    pub(super) fn of(names: &'static [&'static str]) -> Self {
        Self {
            names: names.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn push<const N: usize>(&mut self, row: [Value; N]) {
        self.rows.push(row.into());
    }
}

/// The version of a client in words; brokers give its place in Java's list of versions, which has a
/// snapshot before each and counts to 9 in each part.
pub(super) fn version(place: i32) -> Value {
    let since_4 = place
        .checked_sub(PLACE_OF_4)
        .and_then(|place| u32::try_from(place).ok());
    let Some(place) = since_4.filter(|place| *place < 2 * 200) else {
        return format!("number {place}").into();
    };
    let (major, minor, patch) = (4 + place / 200, place / 20 % 10, place / 2 % 10);
    let snapshot = if place % 2 == 0 { "-SNAPSHOT" } else { "" };
    format!("{major}.{minor}.{patch}{snapshot}").into()
}

/// A column of names.
pub(super) fn names_of(column: &'static str, names: impl IntoIterator<Item = String>) -> Shown {
    let rows = names.into_iter().map(|name| vec![name.into()]).collect();
    Shown::Rows(Rows {
        names: vec![column],
        rows,
    })
}

/// Prints it.
pub(super) fn show(shown: Shown, as_json: bool) {
    let text = match (shown, as_json) {
        (Shown::Rows(rows), true) => rows.to_json().to_string(),
        (Shown::Rows(rows), false) => rows.to_table(),
        (Shown::Done(sentence), true) => serde_json::json!({ "done": sentence }).to_string(),
        (Shown::Done(sentence), false) => sentence,
    };
    output::print(&text);
}

impl Rows {
    fn to_json(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let names = self.names.iter().map(|name| (*name).to_owned());
            Value::Object(names.zip(row.iter().cloned()).collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    fn to_table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(self.names.iter().map(|name| heading(name)));
        for row in &self.rows {
            table.add_row(
                self.names
                    .iter()
                    .zip(row)
                    .map(|(name, value)| cell(name, value)),
            );
        }
        let text = table.to_string();
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
            .collect();
        lines.join("\n")
    }
}

/// A column's name above a table, where a moment is shown as a clock shows it.
fn heading(name: &str) -> String {
    let is_moment = MOMENTS.contains(&name);
    let plain = name.strip_suffix("_ms").filter(|_| is_moment);
    plain.unwrap_or(name).replace('_', " ")
}

fn cell(name: &str, value: &Value) -> Cell {
    if let (true, Some(at_ms)) = (MOMENTS.contains(&name), value.as_i64()) {
        return Cell::new(moment::shown(at_ms).unwrap_or_else(|| "-".to_owned()));
    }
    match value {
        Value::String(text) => Cell::new(text),
        Value::Null => Cell::new("-"),
        number @ Value::Number(_) => {
            Cell::new(number.to_string()).set_alignment(CellAlignment::Right)
        }
        Value::Array(list) => {
            let texts = list.iter().map(|item| item.as_str().unwrap_or("?"));
            Cell::new(texts.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Object(_) => Cell::new(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_java_s_list() {
        let current = thrustmq_proto_compat::command::CURRENT_VERSION;
        for (place, text) in [
            (current, "5.5.0"),
            (493, "5.4.0"),
            (212, "4.0.0-SNAPSHOT"),
            (411, "4.9.9"),
            (0, "number 0"),
            (612, "number 612"),
        ] {
            assert_eq!(version(place), text);
        }
    }

    #[test]
    fn rows_are_a_table_or_json() {
        let mut rows = Rows::of(&["topic", "lag_messages"]);
        rows.push(["orders".into(), 7.into()]);
        rows.push(["t".into(), Value::Null]);
        let lines = rows.to_table();
        let lines: Vec<_> = lines.lines().map(str::trim_start).collect();
        assert_eq!(lines.first(), Some(&"topic   lag messages"));
        assert!(
            lines[1].starts_with("orders") && lines[1].ends_with(" 7"),
            "{lines:?}"
        );
        assert!(lines[2].contains('-'));
        let json = rows.to_json().to_string();
        assert_eq!(
            json,
            r#"[{"lag_messages":7,"topic":"orders"},{"lag_messages":null,"topic":"t"}]"#
        );
    }
}
