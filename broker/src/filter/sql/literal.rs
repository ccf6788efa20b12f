//! Literals of expressions: from their text to their value.

use super::expression::Constant;
use super::parser::{SHOWN_CHARS, SqlError};

pub(super) fn unquoted(quoted: &str) -> Box<str> {
    quoted.replace("''", "'").into()
}

pub(super) fn whole(digits: &str) -> Result<Constant, SqlError> {
    let value: i64 = digits.parse().map_err(|_| out_of_range(digits))?;
    Ok(match i32::try_from(value) {
        Ok(value) => Constant::Integer(value),
        Err(_) => Constant::Long(value),
    })
}

/// Java refuses zero as well: it is less than the smallest fraction.
pub(super) fn fraction(digits: &str) -> Result<Constant, SqlError> {
    match digits.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(Constant::Double(value)),
        _ => Err(out_of_range(digits)),
    }
}

fn out_of_range(digits: &str) -> SqlError {
    SqlError::Number(digits.chars().take(SHOWN_CHARS).collect())
}
