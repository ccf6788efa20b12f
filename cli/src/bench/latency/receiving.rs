//! A consumer that waits: a long poll on each queue, all on one connection, as Java's consumers do.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, bail};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::PullMessageRequestHeader;
use thrustmq_proto_compat::message::record::{self, CheckBody};
use thrustmq_proto_compat::request_code::PullMessage;
use thrustmq_proto_compat::response_code::ResponseCode;
use tokio::time::Instant;

use super::Shared;
use super::frames::Frames;
use crate::bench::answer::Answer;
use crate::bench::histogram::Histogram;
use crate::bench::measured::micros;
use crate::bench::pull::NEXT_BEGIN_OFFSET;
use crate::bench::requests::GROUP;
use crate::bench::send::STAMP_DIGITS;
use crate::bench::target::TargetQueue;
use crate::bench::template::{OPAQUE_FIRST, Place, Template, WIDE_I32, WIDE_I64};

const MESSAGES_MAX: i32 = 32;
/// As Java's consumers ask.
const SUSPEND_MS: i64 = 15_000;
/// May wait, and carries the subscription, so that no heartbeat is needed.
const SYS_FLAG: i32 = 2 | 4;

/// What a consumer has seen.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) latencies: Histogram,
    pub(super) messages: u64,
    /// Messages that came more than once.
    pub(super) repeated: u64,
    /// By number.
    seen: Vec<bool>,
}

impl Received {
    fn new(total: u64) -> Self {
        Self {
            latencies: Histogram::new(),
            messages: 0,
            repeated: 0,
            seen: vec![false; usize::try_from(total).unwrap_or(0)],
        }
    }

    /// Counts the messages of an answer.
    fn take(&mut self, shared: &Shared, mut body: &[u8]) -> anyhow::Result<()> {
        let now = Instant::now();
        while !body.is_empty() {
            let view = record::check(body, CheckBody::Skip).context("a record that came")?;
            let stamp = view.body.last_chunk::<STAMP_DIGITS>();
            let number = stamp.and_then(|digits| str::from_utf8(digits).ok());
            let number = number.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let number = number.context("a message came that was not sent now")?;
            let seen = usize::try_from(number).ok();
            let seen = seen.and_then(|number| self.seen.get_mut(number));
            let seen = seen.context("a message came that was not sent now")?;
            if std::mem::replace(seen, true) {
                self.repeated += 1;
            }
            self.messages += 1;
            let latency_us = micros(shared.schedule.since_due(number, now));
            shared.receive(latency_us);
            if shared.schedule.is_measured(number) {
                self.latencies.record(latency_us);
            }
            let record_bytes = view.record_bytes;
            body = body.get(record_bytes..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The pulls of one consumer.
#[derive(Debug)]
pub(super) struct Polls {
    template: Template,
    queue_id: Place,
    queue_offset: Place,
    queues: Vec<TargetQueue>,
}

impl Polls {
    /// From the end of each queue on.
    pub(super) fn new(queues: &[TargetQueue]) -> anyhow::Result<Self> {
        let first = queues.first().context("no queue")?.queue.clone();
        let header = PullMessageRequestHeader {
            consumer_group: GROUP.to_owned(),
            topic: first.topic,
            queue_id: WIDE_I32,
            queue_offset: WIDE_I64,
            max_msg_nums: MESSAGES_MAX,
            sys_flag: SYS_FLAG,
            suspend_timeout_ms: SUSPEND_MS,
            subscription: Some("*".to_owned()),
            expression_type: Some("TAG".to_owned()),
            broker_name: Some(first.broker_name),
            ..PullMessageRequestHeader::default()
        };
        let template = Template::new(Command::request::<PullMessage>(&header))?;
        Ok(Self {
            queue_id: template.field("queueId")?,
            queue_offset: template.field("queueOffset")?,
            queues: queues.to_vec(),
            template,
        })
    }

    /// Asks all queues.
    pub(super) fn begin(&mut self, stream: &mut TcpStream) -> anyhow::Result<()> {
        let numbers = 0..u16::try_from(self.queues.len())?;
        for number in numbers {
            self.ask(number, stream)?;
        }
        Ok(())
    }

    fn ask(&mut self, number: u16, stream: &mut TcpStream) -> anyhow::Result<()> {
        let target = self.queues.get(usize::from(number));
        let target = target.context("an answer to no request")?;
        let queue_id = u64::try_from(target.queue.queue_id)?;
        let offset = u64::try_from(target.offset_max)?;
        self.template.put_decimal(self.queue_id, queue_id);
        self.template.put_decimal(self.queue_offset, offset);
        Ok(stream.write_all(self.template.frame(number))?)
    }

    /// Takes an answer, and asks for what follows.
    fn take(&mut self, answer: &Answer<'_>, stream: &mut TcpStream) -> anyhow::Result<()> {
        let number = u16::try_from(answer.opaque.wrapping_sub(OPAQUE_FIRST))?;
        match answer.code {
            ResponseCode::SUCCESS => {
                let next = answer.number(NEXT_BEGIN_OFFSET).context("no next offset")?;
                if let Some(target) = self.queues.get_mut(usize::from(number)) {
                    target.offset_max = next;
                }
            }
            ResponseCode::PULL_NOT_FOUND | ResponseCode::PULL_RETRY_IMMEDIATELY => {}
            other => bail!("a pull was refused: {} {}", other.name(), answer.remark),
        }
        self.ask(number, stream)
    }
}

/// Receives until the connection is closed, or once all is over a pull cannot be written.
pub(super) fn receive(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    mut polls: Polls,
) -> anyhow::Result<Received> {
    let mut frames = Frames::new(&stream)?;
    let mut received = Received::new(shared.schedule.total());
    while frames.wait() {
        while let Some(answer) = frames.next()? {
            // The pull first: the next message does not wait for our counting.
            let asked = polls.take(&answer, &mut stream);
            if !shared.is_over() {
                asked?;
            }
            if answer.code == ResponseCode::SUCCESS {
                received.take(shared, answer.body)?;
            }
        }
    }
    Ok(received)
}
