//! Connections that we make: one an address, made when it is first needed.
//!
//! Invariant: at most one attempt an address is under way; everybody who needs it waits for the same.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::CommandSpec;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::callbacks::{Callback, Finished, Outcome};
use crate::connection;
use crate::endpoint::{Endpoint, EndpointParts, Side};
use crate::error::CallError;
use crate::events::ConnectionEvents;
use crate::options::ClientOptions;
use crate::peer::{Ends, Peer};
use crate::pending::deadline_after;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::routes::Routes;
use crate::socket::Socket;
#[cfg(feature = "tls")]
use crate::tls::{self, TlsSocket};

/// Calls servers, and answers what they ask on the same connections. Cheap to clone; with the last
/// clone go its connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: ClientOptions,
    /// Watches the connections until shutdown.
    sweep: AbortHandle,
    endpoint: Arc<Endpoint>,
    runtime: Handle,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_addr: HashMap<String, Slot>,
    is_shut: bool,
}

enum Slot {
    Connected(Peer),
    Connecting(Attempt),
}

type Attempt = watch::Receiver<Option<Result<Peer, CallError>>>;

/// Which of the two sendings that GO_AWAY allows a call is in.
#[derive(Clone, Copy, PartialEq)]
enum Sending {
    First,
    Second,
}

impl Client {
    /// A client without connections. Must be called on a tokio runtime, on which its connections
    /// then live. `routes` serve what servers ask of us.
    pub fn new(
        options: ClientOptions,
        routes: Option<Arc<Routes>>,
        events: Option<Arc<dyn ConnectionEvents>>,
        clock: Clock,
    ) -> Self {
        let endpoint = Endpoint::new(EndpointParts {
            side: Side::Client,
            limits: (&options).into(),
            hooks: options.hooks.clone(),
            routes,
            events,
            clock,
        });
        // It also ends by itself once the endpoint is gone.
        let sweep = endpoint.start_sweep();
        Self {
            inner: Arc::new(Inner {
                options,
                sweep: sweep.abort_handle(),
                endpoint,
                runtime: Handle::current(),
                slots: Mutex::default(),
            }),
        }
    }

