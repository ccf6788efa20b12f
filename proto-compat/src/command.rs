//! One request or answer: a header and a body.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use crate::field::{ExtFields, HeaderError};
use crate::response_code::ResponseCode;
use crate::table::{CommandSpec, Header, SentHeader};

/// The version our servers and clients report: 5.5.0, in Java's numbering.
pub const CURRENT_VERSION: i32 = 513;

const RESPONSE_FLAG: i32 = 1;
const ONEWAY_FLAG: i32 = 2;

/// The two encodings of a header. The number is the frame's type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// A flat JSON object.
    #[default]
    Json = 0,
    /// RocketMQ's own binary form.
    Binary = 1,
}

macro_rules! languages {
    ($($name:ident $text:literal = $code:literal),* $(,)?) => {
        /// The language that a peer says it is written in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Language { $(#[doc = concat!("`", $text, "`, code ", $code)] $name = $code),* }

        impl Language {
            /// The name in JSON headers and bodies.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// By name; one that we do not know is `Other`.
            pub fn from_name(name: &str) -> Self {
                match name { $($text => Self::$name,)* _ => Self::Other }
            }

            /// By the code of the binary encoding; one that we do not know is `Other`.
            pub fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Other }
            }
        }
    };
}
languages! {
    Java "JAVA" = 0, Cpp "CPP" = 1, Dotnet "DOTNET" = 2, Python "PYTHON" = 3, Delphi "DELPHI" = 4,
    Erlang "ERLANG" = 5, Ruby "RUBY" = 6, Other "OTHER" = 7, Http "HTTP" = 8, Go "GO" = 9,
    Php "PHP" = 10, Oms "OMS" = 11, Rust "RUST" = 12, NodeJs "NODE_JS" = 13,
}

/// The bytes after the header, in one piece or in several that are written one after another, so that
/// an answer can carry records straight from the log.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// One piece, as everything that is received.
    One(Bytes),
    /// Several pieces.
    Many(Vec<Bytes>),
}

impl Body {
    /// Bytes in all pieces.
    pub fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All in one piece; copies only if there are several.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes.clone(),
            Self::Many(pieces) => {
                let mut whole = BytesMut::with_capacity(self.len());
                pieces
                    .iter()
                    .for_each(|piece| whole.extend_from_slice(piece));
                whole.freeze()
            }
        }
    }

    /// The same for who only reads it.
    pub fn in_one_piece(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Empty => Cow::Borrowed(&[]),
            Self::One(bytes) => Cow::Borrowed(bytes),
            Self::Many(_) => Cow::Owned(self.to_bytes().into()),
        }
    }

    /// The pieces in order.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        let (one, many) = match self {
            Self::Empty => (None, Vec::new()),
            Self::One(bytes) => (Some(bytes), Vec::new()),
            Self::Many(pieces) => (None, pieces),
        };
        one.into_iter().chain(many)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::One(bytes)
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

/// A request or an answer, as it travels in one frame.
#[derive(Debug, Clone)]
pub struct Command {
    /// Request code, or response code in an answer.
    pub code: i32,
    /// What the sender is written in.
    pub language: Language,
    /// The sender's version in Java's numbering.
    pub version: i32,
    /// Number of the request on its connection; the answer repeats it.
    pub opaque: i32,
    /// Bit 0: answer; bit 1: oneway.
    pub flag: i32,
    /// Text for people, mostly with errors.
    pub remark: Option<String>,
    /// The typed header's fields, and what hooks added.
    pub fields: ExtFields,
    /// The bytes after the header.
    pub body: Body,
    /// How the header was, or will be, encoded.
    pub encoding: Encoding,
}

impl Command {
    /// A command of this process with neither fields nor body; `opaque` is given when it is sent.
    pub fn new(code: i32) -> Self {
        Self {
            code,
            language: Language::Rust,
            version: CURRENT_VERSION,
            opaque: 0,
            flag: 0,
            remark: None,
            fields: ExtFields::new(),
            body: Body::Empty,
            encoding: Encoding::Json,
        }
    }

    /// A request of command `C`.
    pub fn request<C: CommandSpec>(header: &C::Request) -> Self {
        Self::new(C::CODE).with_header(header)
    }

    /// An answer; the reply layer gives it its request's `opaque`.
    pub fn answer(code: ResponseCode) -> Self {
        let mut answer = Self::new(code.0);
        answer.flag = RESPONSE_FLAG;
        answer
    }

    /// With the typed header's fields added.
    pub fn with_header(mut self, header: &impl SentHeader) -> Self {
        header.encode(&mut self.fields);
        self
    }

    /// With this body.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// With this remark.
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// Reads the typed header.
    pub fn header<H: Header>(&self) -> Result<H, HeaderError> {
        H::decode(&self.fields)
    }

    /// The code as an answer's.
    pub fn response_code(&self) -> ResponseCode {
        ResponseCode(self.code)
    }

    /// Whether this answers a request.
    pub fn is_answer(&self) -> bool {
        self.flag & RESPONSE_FLAG != 0
    }

    /// Whether nobody waits for an answer to this request.
    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY_FLAG != 0
    }

    /// Marks a request that wants no answer.
    pub fn mark_oneway(&mut self) {
        self.flag |= ONEWAY_FLAG;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::GetMaxOffsetResponseHeader;

    #[test]
    fn languages_are_known_by_name_and_by_code() {
        assert_eq!(Language::from_name("NODE_JS"), Language::NodeJs);
        assert_eq!(Language::from_name("COBOL"), Language::Other);
        for code in 0..=13 {
            let language = Language::from_code(code);
            assert_eq!(language as u8, code);
            assert_eq!(Language::from_name(language.name()), language);
        }
        assert_eq!(Language::from_code(14), Language::Other);
    }

    #[test]
    fn an_answer_is_marked_and_carries_its_header() {
        let answer = Command::answer(ResponseCode::SUCCESS)
            .with_header(&GetMaxOffsetResponseHeader { offset: 7 });
        assert!(answer.is_answer() && !answer.is_oneway());
        assert_eq!(answer.fields.get("offset"), Some("7"));
        assert_eq!(
            answer
                .header::<GetMaxOffsetResponseHeader>()
                .unwrap()
                .offset,
            7
        );
        let mut request = Command::new(10);
        request.mark_oneway();
        assert!(request.is_oneway() && !request.is_answer());
    }

    #[test]
    fn bodies_join_only_when_they_must() {
        let one = Bytes::from_static(b"one");
        let whole = Body::from(one.clone());
        assert_eq!(whole.to_bytes().as_ptr(), one.as_ptr());
        let many = Body::Many(vec![one, Bytes::from_static(b"two")]);
        assert_eq!(
            (many.len(), many.to_bytes()),
            (6, Bytes::from_static(b"onetwo"))
        );
        assert_eq!(many.into_pieces().count(), 2);
        assert!(Body::from(Bytes::new()).is_empty());
    }
}
