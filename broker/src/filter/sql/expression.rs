//! The tree of a compiled expression.

use std::collections::HashSet;

use super::value::Value;

/// A literal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Null,
    Boolean(bool),
    Text(Box<str>),
    Integer(i32),
    Long(i64),
    Double(f64),
}

impl Constant {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Text(value) => Value::Text(value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Double(value) => Value::Double(*value),
        }
    }
}

/// How two values are compared by size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a text is looked for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Constant(Constant),
    /// The value of a message's property.
    Property(Box<str>),
    Negate(Box<Expression>),
    Not(Box<Expression>),
    /// A property where a truth value is wanted. Text is never true.
    Truth(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Equal(Box<[Expression; 2]>),
    Sized(Order, Box<[Expression; 2]>),
    Text {
        operand: Box<Expression>,
        place: Place,
        search: Box<str>,
        is_negated: bool,
    },
    In {
        property: Box<str>,
        list: HashSet<Box<str>>,
        is_negated: bool,
    },
}

impl Expression {
    /// Whether it stands for a truth value.
    pub(super) fn is_boolean(&self) -> bool {
        match self {
            Self::Constant(constant) => {
                matches!(constant, Constant::Null | Constant::Boolean(_))
            }
            Self::Property(_) | Self::Negate(_) => false,
            Self::Not(_)
            | Self::Truth(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Equal(_)
            | Self::Sized(..)
            | Self::Text { .. }
            | Self::In { .. } => true,
        }
    }

    /// Its value if it is a literal.
    pub(super) fn constant(&self) -> Option<Value<'_>> {
        if let Self::Constant(constant) = self {
            Some(constant.value())
        } else {
            None
        }
    }
}
