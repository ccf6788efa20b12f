//! The two tables of the protocol: `header!` gives a command's header its fields, `commands!` ties a
//! request code to the headers of its request and its answer.

use crate::field::{ExtFields, FieldValue, HeaderError, parse_field};

/// The typed fields of a command.
pub trait Header: Sized {
    /// Reads the fields; unknown ones are ignored, as newer peers send more than we know.
    fn decode(fields: &ExtFields) -> Result<Self, HeaderError>;
    /// Appends the fields.
    fn encode(&self, fields: &mut ExtFields);
}

/// No typed fields.
impl Header for () {
    fn decode(_: &ExtFields) -> Result<Self, HeaderError> {
        Ok(())
    }

    fn encode(&self, _: &mut ExtFields) {}
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
pub trait Slot: Sized {
    fn read(field: &'static str, text: &str) -> Result<Self, HeaderError>;
    fn absent(field: &'static str) -> Result<Self, HeaderError>;
    fn put(&self, field: &'static str, fields: &mut ExtFields);
}

macro_rules! required_slot {
    ($($ty:ty),*) => {$(
        impl Slot for $ty {
            fn read(field: &'static str, text: &str) -> Result<Self, HeaderError> {
                parse_field(field, text)
            }

            fn absent(field: &'static str) -> Result<Self, HeaderError> {
                Err(HeaderError::Missing(field))
            }

            fn put(&self, field: &'static str, fields: &mut ExtFields) {
                fields.push(field, self);
            }
        }
    )*};
}
required_slot!(String, bool, i32, i64, u32);

impl<T: FieldValue> Slot for Option<T> {
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

    fn put(&self, field: &'static str, fields: &mut ExtFields) {
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
            #[allow(unused_variables)]
            fn decode(fields: &$crate::field::ExtFields) -> Result<Self, $crate::field::HeaderError> {
                $( let mut $field: Option<$ty> = None; )*
                for (key, text) in fields.iter() {
                    match key {
                        $( $wire => $field = Some(<$ty as $crate::table::Slot>::read($wire, text)?), )*
                        _ => {}
                    }
                }
                Ok(Self { $( $field: match $field {
                    Some(value) => value,
                    None => $crate::header!(@absent $wire, $ty $(, $default)?),
                }, )* })
            }

            #[allow(unused_variables)]
            fn encode(&self, fields: &mut $crate::field::ExtFields) {
                $( $crate::table::Slot::put(&self.$field, $wire, fields); )*
            }
        }
    )*};
    (@absent $wire:literal, $ty:ty, $default:expr) => { $default };
    (@absent $wire:literal, $ty:ty) => { <$ty as $crate::table::Slot>::absent($wire)? };
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
