//! One connection under load, without remoting's client: many requests in a write, many answers in
//! a read, and as many in flight as was asked for. A connection is a thread that blocks: with one
//! request in flight nothing wakes faster, and with many there is little to wait for.
//!
//! A request's opaque names its slot, and an answer frees it. Slots are filled again once a quarter
//! of them is free, so that a write is worth its system call; at a rate, as soon as a request is due.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::thread::set_current_timer_slack;
use tokio::time::Instant;

use super::answer::Answer;
use super::inbox::Inbox;
use super::measured::Measured;
use super::pace::{Due, Pace};
use super::requests::{Counted, Requests};
use super::template::OPAQUE_FIRST;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection with a failure waits so long, lest failures be the load.
const FAILURE_DELAY: Duration = Duration::from_millis(10);
/// No more requests are added to a write that has so much.
const WRITE_BYTES: usize = 1024 * 1024;
/// The share of the slots that is free when they are filled again.
const FILL_SHARE: usize = 4;
/// So often what was measured is told.
const TELL_INTERVAL: Duration = Duration::from_millis(250);

/// Opens a connection to a broker.
pub(super) fn open(address: &str) -> anyhow::Result<TcpStream> {
    let connect = || {
        let found = address.to_socket_addrs()?.next();
        let found = found.ok_or_else(|| io::Error::other("no such host"))?;
        let stream = TcpStream::connect_timeout(&found, CALL_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CALL_TIMEOUT))?;
        stream.set_write_timeout(Some(CALL_TIMEOUT))?;
        Ok::<_, io::Error>(stream)
    };
    connect().with_context(|| format!("connect to {address}"))
}

/// The load of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    requests: Requests,
    pace: Pace,
    /// The request in each slot; `None` is free.
    sent: Vec<Option<Due>>,
    free: Vec<u16>,
    /// Slots for which there is no request any more.
    retired: usize,
    /// Slots whose second request is to be sent, which counts from when the first was answered.
    following: Vec<(u16, Due)>,
    outgoing: Vec<u8>,
    written: usize,
    inbox: Inbox,
    measured: Measured,
    told: Instant,
}

/// Takes what a connection measured since the last time.
pub(super) type Tell<'a> = &'a dyn Fn(Measured);

impl Connection {
    pub(super) fn new(address: String, in_flight: u16, requests: Requests, pace: Pace) -> Self {
        Self {
            address,
            requests,
            pace,
            sent: vec![None; usize::from(in_flight)],
            free: Vec::with_capacity(usize::from(in_flight)),
            retired: 0,
            following: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            inbox: Inbox::new(),
            measured: Measured::new(),
            told: Instant::now(),
        }
    }

    /// Loads the broker until the run is over. A connection that breaks is a failure, and the next one
    /// is opened.
    pub(super) fn run(mut self, stream: TcpStream, tell: Tell<'_>) {
        if self.pace.is_open() {
            // Else the kernel may wake us 50 µs late. Where it can not be set, that counts.
            let _ = set_current_timer_slack(std::num::NonZero::new(1));
        }
        let mut stream = Ok(stream);
        while let Err(cause) = self.drive(stream, tell) {
            let lost = self.sent.iter().flatten().count() as u64;
            self.requests.lose(lost, &mut self.measured);
            self.measured.fail("connection", format!("{cause:#}"));
            thread::sleep(FAILURE_DELAY);
            if self.is_over(Instant::now()) {
                break;
            }
            stream = open(&self.address);
        }
        tell(self.measured);
    }

    fn is_over(&mut self, now: Instant) -> bool {
        let unsent = self.pace.give_up(now);
        if unsent > 0 {
            let why = "due, but never sent: the broker is behind the rate";
            self.measured.fail_times(unsent, "unsent", why.to_owned());
        }
        self.pace.is_over(now)
    }

    /// Until the run is over and everything is answered.
    fn drive(&mut self, stream: anyhow::Result<TcpStream>, tell: Tell<'_>) -> anyhow::Result<()> {
        self.reset();
        let stream = stream?;
        let mut heard = Instant::now();
        loop {
            let now = Instant::now();
            if self.is_idle() {
                heard = now;
            }
            self.fill(now);
            if self.is_idle() && (self.slots() == 0 || self.is_over(now)) {
                return Ok(());
            }
            self.write(&stream)?;
            if self.read(&stream, now)? {
                heard = Instant::now();
                if self.take(heard)? && !self.pace.is_open() {
                    thread::sleep(FAILURE_DELAY);
                }
                self.tell(heard, tell);
            } else if heard.elapsed() >= CALL_TIMEOUT && !self.is_idle() {
                bail!("no answer in {CALL_TIMEOUT:?}");
            }
        }
    }

    /// Slots for which there are requests still.
    fn slots(&self) -> usize {
        self.sent.len() - self.retired
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.free.len() == self.slots()
    }

