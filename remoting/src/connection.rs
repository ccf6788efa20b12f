//! The task of one connection: it owns the socket, reads frames and hands them on, and writes what
//! the outbox holds.
//!
//! One task does both, in turns: while it writes, requests pile up and are then read at once, and a
//! peer that doesn't read its answers is, by the same turn, not read from. It never waits for a pool
//! or a lock that is held long.

use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::frame::{self, FrameError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::callbacks::Finished;
use crate::endpoint::Endpoint;
use crate::events::ConnectionEvent;
use crate::outbox::{Closing, DirectWrite, Taken};
use crate::peer::{Ends, Peer};
use crate::pool::{Job, Pool, QueuedRequest, Request};
use crate::reply::Responder;
use crate::routes::Route;

const READ_BYTES_MIN: usize = 8 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// With less room than this a read is not worth its system call.
const READ_ROOM_BYTES_MIN: usize = 4 * 1024;
/// What a connection without a buffer reads at first, into the thread's stack: the heads of requests,
/// and heartbeats, are about as long.
const FIRST_READ_BYTES: usize = 512;
/// Reads in one turn before the other tasks of the thread get theirs.
const READS_PER_TURN: usize = 8;
/// Fewer calls under way are written as they come.
const CALLS_TOGETHER_MIN: usize = 8;
/// Pieces in one write call; the system takes 1024, more than 64 bring nothing.
const SLICES_PER_WRITE: usize = 64;

/// A socket, or what stands for one in tests.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The way to write from other threads, if there is one.
    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        None
    }
}

/// Starts the task of a new connection.
pub(crate) fn start(endpoint: &Arc<Endpoint>, stream: impl Stream, ends: Ends) -> Peer {
    let peer = endpoint.enter(ends);
    if let Some(socket) = stream.direct() {
        peer.outbox().write_to(socket);
    }
    let connection = Connection {
        stream,
        endpoint: Arc::clone(endpoint),
        peer: peer.clone(),
        received: BytesMut::new(),
        read_bytes: READ_BYTES_MIN,
        writing: Batch::default(),
        requests: Requests::default(),
        finished: Vec::new(),
        has_let: false,
    };
    tokio::spawn(connection.run());
    peer
}

struct Connection<S> {
    stream: S,
    endpoint: Arc<Endpoint>,
    peer: Peer,
    received: BytesMut,
    /// How much room the next read gets; it grows with what comes.
    read_bytes: usize,
    writing: Batch,
    requests: Requests,
    /// Callbacks of the answers of one read.
    finished: Vec<Finished>,
    /// The last turn was left to the tasks that write.
    has_let: bool,
}

/// What became of the frames that waited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    All,
    /// The socket takes no more now.
    Some,
    /// A thread is writing.
    ByThread,
}

/// Why a connection ended.
enum End {
    ByPeer,
    ByUs(&'static str),
    Idle,
    Failed(io::Error),
    NoFrame(FrameError),
}

impl<S: Stream> Connection<S> {
    async fn run(mut self) {
        let end = poll_fn(|cx| self.turn(cx)).await;
        let peer = &self.peer;
        match end {
            End::ByPeer => tracing::debug!(%peer, "connection closed by the peer"),
            End::ByUs(why) => tracing::debug!(%peer, why, "connection closed"),
            End::Idle => {
                tracing::debug!(%peer, "connection closed: idle");
                self.endpoint
                    .tell(ConnectionEvent::Idle { peer: peer.clone() });
            }
            End::Failed(error) => {
                tracing::info!(%peer, %error, "connection failed");
                self.tell_exception(error.to_string());
            }
            End::NoFrame(error) => {
                tracing::warn!(%peer, %error, "connection closed: what came is no frame");
                self.tell_exception(error.to_string());
            }
        }
        // Dropping it closes the socket and ends everything that waits for it.
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.lets_others_write(cx) {
            return Poll::Pending;
        }
        for _ in 0..READS_PER_TURN {
            let written = match self.write_waiting(cx) {
                Ok(written) => written,
                Err(error) => return Poll::Ready(End::Failed(error)),
            };
            match self.peer.outbox().closing() {
                Closing::Now(why) => return Poll::Ready(End::ByUs(why)),
                Closing::Idle => return Poll::Ready(End::Idle),
                Closing::Drained(why) if written == Written::All => {
                    return Poll::Ready(End::ByUs(why));
                }
                Closing::No | Closing::Drained(_) | Closing::Done => {}
            }
            if written == Written::Some && self.peer.outbox().is_over_limit(self.writing.len()) {
                return Poll::Pending;
            }
            if self.peer.outbox().take_quiet() {
                self.give_back_buffers();
            }
            match ready!(self.read(cx)) {
                Ok(0) => return Poll::Ready(End::ByPeer),
                Ok(_) => {}
                Err(error) => return Poll::Ready(End::Failed(error)),
            }
            if let Err(error) = self.handle_received() {
                return Poll::Ready(End::NoFrame(error));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// While many calls are under way, the tasks that make them are about to add to what is written: they come
    /// first, once, so that frames go out together.
    fn lets_others_write(&mut self, cx: &mut Context<'_>) -> bool {
        let lets = !self.has_let && self.peer.pending().in_flight() >= CALLS_TOGETHER_MIN;
        self.has_let = lets;
        if lets {
            cx.waker().wake_by_ref();
        }
        lets
    }

    /// Writes until nothing waits or the socket takes no more.
    fn write_waiting(&mut self, cx: &mut Context<'_>) -> io::Result<Written> {
        loop {
            while !self.writing.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
                let count = self.writing.fill(&mut slices);
                let stream = Pin::new(&mut self.stream);
                match stream.poll_write_vectored(cx, &slices[..count]) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(written) => self.writing.advance(written?),
                    Poll::Pending => return Ok(Written::Some),
                }
                self.peer.note_active();
            }
            match self.peer.outbox().take(&mut self.writing, cx) {
                Taken::Frames => {}
                Taken::Nothing => return self.flush(cx),
                Taken::ByThread => return Ok(Written::ByThread),
            }
        }
    }

    /// Lets nothing stay in an encrypted stream's own buffer; a plain one has none.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Written> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => flushed.map(|()| Written::All),
            Poll::Pending => Ok(Written::Some),
        }
    }

