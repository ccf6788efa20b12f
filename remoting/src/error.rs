//! How a call to a peer can fail.

use thrustmq_proto_compat::field::HeaderError;
use thrustmq_proto_compat::frame::FrameError;

use crate::refusal::Refusal;

/// Why a call has no answer that its caller can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection could be made.
    #[error("connect to {addr} failed: {cause}")]
    Connect {
        /// The address that was asked for.
        addr: String,
        /// What the system said.
        cause: String,
    },
    /// The connection closed before the answer came, or was closed already.
    #[error("the connection is closed")]
    Closed,
    /// No answer within the caller's time.
    #[error("no answer from {addr} within {ms} ms")]
    Timeout {
        /// The peer's address.
        addr: String,
        /// The time that the caller gave, in milliseconds.
        ms: u64,
    },
    /// As many calls of this kind as the options allow are under way on this connection.
    #[error("{limit} calls are in flight already")]
    TooManyInFlight {
        /// The limit in the options.
        limit: usize,
    },
    /// The peer does not read: what waits to be sent to it has reached its limit.
    #[error("the peer does not read what was sent to it before")]
    OutboxFull,
    /// The request does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The server is shutting down, and so is what answered at its address on the second attempt.
    #[error("the server is going away")]
    GoAway,
    /// The peer answered with a code other than SUCCESS, or a hook stopped the request.
    #[error(transparent)]
    Refused(Refusal),
    /// The answer's fields are not those of its command.
    #[error("malformed answer: {0}")]
    Header(#[from] HeaderError),
}
