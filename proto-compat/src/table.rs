//! The two tables of the protocol: `header!` gives a command's header its fields, `commands!` ties a
//! request code to the headers of its request and its answer.

use crate::field::{ExtFields, FieldSink, FieldValue, HeaderError, parse_field};

/// The typed fields of a command that is sent.
pub trait SentHeader {
    /// Appends the fields.
    fn encode(&self, fields: &mut impl FieldSink);
}

/// The typed fields of a command.
pub trait Header: SentHeader + Sized {
    /// Reads the fields; unknown ones are ignored, as newer peers send more than we know.
    fn decode(fields: &ExtFields) -> Result<Self, HeaderError>;
}

/// No typed fields.
impl SentHeader for () {
    fn encode(&self, _: &mut impl FieldSink) {}
}

impl Header for () {
    fn decode(_: &ExtFields) -> Result<Self, HeaderError> {
        Ok(())
    }
}

/// A row of the command table: the code, and what travels with it.
pub trait CommandSpec: 'static {
    /// The request code on the wire.
    const CODE: i32;
    /// RocketMQ's own name of the code, for logs and documentation.
    const NAME: &'static str;
    /// The header of the request.
    type Request: Header + Send + 'static;
    /// The header of the answer.
    type Response: Header + Send + 'static;
}

/// What a field of a header may be: a value that must be there, or an `Option`.
#[doc(hidden)]
pub trait Slot<'a>: Sized {
    fn read(field: &'static str, text: &'a str) -> Result<Self, HeaderError>;
    fn absent(field: &'static str) -> Result<Self, HeaderError>;
}

/// How a field of a header is sent, if it is.
#[doc(hidden)]
pub trait SentSlot {
    fn put(&self, field: &'static str, fields: &mut impl FieldSink);
}

macro_rules! required_slot {
    ($($ty:ty),*) => {$(
        impl Slot<'_> for $ty {
            fn read(field: &'static str, text: &str) -> Result<Self, HeaderError> {
                parse_field(field, text)
            }

            fn absent(field: &'static str) -> Result<Self, HeaderError> {
                Err(HeaderError::Missing(field))
            }
        }

        impl SentSlot for $ty {
            #[inline]
            fn put(&self, field: &'static str, fields: &mut impl FieldSink) {
                fields.push(field, self);
            }
        }
    )*};
}
required_slot!(String, bool, i32, i64, u32);

/// Text that stays where the command has it.
impl<'a> Slot<'a> for &'a str {
    fn read(_: &'static str, text: &'a str) -> Result<Self, HeaderError> {
        Ok(text)
    }

    fn absent(field: &'static str) -> Result<Self, HeaderError> {
        Err(HeaderError::Missing(field))
    }
}

impl<'a> Slot<'a> for Option<&'a str> {
    fn read(_: &'static str, text: &'a str) -> Result<Self, HeaderError> {
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn absent(_: &'static str) -> Result<Self, HeaderError> {
        Ok(None)
    }
}

impl<T: FieldValue> Slot<'_> for Option<T> {
    fn read(field: &'static str, text: &str) -> Result<Self, HeaderError> {
        // A zero-length value is how the binary encoding writes null (02-remoting §2.3).
        if text.is_empty() {
            return Ok(None);
        }
        parse_field(field, text).map(Some)
    }

    fn absent(_: &'static str) -> Result<Self, HeaderError> {
        Ok(None)
    }
}

impl<T: FieldValue> SentSlot for Option<T> {
    #[inline]
    fn put(&self, field: &'static str, fields: &mut impl FieldSink) {
        if let Some(value) = self {
            fields.push(field, value);
        }
    }
}

