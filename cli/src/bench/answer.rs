//! Reads as little of an answer as a load needs. An answer of success in JSON is only searched for
//! its code and opaque; all others are decoded whole.

use bytes::{Buf, Bytes};
use thrustmq_proto_compat::frame::{self, FrameError};
use thrustmq_proto_compat::response_code::ResponseCode;

const MARK_BYTES: usize = 4;
const JSON: u8 = 0;

/// An answer, as far as a load looks at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) opaque: i32,
    pub(super) code: ResponseCode,
    /// Of a pull's answer.
    pub(super) next_begin_offset: Option<i64>,
    /// Empty with success.
    pub(super) remark: String,
    pub(super) body: Bytes,
}

impl Answer {
    /// Reads a frame as `frame::split` gives it.
    pub(super) fn read(frame: Bytes) -> Result<Self, FrameError> {
        match scan(&frame) {
            Some(scanned) => Ok(scanned.answer(frame)),
            None => Self::decode(frame),
        }
    }

    fn decode(frame: Bytes) -> Result<Self, FrameError> {
        let command = frame::decode(frame)?;
        let next = command.fields.get("nextBeginOffset");
        Ok(Self {
            opaque: command.opaque,
            code: command.response_code(),
            next_begin_offset: next.and_then(|text| text.parse().ok()),
            body: command.body.to_bytes(),
            remark: command.remark.unwrap_or_default(),
        })
    }
}

/// What was found in the header of a success.
struct Scanned {
    opaque: i32,
    next_begin_offset: Option<i64>,
    body_start: usize,
}

impl Scanned {
    fn answer(self, mut frame: Bytes) -> Answer {
        frame.advance(self.body_start);
        Answer {
            opaque: self.opaque,
            code: ResponseCode::SUCCESS,
            next_begin_offset: self.next_begin_offset,
            remark: String::new(),
            body: frame,
        }
    }
}

/// `None`: no success, or not written as all known brokers write it.
fn scan(frame: &[u8]) -> Option<Scanned> {
    let [encoding, length @ ..] = *frame.first_chunk::<MARK_BYTES>()?;
    let [high, middle, low] = length;
    let body_start = MARK_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize;
    let header = frame.get(MARK_BYTES..body_start)?;
    let is_success = encoding == JSON && header.starts_with(b"{\"code\":0,");
    if !is_success {
        return None;
    }
    // It stands behind the fields, so the search begins at the end. Within a text the quotes would
    // be escaped, which makes this unmistakable.
    let opaque = number(after_last(header, b"\"opaque\":")?)?;
    let has_body = frame.len() > body_start;
    let next = has_body.then(|| after_last(header, b"\"nextBeginOffset\":\""));
    Some(Scanned {
        opaque: i32::try_from(opaque).ok()?,
        next_begin_offset: next.flatten().and_then(number),
        body_start,
    })
}

fn after_last<'a, const N: usize>(text: &'a [u8], mark: &[u8; N]) -> Option<&'a [u8]> {
    let at = text.windows(N).rposition(|window| window == mark)?;
    text.get(at + N..)
}

fn number(text: &[u8]) -> Option<i64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut read = 0_i64;
    let mut count = 0;
    for digit in digits {
        read = read.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        count += 1;
    }
    (count > 0).then_some(read)
}

#[cfg(test)]
mod tests {
    use thrustmq_proto_compat::command::{Command, Encoding};
    use thrustmq_proto_compat::header::PullMessageResponseHeader;

    use super::*;

    fn pulled() -> Command {
        let header = PullMessageResponseHeader {
            next_begin_offset: 77,
            ..PullMessageResponseHeader::default()
        };
        let mut command = Command::answer(ResponseCode::SUCCESS).with_header(&header);
        command.opaque = 1_000_000_005;
        command.with_body(b"records".to_vec())
    }

    fn frame_of(command: &Command) -> Bytes {
        frame::encode(command).unwrap().slice(4..)
    }

    fn expected() -> Answer {
        Answer {
            opaque: 1_000_000_005,
            code: ResponseCode::SUCCESS,
            next_begin_offset: Some(77),
            remark: String::new(),
            body: Bytes::from_static(b"records"),
        }
    }

    #[test]
    fn json_is_scanned_and_says_what_decoding_says() {
        let frame = frame_of(&pulled());
        assert!(scan(&frame).is_some());
        assert_eq!(Answer::read(frame.clone()), Ok(expected()));
        assert_eq!(Answer::decode(frame), Ok(expected()));
    }

    #[test]
    fn java_s_order_is_scanned_and_other_orders_are_decoded() {
        let java = r#"{"code":0,"extFields":{"queueId":"1","msgId":"7F"},"flag":1,"language":"JAVA","opaque":12,"serializeTypeCurrentRPC":"JSON","version":493}"#;
        let other = r#"{ "opaque": 12, "flag":1, "code":0 }"#;
        for (text, is_scanned) in [(java, true), (other, false)] {
            let mark = (text.len() as u32).to_be_bytes();
            let frame = Bytes::from([&mark[..], text.as_bytes()].concat());
            assert_eq!(scan(&frame).is_some(), is_scanned, "{text}");
            let answer = Answer::read(frame).unwrap();
            assert_eq!((answer.opaque, answer.code), (12, ResponseCode::SUCCESS));
        }
    }

    #[test]
    fn binary_headers_are_understood() {
        let mut command = pulled();
        command.encoding = Encoding::Binary;
        assert_eq!(Answer::read(frame_of(&command)), Ok(expected()));
    }

    #[test]
    fn refusals_keep_their_text_and_nothing_in_it_is_taken_for_the_opaque() {
        let remark = r#"later, "opaque":9"#;
        let mut command = Command::answer(ResponseCode::SYSTEM_BUSY).with_remark(remark);
        command.opaque = 3;
        let answer = Answer::read(frame_of(&command)).unwrap();
        assert_eq!((answer.opaque, answer.remark.as_str()), (3, remark));
        assert_eq!(answer.code, ResponseCode::SYSTEM_BUSY);
        command.code = 0;
        let scanned = Answer::read(frame_of(&command)).unwrap();
        assert_eq!(scanned.opaque, 3);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let frame = frame_of(&pulled());
        for length in 0..frame.len() - "records".len() {
            assert!(Answer::read(frame.slice(..length)).is_err(), "{length}");
        }
    }
}
