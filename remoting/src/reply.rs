//! What a handler gets, what it gives back, and the one way to answer a request.

use std::fmt;

use thrustmq_proto_compat::command::{Body, Command, Encoding};
use thrustmq_proto_compat::field::{ExtFields, FieldText};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::SentHeader;

use crate::budget::HeldBytes;
use crate::hooks::{Hooks, RequestInfo};
use crate::outbox::PushError;
use crate::peer::Peer;
use crate::refusal::Refusal;

/// A request as its handler sees it.
#[derive(Debug)]
pub struct Incoming<H> {
    /// The typed header.
    pub header: H,
    /// The command itself: all fields, body, version, language.
    pub command: Command,
    /// Who asks.
    pub peer: Peer,
    /// When it was read from the socket, in milliseconds since 1970.
    pub received_ms: i64,
}

/// What a handler gives back.
pub type Handled<R> = Result<Reply<R>, Refusal>;

/// An answer before it is encoded.
#[derive(Debug, Clone)]
pub struct Reply<H> {
    /// SUCCESS, or a code that says what came of it.
    pub code: ResponseCode,
    /// Text for people, if there is any.
    pub remark: Option<String>,
    /// The typed header.
    pub header: H,
    /// The bytes after the header.
    pub body: Body,
    /// Fields beyond those of the typed header.
    pub fields: ExtFields,
}

impl<H> Reply<H> {
    /// SUCCESS with this header.
    pub fn ok(header: H) -> Self {
        Self {
            code: ResponseCode::SUCCESS,
            remark: None,
            header,
            body: Body::Empty,
            fields: ExtFields::new(),
        }
    }

    /// With this code.
    pub fn with_code(mut self, code: ResponseCode) -> Self {
        self.code = code;
        self
    }

    /// With this remark.
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// With this body.
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// With another header.
    pub fn map_header<R>(self, map: impl FnOnce(H) -> R) -> Reply<R> {
        Reply {
            code: self.code,
            remark: self.remark,
            header: map(self.header),
            body: self.body,
            fields: self.fields,
        }
    }

    /// With one more field beside the typed header.
    pub fn with_field<T: FieldText>(mut self, key: &'static str, value: &T) -> Self {
        self.fields.push(key, value);
        self
    }
}

impl Reply<()> {
    /// SUCCESS with nothing else.
    pub fn success() -> Self {
        Self::ok(())
    }

    /// A refusal that tells more than its code and remark.
    pub fn refused(refusal: Refusal) -> Self {
        Self::success()
            .with_code(refusal.code)
            .with_remark(refusal.remark)
    }
}

/// Bit 0 of the flag; a command relayed from elsewhere may come without it.
const ANSWER_FLAG: i32 = 1;

impl<H> Reply<H> {
    /// The answer without the fields of the header.
    fn into_parts(self) -> (Command, H) {
        let mut answer = Command::answer(self.code);
        answer.fields = self.fields;
        answer.remark = self.remark;
        answer.body = self.body;
        (answer, self.header)
    }
}

/// The one right, and duty, to answer a request. It may be kept and used from any thread. Dropped
/// without an answer it answers SYSTEM_ERROR, so that no peer waits in vain; that is a bug and is
/// logged as one. For a oneway request nothing is sent.
pub struct Responder {
    peer: Peer,
    request: RequestInfo,
    encoding: Encoding,
    hooks: Hooks,
    is_used: bool,
    /// What the request takes of its pool's budget until it has been answered.
    held: Option<HeldBytes>,
}

impl Responder {
    /// For a request that was just read; `hooks` are set once a thread handles it, for what is
    /// answered before passes no hooks.
    pub(crate) fn new(peer: &Peer, request: &Command) -> Self {
        peer.request_begun();
        Self {
            peer: peer.clone(),
            request: RequestInfo::of(request),
            encoding: request.encoding,
            hooks: Hooks::default(),
            is_used: false,
            held: None,
        }
    }

    /// Keeps what the request takes of its pool's budget.
    pub(crate) fn hold(&mut self, bytes: Option<HeldBytes>) {
        self.held = bytes;
    }

    pub(crate) fn use_hooks(&mut self, hooks: &Hooks) {
        self.hooks = hooks.clone();
    }

    /// Who asked.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether nobody waits for the answer.
    pub fn is_oneway(&self) -> bool {
        self.request.oneway
    }

    /// What was asked.
    pub fn request(&self) -> &RequestInfo {
        &self.request
    }

    /// Answers.
    pub fn send<H: SentHeader>(mut self, handled: Result<Reply<H>, Refusal>) {
        let reply = match handled {
            Ok(reply) => reply,
            Err(refusal) => return self.refuse(refusal),
        };
        let (mut answer, header) = reply.into_parts();
        if self.hooks.is_empty() {
            return self.answer_past_hooks(answer, &header);
        }
        header.encode(&mut answer.fields);
        self.answer(answer);
    }

    /// Answers with a refusal.
    pub fn refuse(self, refusal: Refusal) {
        self.raw(Command::answer(refusal.code).with_remark(refusal.remark));
    }

    /// Answers with this command, as one that another server gave. Its number and encoding become
    /// those of the request.
    pub fn raw(mut self, answer: Command) {
        self.answer(answer);
    }

    fn answer(&mut self, mut answer: Command) {
        let remote = self.peer.remote_addr();
        self.hooks.after(remote, &self.request, &mut answer);
        self.answer_past_hooks(answer, &());
    }

    fn answer_past_hooks(&mut self, mut answer: Command, header: &impl SentHeader) {
        self.is_used = true;
        answer.opaque = self.request.opaque;
        // Java answers in its own process's encoding; whoever asks in one surely reads it.
        answer.encoding = self.encoding;
        answer.flag |= ANSWER_FLAG;
        if !self.request.oneway {
            self.push(&answer, header);
        }
    }

    fn push(&self, answer: &Command, header: &impl SentHeader) {
        match self.peer.outbox().push_answer(answer, header) {
            Ok(()) => {}
            // An answer to who is gone is no news; the connection's end has its own line.
            Err(PushError::Closed | PushError::Full | PushError::TooManyOneways) => {}
            Err(PushError::Frame(error)) => self.push_unsendable(&error),
        }
    }

    fn push_unsendable(&self, error: &dyn fmt::Display) {
        tracing::error!(peer = %self.peer, code = self.request.code, %error, "answer does not fit a frame");
        let remark = format!("the answer can't be sent: {error}");
        let mut refusal = Command::answer(ResponseCode::SYSTEM_ERROR).with_remark(remark);
        refusal.opaque = self.request.opaque;
        // A short remark always fits, and if the peer is gone nobody misses it.
        let _ = self.peer.outbox().push_answer(&refusal, &());
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.is_used {
            let code = self.request.code;
            // The worker that catches a panic logs it.
            if !std::thread::panicking() {
                tracing::error!(peer = %self.peer, code, "request dropped without an answer");
            }
            let remark = format!("the handler of request type {code} failed, see the server's log");
            // Past the hooks: one of them may be what panicked.
            let answer = Command::answer(ResponseCode::SYSTEM_ERROR).with_remark(remark);
            self.answer_past_hooks(answer, &());
        }
        self.peer.request_ended();
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("peer", &self.peer)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
