//! Pulls: one template, and a place in a queue for each request in flight.

use bytes::{BufMut, BytesMut};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::PullMessageRequestHeader;
use thrustmq_proto_compat::request_code::PullMessage;
use thrustmq_proto_compat::response_code::ResponseCode;

use super::answer::Answer;
use super::requests::{Counted, GROUP, refused};
use super::target::TargetQueue;
use super::template::{Place, Template, WIDE_I32, WIDE_I64};

/// The subscription travels in the pull, so that no heartbeat is needed.
const CARRIES_SUBSCRIPTION: i32 = 4;

/// Makes the pulls of one connection.
#[derive(Debug)]
pub(super) struct PullRequests {
    template: Template,
    queue_id: Place,
    queue_offset: Place,
    cursors: Vec<Cursor>,
}

/// Reads a queue from its beginning to its end, again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    queue_id: i32,
    offset: i64,
    offset_min: i64,
    offset_max: i64,
}

impl Cursor {
    /// Cursor number `number` of all. Those on one queue spread over it.
    pub(super) fn new(queues: &[TargetQueue], number: usize) -> Option<Self> {
        let target = queues.get(number % queues.len().max(1))?;
        let span = (target.offset_max - target.offset_min).max(1);
        Some(Self {
            queue_id: target.queue.queue_id,
            offset: target.offset_min + (number as i64).wrapping_mul(7_919) % span,
            offset_min: target.offset_min,
            offset_max: target.offset_max,
        })
    }

    fn count(&mut self, answer: &Answer) -> Counted {
        match answer.code {
            ResponseCode::SUCCESS => {}
            ResponseCode::PULL_NOT_FOUND | ResponseCode::PULL_OFFSET_MOVED => {
                self.offset = self.offset_min;
                return Counted::Messages(0);
            }
            _ => return refused(answer),
        }
        let Some(next) = answer.next_begin_offset else {
            return Counted::Failure("the answer says no next offset".to_owned());
        };
        let is_end = next >= self.offset_max || next < self.offset_min;
        self.offset = if is_end { self.offset_min } else { next };
        Counted::Messages(records(&answer.body))
    }
}

impl PullRequests {
    /// Pulls of at most `messages_max` messages with these cursors, one for each request in flight.
    pub(super) fn new(
        queues: &[TargetQueue],
        cursors: Vec<Cursor>,
        messages_max: u16,
    ) -> anyhow::Result<Self> {
        let first = queues.first().map(|target| target.queue.clone());
        let first = first.unwrap_or_default();
        let header = PullMessageRequestHeader {
            consumer_group: GROUP.to_owned(),
            topic: first.topic,
            queue_id: WIDE_I32,
            queue_offset: WIDE_I64,
            max_msg_nums: i32::from(messages_max),
            sys_flag: CARRIES_SUBSCRIPTION,
            subscription: Some("*".to_owned()),
            expression_type: Some("TAG".to_owned()),
            broker_name: Some(first.broker_name),
            ..PullMessageRequestHeader::default()
        };
        let template = Template::new(Command::request::<PullMessage>(&header))?;
        Ok(Self {
            queue_id: template.field("queueId")?,
            queue_offset: template.field("queueOffset")?,
            cursors,
            template,
        })
    }

    /// Appends the next pull of a slot's cursor.
    pub(super) fn append(&mut self, slot: u16, out: &mut BytesMut) {
        let Some(cursor) = self.cursors.get(usize::from(slot)) else {
            return;
        };
        let queue_id = u64::try_from(cursor.queue_id).unwrap_or_default();
        self.template.put_decimal(self.queue_id, queue_id);
        let offset = u64::try_from(cursor.offset).unwrap_or_default();
        self.template.put_decimal(self.queue_offset, offset);
        out.put_slice(self.template.frame(slot));
    }

    /// Moves the slot's cursor on.
    pub(super) fn count(&mut self, slot: u16, answer: &Answer) -> Counted {
        match self.cursors.get_mut(usize::from(slot)) {
            Some(cursor) => cursor.count(answer),
            None => Counted::Messages(0),
        }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::template::decoded;
    use super::*;

    fn pulls(cursors: usize) -> PullRequests {
        let queue = |queue_id| TargetQueue {
            queue: thrustmq_client::MessageQueue {
                topic: "t".into(),
                broker_name: "a".into(),
                queue_id,
            },
            offset_min: 10,
            offset_max: 20,
        };
        let queues = [queue(1), queue(2)];
        let cursors = (0..cursors).map(|number| Cursor::new(&queues, number).unwrap());
        PullRequests::new(&queues, cursors.collect(), 32).unwrap()
    }

    fn answer(code: ResponseCode, next: i64) -> Answer {
        Answer {
            opaque: 0,
            code,
            next_begin_offset: Some(next),
            remark: String::new(),
            body: Bytes::from_static(&[0, 0, 0, 4]),
        }
    }

    fn next(pulls: &mut PullRequests, slot: u16) -> (i32, PullMessageRequestHeader) {
        let mut out = BytesMut::new();
        pulls.append(slot, &mut out);
        let command = decoded(&out);
        let header = command.header().unwrap();
        (command.opaque, header)
    }

    #[test]
    fn records_are_counted_by_their_lengths() {
        let body = [&[0, 0, 0, 6, 9, 9][..], &[0, 0, 0, 5, 9]].concat();
        assert_eq!(records(&body), 2);
        assert_eq!(records(&body[..8]), 1);
        assert_eq!(records(&[0, 0, 0, 0]), 0);
    }

    #[test]
    fn every_slot_pulls_its_own_queue_at_its_own_offset() {
        let mut pulls = pulls(4);
        for (slot, queue_id, offset) in [(0, 1, 10), (1, 2, 19), (2, 1, 18), (3, 2, 17)] {
            let (opaque, header) = next(&mut pulls, slot);
            assert_eq!(opaque, 1_000_000_000 + i32::from(slot));
            assert_eq!((header.queue_id, header.queue_offset), (queue_id, offset));
            assert_eq!((header.topic.as_str(), header.max_msg_nums), ("t", 32));
            assert_eq!(header.sys_flag, CARRIES_SUBSCRIPTION);
        }
    }

    #[test]
    fn a_queue_is_pulled_in_circles() {
        let mut pulls = pulls(1);
        let mut offset_after = |code, next_begin, expected| {
            assert_eq!(
                pulls.count(0, &answer(code, next_begin)),
                Counted::Messages(expected)
            );
            next(&mut pulls, 0).1.queue_offset
        };
        assert_eq!(offset_after(ResponseCode::SUCCESS, 18, 1), 18);
        assert_eq!(offset_after(ResponseCode::SUCCESS, 20, 1), 10);
        assert_eq!(offset_after(ResponseCode::SUCCESS, 19, 1), 19);
        assert_eq!(offset_after(ResponseCode::PULL_NOT_FOUND, 19, 0), 10);
        let refused = pulls.count(0, &answer(ResponseCode::SYSTEM_BUSY, 0));
        assert!(matches!(refused, Counted::Failure(_)));
    }
}
