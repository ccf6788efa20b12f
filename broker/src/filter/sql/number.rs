//! Text as numbers, by the rules of Java's `Integer`, `Long` and `Double.valueOf`.

use super::evaluate::EvaluateError;

/// An optional sign and digits, nothing else.
pub(super) fn integer(text: &str) -> Result<i32, EvaluateError> {
    text.parse().map_err(|_| EvaluateError::NotANumber)
}

/// As [`integer`], for 64 bits.
pub(super) fn long(text: &str) -> Result<i64, EvaluateError> {
    text.parse().map_err(|_| EvaluateError::NotANumber)
}

/// Blanks around, a sign, `NaN`, `Infinity` or decimal digits with exponent, and a suffix of `f`
/// or `d`. Hexadecimal fractions, which Java takes too, are not read.
pub(super) fn double(text: &str) -> Result<f64, EvaluateError> {
    let trimmed = text.trim_matches(|c| c <= ' ');
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let value = match unsigned {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        _ => {
            let digits = unsigned.strip_suffix(['f', 'F', 'd', 'D']);
            decimal(digits.unwrap_or(unsigned)).ok_or(EvaluateError::NotANumber)?
        }
    };
    Ok(if trimmed.starts_with('-') {
        -value
    } else {
        value
    })
}

/// Rust reads all that Java does here, and words besides.
fn decimal(text: &str) -> Option<f64> {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let starts_well = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts_well || !text.chars().all(is_of_number) {
        return None;
    }
    text.parse().ok()
}
