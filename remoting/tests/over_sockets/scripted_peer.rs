//! The commands that the tests use, a server to try, and a peer that sends and expects frame by frame.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::{commands, frame, header};
use thrustmq_remoting::{
    Client, ClientOptions, Pool, PoolOptions, Routes, RoutesBuilder, Server, ServerOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::log;

/// Longer than anything here takes, shorter than a person waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

header! {
    /// One field that must be there, one that need not.
    PingHeader { text "text": String, times "times": Option<i32>, }
    /// What comes back.
    PongHeader { text "text": String, }
}
commands! {
    /// Answered at once.
    Ping "PING" = 100: PingHeader => PongHeader;
    /// Answered by whoever gets the responder.
    Park "PARK" = 101: PingHeader => PongHeader;
    /// Served by the other side of the connection.
    Back "BACK" = 102: PingHeader => PongHeader;
}

pub(crate) fn ping(text: &str) -> PingHeader {
    PingHeader {
        text: text.to_owned(),
        times: None,
    }
}

/// A PING with this opaque.
pub(crate) fn ping_command(opaque: i32) -> Command {
    let mut command = Command::request::<Ping>(&ping("hello"));
    command.opaque = opaque;
    command
}

pub(crate) fn pool(name: &'static str, threads: usize, queue_capacity: usize) -> Arc<Pool> {
    log::keep();
    Pool::new(PoolOptions {
        name,
        threads,
        queue_capacity,
        lends: 0,
    })
}

pub(crate) fn stateless() -> RoutesBuilder<()> {
    Routes::builder(Arc::new(()))
}

/// Routes that answer PING with its own text and body.
pub(crate) fn echo_routes(pool: &Arc<Pool>) -> Arc<Routes> {
    stateless()
        .on::<Ping>(pool, |(), incoming| Ok(echo(incoming)))
        .build()
}

pub(crate) fn echo(
    incoming: thrustmq_remoting::Incoming<PingHeader>,
) -> thrustmq_remoting::Reply<PongHeader> {
    let text = incoming.header.text;
    thrustmq_remoting::Reply::ok(PongHeader { text }).with_body(incoming.command.body)
}

pub(crate) fn local_options() -> ServerOptions {
    ServerOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)))
}

pub(crate) async fn serve(routes: Arc<Routes>) -> Server {
    serve_with(local_options(), routes).await
}

pub(crate) async fn serve_with(options: ServerOptions, routes: Arc<Routes>) -> Server {
    let bound = Server::bind(options, routes, None, Clock::system()).await;
    bound.unwrap()
}

pub(crate) fn client() -> Client {
    Client::new(ClientOptions::default(), None, None, Clock::system())
}

/// A gate that handlers wait at: each `open` lets one pass.
pub(crate) struct Gate {
    open: Sender<()>,
    opened: std::sync::Mutex<Receiver<()>>,
    waiting: AtomicUsize,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        let (open, opened) = channel();
        Arc::new(Self {
            open,
            opened: std::sync::Mutex::new(opened),
            waiting: AtomicUsize::new(0),
        })
    }

    pub(crate) fn open(&self) {
        self.open.send(()).unwrap();
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let opened = self.opened.lock().unwrap();
        opened.recv_timeout(PATIENCE).unwrap();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until `is_so`, and fails the test if it does not come to be.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come to be that {what}");
}

/// One end of a connection, without anything that the crate under test does.
pub(crate) struct ScriptedPeer {
    stream: TcpStream,
    received: BytesMut,
}

impl ScriptedPeer {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        Self::over(stream)
    }

    /// From an address that no other test uses, so that the log can be told apart.
    pub(crate) async fn connect_from(own: [u8; 4], addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((own, 0))).unwrap();
        Self::over(socket.connect(addr).await.unwrap())
    }

    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        Self::over(accepted.unwrap().unwrap().0)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    pub(crate) async fn send(&mut self, command: &Command) {
        self.send_bytes(&frame::encode(command).unwrap()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends as much as goes without waiting longer than `wait`; returns how much went.
    pub(crate) async fn send_until_stuck(&mut self, bytes: &Bytes, wait: Duration) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            let write = self.stream.write(&bytes[sent..]);
            match tokio::time::timeout(wait, write).await {
                Ok(written) => sent += written.unwrap(),
                Err(_) => break,
            }
        }
        sent
    }

    /// The next command.
    pub(crate) async fn expect(&mut self) -> Command {
        loop {
            if let Some(frame) = frame::split(&mut self.received).unwrap() {
                return frame::decode(frame).unwrap();
            }
            let read = self.stream.read_buf(&mut self.received);
            let read = tokio::time::timeout(PATIENCE, read).await;
            let count = read.expect("a frame should have come").unwrap();
            assert_ne!(count, 0, "the connection closed where a frame was expected");
        }
    }

    /// The other end closes, after whatever it still sends.
    pub(crate) async fn expect_close(&mut self) {
        loop {
            let read = self.stream.read_buf(&mut self.received);
            let read = tokio::time::timeout(PATIENCE, read).await;
            match read.expect("the connection should have been closed") {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Nothing comes for a while.
    pub(crate) async fn expect_silence(&mut self) {
        let read = self.stream.read_buf(&mut self.received);
        let read = tokio::time::timeout(Duration::from_millis(100), read).await;
        assert!(read.is_err(), "something came: {read:?}");
    }

    /// Answers a request with success.
    pub(crate) async fn answer(&mut self, request: &Command, code: i32) {
        let mut answer = Command::answer(thrustmq_proto_compat::response_code::ResponseCode(code));
        answer.opaque = request.opaque;
        answer.fields.set("text", "scripted");
        self.send(&answer).await;
    }
}
