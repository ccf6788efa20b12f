//! A tree of values to any `Deserialize` type, with fastjson's casts.
#![allow(clippy::wildcard_enum_match_arm)] // each cast names what it takes and refuses the rest

use std::borrow::Cow;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};

use super::BodyError;
use super::parse::{Member, Value};

impl<'de> IntoDeserializer<'de, BodyError> for Value<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Value<'de> {
    fn wrong<T>(&self, visitor: &dyn serde::de::Expected) -> Result<T, BodyError> {
        let found = match self {
            Self::Null => Unexpected::Unit,
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Number(text) => Unexpected::Other(text),
            Self::Text(text) => Unexpected::Str(text),
            Self::List(_) => Unexpected::Seq,
            Self::Object(_) => Unexpected::Map,
        };
        Err(BodyError::invalid_type(found, visitor))
    }
}

fn visit_integer<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, BodyError> {
    if let Ok(value) = text.parse::<i64>() {
        visitor.visit_i64(value)
    } else if let Ok(value) = text.parse::<u64>() {
        visitor.visit_u64(value)
    } else {
        match text.parse::<f64>() {
            // `as` saturates, as Java's cast of a double does.
            Ok(value) if value.is_finite() => visitor.visit_i64(value as i64),
            _ => Err(BodyError::invalid_type(Unexpected::Str(text), &visitor)),
        }
    }
}

fn visit_members<'de, V: Visitor<'de>>(
    members: Vec<Member<'de>>,
    visitor: V,
) -> Result<V::Value, BodyError> {
    // Null is how a peer says that it has no value: the field's default decides.
    let entries = members
        .into_iter()
        .filter(|member| member.value != Value::Null)
        .map(|member| (member.key, member.value));
    visitor.visit_map(MapDeserializer::new(entries))
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
            match &self {
                Value::Number(text) => visit_integer(text, visitor),
                Value::Text(text) => visit_integer(text.trim(), visitor),
                Value::Bool(value) => visitor.visit_i64(i64::from(*value)),
                other => other.wrong(&visitor),
            }
        }
    )*};
}

macro_rules! floats {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
            let parsed = match &self {
                Value::Number(text) => text.parse().ok(),
                Value::Text(text) => text.trim().parse().ok(),
                _ => None,
            };
            match parsed.filter(|value: &f64| value.is_finite()) {
                Some(value) => visitor.visit_f64(value),
                None => self.wrong(&visitor),
            }
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
            match self {
                Value::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
                Value::Text(Cow::Owned(text)) => visitor.visit_string(text),
                Value::Number(text) => visitor.visit_borrowed_str(text),
                Value::Bool(value) => visitor.visit_str(if value { "true" } else { "false" }),
                other => other.wrong(&visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = BodyError;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    floats! { deserialize_f32 deserialize_f64 }
    texts! { deserialize_str deserialize_string deserialize_identifier deserialize_char }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(text) => match text.parse::<i64>() {
                Ok(value) => visitor.visit_i64(value),
                Err(_) => self.deserialize_f64(visitor),
            },
            Self::Text(_) => self.deserialize_string(visitor),
            Self::List(_) => self.deserialize_seq(visitor),
            Self::Object(members) => visit_members(members, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match &self {
            Self::Bool(value) => visitor.visit_bool(*value),
            Self::Number(text) => visitor.visit_bool(*text == "1"),
            Self::Text(text) => {
                visitor.visit_bool(text.eq_ignore_ascii_case("true") || *text == "1")
            }
            other => other.wrong(&visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self {
            Self::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self {
            Self::List(elements) => visitor.visit_seq(SeqDeserializer::new(elements.into_iter())),
            Self::Null => visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<Self>())),
            other => other.wrong(&visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self {
            Self::Object(members) => visit_members(members, visitor),
            Self::Null => visit_members(Vec::new(), visitor),
            other => other.wrong(&visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        match self {
            Self::Text(name) => visitor.visit_enum(name.into_owned().into_deserializer()),
            other => other.wrong(&visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, BodyError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct
    }
}
