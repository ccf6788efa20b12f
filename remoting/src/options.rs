//! Every limit of a server, a client and a pool. The defaults are RocketMQ's where it has one
//! (02-remoting §2.11).

use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use tokio_rustls::rustls::pki_types::ServerName;

use crate::hooks::Hooks;

/// One frame of the greatest length: an answer of any size is accepted by an empty outbox.
const OUTBOX_BYTES_MAX: usize = 16 * 1024 * 1024;
const IDLE_MS_MAX: u64 = 120_000;

/// The limits of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Length of the queue of connections that the system holds until we accept them.
    pub backlog: u32,
    /// A connection on which nothing was read or written for so long is closed.
    pub idle_ms_max: u64,
    /// Calls to one peer under way at a time.
    pub async_calls_max: usize,
    /// Oneway requests to one peer that wait to be written.
    pub oneway_calls_max: usize,
    /// Connections at a time; further ones are closed as soon as they are accepted.
    pub connections_max: usize,
    /// Bytes that may wait to be sent to one peer before reading from it stops.
    pub outbox_bytes_max: usize,
    /// Size of each socket's send buffer; the system's default if `None`.
    pub send_buffer_bytes: Option<u32>,
    /// Size of each socket's receive buffer; the system's default if `None`.
    pub receive_buffer_bytes: Option<u32>,
    /// The longest time that shutdown waits for requests in flight.
    pub shutdown_wait_ms: u64,
    /// Hooks around the calls that this server makes to its peers. Those around what it answers are
    /// the routes'.
    pub hooks: Hooks,
}

impl ServerOptions {
    /// The defaults, listening at `listen`.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            backlog: 1024,
            idle_ms_max: IDLE_MS_MAX,
            async_calls_max: 64,
            oneway_calls_max: 256,
            connections_max: 65_536,
            outbox_bytes_max: OUTBOX_BYTES_MAX,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            shutdown_wait_ms: 30_000,
            hooks: Hooks::default(),
        }
    }
}

/// The limits of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The longest time that making a connection takes.
    pub connect_timeout_ms: u64,
    /// A connection on which nothing was read or written for so long is closed.
    pub idle_ms_max: u64,
    /// Calls on one connection under way at a time.
    pub async_calls_max: usize,
    /// Oneway requests on one connection that wait to be written.
    pub oneway_calls_max: usize,
    /// Bytes that may wait to be sent to one server before further requests to it fail.
    pub outbox_bytes_max: usize,
    /// Size of each socket's send buffer; the system's default if `None`.
    pub send_buffer_bytes: Option<u32>,
    /// Size of each socket's receive buffer; the system's default if `None`.
    pub receive_buffer_bytes: Option<u32>,
    /// Hooks around the calls of this client.
    pub hooks: Hooks,
    /// Encrypts every connection; plain ones if `None`.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsOptions>,
}

/// How a client encrypts its connections.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub struct TlsOptions {
    pub(crate) config: Arc<tokio_rustls::rustls::ClientConfig>,
    pub(crate) server_name: Option<ServerName<'static>>,
}

#[cfg(feature = "tls")]
impl TlsOptions {
    /// With rustls's configuration. A server's certificate must be for the host that was asked for,
    /// or for `server_name` if there is one.
    pub fn new(
        config: Arc<tokio_rustls::rustls::ClientConfig>,
        server_name: Option<ServerName<'static>>,
    ) -> Self {
        Self {
            config,
            server_name,
        }
    }
}

#[cfg(feature = "tls")]
impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 3_000,
            idle_ms_max: IDLE_MS_MAX,
            async_calls_max: 65_535,
            oneway_calls_max: 65_535,
            outbox_bytes_max: 4 * OUTBOX_BYTES_MAX,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            hooks: Hooks::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// The size of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolOptions {
    /// Name of its threads, to which their number is added.
    pub name: &'static str,
    /// How many threads; at least one is started.
    pub threads: usize,
    /// Requests that may wait for a thread.
    pub queue_capacity: usize,
    /// How many threads that read requests may handle them at a time, instead of queueing them; of them and the
    /// pool's own no more run at a time than the greater of both numbers. Only for handlers that never wait,
    /// for such a thread serves other connections as well. 0: none.
    pub lends: usize,
}

/// The limits of one connection, as server and client share them.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    pub(crate) idle_ms_max: u64,
    pub(crate) async_calls_max: usize,
    pub(crate) oneway_calls_max: usize,
    pub(crate) outbox_bytes_max: usize,
}

impl From<&ServerOptions> for ConnectionLimits {
    fn from(options: &ServerOptions) -> Self {
        Self {
            idle_ms_max: options.idle_ms_max,
            async_calls_max: options.async_calls_max,
            oneway_calls_max: options.oneway_calls_max,
            outbox_bytes_max: options.outbox_bytes_max,
        }
    }
}

impl From<&ClientOptions> for ConnectionLimits {
    fn from(options: &ClientOptions) -> Self {
        Self {
            idle_ms_max: options.idle_ms_max,
            async_calls_max: options.async_calls_max,
            oneway_calls_max: options.oneway_calls_max,
            outbox_bytes_max: options.outbox_bytes_max,
        }
    }
}
