//! A run: a thread a connection, what they measure gathered while it goes on, and what servers and
//! generator use meanwhile.

use std::net::TcpStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use super::connection::Connection;
use super::measured::Measured;
use super::process::Usage;
use super::progress::Progress;

/// What connections tell waits here; they tell it a few times a second.
const TOLD_MAX: usize = 1024;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// When requests begin to count, and when they end to, if that is a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) measured_from: Instant,
    pub(super) until: Option<Instant>,
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) measured: Measured,
    pub(super) seconds: f64,
    pub(super) usage: Usage,
}

/// Loads all connections, each with a thread of its own, until all is answered.
pub(super) fn run(
    connections: Vec<(Connection, TcpStream)>,
    times: Times,
    pid: Option<u32>,
) -> anyhow::Result<Ran> {
    let (sender, receiver) = sync_channel(TOLD_MAX);
    let mut threads = Vec::new();
    for (connection, stream) in connections {
        threads.push(spawn(connection, stream, sender.clone())?);
    }
    drop(sender);
    let mut watch = Watch::new(times, pid)?;
    watch.gather(&receiver)?;
    for thread in threads {
        if thread.join().is_err() {
            bail!("a thread of the generator panicked");
        }
    }
    watch.ran()
}

fn spawn(
    connection: Connection,
    stream: TcpStream,
    sender: SyncSender<Measured>,
) -> anyhow::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("bench-connection".to_owned());
    let work = move || {
        connection.run(stream, &|measured| {
            // Whoever gathers is there until all senders are gone.
            let _ = sender.send(measured);
        })
    };
    thread.spawn(work).context("start a thread")
}

/// Looks on while the threads work.
struct Watch {
    times: Times,
    usage: Usage,
    measured_to: Option<Instant>,
    sum: Measured,
    progress: Progress,
}

impl Watch {
    fn new(times: Times, pid: Option<u32>) -> anyhow::Result<Self> {
        Ok(Self {
            times,
            usage: Usage::new(pid)?,
            measured_to: None,
            sum: Measured::new(),
            progress: Progress::new(),
        })
    }

    /// Until all threads have ended.
    fn gather(&mut self, receiver: &Receiver<Measured>) -> anyhow::Result<()> {
        loop {
            let now = Instant::now();
            self.look(now)?;
            let boundaries = [Some(self.times.measured_from), self.times.until];
            let next = boundaries.into_iter().flatten().filter(|at| *at > now);
            let wait = next.map(|at| at - now).fold(LOOK_INTERVAL, Duration::min);
            match receiver.recv_timeout(wait) {
                Ok(measured) => {
                    self.progress.add(measured.done, &measured.latencies);
                    self.sum.add(measured);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.measured_to.is_none() {
            self.usage.end()?;
            self.measured_to = Some(Instant::now());
        }
        self.progress.finish();
        Ok(())
    }

    fn look(&mut self, now: Instant) -> anyhow::Result<()> {
        if now >= self.times.measured_from {
            self.usage.begin()?;
        }
        if self.measured_to.is_none() && self.times.until.is_some_and(|until| now >= until) {
            self.usage.end()?;
            self.measured_to = self.times.until;
        }
        self.usage.look();
        self.progress.show(now);
        Ok(())
    }

    fn ran(self) -> anyhow::Result<Ran> {
        let to = self.measured_to.context("the run has ended")?;
        let measured = to.saturating_duration_since(self.times.measured_from);
        Ok(Ran {
            measured: self.sum,
            seconds: measured.as_secs_f64(),
            usage: self.usage,
        })
    }
}
