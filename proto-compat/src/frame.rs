//! One frame: length, type and header length, header, body (02-remoting §2.1).
//!
//! ```text
//! 0        4        5            8          8 + headerLen
//! | length | type   | headerLen  | header   | body …
//!   i32      u8       u24
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::command::{Body, Command, Encoding};
use crate::serialize::{binary, json};
use crate::table::SentHeader;

/// The longest frame that is read, its length field counted: Java's `frameMaxLength`.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;
const MARK_BYTES: usize = 4;
const HEADER_BYTES_MAX: usize = 0x00FF_FFFF;

/// Why bytes are not a frame. After any of these the stream has lost its place: close it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`FRAME_BYTES_MAX`]; so its header also fits its 24-bit length.
    #[error("frame of {0} bytes is longer than the {FRAME_BYTES_MAX} allowed")]
    TooLong(u64),
    /// The length field has no room for what every frame has.
    #[error("frame length {0} is shorter than the smallest frame")]
    TooShort(u32),
    /// The header would end after the frame.
    #[error("header of {header} bytes in a frame that has {available}")]
    HeaderTooLong {
        /// What the frame says.
        header: usize,
        /// What the frame has.
        available: usize,
    },
    /// The type byte names no encoding.
    #[error("unknown header encoding {0}")]
    UnknownEncoding(u8),
    /// The header's bytes are not of their encoding.
    #[error("undecodable header: {0}")]
    Header(String),
    /// A field's name does not fit the binary encoding's 16-bit length.
    #[error("field name to send has {0} bytes, more than the binary encoding can carry")]
    NameUnsendable(usize),
}

/// Takes the next whole frame off the front of `received`, without its length field and without
/// copying. `None`: more bytes are needed, and `received` has room reserved for them.
pub fn split(received: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(length_field) = received.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length_field);
    let frame_bytes = length as usize + LENGTH_BYTES;
    if frame_bytes > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(frame_bytes as u64));
    }
    if (length as usize) < MARK_BYTES {
        return Err(FrameError::TooShort(length));
    }
    if received.len() < frame_bytes {
        received.reserve(frame_bytes - received.len());
        return Ok(None);
    }
    received.advance(LENGTH_BYTES);
    Ok(Some(received.split_to(length as usize).freeze()))
}

/// Reads the command of a frame that [`split`] gave; its body shares the frame's memory.
pub fn decode(mut frame: Bytes) -> Result<Command, FrameError> {
    if frame.len() < MARK_BYTES {
        return Err(FrameError::TooShort(frame.len() as u32));
    }
    let mark = frame.get_u32();
    let header_bytes = (mark & HEADER_BYTES_MAX as u32) as usize;
    if header_bytes > frame.len() {
        return Err(FrameError::HeaderTooLong {
            header: header_bytes,
            available: frame.len(),
        });
    }
    // Not split off: each piece of the frame's memory is one more to count.
    let header = &frame[..header_bytes];
    let mut command = match mark.to_be_bytes()[0] {
        0 => json::decode(header)?,
        1 => binary::decode(header)?,
        other => return Err(FrameError::UnknownEncoding(other)),
    };
    frame.advance(header_bytes);
    command.body = Body::from(frame);
    Ok(command)
}

/// Appends everything of the frame that stands before the body; the fields of `header` are added to the
/// command's. The caller writes the body's pieces after it; the length already counts them.
pub fn encode_head(
    command: &Command,
    header: &impl SentHeader,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let start = out.len();
    out.put_u64(0);
    let encoded = match command.encoding {
        Encoding::Json => {
            json::encode(command, header, out);
            Ok(())
        }
        Encoding::Binary => binary::encode(command, header, out),
    };
    if let Err(error) = encoded {
        out.truncate(start);
        return Err(error);
    }
    let header_bytes = out.len() - start - LENGTH_BYTES - MARK_BYTES;
    let length = MARK_BYTES + header_bytes + command.body.len();
    if length + LENGTH_BYTES > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(FrameError::TooLong((length + LENGTH_BYTES) as u64));
    }
    let mark = ((command.encoding as u32) << 24) | header_bytes as u32;
    let mut lengths = &mut out[start..start + LENGTH_BYTES + MARK_BYTES];
    lengths.put_u32(length as u32);
    lengths.put_u32(mark);
    Ok(())
}

/// The whole frame in one piece; tests and small tools use it, connections write the pieces.
pub fn encode(command: &Command) -> Result<Bytes, FrameError> {
    let mut out = Vec::new();
    encode_head(command, &(), &mut out)?;
    out.extend_from_slice(&command.body.to_bytes());
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(length: u32, rest: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(length.to_be_bytes().as_slice());
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn lengths_that_no_frame_has_are_refused_at_once() {
        let max = FRAME_BYTES_MAX as u32 - 4;
        assert_eq!(split(&mut framed(max, &[])), Ok(None));
        for length in [max + 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF] {
            let refused = split(&mut framed(length, &[]));
            assert!(matches!(refused, Err(FrameError::TooLong(_))), "{length}");
        }
        assert_eq!(split(&mut framed(3, &[])), Err(FrameError::TooShort(3)));
    }

    #[test]
    fn headers_longer_than_their_frame_and_unknown_encodings_are_refused() {
        let longer = decode(Bytes::from_static(&[0, 0, 0, 9, b'{', b'}'])).unwrap_err();
        let expected = FrameError::HeaderTooLong {
            header: 9,
            available: 2,
        };
        assert_eq!(longer, expected);
        let unknown = decode(Bytes::from_static(&[2, 0, 0, 0])).unwrap_err();
        assert_eq!(unknown, FrameError::UnknownEncoding(2));
    }

    #[test]
    fn two_frames_in_one_read_come_apart_and_share_its_memory() {
        let mut first = Command::new(10).with_body(Bytes::from_static(b"body"));
        first.opaque = 1;
        let mut second = first.clone();
        second.opaque = 2;
        let mut received = BytesMut::new();
        for command in [&first, &second] {
            received.extend_from_slice(&encode(command).expect("a small frame"));
        }
        let start = received.as_ptr() as usize;
        let span = start..start + received.len();
        for opaque in [1, 2] {
            let whole = split(&mut received).expect("sound").expect("whole");
            let command = decode(whole).expect("sound");
            assert_eq!(command.opaque, opaque);
            let body = command.body.to_bytes();
            assert_eq!(body, "body");
            assert!(
                span.contains(&(body.as_ptr() as usize)),
                "the body was copied"
            );
        }
        assert!(received.is_empty());
    }

    #[test]
    fn what_is_too_long_to_send_is_refused_and_leaves_nothing() {
        let command = Command::new(0).with_body(vec![0; FRAME_BYTES_MAX]);
        let mut out = b"before".to_vec();
        let refused = encode_head(&command, &(), &mut out);
        assert!(
            matches!(refused, Err(FrameError::TooLong(_))),
            "{refused:?}"
        );
        assert_eq!(out, b"before");
    }
}
