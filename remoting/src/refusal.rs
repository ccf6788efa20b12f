//! An answer that says no: the only way in which a handler fails.

use std::fmt;

use thrustmq_proto_compat::field::HeaderError;
use thrustmq_proto_compat::response_code::ResponseCode;

use crate::pool::PoolFull;

/// A code and a remark for the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Anything but SUCCESS.
    pub code: ResponseCode,
    /// What the peer's operator reads; it says what to do.
    pub remark: String,
}

impl Refusal {
    /// A refusal with this code and remark.
    pub fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self {
            code,
            remark: remark.into(),
        }
    }

    /// Nothing here serves this request code: code 3, with Java's leading space.
    pub(crate) fn not_supported(code: i32) -> Self {
        let remark = format!(" request type {code} not supported");
        Self::new(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark)
    }

    /// There is no room for the request; `cause` names what is full, with figures.
    pub fn overload(cause: impl fmt::Display) -> Self {
        Self::busy(format!(
            "[OVERLOAD]system busy, start flow control for a while, {cause}"
        ))
    }

    /// The pool takes no requests at the moment; `cause` names what is saturated, with figures.
    pub(crate) fn rejected(cause: &str) -> Self {
        Self::busy(format!(
            "[REJECTREQUEST]system busy, start flow control for a while, {cause}"
        ))
    }

    /// The server has more work than it may queue: code 2.
    pub(crate) fn busy(remark: impl Into<String>) -> Self {
        Self::new(ResponseCode::SYSTEM_BUSY, remark)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code.0, self.code.name(), self.remark)
    }
}

impl std::error::Error for Refusal {}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        Self::new(ResponseCode::SYSTEM_ERROR, error.to_string())
    }
}

impl From<PoolFull> for Refusal {
    fn from(full: PoolFull) -> Self {
        Self::overload(full)
    }
}
