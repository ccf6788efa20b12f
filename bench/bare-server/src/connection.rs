//! A connection of the bare server: a thread that blocks, one read for many requests, one write for
//! their answers.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::frame::{self, Begin, Request};
use crate::log::Log;

const READ_BYTES: usize = 256 * 1024;
/// No frame of a measurement is larger: batches have 32 messages of 1 KB.
const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

const GET_MAX_OFFSET: u32 = 30;
const GET_MIN_OFFSET: u32 = 31;
const GET_ROUTE: u32 = 105;
const SEND_V2: u32 = 310;

/// The queues of every topic that is asked for.
const QUEUES: u16 = 8;
/// Looks like the id of a message, for clients that read it.
const SENT: &str = r#""msgId":"7F00000100002A9F0000000000000000","queueId":"0","queueOffset":"0""#;

/// What all connections have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) port: u16,
    pub(crate) log: Log,
    /// Messages in the log.
    pub(crate) stored: AtomicU64,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    out: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, shared: Arc<Shared>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            shared,
            out: Vec::new(),
        })
    }

    /// Until the client goes, or says something that is not understood: a lower bound needs no manners.
    pub(crate) fn serve(mut self) {
        let mut received = vec![0; READ_BYTES];
        let mut filled = 0;
        while let Some(room) = received.get_mut(filled..) {
            let read = match self.stream.read(room) {
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            filled += read;
            let Some(rest) = self.take(received.get(..filled).unwrap_or_default()) else {
                return;
            };
            if self.stream.write_all(&self.out).is_err() {
                return;
            }
            self.out.clear();
            received.copy_within(rest.start..filled, 0);
            filled -= rest.start;
            if rest.needed > received.len() {
                received.resize(rest.needed, 0);
            }
        }
    }

    /// Stores and answers the whole requests of what was received; None if one is not understood.
    fn take(&mut self, received: &[u8]) -> Option<Rest> {
        let mut start = 0;
        let mut bodies = Vec::new();
        let needed = loop {
            match frame::begin(received.get(start..)?) {
                Begin::Whole(request) => {
                    start += request.frame_bytes;
                    self.answer(&request)?;
                    bodies.extend((request.code == SEND_V2).then_some(request.body));
                }
                Begin::Part(needed) if needed <= FRAME_BYTES_MAX => break needed,
                Begin::Part(_) | Begin::Unknown => return None,
            }
        };
        self.shared.log.append(&bodies).ok()?;
        let stored = &self.shared.stored;
        stored.fetch_add(bodies.len() as u64, Ordering::Relaxed);
        Some(Rest { start, needed })
    }

    fn answer(&mut self, request: &Request<'_>) -> Option<()> {
        match request.code {
            SEND_V2 => frame::answer(&mut self.out, request.opaque, SENT, b""),
            GET_ROUTE => {
                let route = self.route();
                frame::answer(&mut self.out, request.opaque, "", route.as_bytes());
            }
            GET_MAX_OFFSET | GET_MIN_OFFSET => {
                let fields = format!(r#""offset":"{}""#, self.offset(request)?);
                frame::answer(&mut self.out, request.opaque, &fields, b"");
            }
            _ => return None,
        }
        Some(())
    }

    /// Queue 0 is said to hold everything, so that the generator's count of what was stored is right.
    fn offset(&self, request: &Request<'_>) -> Option<u64> {
        let queue_id = frame::number(request.header, b"\"queueId\":\"")?;
        let is_end_of_all = request.code == GET_MAX_OFFSET && queue_id == 0;
        Some(if is_end_of_all {
            self.shared.stored.load(Ordering::Relaxed)
        } else {
            0
        })
    }

    fn route(&self) -> String {
        let broker = format!(
            r#"{{"brokerAddrs":{{"0":"127.0.0.1:{}"}},"brokerName":"bare","cluster":"bare"}}"#,
            self.shared.port
        );
        let queues = format!(
            r#"{{"brokerName":"bare","perm":6,"readQueueNums":{QUEUES},"topicSysFlag":0,"writeQueueNums":{QUEUES}}}"#
        );
        format!(r#"{{"brokerDatas":[{broker}],"filterServerTable":{{}},"queueDatas":[{queues}]}}"#)
    }
}

/// What is left of received bytes: a frame begins at `start` and needs so many.
struct Rest {
    start: usize,
    needed: usize,
}
