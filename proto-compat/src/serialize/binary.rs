//! The ROCKETMQ binary header (02-remoting §2.3).
//!
//! ```text
//! code i16 · language u8 · version i16 · opaque i32 · flag i32
//! remark: length i32, bytes · fields: length i32, then (key length i16, key, value length i32, value)*
//! ```

use bytes::{Buf, BufMut};

use crate::command::{Command, Encoding, Language};
use crate::field::{ExtFields, FieldSink, FieldText};
use crate::frame::FrameError;
use crate::table::SentHeader;

const FIXED_BYTES: usize = 2 + 1 + 2 + 4 + 4;

/// Reads a header; the body is the caller's.
pub(crate) fn decode(mut header: &[u8]) -> Result<Command, FrameError> {
    if header.len() < FIXED_BYTES {
        return Err(short("the fixed part"));
    }
    let mut command = Command::new(i32::from(header.get_i16()));
    command.encoding = Encoding::Binary;
    command.language = Language::from_code(header.get_u8());
    command.version = i32::from(header.get_i16());
    command.opaque = header.get_i32();
    command.flag = header.get_i32();
    let remark = take_long(&mut header, "the remark")?;
    if !remark.is_empty() {
        command.remark = Some(text(remark, "the remark")?.to_owned());
    }
    if !header.is_empty() {
        let fields = take_long(&mut header, "the fields")?;
        command.fields = decode_fields(fields)?;
    }
    Ok(command)
}

fn decode_fields(mut bytes: &[u8]) -> Result<ExtFields, FrameError> {
    let mut fields = ExtFields::loose(16, bytes.len());
    while !bytes.is_empty() {
        let key = take_short(&mut bytes, "a field's name")?;
        let value = take_long(&mut bytes, "a field's value")?;
        // A zero-length value is how this encoding writes null.
        if !value.is_empty() {
            fields.push_text(
                text(key, "a field's name")?,
                text(value, "a field's value")?,
            );
        }
    }
    Ok(fields)
}

/// Appends the header. A code beyond 16 bits wraps, as Java's does: POP commands must use JSON.
pub(crate) fn encode(
    command: &Command,
    header: &impl SentHeader,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    out.put_i16(command.code as i16);
    out.put_u8(command.language as u8);
    out.put_i16(command.version as i16);
    out.put_i32(command.opaque);
    out.put_i32(command.flag);
    put_long(out, |out| {
        out.put_slice(command.remark.as_deref().unwrap_or_default().as_bytes());
    });
    let mut entries = Entries { out, error: None };
    entries.put_all(command, header);
    entries.error.map_or(Ok(()), Err)
}

/// The fields, one behind the other.
struct Entries<'a> {
    out: &'a mut Vec<u8>,
    error: Option<FrameError>,
}

impl Entries<'_> {
    fn put_all(&mut self, command: &Command, header: &impl SentHeader) {
        let start = begin_long(self.out);
        for (key, value) in command.fields.iter() {
            self.put(key, value);
        }
        header.encode(self);
        end_long(self.out, start);
    }

    fn put<T: FieldText + ?Sized>(&mut self, key: &str, value: &T) {
        // A relayed command's names are the peer's.
        let Ok(key_bytes) = i16::try_from(key.len()) else {
            self.error = Some(FrameError::NameUnsendable(key.len()));
            return;
        };
        self.out.put_i16(key_bytes);
        self.out.put_slice(key.as_bytes());
        put_long(self.out, |out| value.write(out));
    }
}

impl FieldSink for Entries<'_> {
    fn push<T: FieldText + ?Sized>(&mut self, key: &'static str, value: &T) {
        self.put(key, value);
    }
}

/// What `put` appends, with its length before it.
fn put_long(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = begin_long(out);
    put(out);
    end_long(out, start);
}

/// Leaves room for a length; where what it counts begins.
fn begin_long(out: &mut Vec<u8>) -> usize {
    out.put_u32(0);
    out.len()
}

fn end_long(out: &mut [u8], start: usize) {
    let bytes = length(out.len() - start);
    out[start - size_of::<u32>()..start].copy_from_slice(&bytes.to_be_bytes());
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a frame is shorter than 16 MiB")
}

fn take_short<'a>(bytes: &mut &'a [u8], what: &str) -> Result<&'a [u8], FrameError> {
    let length = bytes.try_get_i16().map_err(|_| short(what))?;
    take(
        bytes,
        usize::try_from(length).map_err(|_| short(what))?,
        what,
    )
}

fn take_long<'a>(bytes: &mut &'a [u8], what: &str) -> Result<&'a [u8], FrameError> {
    let length = bytes.try_get_i32().map_err(|_| short(what))?;
    take(
        bytes,
        usize::try_from(length).map_err(|_| short(what))?,
        what,
    )
}

fn take<'a>(bytes: &mut &'a [u8], length: usize, what: &str) -> Result<&'a [u8], FrameError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or_else(|| short(what))?;
    *bytes = rest;
    Ok(taken)
}

fn text<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, FrameError> {
    std::str::from_utf8(bytes).map_err(|_| FrameError::Header(format!("{what} is not UTF-8")))
}

fn short(what: &str) -> FrameError {
    FrameError::Header(format!("it ends within {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    fn header(fields: &[u8]) -> Vec<u8> {
        let mut header = vec![0, 34, 12, 1, 61, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        header.extend_from_slice(fields);
        header
    }

    #[test]
    fn a_header_may_end_before_its_fields_but_not_within() {
        let command = decode(&header(&[])).unwrap();
        assert_eq!((command.code, command.opaque), (34, 7));
        assert_eq!(command.language, Language::Rust);
        let fields = [0, 0, 0, 8, 0, 1, b'a', 0, 0, 0, 1, b'b'];
        let whole = header(&fields);
        assert_eq!(decode(&whole).unwrap().fields.get("a"), Some("b"));
        for end in (0..whole.len()).filter(|end| *end != header(&[]).len()) {
            assert!(decode(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn an_empty_value_is_none_and_a_negative_length_an_error() {
        let empty = header(&[0, 0, 0, 7, 0, 1, b'a', 0, 0, 0, 0]);
        assert!(decode(&empty).unwrap().fields.is_empty());
        let negative = header(&[0, 0, 0, 7, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff]);
        assert!(decode(&negative).is_err());
    }

    #[test]
    fn a_name_that_does_not_fit_is_an_error_and_leaves_nothing() {
        let mut command = Command::new(10);
        command.encoding = Encoding::Binary;
        command.fields.push_text(&"k".repeat(32_768), "v");
        let mut out = b"before".to_vec();
        let refused = frame::encode_head(&command, &(), &mut out);
        assert_eq!(refused, Err(FrameError::NameUnsendable(32_768)));
        assert_eq!(out, b"before");
    }
}
