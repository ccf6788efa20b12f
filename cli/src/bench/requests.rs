//! The requests of a load, made once and repeated: the generator shares the machine with the server,
//! so it should cost little.

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{
    PullMessageRequestHeader, PullMessageResponseHeader, SendMessageRequestHeaderV2,
};
use thrustmq_proto_compat::message::batch::{self, BatchItem};
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::message::{names, properties, property_name};
use thrustmq_proto_compat::request_code::{PullMessage, SendBatchMessage, SendMessageV2};
use thrustmq_proto_compat::response_code::ResponseCode;

use super::target::TargetQueue;

const GROUP: &str = "thrustmq-bench";
/// The subscription travels in the pull, so that no heartbeat is needed.
const CARRIES_SUBSCRIPTION: i32 = 4;

/// Makes the requests of one loop.
pub(super) enum Requests {
    Send(SendRequests),
    Pull(PullRequests),
}

/// What an answer counts for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Messages(u64),
    Failure(String),
}

impl Requests {
    pub(super) fn next(&mut self) -> Result<Command, String> {
        match self {
            Self::Send(send) => send.next(),
            Self::Pull(pull) => Ok(pull.next()),
        }
    }

    pub(super) fn count(&mut self, answer: &Command) -> Counted {
        match self {
            Self::Send(send) => send.count(answer),
            Self::Pull(pull) => pull.count(answer),
        }
    }
}

pub(super) struct SendRequests {
    header: SendMessageRequestHeaderV2,
    queues: Vec<i32>,
    next_queue: usize,
    body: Bytes,
    batch: u16,
    keys: UniqueKeys,
    clock: Clock,
}

impl SendRequests {
    /// Requests for these queues, of `batch` messages with this body; every message has a unique key.
    pub(super) fn new(
        queues: &[TargetQueue],
        body: Bytes,
        batch: u16,
        keys: UniqueKeys,
        clock: Clock,
    ) -> Self {
        let first = queues
            .first()
            .map(|target| target.queue.clone())
            .unwrap_or_default();
        Self {
            header: SendMessageRequestHeaderV2 {
                producer_group: GROUP.to_owned(),
                topic: first.topic,
                default_topic: names::AUTO_CREATE_TOPIC.to_owned(),
                default_topic_queue_nums: 4,
                batch: batch > 1,
                broker_name: Some(first.broker_name),
                ..SendMessageRequestHeaderV2::default()
            },
            queues: queues.iter().map(|target| target.queue.queue_id).collect(),
            next_queue: 0,
            body,
            batch,
            keys,
            clock,
        }
    }

    fn next(&mut self) -> Result<Command, String> {
        self.next_queue = self.next_queue.wrapping_add(1);
        let at = self.next_queue % self.queues.len().max(1);
        self.header.queue_id = self.queues.get(at).copied().unwrap_or_default();
        self.header.born_timestamp_ms = self.clock.now_ms();
        if self.batch <= 1 {
            self.header.properties = Some(self.properties());
            let command = Command::request::<SendMessageV2>(&self.header);
            return Ok(command.with_body(self.body.clone()));
        }
        let mut body = Vec::with_capacity(usize::from(self.batch) * (self.body.len() + 80));
        for _ in 0..self.batch {
            let item = BatchItem {
                flag: 0,
                body: &self.body,
                properties: &self.properties(),
            };
            batch::encode(&item, &mut body).map_err(|cause| cause.to_string())?;
        }
        Ok(Command::request::<SendBatchMessage>(&self.header).with_body(body))
    }

    fn properties(&self) -> String {
        let mut text = String::with_capacity(48);
        properties::push(&mut text, property_name::UNIQUE_KEY, &self.keys.next_key());
        text
    }

    fn count(&self, answer: &Command) -> Counted {
        match answer.response_code() {
            ResponseCode::SUCCESS => Counted::Messages(u64::from(self.batch.max(1))),
            code => refused(code, answer),
        }
    }
}

pub(super) struct PullRequests {
    queue: TargetQueue,
    offset: i64,
    messages_max: i32,
}

impl PullRequests {
    /// Pulls a queue from its beginning to its end, again and again, starting at `offset`.
    pub(super) fn new(queue: TargetQueue, offset: i64, messages_max: u16) -> Self {
        Self {
            queue,
            offset,
            messages_max: i32::from(messages_max),
        }
    }

    fn next(&self) -> Command {
        let queue = &self.queue.queue;
        Command::request::<PullMessage>(&PullMessageRequestHeader {
            consumer_group: GROUP.to_owned(),
            topic: queue.topic.clone(),
            queue_id: queue.queue_id,
            queue_offset: self.offset,
            max_msg_nums: self.messages_max,
            sys_flag: CARRIES_SUBSCRIPTION,
            subscription: Some("*".to_owned()),
            expression_type: Some("TAG".to_owned()),
            broker_name: Some(queue.broker_name.clone()),
            ..PullMessageRequestHeader::default()
        })
    }

    fn count(&mut self, answer: &Command) -> Counted {
        let code = answer.response_code();
        match code {
            ResponseCode::SUCCESS => {}
            ResponseCode::PULL_NOT_FOUND | ResponseCode::PULL_OFFSET_MOVED => {
                self.offset = self.queue.offset_min;
                return Counted::Messages(0);
            }
            _ => return refused(code, answer),
        }
        let Ok(header) = answer.header::<PullMessageResponseHeader>() else {
            return Counted::Failure("the answer's header cannot be read".to_owned());
        };
        self.offset = header.next_begin_offset;
        if self.offset >= self.queue.offset_max {
            self.offset = self.queue.offset_min;
        }
        Counted::Messages(records(&answer.body.to_bytes()))
    }
}

/// How many records a pull's body holds, by their length fields alone.
fn records(mut body: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(length) = body.first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(rest) = body.get(length..).filter(|_| length > 0) else {
            break;
        };
        body = rest;
        count += 1;
    }
    count
}

fn refused(code: ResponseCode, answer: &Command) -> Counted {
    let remark = answer.remark.as_deref().unwrap_or_default();
    Counted::Failure(format!("{} {}: {remark}", code.0, code.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> TargetQueue {
        TargetQueue {
            queue: thrustmq_client::MessageQueue {
                topic: "t".into(),
                broker_name: "a".into(),
                queue_id: 1,
            },
            offset_min: 10,
            offset_max: 20,
        }
    }

    #[test]
    fn records_are_counted_by_their_lengths() {
        let body = [&[0, 0, 0, 6, 9, 9][..], &[0, 0, 0, 5, 9]].concat();
        assert_eq!(records(&body), 2);
        assert_eq!(records(&body[..8]), 1);
        assert_eq!(records(&[0, 0, 0, 0]), 0);
    }

    #[test]
    fn a_queue_is_pulled_in_circles() {
        let mut pull = PullRequests::new(target(), 15, 32);
        let mut answered = |next: i64| {
            let header = PullMessageResponseHeader {
                next_begin_offset: next,
                ..PullMessageResponseHeader::default()
            };
            let answer = Command::answer(ResponseCode::SUCCESS).with_header(&header);
            assert_eq!(pull.count(&answer), Counted::Messages(0));
            pull.offset
        };
        assert_eq!(answered(18), 18);
        assert_eq!(answered(20), 10);
        pull.offset = 19;
        assert_eq!(
            pull.count(&Command::answer(ResponseCode::PULL_NOT_FOUND)),
            Counted::Messages(0)
        );
        assert_eq!(pull.offset, 10);
        let refused = pull.count(&Command::answer(ResponseCode::SYSTEM_BUSY));
        assert!(matches!(refused, Counted::Failure(_)));
    }
}
