//! What an expression is about: the classes of values that Java's has, and how two are compared.

use std::cmp::Ordering;

use super::evaluate::EvaluateError;
use super::number;

/// One value; text is borrowed from the expression or from the message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    Text(&'a str),
    Integer(i32),
    Long(i64),
    Double(f64),
}

impl Value<'_> {
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Integer(_) | Self::Long(_) | Self::Double(_))
    }

    /// Whether it is true; nothing of what is no truth value.
    pub(super) fn truth(self) -> Option<bool> {
        if let Self::Boolean(value) = self {
            Some(value)
        } else {
            None
        }
    }

    /// Minus a number; anything else has none.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Integer(value) => Self::Integer(value.wrapping_neg()),
            Self::Long(value) => Self::Long(value.wrapping_neg()),
            Self::Double(value) => Self::Double(-value),
            Self::Null | Self::Boolean(_) | Self::Text(_) => Self::Null,
        }
    }
}

/// Compares two values that are not null. Text becomes what it is compared with; what can not be
/// compared at all counts as less.
pub(super) fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, EvaluateError> {
    use Value::{Boolean, Double, Integer, Long, Null, Text};
    Ok(match (left, right) {
        (Boolean(left), Boolean(right)) => left.cmp(&right),
        (Text(left), Text(right)) => left.cmp(right),
        (Text(left), Boolean(right)) => left.eq_ignore_ascii_case("true").cmp(&right),
        (Text(left), Integer(right)) => number::integer(left)?.cmp(&right),
        (Text(left), Long(right)) => number::long(left)?.cmp(&right),
        (Text(left), Double(right)) => doubles(number::double(left)?, right),
        (Integer(left), Text(right)) => left.cmp(&number::integer(right)?),
        (Long(left), Text(right)) => left.cmp(&number::long(right)?),
        (Double(left), Text(right)) => doubles(left, number::double(right)?),
        (Integer(left), Integer(right)) => left.cmp(&right),
        (Integer(left), Long(right)) => i64::from(left).cmp(&right),
        (Long(left), Integer(right)) => left.cmp(&i64::from(right)),
        (Long(left), Long(right)) => left.cmp(&right),
        (Integer(left), Double(right)) => doubles(f64::from(left), right),
        (Double(left), Integer(right)) => doubles(left, f64::from(right)),
        // Rounds as Java does.
        (Long(left), Double(right)) => doubles(left as f64, right),
        (Double(left), Long(right)) => doubles(left, right as f64),
        (Double(left), Double(right)) => doubles(left, right),
        // Java fails at a cast here.
        (Boolean(_), Text(_)) => return Err(EvaluateError::BooleanWithText),
        (Null, _) | (_, Null) | (Boolean(_), _) | (_, Boolean(_)) => Ordering::Less,
    })
}

/// Compares two values by size: two texts only as numbers.
pub(super) fn compare_size(left: Value<'_>, right: Value<'_>) -> Result<Ordering, EvaluateError> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            Ok(doubles(number::double(left)?, number::double(right)?))
        }
        _ => compare(left, right),
    }
}

/// Java's order: minus zero before zero, and one NaN above all.
fn doubles(left: f64, right: f64) -> Ordering {
    let canonical = |value: f64| {
        if value.is_nan() {
            f64::NAN.abs()
        } else {
            value
        }
    };
    canonical(left).total_cmp(&canonical(right))
}
