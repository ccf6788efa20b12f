//! From words to a tree, in one descent; every refusal of an expression is here.
//!
//! As in Java, the parser stops where an expression is whole: what stands behind it is not read.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a token that does not fit is an error, or the end of a part, whichever it is"
)]

use super::expression::{Constant, Expression, Order, Place};
use super::lexer::{Lexer, Token, Word};
use super::literal::{fraction, unquoted, whole};
use super::value::{Value, compare};

/// Longest expression, bytes: it comes with each heartbeat and is kept in a file.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;
/// Deepest tree: parsing, evaluating and dropping it each take a call a level, and Java's parser,
/// with its default stack, gives up at some thousands.
const DEPTH_MAX: usize = 64;
/// What is shown of the place of an error.
pub(super) const SHOWN_CHARS: usize = 24;

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SqlError {
    /// A word or sign that can not stand where it does, or none.
    #[error("can not go on at {0}")]
    Unexpected(String),
    /// AND, OR, NOT, or the whole, needs what is true or false.
    #[error("a part that is neither true nor false stands where a condition is needed")]
    NotACondition,
    /// A literal that has no size.
    #[error("only numbers and properties can be compared by size")]
    NoSize,
    /// NULL on a side of `=` or `<>`.
    #[error("NULL is compared; IS NULL asks whether a property is missing")]
    NullCompared,
    /// TRUE or FALSE with a literal of another kind.
    #[error("a truth value is compared with a literal that is none")]
    TruthCompared,
    /// The number does not fit 64 bits, or is a fraction that is zero or infinite.
    #[error("number {0} is out of range")]
    Number(String),
    /// BETWEEN with NULL, or with its ends the wrong way round.
    #[error("the ends of BETWEEN are null, or in the wrong order")]
    Between,
    /// IN asks for something else than a property.
    #[error("only properties can be asked for IN")]
    InWithoutProperty,
    /// Ours, not Java's.
    #[error("the expression is longer than {EXPRESSION_BYTES_MAX} bytes")]
    TooLong,
    /// Java's stack overflows somewhere there too.
    #[error("the expression is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
}

impl SqlError {
    pub(super) fn unexpected(rest: &str) -> Self {
        let shown: String = rest.trim_start().chars().take(SHOWN_CHARS).collect();
        Self::Unexpected(if shown.is_empty() {
            "the end".to_owned()
        } else {
            format!("\"{shown}\"")
        })
    }
}

/// Reads an expression that is true or false.
pub(super) fn parse(text: &str) -> Result<Expression, SqlError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(SqlError::TooLong);
    }
    let mut lexer = Lexer::new(text);
    let rest = lexer.rest();
    let next = lexer.next()?;
    let mut parser = Parser {
        lexer,
        next,
        rest,
        nested: 0,
    };
    let whole = parser.or()?;
    Ok(whole.condition()?.expression)
}

/// A part of the tree, and how deep it is.
struct Node {
    expression: Expression,
    depth: usize,
}

impl Node {
    fn leaf(expression: Expression) -> Self {
        Self {
            expression,
            depth: 1,
        }
    }

    fn above(expression: Expression, depth: usize) -> Result<Self, SqlError> {
        let depth = depth + 1;
        if depth > DEPTH_MAX {
            return Err(SqlError::TooDeep);
        }
        Ok(Self { expression, depth })
    }

    /// The node as something that is true or false.
    fn condition(self) -> Result<Self, SqlError> {
        if matches!(self.expression, Expression::Property(_)) {
            return Self::above(Expression::Truth(Box::new(self.expression)), self.depth);
        }
        if self.expression.is_boolean() {
            Ok(self)
        } else {
            Err(SqlError::NotACondition)
        }
    }