    fn release(&mut self, slot: u16) {
        match self.requests.has_next(slot) {
            true => self.free.push(slot),
            false => self.retired += 1,
        }
    }

    fn reset(&mut self) {
        self.outgoing.clear();
        self.written = 0;
        self.inbox.clear();
        self.free.clear();
        self.following.clear();
        let slots = u16::try_from(self.sent.len()).unwrap_or(u16::MAX);
        self.retired = 0;
        (0..slots).for_each(|slot| self.release(slot));
        self.sent.fill(None);
    }

    /// Adds requests, if it is time for a write.
    fn fill(&mut self, now: Instant) {
        let worth_writing = match self.pace.is_open() {
            true => 1,
            false => (self.slots() / FILL_SHARE).max(1),
        };
        if self.written < self.outgoing.len()
            || self.free.len() + self.following.len() < worth_writing
        {
            return;
        }
        self.outgoing.clear();
        self.written = 0;
        self.requests.begin();
        while self.outgoing.len() < WRITE_BYTES {
            let Some((slot, due)) = self.following.pop().or_else(|| self.next(now)) else {
                break;
            };
            self.requests.append(slot, &mut self.outgoing);
            if let Some(sent) = self.sent.get_mut(usize::from(slot)) {
                *sent = Some(due);
            }
        }
    }

    /// A free slot for a request that is due.
    fn next(&mut self, now: Instant) -> Option<(u16, Due)> {
        let slot = self.free.last().copied()?;
        let due = self.pace.next(now)?;
        self.free.pop();
        Some((slot, due))
    }

    /// Writes as much as goes at once: a broker whose answers are not read may stop reading.
    fn write(&mut self, stream: &TcpStream) -> anyhow::Result<()> {
        let rest = self.outgoing.get(self.written..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match retry_on_intr(|| send(stream, rest, flags)) {
            Ok(written) => self.written += written,
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error).context("write to the broker"),
        }
        Ok(())
    }

    /// Waits for answers, for room to write, or for the next request to be due; whether bytes came.
    fn read(&mut self, stream: &TcpStream, now: Instant) -> anyhow::Result<bool> {
        let is_written = self.written == self.outgoing.len();
        let wait = match is_written && !self.free.is_empty() {
            true => self.pace.wait(now),
            false => None,
        };
        let mut flags = RecvFlags::empty();
        if !is_written || wait.is_some() {
            let wait = wait.unwrap_or(CALL_TIMEOUT).min(CALL_TIMEOUT);
            if !wait_for(stream, !is_written, wait)? {
                return Ok(false);
            }
            flags = RecvFlags::DONTWAIT;
        }
        match retry_on_intr(|| recv(stream, self.inbox.room(), flags)) {
            Ok((_, 0)) => bail!("the broker closed the connection"),
            Ok((_, count)) => self.inbox.filled(count),
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error).context("read from the broker"),
        }
        Ok(true)
    }

    /// Counts the answers that are whole; says whether one is a failure.
    fn take(&mut self, now: Instant) -> anyhow::Result<bool> {
        let mut has_failed = false;
        while let Some(frame) = self.inbox.next()? {
            let answer = Answer::read(frame)?;
            let slot = u16::try_from(answer.opaque.wrapping_sub(OPAQUE_FIRST)).unwrap_or(u16::MAX);
            let sent = self.sent.get_mut(usize::from(slot));
            let Some(due) = sent.and_then(Option::take) else {
                bail!("an answer to no request: opaque {}", answer.opaque);
            };
            let counted = self.requests.count(slot, &answer, &mut self.measured);
            if due.is_measured {
                let latency = now.saturating_duration_since(due.at);
                self.measured.note(&counted, latency);
            }
            has_failed |= counted == Counted::Failure;
            match counted {
                Counted::First => self.following.push((slot, Due { at: now, ..due })),
                Counted::Failure | Counted::Messages(_) | Counted::FollowUp(_) => {
                    self.release(slot);
                }
            }
        }
        Ok(has_failed)
    }

    fn tell(&mut self, now: Instant, tell: Tell<'_>) {
        if now.saturating_duration_since(self.told) >= TELL_INTERVAL {
            self.told = now;
            tell(std::mem::replace(&mut self.measured, Measured::new()));
        }
    }
}

/// Waits for bytes, and for room if `writes`; whether bytes came.
fn wait_for(stream: &TcpStream, writes: bool, wait: Duration) -> anyhow::Result<bool> {
    let wanted = match writes {
        true => PollFlags::IN | PollFlags::OUT,
        false => PollFlags::IN,
    };
    let mut ready = [PollFd::new(stream, wanted)];
    let wait = Timespec::try_from(wait).map_err(|_| anyhow!("a wait that is too long"))?;
    retry_on_intr(|| poll(&mut ready, Some(&wait))).context("wait for the broker")?;
    let came = ready.map(|ready| ready.revents().difference(PollFlags::OUT));
    Ok(came.iter().any(|came| !came.is_empty()))
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
