//! What an expression says of one message: true, false or unknown, or that it can not be compared.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::expression::{Expression, Order, Place};
use super::value::{Value, compare, compare_size};

/// Why a message can not be compared; it is not delivered then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluateError {
    /// A property that is compared with a number is none.
    #[error("text is compared with a number, and is none")]
    NotANumber,
    /// A truth value stands on the left of text.
    #[error("a truth value is compared with text")]
    BooleanWithText,
}

type Properties<'a> = HashMap<&'a str, &'a str>;

impl Expression {
    /// The depth of the tree is bounded by the parser.
    pub(super) fn evaluate<'a>(
        &'a self,
        properties: &Properties<'a>,
    ) -> Result<Value<'a>, EvaluateError> {
        Ok(match self {
            Self::Constant(constant) => constant.value(),
            Self::Property(name) => property(name, properties),
            Self::Negate(operand) => operand.evaluate(properties)?.negated(),
            Self::Not(operand) => {
                let truth = operand.evaluate(properties)?.truth();
                truth.map_or(Value::Null, |value| Value::Boolean(!value))
            }
            Self::Truth(operand) => {
                let value = operand.evaluate(properties)?;
                if value == Value::Null {
                    return Ok(value);
                }
                Value::Boolean(value == Value::Boolean(true))
            }
            Self::And(operands) => decided(operands, false, properties)?,
            Self::Or(operands) => decided(operands, true, properties)?,
            Self::Equal(operands) => equal(operands, properties)?,
            Self::Sized(order, operands) => sized(*order, operands, properties)?,
            Self::Text {
                operand,
                place,
                search,
                is_negated,
            } => {
                let operand = operand.evaluate(properties)?;
                Value::Boolean(holds(operand, *place, search, *is_negated))
            }
            Self::In {
                property: name,
                list,
                is_negated,
            } => is_in(property(name, properties), list, *is_negated),
        })
    }
}

fn property<'a>(name: &str, properties: &Properties<'a>) -> Value<'a> {
    properties
        .get(name)
        .map_or(Value::Null, |value| Value::Text(value))
}

/// AND is decided by the first false, OR by the first true; without it an unknown makes it unknown.
fn decided<'a>(
    operands: &'a [Expression],
    by: bool,
    properties: &Properties<'a>,
) -> Result<Value<'a>, EvaluateError> {
    let mut is_unknown = false;
    for operand in operands {
        match operand.evaluate(properties)?.truth() {
            Some(value) if value == by => return Ok(Value::Boolean(by)),
            Some(_) => {}
            None => is_unknown = true,
        }
    }
    Ok(if is_unknown {
        Value::Null
    } else {
        Value::Boolean(!by)
    })
}

/// Unknown if only the left side is missing, as Java has it.
fn equal<'a>(
    [left, right]: &'a [Expression; 2],
    properties: &Properties<'a>,
) -> Result<Value<'a>, EvaluateError> {
    let left = left.evaluate(properties)?;
    let right = right.evaluate(properties)?;
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Value::Boolean(true),
        (Value::Null, _) => Value::Null,
        (_, Value::Null) => Value::Boolean(false),
        (left, right) => Value::Boolean(compare(left, right)? == Ordering::Equal),
    })
}

fn sized<'a>(
    order: Order,
    [left, right]: &'a [Expression; 2],
    properties: &Properties<'a>,
) -> Result<Value<'a>, EvaluateError> {
    let left = left.evaluate(properties)?;
    if left == Value::Null {
        return Ok(Value::Null);
    }
    let right = right.evaluate(properties)?;
    if right == Value::Null {
        return Ok(Value::Null);
    }
    let found = compare_size(left, right)?;
    Ok(Value::Boolean(match order {
        Order::Less => found.is_lt(),
        Order::LessOrEqual => found.is_le(),
        Order::Greater => found.is_gt(),
        Order::GreaterOrEqual => found.is_ge(),
    }))
}

/// Never true of what is missing, nor of an empty search, not even negated.
fn holds(operand: Value<'_>, place: Place, search: &str, is_negated: bool) -> bool {
    let Value::Text(text) = operand else {
        return false;
    };
    let is_found = match place {
        Place::Anywhere => text.contains(search),
        Place::Start => text.starts_with(search),
        Place::End => text.ends_with(search),
    };
    !search.is_empty() && is_found != is_negated
}

fn is_in<'a>(value: Value<'a>, list: &HashSet<Box<str>>, is_negated: bool) -> Value<'a> {
    if let Value::Text(text) = value {
        Value::Boolean(list.contains(text) != is_negated)
    } else {
        Value::Null
    }
}
