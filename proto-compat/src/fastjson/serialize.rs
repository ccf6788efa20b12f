//! Any `Serialize` type to text.

use serde::Serialize;
use serde::ser::{
    Error as _, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, Serializer,
};

use super::BodyError;
use super::text::{write_double, write_text};

/// What the two audiences and the files want.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Quote keys that are numbers or objects, and escape what is not ASCII.
    standard: bool,
    /// A line for each entry, a tab for each level.
    lines: bool,
}

impl Style {
    pub(super) const RELAXED: Self = Self {
        standard: false,
        lines: false,
    };
    pub(super) const STANDARD: Self = Self {
        standard: true,
        lines: false,
    };
    pub(super) const PRETTY: Self = Self {
        standard: false,
        lines: true,
    };
}

/// Where the text grows.
pub(super) struct Writer {
    out: Vec<u8>,
    style: Style,
    depth: usize,
}

impl Writer {
    pub(super) fn new(style: Style) -> Self {
        Self {
            out: Vec::with_capacity(256),
            style,
            depth: 0,
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn open(&mut self, bracket: u8) -> Entries<'_> {
        self.out.push(bracket);
        self.depth += 1;
        Entries {
            writer: self,
            is_first: true,
            entry_start: 0,
        }
    }

    fn new_line(&mut self) {
        if self.style.lines {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + self.depth, b'\t');
        }
    }

    fn text(&mut self, text: &str) {
        write_text(text, self.style.standard, &mut self.out);
    }

    /// Quotes what was written since `start`, unless it is text.
    fn quote_key(&mut self, start: usize) {
        if self.style.standard && self.out.get(start) != Some(&b'"') {
            let key =
                String::from_utf8_lossy(self.out.get(start..).unwrap_or_default()).into_owned();
            self.out.truncate(start);
            self.text(&key);
        }
    }

    fn is_null_since(&self, start: usize) -> bool {
        self.out.get(start..) == Some(b"null".as_slice())
    }
}

/// An object or a list that is being written.
pub(super) struct Entries<'a> {
    writer: &'a mut Writer,
    is_first: bool,
    /// Where the entry at hand begins, its comma included.
    entry_start: usize,
}

impl Entries<'_> {
    fn begin_entry(&mut self) {
        self.entry_start = self.writer.out.len();
        if !self.is_first {
            self.writer.out.push(b',');
        }
        self.writer.new_line();
    }

    /// Writes a value behind its key, or takes the key back if the value is null.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), BodyError> {
        self.writer.out.push(b':');
        let value_start = self.writer.out.len();
        value.serialize(&mut *self.writer)?;
        if self.writer.is_null_since(value_start) {
            self.writer.out.truncate(self.entry_start);
        } else {
            self.is_first = false;
        }
        Ok(())
    }

    fn close(self, bracket: u8) {
        self.writer.depth -= 1;
        if !self.is_first {
            self.writer.new_line();
        }
        self.writer.out.push(bracket);
    }
}

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = BodyError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), BodyError> {
        self.begin_entry();
        let key_start = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        self.writer.quote_key(key_start);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), BodyError> {
        self.value(value)
    }

    fn end(self) -> Result<(), BodyError> {
        self.close(b'}');
        Ok(())
    }
}

impl SerializeStruct for Entries<'_> {
    type Ok = ();
    type Error = BodyError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), BodyError> {
        self.begin_entry();
        self.writer.text(key);
        self.value(value)
    }

    fn end(self) -> Result<(), BodyError> {
        self.close(b'}');
        Ok(())
    }
}

impl SerializeSeq for Entries<'_> {
    type Ok = ();
    type Error = BodyError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), BodyError> {
        self.begin_entry();
        self.is_first = false;
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), BodyError> {
        self.close(b']');
        Ok(())
    }
}

impl SerializeTuple for Entries<'_> {
    type Ok = ();
    type Error = BodyError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), BodyError> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<(), BodyError> {
        SerializeSeq::end(self)
    }
}

macro_rules! integers {
    ($($method:ident: $integer:ty),*) => {$(
        fn $method(self, value: $integer) -> Result<(), BodyError> {
            self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            Ok(())
        }
    )*};
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = BodyError;
    type SerializeSeq = Entries<'a>;
    type SerializeTuple = Entries<'a>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeTupleStruct = Impossible<(), BodyError>;
    type SerializeTupleVariant = Impossible<(), BodyError>;
    type SerializeStructVariant = Impossible<(), BodyError>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    }

    fn serialize_bool(self, value: bool) -> Result<(), BodyError> {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(word);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), BodyError> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), BodyError> {
        write_double(value, &mut self.out);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), BodyError> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), BodyError> {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), BodyError> {
        Err(no_form("bytes"))
    }

    fn serialize_none(self) -> Result<(), BodyError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), BodyError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), BodyError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), BodyError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), BodyError> {
        self.text(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), BodyError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), BodyError> {
        Err(no_form("a variant with a value"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Entries<'a>, BodyError> {
        Ok(self.open(b'['))
    }

    fn serialize_tuple(self, _: usize) -> Result<Entries<'a>, BodyError> {
        Ok(self.open(b'['))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, BodyError> {
        Ok(self.open(b'{'))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries<'a>, BodyError> {
        Ok(self.open(b'{'))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, BodyError> {
        Err(no_form("a tuple struct"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, BodyError> {
        Err(no_form("a variant with values"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, BodyError> {
        Err(no_form("a variant with fields"))
    }
}

fn no_form(what: &str) -> BodyError {
    BodyError::custom(format_args!("{what} has no form in RocketMQ's bodies"))
}
