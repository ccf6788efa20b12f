//! One connection under load, without remoting's client: many requests in a write, many answers in
//! a read, and as many in flight as was asked for.
//!
//! A request's opaque names its slot, and an answer frees it. Slots are filled again once a quarter
//! of them is free, so that a write is worth its system call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::BytesMut;
use thrustmq_proto_compat::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{self, Instant};

use super::answer::Answer;
use super::measured::Measured;
use super::requests::{Counted, Requests};
use super::template::OPAQUE_FIRST;
use super::{MEASURING, OVER};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection with a failure waits so long, lest failures be the load.
const FAILURE_DELAY: Duration = Duration::from_millis(10);
/// Room for what is read at once.
const READ_BYTES: usize = 256 * 1024;
/// No more requests are added to a write that has so much.
const WRITE_BYTES: usize = 1024 * 1024;

/// The share of the slots that is free when they are filled again.
const FILL_SHARE: usize = 4;

/// Opens a connection to a broker.
pub(super) async fn open(address: &str) -> anyhow::Result<TcpStream> {
    let connecting = time::timeout(CALL_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connecting
        .map_err(io::Error::from)
        .flatten()
        .with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The load of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    requests: Requests,
    phase: Arc<AtomicU8>,
    /// When the request of a slot was sent; `None` is free.
    sent: Vec<Option<Instant>>,
    free: Vec<u16>,
    outgoing: BytesMut,
    received: BytesMut,
    measured: Measured,
}

impl Connection {
    pub(super) fn new(
        address: String,
        in_flight: u16,
        requests: Requests,
        phase: Arc<AtomicU8>,
    ) -> Self {
        Self {
            address,
            requests,
            phase,
            sent: vec![None; usize::from(in_flight)],
            free: Vec::with_capacity(usize::from(in_flight)),
            outgoing: BytesMut::new(),
            received: BytesMut::new(),
            measured: Measured::new(),
        }
    }

    /// Loads the broker until the run is over. A connection that breaks is a failure, and the next
    /// one is opened.
    pub(super) async fn run(mut self, stream: TcpStream) -> Measured {
        let mut stream = Ok(stream);
        while let Err(cause) = self.drive(stream).await {
            self.measured.fail(format!("{cause:#}"));
            time::sleep(FAILURE_DELAY).await;
            if self.is_over() {
                break;
            }
            stream = open(&self.address).await;
        }
        self.measured
    }

    fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OVER
    }

    /// Until the run is over and everything is answered.
    async fn drive(&mut self, stream: anyhow::Result<TcpStream>) -> anyhow::Result<()> {
        let mut stream = stream?;
        self.outgoing.clear();
        self.received.clear();
        self.free.clear();
        self.free
            .extend((0..self.sent.len()).map(|slot| slot as u16));
        self.sent.fill(None);
        let mut now = Instant::now();
        loop {
            if !self.is_over() {
                self.fill(now);
            } else if self.free.len() == self.sent.len() {
                return Ok(());
            }
            let exchange = self.exchange(&mut stream);
            let exchanged = time::timeout(CALL_TIMEOUT, exchange).await;
            exchanged.with_context(|| format!("no answer in {CALL_TIMEOUT:?}"))??;
            now = Instant::now();
            if self.take(now)? {
                time::sleep(FAILURE_DELAY).await;
                now = Instant::now();
            }
        }
    }

    /// Adds requests, if it is time for a write.
    fn fill(&mut self, now: Instant) {
        let worth_writing = (self.sent.len() / FILL_SHARE).max(1);
        if !self.outgoing.is_empty() || self.free.len() < worth_writing {
            return;
        }
        self.outgoing.clear();
        self.requests.begin();
        while self.outgoing.len() < WRITE_BYTES {
            let Some(slot) = self.free.pop() else {
                break;
            };
            self.requests.append(slot, &mut self.outgoing);
            if let Some(sent) = self.sent.get_mut(usize::from(slot)) {
                *sent = Some(now);
            }
        }
    }

    /// Writes what is to be written or reads what came, whichever is possible first: a broker whose
    /// answers are not read may stop reading.
    async fn exchange(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let (mut reading, mut writing) = stream.split();
        self.received.reserve(READ_BYTES);
        let read_bytes = if self.outgoing.is_empty() {
            reading.read_buf(&mut self.received).await?
        } else {
            tokio::select! {
                biased;
                written = writing.write_buf(&mut self.outgoing) => return written.map(drop),
                read = reading.read_buf(&mut self.received) => read?,
            }
        };
        if read_bytes == 0 {
            return Err(io::Error::other("the broker closed the connection"));
        }
        Ok(())
    }

    /// Counts the answers that are whole; says whether one is a failure.
    fn take(&mut self, now: Instant) -> anyhow::Result<bool> {
        let is_measuring = self.phase.load(Ordering::Relaxed) == MEASURING;
        let mut has_failed = false;
        while let Some(frame) = frame::split(&mut self.received)? {
            let answer = Answer::read(frame)?;
            let slot = u16::try_from(answer.opaque.wrapping_sub(OPAQUE_FIRST)).unwrap_or(u16::MAX);
            let sent = self.sent.get_mut(usize::from(slot));
            let Some(sent) = sent.and_then(Option::take) else {
                bail!("an answer to no request: opaque {}", answer.opaque);
            };
            self.free.push(slot);
            match self.requests.count(slot, &answer) {
                Counted::Failure(why) => {
                    has_failed = true;
                    self.measured.fail(why);
                }
                Counted::Messages(messages) if is_measuring => {
                    self.measured.count(messages, now.duration_since(sent));
                }
                Counted::Messages(_) => {}
            }
        }
        Ok(has_failed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use thrustmq_proto_compat::clock::Clock;
    use thrustmq_proto_compat::command::Command;
    use thrustmq_proto_compat::message::id::UniqueKeys;
    use thrustmq_proto_compat::response_code::ResponseCode;
    use tokio::net::TcpListener;

    use super::super::send::SendRequests;
    use super::super::target::TargetQueue;
    use super::*;

    const IN_FLIGHT: u16 = 8;

    fn sends() -> Requests {
        let queue = TargetQueue {
            queue: thrustmq_client::MessageQueue::default(),
            offset_min: 0,
            offset_max: 0,
        };
        let clock = Clock::system();
        let keys = UniqueKeys::new(Ipv4Addr::LOCALHOST.into(), 1, 1, clock.clone());
        Requests::Send(SendRequests::new(&[queue], 10, 1, &keys, clock).unwrap())
    }

    async fn next_request(stream: &mut TcpStream, received: &mut BytesMut) -> Option<Command> {
        loop {
            if let Some(frame) = frame::split(received).unwrap() {
                return Some(frame::decode(frame).unwrap());
            }
            if stream.read_buf(received).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Closes the first connection; on the second refuses the first request, takes the others, and
    /// ends the run at the hundredth. Says how many it answered.
    async fn broker(listener: TcpListener, phase: Arc<AtomicU8>) -> u16 {
        let (mut first, _) = listener.accept().await.unwrap();
        next_request(&mut first, &mut BytesMut::new()).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        let mut received = BytesMut::new();
        let mut answered = 0;
        while let Some(request) = next_request(&mut second, &mut received).await {
            let mut answer = Command::answer(match answered {
                0 => ResponseCode::SYSTEM_BUSY,
                _ => ResponseCode::SUCCESS,
            });
            answer.opaque = request.opaque;
            answered += 1;
            if answered == 100 {
                phase.store(OVER, Ordering::Relaxed);
            }
            for piece in frame::encode(&answer).unwrap().chunks(50) {
                second.write_all(piece).await.unwrap();
            }
        }
        answered
    }

    #[tokio::test]
    async fn failures_are_counted_and_the_load_goes_on_until_all_is_answered() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let phase = Arc::new(AtomicU8::new(MEASURING));
        let stream = open(&address).await.unwrap();
        let connection = Connection::new(address, IN_FLIGHT, sends(), phase.clone());
        let broker = tokio::spawn(broker(listener, phase));
        let measured = connection.run(stream).await;
        let answered = broker.await.unwrap();
        assert_eq!(measured.failures, 2, "{:?}", measured.first_failure);
        // Answers that come once it is over do not count.
        let in_flight = u64::from(IN_FLIGHT);
        assert!(
            (99 - in_flight..=99).contains(&measured.messages),
            "{}",
            measured.messages
        );
        assert!((100..=100 + IN_FLIGHT).contains(&answered), "{answered}");
    }
}