    /// The connection to `addr` (`host:port`), made if there is none.
    pub async fn connect(&self, addr: &str) -> Result<Peer, CallError> {
        let mut attempt = match self.find_or_start(addr)? {
            Slot::Connected(peer) => return Ok(peer),
            Slot::Connecting(attempt) => attempt,
        };
        match attempt.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Err(CallError::Closed)),
            Err(_) => Err(CallError::Closed),
        }
    }

    /// Sends a request to `addr` and waits for its answer, of whatever code but GO_AWAY: then the
    /// request is repeated once, on a new connection.
    pub async fn call(
        &self,
        addr: &str,
        mut request: Command,
        timeout: Duration,
    ) -> Result<Command, CallError> {
        let deadline = deadline_after(timeout);
        for _ in [Sending::First, Sending::Second] {
            let peer = match self.find_or_start(addr)? {
                Slot::Connected(peer) => peer,
                // Boxed: nearly every call finds a connection, and its future is the smaller for it.
                Slot::Connecting(_) => {
                    let connecting = tokio::time::timeout_at(deadline, self.connect(addr));
                    match Box::pin(connecting).await {
                        Ok(connected) => connected?,
                        Err(_) => return Err(timed_out(addr, timeout)),
                    }
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = match self.exchange(addr, &peer, &mut request, left).await {
                Err(CallError::Timeout { .. }) => return Err(timed_out(addr, timeout)),
                outcome => outcome?,
            };
            if answer.response_code() != ResponseCode::GO_AWAY {
                return Ok(answer);
            }
            self.retire(addr, &peer);
        }
        Err(CallError::GoAway)
    }

    /// As [`Client::call`] with a callback, which runs on a callback thread. May be called from any
    /// thread.
    pub fn call_then(
        &self,
        addr: &str,
        request: Command,
        timeout: Duration,
        done: impl FnOnce(Result<Command, CallError>) + Send + 'static,
    ) {
        let call = Call {
            addr: addr.to_owned(),
            request,
            timeout,
            done: Box::new(done),
        };
        self.start(call, Sending::First);
    }

    /// Sends a request that gets no answer, once there is a connection.
    pub async fn oneway(&self, addr: &str, request: Command) -> Result<(), CallError> {
        self.connect(addr).await?.oneway(request)
    }

    /// Calls command `C`. Any code but SUCCESS is [`CallError::Refused`].
    pub async fn call_as<C: CommandSpec>(
        &self,
        addr: &str,
        header: &C::Request,
        body: impl Into<Body>,
        timeout: Duration,
    ) -> Result<Reply<C::Response>, CallError> {
        let request = Command::request::<C>(header).with_body(body);
        let answer = self.call(addr, request, timeout).await?;
        if answer.response_code() != ResponseCode::SUCCESS {
            let remark = answer.remark.clone().unwrap_or_default();
            return Err(CallError::Refused(Refusal::new(
                answer.response_code(),
                remark,
            )));
        }
        Ok(Reply {
            code: answer.response_code(),
            header: answer.header()?,
            remark: answer.remark,
            body: answer.body,
            fields: answer.fields,
        })
    }

    /// Closes every connection. Calls under way end with [`CallError::Closed`], and so does every
    /// later one.
    pub async fn shutdown(&self) {
        self.refuse_connecting();
        self.inner.endpoint.close_connections().await;
        self.inner.sweep.abort();
    }

    /// Calls once. A peer that sent nothing at all while we waited is taken for dead and its
    /// connection closed, so that the next call makes a new one; Java closes it after almost every
    /// timeout, and fails the other calls on it.
    async fn exchange(
        &self,
        addr: &str,
        peer: &Peer,
        request: &mut Command,
        timeout: Duration,
    ) -> Outcome {
        let reads_before = peer.reads();
        let outcome = peer.exchange(request, timeout).await;
        if matches!(outcome, Err(CallError::Timeout { .. })) && peer.reads() == reads_before {
            peer.close("silent through a call's whole time");
            // It closes in a moment; a call that came before that would fail.
            self.retire(addr, peer);
        }
        outcome
    }

    fn refuse_connecting(&self) {
        let mut slots = self.lock_slots();
        slots.is_shut = true;
        slots.by_addr.clear();
    }

    fn start(&self, call: Call, sending: Sending) {
        match self.find_or_start(&call.addr) {
            Ok(Slot::Connected(peer)) => self.send(peer, call, sending),
            Ok(Slot::Connecting(_)) => {
                let client = self.clone();
                self.inner.runtime.spawn(async move {
                    match client.connect(&call.addr).await {
                        Ok(peer) => client.send(peer, call, sending),
                        Err(error) => client.finish(call.done, Err(error)),
                    }
                });
            }
            Err(error) => self.finish(call.done, Err(error)),
        }
    }

    fn send(&self, peer: Peer, call: Call, sending: Sending) {
        let client = self.clone();
        // Two small copies: the body is shared.
        let request = call.request.clone();
        let timeout = call.timeout;
        let used = peer.clone();
        peer.call_then(request, timeout, move |outcome| {
            let goes_away = outcome
                .as_ref()
                .is_ok_and(|answer| answer.response_code() == ResponseCode::GO_AWAY);
            match (goes_away, sending) {
                (false, _) => (call.done)(outcome),
                (true, Sending::First) => {
                    client.retire(&call.addr, &used);
                    client.start(call, Sending::Second);
                }
                (true, Sending::Second) => (call.done)(Err(CallError::GoAway)),
            }
        });
    }

    fn finish(&self, callback: Callback, outcome: Outcome) {
        self.inner.endpoint.callbacks().run(Finished {
            callback,
            outcome,
            permit: None,
        });
    }

    /// The open connection to an address, or the attempt to make one, started if need be.
    fn find_or_start(&self, addr: &str) -> Result<Slot, CallError> {
        let mut slots = self.lock_slots();
        if slots.is_shut {
            return Err(CallError::Closed);
        }
        match slots.by_addr.get(addr) {
            Some(Slot::Connected(peer)) if peer.is_open() => {
                return Ok(Slot::Connected(peer.clone()));
            }
            Some(Slot::Connecting(attempt)) if attempt.borrow().is_none() => {
                return Ok(Slot::Connecting(attempt.clone()));
            }
            Some(_) | None => {}
        }
        slots.by_addr.retain(|_, slot| slot.is_live());
        let (tell, told) = watch::channel(None);
        let slot = Slot::Connecting(told.clone());
        slots.by_addr.insert(addr.to_owned(), slot);
        let client = self.clone();
        let addr = addr.to_owned();
        // A task of its own: the attempt goes on if the caller that started it goes away.
        self.inner.runtime.spawn(async move {
            let result = client.attempt(&addr).await;
            tell.send_replace(Some(result));
        });
        Ok(Slot::Connecting(told))
    }

    async fn attempt(&self, addr: &str) -> Result<Peer, CallError> {
        let connected = connect(addr, &self.inner.options).await;
        let (connected, ends) = connected.map_err(|cause| CallError::Connect {
            addr: addr.to_owned(),
            cause: cause.to_string(),
        })?;
        let mut slots = self.lock_slots();
        if slots.is_shut {
            return Err(CallError::Closed);
        }
        let endpoint = &self.inner.endpoint;
        let peer = match connected {
            Connected::Plain(stream) => connection::start(endpoint, stream, ends),
            #[cfg(feature = "tls")]
            Connected::Encrypted(stream) => connection::start(endpoint, *stream, ends),
        };
        let slot = Slot::Connected(peer.clone());
        slots.by_addr.insert(addr.to_owned(), slot);
        Ok(peer)
    }

    /// Lets the next call to `addr` make a new connection. The old one stays open for the answers
    /// that are still to come; the server closes it.
    fn retire(&self, addr: &str, peer: &Peer) {
        let mut slots = self.lock_slots();
        let is_current =
            matches!(slots.by_addr.get(addr), Some(Slot::Connected(current)) if current == peer);
        if is_current {
            slots.by_addr.remove(addr);
        }
    }

    fn lock_slots(&self) -> MutexGuard<'_, Slots> {
        self.inner
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call with a callback.
struct Call {
    addr: String,
    request: Command,
    timeout: Duration,
    done: Callback,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.endpoint.close_now("client dropped");
    }
}

impl Slot {
    fn is_live(&self) -> bool {
        match self {
            Self::Connected(peer) => peer.is_open(),
            Self::Connecting(attempt) => attempt.borrow().is_none(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connections", &self.inner.endpoint.connections())
            .finish_non_exhaustive()
    }
}

fn timed_out(addr: &str, timeout: Duration) -> CallError {
    CallError::Timeout {
        addr: addr.to_owned(),
        ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// A new connection. Its kind is a type of its own, so that plain ones pay nothing for the other.
enum Connected {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Encrypted(Box<TlsSocket>),
}

async fn connect(addr: &str, options: &ClientOptions) -> io::Result<(Connected, Ends)> {
    let deadline = deadline_after(Duration::from_millis(options.connect_timeout_ms));
    let stream = connect_any(addr, options, deadline).await?;
    let ends = Ends {
        remote: stream.peer_addr()?,
        local: stream.local_addr()?,
    };
    #[cfg(feature = "tls")]
    if let Some(tls) = &options.tls {
        let secured = tokio::time::timeout_at(deadline, tls::secure(tls, addr, stream)).await;
        let secured = secured.map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "the TLS handshake took too long: perhaps the server speaks no TLS",
            )
        })??;
        return Ok((Connected::Encrypted(Box::new(secured)), ends));
    }
    Ok((Connected::Plain(Socket::from(stream)), ends))
}

/// Tries the addresses that a name stands for, one after another. Each gets its share of the time
/// that is left, so that one which does not answer leaves some for the next.
async fn connect_any(
    addr: &str,
    options: &ClientOptions,
    deadline: Instant,
) -> io::Result<TcpStream> {
    let looked_up = tokio::time::timeout_at(deadline, tokio::net::lookup_host(addr)).await;
    let resolved: Vec<_> = looked_up
        .map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "the name was not looked up in time",
            )
        })??
        .collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = u32::try_from(resolved.len()).unwrap_or(u32::MAX);
    for address in resolved {
        let left = deadline.saturating_duration_since(Instant::now());
        let connecting = connect_one(address, options);
        match tokio::time::timeout(left / waiting.max(1), connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
        waiting = waiting.saturating_sub(1);
    }
    Err(failed)
}

async fn connect_one(addr: SocketAddr, options: &ClientOptions) -> io::Result<TcpStream> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
