//! A request's frame, encoded once. What differs between requests has a fixed width and is written
//! over in place, so that the next request costs no more than a copy.
//!
//! Numbers in header fields are text, which may begin with zeros for Java and for us. The opaque is
//! a JSON number, which may not: opaques start at [`OPAQUE_FIRST`].

use anyhow::Context;
use thrustmq_proto_compat::command::{Command, Encoding};
use thrustmq_proto_compat::frame;

/// Opaques from here on have the same number of digits.
pub(super) const OPAQUE_FIRST: i32 = 1_000_000_000;
/// Digits of a field whose template holds this have room for every `i32`.
pub(super) const WIDE_I32: i32 = i32::MAX;
/// Digits of a field whose template holds this have room for every `i64`.
pub(super) const WIDE_I64: i64 = i64::MAX;

/// In the binary encoding, after length and mark: code, language and version come first.
const BINARY_OPAQUE: Place = Place { start: 13, end: 17 };
/// There behind flag, the length of a remark that requests do not have, and that of all fields.
const BINARY_FIELDS_AT: usize = 29;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Where digits stand in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    start: usize,
    end: usize,
}

/// A frame and the place of its opaque.
#[derive(Debug)]
pub(super) struct Template {
    frame: Vec<u8>,
    encoding: Encoding,
    opaque: Place,
}

impl Template {
    /// The frame of a request.
    pub(super) fn new(mut request: Command) -> anyhow::Result<Self> {
        request.opaque = OPAQUE_FIRST;
        let mut template = Self {
            frame: frame::encode(&request)?.into(),
            encoding: request.encoding,
            opaque: BINARY_OPAQUE,
        };
        if request.encoding == Encoding::Json {
            template.opaque = template.digits_after("\"opaque\":")?;
        }
        Ok(template)
    }

    /// The digits of a header field.
    pub(super) fn field(&self, name: &str) -> anyhow::Result<Place> {
        match self.encoding {
            Encoding::Json => self.digits_after(&format!("\"{name}\":\"")),
            Encoding::Binary => self.binary_field(name),
        }
    }

    /// The digits of a field in the binary encoding: name and value with their lengths before them.
    fn binary_field(&self, name: &str) -> anyhow::Result<Place> {
        let mut at = BINARY_FIELDS_AT;
        loop {
            let number = |from: usize, bytes: usize| {
                let bytes = self.frame.get(from..from.checked_add(bytes)?)?;
                let digits = bytes.iter().map(|byte| usize::from(*byte));
                Some(digits.fold(0, |number, byte| number << 8 | byte))
            };
            let missing = || format!("no field {name} in the request");
            let name_at = at + 2;
            let length_at = name_at + number(at, 2).with_context(missing)?;
            let start = length_at + 4;
            let end = start + number(length_at, 4).with_context(missing)?;
            if self.frame.get(name_at..length_at) == Some(name.as_bytes()) {
                return Ok(Place { start, end });
            }
            at = end;
        }
    }

    fn digits_after(&self, mark: &str) -> anyhow::Result<Place> {
        let mark_start = find(&self.frame, mark.as_bytes());
        let start = mark_start.with_context(|| format!("no {mark} in the request"))? + mark.len();
        let rest = self.frame.get(start..).unwrap_or_default();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let end = start + digits;
        Ok(Place { start, end })
    }

    /// The last `digits` bytes wherever `text` occurs.
    pub(super) fn ends_of(&self, text: &str, digits: usize) -> Vec<Place> {
        let mut places = Vec::new();
        let mut from = 0;
        while let Some(at) = find(self.frame.get(from..).unwrap_or_default(), text.as_bytes()) {
            from += at + text.len();
            let start = from.saturating_sub(digits);
            places.push(Place { start, end: from });
        }
        places
    }

    /// The last bytes of the body.
    pub(super) fn tail(&self, digits: usize) -> Place {
        let end = self.frame.len();
        let start = end.saturating_sub(digits);
        Place { start, end }
    }

    /// Writes a number in decimal digits, zeros first.
    pub(super) fn put_decimal(&mut self, place: Place, mut number: u64) {
        for digit in self.at(place).iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    /// Writes a number in hexadecimal digits, zeros first.
    pub(super) fn put_hex(&mut self, place: Place, mut number: u64) {
        for digit in self.at(place).iter_mut().rev() {
            *digit = HEX[(number & 0xF) as usize];
            number >>= 4;
        }
    }

    fn at(&mut self, place: Place) -> &mut [u8] {
        self.frame
            .get_mut(place.start..place.end)
            .unwrap_or_default()
    }

    /// The frame as it stands, for request number `slot` of those in flight.
    pub(super) fn frame(&mut self, slot: u16) -> &[u8] {
        let opaque = OPAQUE_FIRST + i32::from(slot);
        match self.encoding {
            Encoding::Json => self.put_decimal(self.opaque, opaque as u64),
            Encoding::Binary => self.at(self.opaque).copy_from_slice(&opaque.to_be_bytes()),
        }
        &self.frame
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
pub(super) fn decoded(bytes: &[u8]) -> Command {
    let mut received = bytes.into();
    let whole = frame::split(&mut received).unwrap().unwrap();
    assert!(received.is_empty());
    frame::decode(whole).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_what_a_peer_reads() {
        for encoding in [Encoding::Json, Encoding::Binary] {
            assert_put_is_read(encoding);
        }
    }

    fn assert_put_is_read(encoding: Encoding) {
        let mut request = Command::new(10);
        request.fields.push("queue", &WIDE_I32);
        request.fields.push("offset", &WIDE_I64);
        request.fields.push("key", &"AB00".to_owned());
        let body = b"AB00 AB00".to_vec();
        request.encoding = encoding;
        let mut template = Template::new(request.with_body(body)).unwrap();
        let queue = template.field("queue").unwrap();
        let offset = template.field("offset").unwrap();
        template.put_decimal(queue, 7);
        template.put_decimal(offset, i64::MAX as u64 - 1);
        let tail = template.tail(2);
        for place in template.ends_of("AB00", 2) {
            template.put_hex(place, 0xC1D);
        }
        let command = decoded(template.frame(65_535));
        assert_eq!(command.opaque, OPAQUE_FIRST + 65_535);
        assert_eq!(command.fields.get("queue"), Some("0000000007"));
        assert_eq!(command.fields.get("offset"), Some("9223372036854775806"));
        assert_eq!(command.fields.get("key"), Some("AB1D"));
        assert_eq!(command.body.to_bytes(), "AB1D AB1D");
        template.put_hex(tail, 0xE7);
        assert_eq!(decoded(template.frame(0)).body.to_bytes(), "AB1D ABE7");
        assert!(template.field("missing").is_err());
    }
}
