//! SQL92 expressions over the properties of messages, by the rules of Apache RocketMQ's filter module:
//! same words, same conversions, same refusals, down to those that look odd.
//!
//! It knows nothing of the broker, so that `fuzz/` can build it alone. Text comes from clients: its length
//! and the depth of what it nests are bounded, and nothing panics.

mod evaluate;
mod expression;
mod lexer;
mod literal;
mod number;
mod parser;
mod value;

use std::collections::HashMap;

use thrustmq_proto_compat::message::properties;

pub(crate) use evaluate::EvaluateError;
pub(crate) use parser::SqlError;

use expression::Expression;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Sql {
    root: Expression,
}

impl Sql {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Java would refuse it as well, or it is too long or too deep.
    pub(crate) fn parse(text: &str) -> Result<Self, SqlError> {
        let root = parser::parse(text)?;
        Ok(Self { root })
    }

    /// What the expression says of a message with these properties; `None` is SQL's unknown.
    ///
    /// # Errors
    /// A comparison asks for a number where the property holds none.
    pub(crate) fn evaluate(
        &self,
        properties: &HashMap<&str, &str>,
    ) -> Result<Option<bool>, EvaluateError> {
        Ok(self.root.evaluate(properties)?.truth())
    }

    /// Whether a message with these properties, in their text form, is wanted: neither the unknown nor
    /// what can not be compared is.
    pub(crate) fn takes(&self, properties: &str) -> bool {
        let properties: HashMap<&str, &str> = properties::entries(properties)
            .map(|entry| (entry.name, entry.value))
            .collect();
        matches!(self.evaluate(&properties), Ok(Some(true)))
    }
}

#[cfg(test)]
mod tests;
