//! Reads as little of an answer as a load needs. An answer of success in JSON is only searched for
//! its code and opaque; all others are decoded whole.

use bytes::Bytes;
use memchr::memmem;
use thrustmq_proto_compat::field::ExtFields;
use thrustmq_proto_compat::frame::{self, FrameError};
use thrustmq_proto_compat::response_code::ResponseCode;

const MARK_BYTES: usize = 4;
const JSON: u8 = 0;

/// An answer, as far as a load looks at it. It lies where it was received.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) opaque: i32,
    pub(super) code: ResponseCode,
    /// Empty with success.
    pub(super) remark: String,
    fields: Fields<'a>,
    pub(super) body: &'a [u8],
}

#[derive(Debug)]
enum Fields<'a> {
    /// A header in JSON that was only searched.
    Scanned(&'a [u8]),
    Decoded(ExtFields),
}

impl<'a> Answer<'a> {
    /// Reads a frame without its length field.
    pub(super) fn read(frame: &'a [u8]) -> Result<Self, FrameError> {
        match scan(frame) {
            Some(answer) => Ok(answer),
            None => Self::decode(frame),
        }
    }

    fn decode(frame: &'a [u8]) -> Result<Self, FrameError> {
        let command = frame::decode(Bytes::copy_from_slice(frame))?;
        let body_start = frame.len().saturating_sub(command.body.len());
        Ok(Self {
            opaque: command.opaque,
            code: command.response_code(),
            remark: command.remark.unwrap_or_default(),
            fields: Fields::Decoded(command.fields),
            body: frame.get(body_start..).unwrap_or_default(),
        })
    }

    /// A field of the header that is a number, with the marks of its place in JSON: `"name":"`.
    pub(super) fn number(&self, mark: &str) -> Option<i64> {
        match &self.fields {
            Fields::Scanned(header) => number(after(header, mark.as_bytes())?),
            Fields::Decoded(fields) => fields.get(name(mark)).and_then(|text| text.parse().ok()),
        }
    }

    /// A field of the header that is text without anything escaped.
    pub(super) fn text(&self, mark: &str) -> Option<&str> {
        match &self.fields {
            Fields::Scanned(header) => {
                let text = after(header, mark.as_bytes())?;
                let end = memchr::memchr(b'"', text)?;
                str::from_utf8(text.get(..end)?).ok()
            }
            Fields::Decoded(fields) => fields.get(name(mark)),
        }
    }
}

fn name(mark: &str) -> &str {
    mark.trim_matches([':', '"'])
}

/// `None`: no success, or not written as all known brokers write it.
fn scan(frame: &[u8]) -> Option<Answer<'_>> {
    let [encoding, length @ ..] = *frame.first_chunk::<MARK_BYTES>()?;
    let [high, middle, low] = length;
    let body_start = MARK_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize;
    let header = frame.get(MARK_BYTES..body_start)?;
    let is_success = encoding == JSON && header.starts_with(b"{\"code\":0,");
    if !is_success {
        return None;
    }
    // Within a text the quotes would be escaped, which makes this unmistakable.
    let opaque = number(after(header, b"\"opaque\":")?)?;
    Some(Answer {
        opaque: i32::try_from(opaque).ok()?,
        code: ResponseCode::SUCCESS,
        remark: String::new(),
        fields: Fields::Scanned(header),
        body: frame.get(body_start..)?,
    })
}

fn after<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find(text, mark)?;
    text.get(at + mark.len()..)
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

    const NEXT: &str = "\"nextBeginOffset\":\"";

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

    fn assert_pulled(answer: &Answer<'_>) {
        assert_eq!(
            (answer.opaque, answer.code),
            (1_000_000_005, ResponseCode::SUCCESS)
        );
        assert_eq!(
            (answer.number(NEXT), answer.text(NEXT)),
            (Some(77), Some("77"))
        );
        assert_eq!((answer.remark.as_str(), answer.body), ("", &b"records"[..]));
        assert_eq!(answer.number("\"missing\":\""), None);
    }

    #[test]
    fn json_is_scanned_and_says_what_decoding_says() {
        let frame = frame_of(&pulled());
        assert_pulled(&scan(&frame).unwrap());
        assert_pulled(&Answer::decode(&frame).unwrap());
    }

    #[test]
    fn java_s_order_is_scanned_and_other_orders_are_decoded() {
        let java = r#"{"code":0,"extFields":{"queueId":"1","msgId":"7F"},"flag":1,"language":"JAVA","opaque":12,"serializeTypeCurrentRPC":"JSON","version":493}"#;
        let other = r#"{ "opaque": 12, "flag":1, "code":0 }"#;
        for (text, is_scanned) in [(java, true), (other, false)] {
            let mark = (text.len() as u32).to_be_bytes();
            let frame = [&mark[..], text.as_bytes()].concat();
            assert_eq!(scan(&frame).is_some(), is_scanned, "{text}");
            let answer = Answer::read(&frame).unwrap();
            assert_eq!((answer.opaque, answer.code), (12, ResponseCode::SUCCESS));
        }
    }

    #[test]
    fn binary_headers_are_understood() {
        let mut command = pulled();
        command.encoding = Encoding::Binary;
        assert_pulled(&Answer::read(&frame_of(&command)).unwrap());
    }

    #[test]
    fn refusals_keep_their_text_and_nothing_in_it_is_taken_for_the_opaque() {
        let remark = r#"later, "opaque":9"#;
        let mut command = Command::answer(ResponseCode::SYSTEM_BUSY).with_remark(remark);
        command.opaque = 3;
        let frame = frame_of(&command);
        let answer = Answer::read(&frame).unwrap();
        assert_eq!((answer.opaque, answer.remark.as_str()), (3, remark));
        assert_eq!(answer.code, ResponseCode::SYSTEM_BUSY);
        command.code = 0;
        assert_eq!(Answer::read(&frame_of(&command)).unwrap().opaque, 3);
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let frame = frame_of(&pulled());
        for length in 0..frame.len() - "records".len() {
            assert!(Answer::read(&frame[..length]).is_err(), "{length}");
        }
    }
}
