use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[path = "../../../fuzz/entry.rs"]
mod entry;

const ROUNDS: usize = 3_000;
const PARTS: [&str; 40] = [
    "a",
    "$b",
    "1",
    "0",
    "5L",
    "2.5",
    ".5",
    "1e3",
    "'x'",
    "'it''s'",
    "'",
    "\"",
    "(",
    ")",
    ",",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "NOT",
    "AND",
    "OR",
    "IS",
    "NULL",
    "TRUE",
    "FALSE",
    "BETWEEN",
    "IN",
    "('x')",
    "CONTAINS",
    "startswith",
    "EndsWith",
    "/*",
    "*/",
    "--",
    "\n",
];

#[derive(Deserialize)]
struct Row {
    expression: String,
    properties: BTreeMap<String, String>,
    answer: String,
}

/// What Java 5.5.0 says of each row; `Peer sql92 file=…` writes the answers.
#[test]
fn every_row_is_answered_as_java_does() {
    let rows: Vec<Row> =
        serde_json::from_str(include_str!("../../../fixtures/sql92.json")).unwrap();
    assert!(rows.len() > 300);
    let mut wrong = Vec::new();
    for row in rows {
        let properties = row.properties.iter();
        let properties = properties.map(|(name, value)| (name.as_str(), value.as_str()));
        let properties = properties.collect();
        let ours = match Sql::parse(&row.expression) {
            Err(_) => "refused",
            Ok(sql) => match sql.evaluate(&properties) {
                Ok(Some(true)) => "true",
                Ok(Some(false)) => "false",
                Ok(None) => "null",
                Err(_) => "error",
            },
        };
        if ours != row.answer {
            let Row {
                expression,
                properties,
                answer,
            } = row;
            wrong.push(format!(
                "{expression:?} {properties:?}: Java {answer}, ours {ours}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What would overflow a stack, and what only looks so.
#[test]
fn nesting_is_bounded_and_rows_are_not() {
    let nested = |before: &str, behind: &str, times: usize| {
        let text = before.repeat(times) + "a = 1" + &behind.repeat(times);
        Sql::parse(&text).map(|_| ())
    };
    for (before, behind) in [
        ("(", ")"),
        ("NOT ", ""),
        ("(NOT (", "))"),
        ("a = 1 OR (", ")"),
    ] {
        assert_eq!(nested(before, behind, 20), Ok(()));
        for times in [500, 50_000] {
            assert_eq!(nested(before, behind, times), Err(SqlError::TooDeep));
        }
    }
    for link in [" = TRUE", " IS NULL", " CONTAINS 'x'", " <> TRUE"] {
        assert_eq!(nested("", link, 20), Ok(()));
        assert_eq!(nested("", link, 50_000), Err(SqlError::TooDeep));
    }
    for word in ["OR", "AND"] {
        let row = format!("a = 1 {word} ").repeat(50_000) + "b = 2";
        let sql = Sql::parse(&row).unwrap();
        let properties = HashMap::from([("a", if word == "OR" { "0" } else { "1" }), ("b", "2")]);
        assert_eq!(sql.evaluate(&properties), Ok(Some(true)));
    }
    let signs = "a = ".to_owned() + &"- ".repeat(50_000) + "1";
    assert_eq!(Sql::parse(&signs).map(|_| ()), Err(SqlError::TooDeep));
    let long = format!("a = '{}'", "x".repeat(1 << 20));
    assert_eq!(Sql::parse(&long).map(|_| ()), Err(SqlError::TooLong));
}

/// Rows of words at random, most of them nonsense: nothing panics, and what compiles answers.
#[test]
fn nonsense_is_refused_or_answered() {
    let given = std::env::var("THRUSTMQ_TEST_SEED").ok();
    let seed = given.map_or(0x5EED, |seed| seed.parse().unwrap());
    let mut state: u64 = seed | 1;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let mut compiled = 0;
    for _ in 0..ROUNDS {
        let parts: Vec<&str> = (0..=below(12)).map(|_| PARTS[below(PARTS.len())]).collect();
        let text = parts.join(if below(4) == 0 { "" } else { " " });
        compiled += usize::from(entry::sql92(text.as_bytes()));
    }
    assert!(compiled > ROUNDS / 100, "seed {seed}: {compiled} compiled");
}
