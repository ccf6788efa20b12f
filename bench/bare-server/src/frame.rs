//! As much of RocketMQ's frames as the bare server reads and writes: JSON headers, found by their
//! marks and not parsed.

use std::io::Write;

use memchr::memmem;

const LENGTH_BYTES: usize = 4;
const MARK_BYTES: usize = 4;
const JSON: u8 = 0;

/// What stands before the fields of every answer of success.
const ANSWER: &str = r#"{"code":0,"extFields":{"#;

/// A request as it lies in what was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) code: u32,
    pub(crate) opaque: u32,
    pub(crate) header: &'a [u8],
    pub(crate) body: &'a [u8],
    /// With its length field.
    pub(crate) frame_bytes: usize,
}

/// What the bytes received begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin<'a> {
    Whole(Request<'a>),
    /// A frame that needs so many bytes, with its length field; as many as there are or more.
    Part(usize),
    /// Not what a client in JSON sends.
    Unknown,
}

/// Reads the first frame.
pub(crate) fn begin(received: &[u8]) -> Begin<'_> {
    let Some(length) = received.first_chunk::<LENGTH_BYTES>() else {
        return Begin::Part(LENGTH_BYTES);
    };
    let frame_bytes = LENGTH_BYTES + u32::from_be_bytes(*length) as usize;
    match received.get(LENGTH_BYTES..frame_bytes) {
        Some(frame) => request(frame, frame_bytes).map_or(Begin::Unknown, Begin::Whole),
        None => Begin::Part(frame_bytes),
    }
}

fn request(frame: &[u8], frame_bytes: usize) -> Option<Request<'_>> {
    let [encoding, length @ ..] = *frame.first_chunk::<MARK_BYTES>()?;
    let [high, middle, low] = length;
    let body_start = MARK_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize;
    let header = frame.get(MARK_BYTES..body_start)?;
    if encoding != JSON {
        return None;
    }
    Some(Request {
        code: number(header, b"\"code\":")?,
        opaque: number(header, b"\"opaque\":")?,
        header,
        body: frame.get(body_start..)?,
        frame_bytes,
    })
}

/// The number behind a mark in a header.
pub(crate) fn number(header: &[u8], mark: &[u8]) -> Option<u32> {
    let at = memmem::find(header, mark)?;
    let digits = header.get(at + mark.len()..)?;
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |read: Option<u32>, digit| {
        let tens = read.unwrap_or_default().checked_mul(10)?;
        tens.checked_add(u32::from(digit - b'0'))
    })
}

/// Appends an answer of success with these fields, as JSON without the brackets.
pub(crate) fn answer(out: &mut Vec<u8>, opaque: u32, fields: &str, body: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES + MARK_BYTES]);
    out.extend_from_slice(ANSWER.as_bytes());
    out.extend_from_slice(fields.as_bytes());
    write!(
        out,
        r#"}},"flag":1,"language":"RUST","opaque":{opaque},"serializeTypeCurrentRPC":"JSON","version":513}}"#
    )
    .expect("a vector takes every write");
    let header_bytes = out.len() - start - LENGTH_BYTES - MARK_BYTES;
    out.extend_from_slice(body);
    let frame_bytes = out.len() - start - LENGTH_BYTES;
    // Both are small: the header has a number or two, the body is a route.
    let lengths = [frame_bytes as u32, header_bytes as u32].map(u32::to_be_bytes);
    if let Some(place) = out.get_mut(start..start + LENGTH_BYTES + MARK_BYTES) {
        place.copy_from_slice(lengths.as_flattened());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(header: &str, body: &[u8]) -> Vec<u8> {
        let header_length = header.len() as u32;
        let length = 4 + header_length + body.len() as u32;
        let lengths = [length, header_length].map(u32::to_be_bytes);
        [lengths.as_flattened(), header.as_bytes(), body].concat()
    }

    #[test]
    fn a_request_is_found_when_all_of_it_is_there() {
        let bytes = frame(r#"{"code":310,"flag":0,"opaque":17}"#, b"body");
        for length in 0..bytes.len() {
            let needed = if length < 4 { 4 } else { bytes.len() };
            assert_eq!(begin(&bytes[..length]), Begin::Part(needed));
        }
        let Begin::Whole(request) = begin(&bytes) else {
            panic!("not whole");
        };
        assert_eq!((request.code, request.opaque), (310, 17));
        assert_eq!(
            (request.body, request.frame_bytes),
            (&b"body"[..], bytes.len())
        );
    }

    #[test]
    fn what_is_not_a_request_is_unknown() {
        assert_eq!(begin(&frame("{}", b"")), Begin::Unknown);
        let mut binary = frame(r#"{"code":1,"opaque":1}"#, b"");
        binary[4] = 1;
        assert_eq!(begin(&binary), Begin::Unknown);
        let mut header_too_long = frame(r#"{"code":1,"opaque":1}"#, b"");
        header_too_long[7] += 1;
        assert_eq!(begin(&header_too_long), Begin::Unknown);
    }

    #[test]
    fn an_answer_is_a_frame_with_its_fields() {
        let mut out = b"before".to_vec();
        answer(&mut out, 5, r#""offset":"7""#, b"{}");
        let Begin::Whole(read) = begin(&out[6..]) else {
            panic!("not whole");
        };
        assert_eq!((read.code, read.opaque, read.body), (0, 5, &b"{}"[..]));
        let header = String::from_utf8_lossy(read.header);
        assert!(header.starts_with(r#"{"code":0,"extFields":{"offset":"7"},"flag":1,"#));
        assert_eq!(read.frame_bytes, out.len() - 6);
    }
}