/// Declares headers. A field is `name "wireName": Type`, which must be there, `Option<Type>`, which
/// may be absent, or `Type = default`, which reads as the default where Java reads an absent
/// primitive as zero.
#[macro_export]
macro_rules! header {
    ($(
        $(#[$about:meta])*
        $name:ident { $( $(#[$field_about:meta])* $field:ident $wire:literal : $ty:ty $(= $default:expr)? ),* $(,)? }
    )*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name { $( $(#[$field_about])* #[doc = concat!("`", $wire, "` on the wire.")] pub $field: $ty, )* }

        impl $crate::table::Header for $name {
            fn decode(fields: &$crate::field::ExtFields) -> Result<Self, $crate::field::HeaderError> {
                $crate::header!(@read fields, $( $field $wire : $ty $(= $default)? ),*)
            }
        }

        impl $crate::table::SentHeader for $name {
            #[allow(unused_variables)]
            fn encode(&self, fields: &mut impl $crate::field::FieldSink) {
                $( $crate::table::SentSlot::put(&self.$field, $wire, fields); )*
            }
        }
    )*};
    (@read $fields:ident, $( $field:ident $wire:literal : $ty:ty $(= $default:expr)? ),*) => {{
        $( let mut $field: Option<$ty> = None; )*
        #[allow(unused_variables)]
        for (key, text) in $fields.iter() {
            match key {
                $( $wire => $field = Some(<$ty as $crate::table::Slot>::read($wire, text)?), )*
                _ => {}
            }
        }
        Ok(Self { $( $field: match $field {
            Some(value) => value,
            None => $crate::header!(@absent $wire, $ty $(, $default)?),
        }, )* })
    }};
    (@absent $wire:literal, $ty:ty, $default:expr) => { $default };
    (@absent $wire:literal, $ty:ty) => { <$ty as $crate::table::Slot>::absent($wire)? };
}

/// Declares what a receiver reads of a header, with texts that stay where the command has them: fields
/// as those of [`header!`], `&'a str` for `String`.
#[macro_export]
macro_rules! header_view {
    (
        $(#[$about:meta])*
        $name:ident<$life:lifetime> { $( $field:ident $wire:literal : $ty:ty $(= $default:expr)? ),* $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name<$life> { $( #[doc = concat!("`", $wire, "` on the wire.")] pub $field: $ty, )* }

        impl<$life> $name<$life> {
            /// Reads the fields; unknown ones are ignored, as newer peers send more than we know.
            pub fn read(fields: &$life $crate::field::ExtFields) -> Result<Self, $crate::field::HeaderError> {
                $crate::header!(@read fields, $( $field $wire : $ty $(= $default)? ),*)
            }
        }
    };
}

/// Declares commands: `Name "JAVA_NAME" = code: RequestHeader => ResponseHeader;`, one row a code.
#[macro_export]
macro_rules! commands {
    ($( $(#[$about:meta])* $name:ident $java:literal = $code:literal : $request:ty => $response:ty; )*) => {
        $(
            $(#[$about])*
            #[doc = concat!("\n\n`", $java, "`, request code ", $code, ".")]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl $crate::table::CommandSpec for $name {
                const CODE: i32 = $code;
                const NAME: &'static str = $java;
                type Request = $request;
                type Response = $response;
            }
        )*

        /// RocketMQ's name of a request code, where this table has it.
        pub fn name_of(code: i32) -> Option<&'static str> {
            match code {
                $( $code => Some($java), )*
                _ => None,
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub)] // the macro's structs are public, this module is not
    use super::*;

    header! {
        /// One of each kind of field.
        SampleHeader {
            topic "topic": String,
            queue_id "queueId": i32 = 0,
            subscription "subscription": Option<String>,
        }
    }

    #[test]
    fn absent_fields_are_missing_default_or_none() {
        let missing = SampleHeader::decode(&ExtFields::new()).unwrap_err();
        assert_eq!(missing, HeaderError::Missing("topic"));
        let fields: ExtFields = [("topic", "t"), ("unknown", "x")].into_iter().collect();
        let header = SampleHeader::decode(&fields).unwrap();
        assert_eq!((header.queue_id, header.subscription), (0, None));
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let header = SampleHeader {
            topic: "t".into(),
            queue_id: 3,
            subscription: Some("*".into()),
        };
        let mut fields = ExtFields::new();
        header.encode(&mut fields);
        assert_eq!(SampleHeader::decode(&fields).unwrap(), header);
    }
}
