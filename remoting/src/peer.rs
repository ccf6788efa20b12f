//! The handle of one connection: who is at the other end, and calls to it.
//!
//! The connection's task owns the socket; a `Peer` only puts frames in the outbox and waits in the
//! table of pending calls.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use thrustmq_proto_compat::command::Command;
use tokio::sync::oneshot;

use crate::callbacks::{Callback, Callbacks, Outcome};
use crate::error::CallError;
use crate::hooks::{Hooks, RequestInfo};
use crate::options::ConnectionLimits;
use crate::outbox::{Closing, Outbox, PushError};
use crate::pending::{Done, Pending};

/// One connection, whichever side made it. Cheap to clone; equal if it is the same connection.
#[derive(Clone)]
pub struct Peer {
    link: Arc<Link>,
}

struct Link {
    id: u64,
    remote: SocketAddr,
    local: SocketAddr,
    open: AtomicBool,
    /// Set by every read and write, cleared by the idle sweep.
    active: AtomicBool,
    /// Times that anything was read.
    reads: AtomicU64,
    /// Requests of the peer that were neither answered nor dropped.
    unanswered: AtomicUsize,
    /// Requests of the peer that stand in line for a pool's thread, or that one is handling.
    in_line: AtomicUsize,
    outbox: Arc<Outbox>,
    pending: Pending,
    hooks: Hooks,
}

