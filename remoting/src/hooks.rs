//! What runs before a request and after its answer, on the side that asks and on the side that
//! answers: signatures, permissions, traces.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use thrustmq_proto_compat::command::{Command, Language};

use crate::refusal::Refusal;

/// What is known of a request when its answer passes the hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestInfo {
    /// The request code.
    pub code: i32,
    /// Its number on its connection.
    pub opaque: i32,
    /// The version of who asked.
    pub version: i32,
    /// The language of who asked.
    pub language: Language,
    /// Whether nobody waits for the answer.
    pub oneway: bool,
}

impl RequestInfo {
    pub(crate) fn of(request: &Command) -> Self {
        Self {
            code: request.code,
            opaque: request.opaque,
            version: request.version,
            language: request.language,
            oneway: request.is_oneway(),
        }
    }
}

/// Runs around each request. On the answering side it runs on the pool's thread, on the asking side
/// on the caller's; it must not block.
pub trait RpcHook: Send + Sync {
    /// Before the request is handled (answering side) or sent (asking side). An error stops it: the
    /// peer, or the caller, gets the refusal.
    fn before(&self, remote_addr: SocketAddr, request: &mut Command) -> Result<(), Refusal> {
        let _ = (remote_addr, request);
        Ok(())
    }

    /// Before the answer is sent (answering side), or given to the caller (asking side).
    fn after(&self, remote_addr: SocketAddr, request: &RequestInfo, response: &mut Command) {
        let _ = (remote_addr, request, response);
    }
}

/// Hooks in the order in which they run; none by default.
#[derive(Clone, Default)]
pub struct Hooks {
    // None when there are none: so a request without hooks costs a comparison.
    hooks: Option<Arc<[Arc<dyn RpcHook>]>>,
}

impl Hooks {
    /// These hooks, first to last.
    pub fn new(hooks: Vec<Arc<dyn RpcHook>>) -> Self {
        Self {
            hooks: (!hooks.is_empty()).then(|| hooks.into()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hooks.is_none()
    }

    pub(crate) fn before(&self, remote: SocketAddr, request: &mut Command) -> Result<(), Refusal> {
        let Some(hooks) = &self.hooks else {
            return Ok(());
        };
        hooks.iter().try_for_each(|h| h.before(remote, request))
    }

    pub(crate) fn after(&self, remote: SocketAddr, request: &RequestInfo, answer: &mut Command) {
        let Some(hooks) = &self.hooks else {
            return;
        };
        hooks.iter().for_each(|h| h.after(remote, request, answer));
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.hooks.as_ref().map_or(0, |hooks| hooks.len());
        f.debug_struct("Hooks").field("count", &count).finish()
    }
}
