//! A blocking connection that gives whole answers: a thread that waits in a read is woken the fastest.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::super::answer::Answer;
use super::super::inbox::Inbox;
use anyhow::Context;

/// A broker that reads nothing for so long is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a connection for writing; `Frames` reads from a clone of it.
pub(super) fn open(address: &str) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    Ok(stream)
}

/// Ends the reading of a connection from another thread.
pub(super) fn close(stream: &TcpStream) {
    // It fails where the broker has closed already, which ends the reading as well.
    let _ = stream.shutdown(Shutdown::Both);
}

/// The answers that come on a connection.
#[derive(Debug)]
pub(super) struct Frames {
    stream: TcpStream,
    inbox: Inbox,
}

impl Frames {
    pub(super) fn new(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self {
            stream: stream.try_clone()?,
            inbox: Inbox::new(),
        })
    }

    /// Waits for more; false when the connection has ended.
    pub(super) fn wait(&mut self) -> bool {
        match self.stream.read(self.inbox.room()) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.inbox.filled(read);
                true
            }
        }
    }

    /// The next answer that is there.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Answer<'_>>> {
        let frame = self.inbox.next()?;
        Ok(frame.map(Answer::read).transpose()?)
    }
}