/// Addresses of both ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Connections are numbered through the whole process: listeners key their tables by the number.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Peer {
    pub(crate) fn new(
        ends: Ends,
        limits: &ConnectionLimits,
        hooks: Hooks,
        callbacks: Arc<Callbacks>,
    ) -> Self {
        let outbox = Outbox::new(limits.outbox_bytes_max, limits.oneway_calls_max);
        Self {
            link: Arc::new(Link {
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                remote: ends.remote,
                local: ends.local,
                open: AtomicBool::new(true),
                active: AtomicBool::new(true),
                reads: AtomicU64::new(0),
                unanswered: AtomicUsize::new(0),
                in_line: AtomicUsize::new(0),
                outbox: Arc::new(outbox),
                pending: Pending::new(limits.async_calls_max, callbacks),
                hooks,
            }),
        }
    }

    /// Number of the connection, unique in this process and never used again.
    pub fn id(&self) -> u64 {
        self.link.id
    }

    /// The other end's address.
    pub fn remote_addr(&self) -> SocketAddr {
        self.link.remote
    }

    /// Our end's address.
    pub fn local_addr(&self) -> SocketAddr {
        self.link.local
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_open(&self) -> bool {
        self.link.open.load(Ordering::Acquire)
    }

    /// Closes the connection. What waits to be sent goes out only as far as the socket takes it at
    /// once; calls that wait for an answer end with [`CallError::Closed`]. `why` is for the log.
    pub fn close(&self, why: &'static str) {
        self.link.outbox.request_close(Closing::Now(why));
    }

    /// Sends a request and waits for its answer, of whatever code. May be called from any task.
    pub async fn call(
        &self,
        mut request: Command,
        timeout: Duration,
    ) -> Result<Command, CallError> {
        self.exchange(&mut request, timeout).await
    }

    /// As [`Peer::call`]; the caller keeps the request and may repeat it.
    pub(crate) async fn exchange(&self, request: &mut Command, timeout: Duration) -> Outcome {
        self.before(request)?;
        let (tell, told) = oneshot::channel();
        let begun = self.link.pending.begin(Done::Future(tell), timeout);
        request.opaque = begun.map_err(|(error, _)| error)?;
        // A caller that stops waiting, for whatever reason, leaves nothing behind.
        let _entry = Entry {
            peer: self,
            opaque: request.opaque,
        };
        self.push_request(request)?;
        let mut answer = match tokio::time::timeout(timeout, told).await {
            Ok(Ok(outcome)) => outcome?,
            Ok(Err(_)) => return Err(CallError::Closed),
            Err(_) => return Err(self.timed_out(timeout)),
        };
        self.after(&RequestInfo::of(request), &mut answer);
        Ok(answer)
    }

    /// Sends a request; `done` gets the answer, or why there is none, on a callback thread. May be
    /// called from any thread. The time is watched once a second.
    pub fn call_then(
        &self,
        mut request: Command,
        timeout: Duration,
        done: impl FnOnce(Result<Command, CallError>) + Send + 'static,
    ) {
        if let Err(error) = self.before(&mut request) {
            return self.refuse_call(Box::new(done), error);
        }
        let info = RequestInfo::of(&request);
        let callback = self.callback_after_hooks(info, done);
        match self.link.pending.begin(Done::Callback(callback), timeout) {
            Ok(opaque) => {
                request.opaque = opaque;
                if let Err(error) = self.push_request(&request) {
                    self.link.pending.fail(opaque, error);
                }
            }
            Err((error, Done::Callback(callback))) => self.refuse_call(callback, error),
            Err((_, Done::Future(_))) => {}
        }
    }

    /// Sends a request that gets no answer. `Ok` means that it waits to be written.
    pub fn oneway(&self, mut request: Command) -> Result<(), CallError> {
        request.mark_oneway();
        self.before(&mut request)?;
        request.opaque = self.link.pending.next_opaque();
        self.push_request(&request)
    }

    fn before(&self, request: &mut Command) -> Result<(), CallError> {
        let checked = self.link.hooks.before(self.link.remote, request);
        checked.map_err(CallError::Refused)
    }

    fn after(&self, info: &RequestInfo, answer: &mut Command) {
        self.link.hooks.after(self.link.remote, info, answer);
    }

    fn callback_after_hooks(
        &self,
        info: RequestInfo,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Callback {
        if self.link.hooks.is_empty() {
            return Box::new(done);
        }
        let peer = self.clone();
        Box::new(move |mut outcome| {
            if let Ok(answer) = &mut outcome {
                peer.after(&info, answer);
            }
            done(outcome);
        })
    }

    fn refuse_call(&self, callback: Callback, error: CallError) {
        self.link.pending.call_back(callback, Err(error));
    }

    fn push_request(&self, request: &Command) -> Result<(), CallError> {
        let outbox = &self.link.outbox;
        outbox.push_request(request).map_err(|error| match error {
            PushError::Closed => CallError::Closed,
            PushError::Full => CallError::OutboxFull,
            PushError::TooManyOneways => CallError::TooManyInFlight {
                limit: outbox.oneways_max(),
            },
            PushError::Frame(error) => CallError::Frame(error),
        })
    }

    pub(crate) fn timed_out(&self, timeout: Duration) -> CallError {
        CallError::Timeout {
            addr: self.link.remote.to_string(),
            ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What the connection's task, the sweep and the responders see of it.
impl Peer {
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.link.outbox
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.link.pending
    }

    pub(crate) fn note_read(&self) {
        self.note_active();
        self.link.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_active(&self) {
        self.link.active.store(true, Ordering::Relaxed);
    }

    /// Whether anything was read or written since the last time this was asked.
    pub(crate) fn take_active(&self) -> bool {
        let is_written = self.link.outbox.take_is_written();
        self.link.active.swap(false, Ordering::Relaxed) || is_written
    }

    /// Times that anything was read: a peer whose number stands still is silent.
    pub(crate) fn reads(&self) -> u64 {
        self.link.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn request_begun(&self) {
        self.link.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_ended(&self) {
        self.link.unanswered.fetch_sub(1, Ordering::Release);
    }

    /// Requests of this peer that are being handled, parked or queued.
    pub(crate) fn unanswered(&self) -> usize {
        self.link.unanswered.load(Ordering::Acquire)
    }

    /// Whether requests of this peer have yet to run that others must not overtake.
    pub(crate) fn is_in_line(&self) -> bool {
        self.link.in_line.load(Ordering::Acquire) > 0
    }

    /// The connection's task has ended: ends every call.
    pub(crate) fn finish(&self) {
        self.link.open.store(false, Ordering::Release);
        self.link.outbox.finish();
        self.link.pending.close();
    }
}

/// A request's place in the line of those of its peer, until it ran.
pub(crate) struct InLine(Peer);

impl InLine {
    pub(crate) fn behind(peer: &Peer) -> Self {
        peer.link.in_line.fetch_add(1, Ordering::Relaxed);
        Self(peer.clone())
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.0.link.in_line.fetch_sub(1, Ordering::Release);
    }
}

/// A call's entry in the table, for as long as its future lives.
struct Entry<'a> {
    peer: &'a Peer,
    opaque: i32,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.peer.link.pending.forget(self.opaque);
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.link.id == other.link.id
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.link.id.hash(state);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.link.id)
            .field("remote", &self.link.remote)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.link.remote, f)
    }
}
