//! Listens, and serves a table of routes on every connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::connection;
use crate::endpoint::{Endpoint, EndpointParts, Side};
use crate::events::ConnectionEvents;
use crate::io_threads::IoThreads;
use crate::options::ServerOptions;
use crate::peer::{Ends, Peer};
use crate::pending::deadline_after;
use crate::routes::{AdmittingPool, Routes};
use crate::socket::Socket;

/// How often a queue with a limit is looked at while something waits in it.
const OVERDUE_LOOK_EVERY: Duration = Duration::from_millis(10);
/// The longest time between two looks: a limit that is set while we run holds after it.
const OVERDUE_LOOK_EVERY_MAX: Duration = Duration::from_millis(100);
/// Pause after the system refused to accept: it has no more files or memory for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening server. Dropped without [`Server::shutdown`] it stops listening and closes its
/// connections at once.
pub struct Server {
    endpoint: Arc<Endpoint>,
    local_addr: SocketAddr,
    shutdown_wait: Duration,
    /// They last as long as the server.
    _threads: Arc<IoThreads>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    /// Listens and starts to serve. `events` hears of every connection.
    pub async fn bind(
        options: ServerOptions,
        routes: Arc<Routes>,
        events: Option<Arc<dyn ConnectionEvents>>,
        clock: Clock,
    ) -> io::Result<Self> {
        let listener = listen(&options)?;
        let local_addr = listener.local_addr()?;
        let endpoint = Endpoint::new(EndpointParts {
            side: Side::Server,
            limits: (&options).into(),
            hooks: options.hooks.clone(),
            routes: Some(Arc::clone(&routes)),
            events,
            clock,
        });
        let threads = Arc::new(IoThreads::start()?);
        let accepting = Accepting {
            listener,
            endpoint: Arc::clone(&endpoint),
            threads: Arc::clone(&threads),
            connections_max: options.connections_max,
            is_refusing: false,
        };
        let tasks = vec![
            tokio::spawn(accepting.run()),
            tokio::spawn(refuse_overdue(routes.pools())),
            endpoint.start_sweep(),
        ];
        Ok(Self {
            endpoint,
            local_addr,
            shutdown_wait: Duration::from_millis(options.shutdown_wait_ms),
            _threads: threads,
            tasks: Mutex::new(tasks),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.endpoint.connections()
    }

    /// The open connections.
    pub fn peers(&self) -> Vec<Peer> {
        self.endpoint.peers()
    }

    /// Stops accepting, answers GO_AWAY to new requests of peers that understand it, finishes what is
    /// in flight, and closes. The pools stay: they are their owner's. Parked requests count as in
    /// flight: their owner answers them, or they are waited for as long as the options allow.
    pub async fn shutdown(&self) {
        let deadline = deadline_after(self.shutdown_wait);
        let tasks = std::mem::take(&mut *self.lock_tasks());
        let mut others = tasks.into_iter();
        if let Some(accepting) = others.next() {
            accepting.abort();
            // The listening socket is closed when the task is gone.
            let _ = accepting.await;
        }
        self.endpoint.finish_requests(deadline).await;
        self.endpoint.close_connections().await;
        others.for_each(|task| task.abort());
    }

    fn lock_tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lock_tasks().iter().for_each(JoinHandle::abort);
        self.endpoint.close_now("server dropped");
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

fn listen(options: &ServerOptions) -> io::Result<TcpListener> {
    let socket = match options.listen {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // Accepted sockets take these sizes over, and only so does the receive window fit them.
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(options.listen)?;
    socket.listen(options.backlog)
}

struct Accepting {
    listener: TcpListener,
    endpoint: Arc<Endpoint>,
    threads: Arc<IoThreads>,
    connections_max: usize,
    /// Whether the last connection was refused, and so its line logged.
    is_refusing: bool,
}

impl Accepting {
    async fn run(mut self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, remote)) => self.accept(stream, remote),
                Err(error) => {
                    self.log_refusing(&error.to_string());
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, remote: SocketAddr) {
        if self.endpoint.connections() >= self.connections_max {
            let limit = self.connections_max;
            return self.log_refusing(&format!("{limit} connections are open"));
        }
        self.is_refusing = false;
        if let Err(error) = self.start(stream, remote) {
            // It was closed before we came to it.
            tracing::debug!(peer = %remote, %error, "connection lost at once");
        }
    }

    fn start(&self, stream: TcpStream, remote: SocketAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let stream = stream.into_std()?;
        let _on_its_thread = self.threads.next().enter();
        let socket = Socket::from(TcpStream::from_std(stream)?);
        connection::start(&self.endpoint, socket, Ends { remote, local });
        Ok(())
    }

    /// One line for a row of refused connections, however long.
    fn log_refusing(&mut self, cause: &str) {
        if !self.is_refusing {
            self.is_refusing = true;
            tracing::warn!(cause, "refusing connections");
        }
    }
}

/// Answers requests that wait too long in their pool's queue (02-remoting §2.14).
async fn refuse_overdue(pools: Vec<AdmittingPool>) {
    loop {
        let now = Instant::now();
        let pause = pools
            .iter()
            .filter_map(|admitting| {
                let admission = admitting.admission.as_deref();
                admitting.pool.refuse_overdue(now, admission)
            })
            .min();
        let pause = pause.unwrap_or(OVERDUE_LOOK_EVERY_MAX);
        tokio::time::sleep(pause.clamp(OVERDUE_LOOK_EVERY, OVERDUE_LOOK_EVERY_MAX)).await;
    }
}