    /// Thousands of connections that were busy once must not hold what they needed then.
    fn give_back_buffers(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
        if self.writing.is_empty() {
            self.writing = Batch::default();
        }
        self.requests = Requests::default();
        self.finished = Vec::new();
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() == 0 {
            return self.read_first(cx);
        }
        self.make_room();
        let room = self.received.capacity() - self.received.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.received)).poll(cx))?;
        self.peer.note_read();
        if read == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(read))
    }

    /// Takes room only once something has come: thousands of connections wait for that without a
    /// buffer each.
    fn read_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; FIRST_READ_BYTES];
        let mut first = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut first))?;
        let read = first.filled();
        self.received.reserve(self.read_bytes.max(read.len()));
        self.received.extend_from_slice(read);
        self.peer.note_read();
        Poll::Ready(Ok(read.len()))
    }

    fn make_room(&mut self) {
        let room = self.received.capacity() - self.received.len();
        // A long frame got its room when its length was seen; more would move what came of it.
        let is_long_frame = self.received.len() > READ_BYTES_MAX && room > 0;
        if room < READ_ROOM_BYTES_MIN && !is_long_frame {
            self.received.reserve(self.read_bytes);
        }
    }

    /// Hands on every whole frame that was received.
    fn handle_received(&mut self) -> Result<(), FrameError> {
        let handled = self.handle_frames();
        self.requests.submit(&self.peer);
        self.peer.pending().call_back_all(&mut self.finished);
        handled
    }

    fn handle_frames(&mut self) -> Result<(), FrameError> {
        let mut stamp = None;
        while let Some(frame) = frame::split(&mut self.received)? {
            let frame_bytes = frame.len();
            let command = frame::decode(frame)?;
            if command.is_answer() {
                self.handle_answer(command);
            } else {
                let stamp = stamp.get_or_insert_with(|| Stamp::now(&self.endpoint));
                self.handle_request(command, frame_bytes, stamp);
            }
        }
        Ok(())
    }

    fn handle_answer(&mut self, answer: Command) {
        let (code, opaque) = (answer.code, answer.opaque);
        if !self.peer.pending().complete(answer, &mut self.finished) {
            tracing::debug!(peer = %self.peer, code, opaque, "answer to no call, or too late");
        }
    }

    fn handle_request(&mut self, command: Command, frame_bytes: usize, stamp: &Stamp) {
        let mut responder = Responder::new(&self.peer, &command);
        let admitted = self.endpoint.admit(&command).and_then(|route| {
            responder.hold(route.pool.take_bytes(frame_bytes)?);
            Ok(route)
        });
        match admitted {
            Ok(route) => {
                let received_ms = stamp.received_ms;
                let job = Job::Request(QueuedRequest {
                    handling: Arc::clone(&route.handling),
                    request: Request {
                        command,
                        received_ms,
                    },
                    responder,
                    queued_at: stamp.queued_at,
                    in_line: None,
                });
                self.requests.add(&self.peer, route, job);
            }
            Err(refusal) => {
                tracing::debug!(peer = %self.peer, %refusal, code = command.code, "request refused");
                responder.refuse(refusal);
            }
        }
    }

    fn tell_exception(&self, error: String) {
        let peer = self.peer.clone();
        self.endpoint
            .tell(ConnectionEvent::Exception { peer, error });
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.endpoint.leave(&self.peer);
    }
}

/// When a batch of requests was read: the clocks are asked once for all of them.
struct Stamp {
    received_ms: i64,
    queued_at: Instant,
}

impl Stamp {
    fn now(endpoint: &Endpoint) -> Self {
        Self {
            received_ms: endpoint.now_ms(),
            queued_at: Instant::now(),
        }
    }
}

/// The requests of one read on their way to a pool: neighbours for one pool are queued together.
#[derive(Default)]
struct Requests {
    pool: Option<Arc<Pool>>,
    jobs: Vec<Job>,
}

impl Requests {
    fn add(&mut self, peer: &Peer, route: &Route, job: Job) {
        let is_same = self
            .pool
            .as_ref()
            .is_some_and(|pool| Arc::ptr_eq(pool, &route.pool));
        if !is_same {
            self.submit(peer);
            self.pool = Some(Arc::clone(&route.pool));
        }
        self.jobs.push(job);
    }

    fn submit(&mut self, peer: &Peer) {
        if let Some(pool) = &self.pool
            && !self.jobs.is_empty()
        {
            pool.submit(peer, &mut self.jobs);
        }
    }
}

#[cfg(test)]
mod tests;
