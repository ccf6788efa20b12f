//! What hostile expressions are put through; `fuzz_targets/` and the tests of `filter/sql` both use it,
//! and both have the compiler of expressions as `Sql` above this module.

use super::Sql;

const PROPERTIES: &str = "a\u{1}5\u{2}$b\u{1}x\u{2}c\u{1}\u{2}d\u{1}it's\u{2}";

/// Compiles an expression and asks it of a message with properties and of one without: whether it
/// compiles. What it says does not change.
pub(crate) fn sql92(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(sql) = Sql::parse(&text) else {
        return false;
    };
    for properties in [PROPERTIES, ""] {
        assert_eq!(sql.takes(properties), sql.takes(properties));
    }
    true
}