    fn negated(self) -> Result<Self, SqlError> {
        Self::above(Expression::Not(Box::new(self.expression)), self.depth)
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    next: Token<'a>,
    /// The text from `next` on.
    rest: &'a str,
    /// Calls under way that a parenthesis or a prefix caused.
    nested: usize,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<Token<'a>, SqlError> {
        self.rest = self.lexer.rest();
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn accept(&mut self, token: Token<'_>) -> Result<bool, SqlError> {
        let is_there = self.next == token;
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    fn expect(&mut self, token: Token<'_>) -> Result<(), SqlError> {
        if self.accept(token)? {
            Ok(())
        } else {
            Err(SqlError::unexpected(self.rest))
        }
    }

    fn or(&mut self) -> Result<Node, SqlError> {
        self.row(Word::Or, Expression::Or, Self::and)
    }

    fn and(&mut self) -> Result<Node, SqlError> {
        self.row(Word::And, Expression::And, Self::equality)
    }

    /// Operands with a word between them, as one node however many there are.
    fn row(
        &mut self,
        word: Word,
        make: fn(Vec<Expression>) -> Expression,
        operand: fn(&mut Self) -> Result<Node, SqlError>,
    ) -> Result<Node, SqlError> {
        let first = operand(self)?;
        if self.next != Token::Word(word) {
            return Ok(first);
        }
        let first = first.condition()?;
        let mut depth = first.depth;
        let mut operands = vec![first.expression];
        while self.accept(Token::Word(word))? {
            let node = operand(self)?.condition()?;
            depth = depth.max(node.depth);
            operands.push(node.expression);
        }
        Node::above(make(operands), depth)
    }

    fn equality(&mut self) -> Result<Node, SqlError> {
        let mut left = self.comparison()?;
        loop {
            if self.accept(Token::Equal)? {
                left = equal(left, self.comparison()?)?;
            } else if self.accept(Token::NotEqual)? {
                left = equal(left, self.comparison()?)?.negated()?;
            } else if self.accept(Token::Word(Word::Is))? {
                let is_negated = self.accept(Token::Word(Word::Not))?;
                self.expect(Token::Word(Word::Null))?;
                let null = Node::leaf(Expression::Constant(Constant::Null));
                left = pair(left, null, Expression::Equal)?;
                if is_negated {
                    left = left.negated()?;
                }
            } else {
                return Ok(left);
            }
        }
    }

    fn comparison(&mut self) -> Result<Node, SqlError> {
        let mut left = self.unary()?;
        loop {
            let order = match self.next {
                Token::Less => Order::Less,
                Token::LessOrEqual => Order::LessOrEqual,
                Token::Greater => Order::Greater,
                Token::GreaterOrEqual => Order::GreaterOrEqual,
                Token::Word(
                    Word::Not
                    | Word::Contains
                    | Word::StartsWith
                    | Word::EndsWith
                    | Word::Between
                    | Word::In,
                ) => {
                    left = self.predicate(left)?;
                    continue;
                }
                _ => return Ok(left),
            };
            self.advance()?;
            left = sized(order, left, self.unary()?)?;
        }
    }

    /// What begins with a word: CONTAINS, BETWEEN, IN and their like, with NOT before it or without.
    fn predicate(&mut self, left: Node) -> Result<Node, SqlError> {
        let is_negated = self.accept(Token::Word(Word::Not))?;
        let rest = self.rest;
        match self.advance()? {
            Token::Word(Word::Contains) => self.text_test(left, Place::Anywhere, is_negated),
            Token::Word(Word::StartsWith) => self.text_test(left, Place::Start, is_negated),
            Token::Word(Word::EndsWith) => self.text_test(left, Place::End, is_negated),
            Token::Word(Word::Between) => self.between(left, is_negated),
            Token::Word(Word::In) => self.in_list(left, is_negated),
            _ => Err(SqlError::unexpected(rest)),
        }
    }

    fn text_test(&mut self, left: Node, place: Place, is_negated: bool) -> Result<Node, SqlError> {
        let test = Expression::Text {
            operand: Box::new(left.expression),
            place,
            search: self.text()?,
            is_negated,
        };
        Node::above(test, left.depth)
    }

    fn between(&mut self, value: Node, is_negated: bool) -> Result<Node, SqlError> {
        let low = self.unary()?;
        self.expect(Token::Word(Word::And))?;
        let high = self.unary()?;
        let again = Node {
            expression: value.expression.clone(),
            depth: value.depth,
        };
        if is_negated {
            let below = sized(Order::Less, value, low)?;
            let over = sized(Order::Greater, again, high)?;
            let depth = below.depth.max(over.depth);
            let either = Expression::Or(vec![below.expression, over.expression]);
            return Node::above(either, depth);
        }
        check_ends(&low, &high)?;
        let from = sized(Order::GreaterOrEqual, value, low)?;
        let to = sized(Order::LessOrEqual, again, high)?;
        let depth = from.depth.max(to.depth);
        Node::above(Expression::And(vec![from.expression, to.expression]), depth)
    }

    fn in_list(&mut self, left: Node, is_negated: bool) -> Result<Node, SqlError> {
        self.expect(Token::Open)?;
        let mut list = std::collections::HashSet::from([self.text()?]);
        while self.accept(Token::Comma)? {
            list.insert(self.text()?);
        }
        self.expect(Token::Close)?;
        let Expression::Property(property) = left.expression else {
            return Err(SqlError::InWithoutProperty);
        };
        Ok(Node::leaf(Expression::In {
            property,
            list,
            is_negated,
        }))
    }

    fn unary(&mut self) -> Result<Node, SqlError> {
        self.nested += 1;
        if self.nested > DEPTH_MAX {
            return Err(SqlError::TooDeep);
        }
        let node = if self.accept(Token::Plus)? {
            self.unary()?
        } else if self.accept(Token::Minus)? {
            let operand = self.unary()?;
            let negation = Expression::Negate(Box::new(operand.expression));
            Node::above(negation, operand.depth)?
        } else if self.accept(Token::Word(Word::Not))? {
            self.unary()?.condition()?.negated()?
        } else {
            self.primary()?
        };
        self.nested -= 1;
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, SqlError> {
        let rest = self.rest;
        let constant = match self.advance()? {
            Token::Open => {
                let inner = self.or()?;
                self.expect(Token::Close)?;
                return Ok(inner);
            }
            Token::Property(name) => return Ok(Node::leaf(Expression::Property(name.into()))),
            Token::Text(quoted) => Constant::Text(unquoted(quoted)),
            Token::Whole(digits) => whole(digits)?,
            Token::Fraction(digits) => fraction(digits)?,
            Token::Word(Word::True) => Constant::Boolean(true),
            Token::Word(Word::False) => Constant::Boolean(false),
            Token::Word(Word::Null) => Constant::Null,
            _ => return Err(SqlError::unexpected(rest)),
        };
        Ok(Node::leaf(Expression::Constant(constant)))
    }

    fn text(&mut self) -> Result<Box<str>, SqlError> {
        let rest = self.rest;
        match self.advance()? {
            Token::Text(quoted) => Ok(unquoted(quoted)),
            _ => Err(SqlError::unexpected(rest)),
        }
    }
}

fn pair(
    left: Node,
    right: Node,
    make: impl FnOnce(Box<[Expression; 2]>) -> Expression,
) -> Result<Node, SqlError> {
    let depth = left.depth.max(right.depth);
    Node::above(make(Box::new([left.expression, right.expression])), depth)
}

fn equal(left: Node, right: Node) -> Result<Node, SqlError> {
    let (first, second) = (left.expression.constant(), right.expression.constant());
    if [first, second].contains(&Some(Value::Null)) {
        return Err(SqlError::NullCompared);
    }
    if matches!(first, Some(Value::Boolean(_)))
        && second.is_some_and(|value| !matches!(value, Value::Boolean(_)))
    {
        return Err(SqlError::TruthCompared);
    }
    pair(left, right, Expression::Equal)
}

fn sized(order: Order, left: Node, right: Node) -> Result<Node, SqlError> {
    for side in [&left.expression, &right.expression] {
        let has_size = match side.constant() {
            Some(value) => value.is_number(),
            None => !side.is_boolean(),
        };
        if !has_size {
            return Err(SqlError::NoSize);
        }
    }
    pair(left, right, |sides| Expression::Sized(order, sides))
}

/// Literal ends must be in order. A minus makes an end something else than a literal, as in Java.
fn check_ends(low: &Node, high: &Node) -> Result<(), SqlError> {
    let (Some(low), Some(high)) = (low.expression.constant(), high.expression.constant()) else {
        return Ok(());
    };
    let is_missing = low == Value::Null || high == Value::Null;
    if is_missing || !compare(high, low).is_ok_and(|order| order.is_ge()) {
        return Err(SqlError::Between);
    }
    Ok(())
}
