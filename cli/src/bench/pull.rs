//! Pulls: one template, and a place in a part of a queue for each request in flight.

use std::collections::VecDeque;

use thrustmq_proto_compat::command::{Command, Encoding};
use thrustmq_proto_compat::header::PullMessageRequestHeader;
use thrustmq_proto_compat::message::record;
use thrustmq_proto_compat::request_code::PullMessage;
use thrustmq_proto_compat::response_code::ResponseCode;

use super::answer::Answer;
use super::measured::Measured;
use super::requests::{Counted, GROUP, refused};
use super::send::topic_of;
use super::target::TargetQueue;
use super::template::{Place, Template, WIDE_I32, WIDE_I64};
use super::topics::{self, TopicPlaces};

/// The subscription travels in the pull, so that no heartbeat is needed.
const CARRIES_SUBSCRIPTION: i32 = 4;

/// The mark of an answer's field.
pub(super) const NEXT_BEGIN_OFFSET: &str = "\"nextBeginOffset\":\"";

/// Makes the pulls of one connection.
#[derive(Debug)]
pub(super) struct PullRequests {
    template: Template,
    topic: TopicPlaces,
    queue_id: Place,
    queue_offset: Place,
    /// What each slot reads.
    cursors: Vec<Option<Cursor>>,
    end: AtEnd,
}

/// What a slot does that has read its part.
#[derive(Debug)]
pub(super) enum AtEnd {
    /// It reads it again.
    Again,
    /// It reads the next of these.
    Next(VecDeque<Cursor>),
}

/// Reads a part of a queue from its beginning to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    topic: u64,
    queue_id: i32,
    offset: i64,
    offset_min: i64,
    offset_max: i64,
}

impl Cursor {
    fn all_of(target: &TargetQueue) -> Self {
        Self {
            topic: topics::number(&target.queue.topic).unwrap_or_default(),
            queue_id: target.queue.queue_id,
            offset: target.offset_min,
            offset_min: target.offset_min,
            offset_max: target.offset_max,
        }
    }

    /// Cursor number `number` of all. Those on one queue spread over it.
    pub(super) fn spread(queues: &[TargetQueue], number: usize) -> Option<Self> {
        let target = queues.get(number % queues.len().max(1))?;
        let all = Self::all_of(target);
        let span = (all.offset_max - all.offset_min).max(1);
        Some(Self {
            offset: all.offset_min + (number as i64).wrapping_mul(7_919) % span,
            ..all
        })
    }

    /// Part number `number` of `count` of a queue; `None` if it has no message.
    pub(super) fn part(target: &TargetQueue, number: usize, count: usize) -> Option<Self> {
        let all = Self::all_of(target);
        let begin = |number: usize| {
            let messages = i128::from(all.offset_max - all.offset_min);
            let before = messages * number as i128 / count.max(1) as i128;
            all.offset_min.saturating_add(before as i64)
        };
        let (offset_min, offset_max) = (begin(number), begin(number + 1));
        (offset_min < offset_max).then_some(Self {
            offset: offset_min,
            offset_min,
            offset_max,
            ..all
        })
    }

    fn count(&mut self, answer: &Answer<'_>, measured: &mut Measured) -> Counted {
        let pulled = match answer.code {
            ResponseCode::SUCCESS => self.pulled(answer),
            ResponseCode::PULL_NOT_FOUND
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED => Err(answer.code.name().to_owned()),
            _ => return refused(answer, measured),
        };
        match pulled {
            Ok(messages) => {
                measured.done += messages;
                Counted::Messages(messages)
            }
            Err(why) => {
                let Self {
                    queue_id, offset, ..
                } = self;
                let mismatch = format!("queue {queue_id} at offset {offset}: {why}");
                measured.mismatch.get_or_insert(mismatch);
                self.offset = self.offset_max;
                Counted::Messages(0)
            }
        }
    }

    /// How many messages of the part came, which have to be those that follow in the queue.
    fn pulled(&mut self, answer: &Answer<'_>) -> Result<u64, String> {
        let messages = records_from(self.offset, answer.body)?;
        let end = self.offset.saturating_add_unsigned(messages);
        match answer.number(NEXT_BEGIN_OFFSET) {
            Some(next) if next == end && messages > 0 => {}
            next => return Err(format!("{messages} came, the next is said to be {next:?}")),
        }
        let begin = std::mem::replace(&mut self.offset, end.min(self.offset_max));
        Ok(u64::try_from(self.offset - begin).unwrap_or_default())
    }
}

impl PullRequests {
    /// Pulls of at most `messages_max` messages from these queues, with a cursor for each request in
    /// flight.
    pub(super) fn new(
        queues: &[TargetQueue],
        (cursors, end): (Vec<Cursor>, AtEnd),
        messages_max: u16,
        encoding: Encoding,
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
        let mut request = Command::request::<PullMessage>(&header);
        request.encoding = encoding;
        let template = Template::new(request)?;
        Ok(Self {
            queue_id: template.field("queueId")?,
            queue_offset: template.field("queueOffset")?,
            topic: TopicPlaces::new(&template, topic_of(queues)),
            cursors: cursors.into_iter().map(Some).collect(),
            end,
            template,
        })
    }

    /// Appends the next pull of a slot's cursor.
    pub(super) fn append(&mut self, slot: u16, out: &mut Vec<u8>) {
        let Some(cursor) = self.cursors.get(usize::from(slot)).copied().flatten() else {
            return;
        };
        self.topic.put(&mut self.template, cursor.topic);
        let queue_id = u64::try_from(cursor.queue_id).unwrap_or_default();
        self.template.put_decimal(self.queue_id, queue_id);
        let offset = u64::try_from(cursor.offset).unwrap_or_default();
        self.template.put_decimal(self.queue_offset, offset);
        out.extend_from_slice(self.template.frame(slot));
    }

    /// Whether there is something left to pull for the slot.
    pub(super) fn has_next(&self, slot: u16) -> bool {
        let cursor = self.cursors.get(usize::from(slot));
        cursor.is_some_and(Option::is_some)
    }

    /// Moves the slot's cursor on.
    pub(super) fn count(
        &mut self,
        slot: u16,
        answer: &Answer<'_>,
        measured: &mut Measured,
    ) -> Counted {
        let place = self.cursors.get_mut(usize::from(slot));
        let Some((place, mut cursor)) = place.and_then(|place| place.map(|cursor| (place, cursor)))
        else {
            return Counted::Messages(0);
        };
        let counted = cursor.count(answer, measured);
        let is_at_end = cursor.offset >= cursor.offset_max;
        *place = match &mut self.end {
            AtEnd::Next(parts) if is_at_end => parts.pop_front(),
            AtEnd::Again if is_at_end => {
                cursor.offset = cursor.offset_min;
                Some(cursor)
            }
            AtEnd::Again | AtEnd::Next(_) => Some(cursor),
        };
        counted
    }
}

/// How many records a pull's body holds, by their lengths and queue offsets alone, which have to count
/// up from `offset`.
fn records_from(offset: i64, mut body: &[u8]) -> Result<u64, String> {
    let mut count = 0;
    while let Some(length) = body.first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (record, rest) = body
            .split_at_checked(length)
            .filter(|_| length > 0)
            .ok_or("half a record came")?;
        let wanted = offset.saturating_add_unsigned(count);
        let found = record::queue_offset(record);
        if found != wanted {
            return Err(format!("offset {found} came in place of {wanted}"));
        }
        body = rest;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use thrustmq_proto_compat::frame;
    use thrustmq_proto_compat::header::PullMessageResponseHeader;

    use super::super::template::decoded;
    use super::*;

    fn queue(topic: &str, queue_id: i32) -> TargetQueue {
        TargetQueue {
            queue: thrustmq_client::MessageQueue {
                topic: topic.into(),
                broker_name: "a".into(),
                queue_id,
            },
            offset_min: 10,
            offset_max: 20,
        }
    }

    fn pulls(cursors: usize) -> PullRequests {
        let queues = [queue("t", 1), queue("t", 2)];
        let cursors = (0..cursors).map(|number| Cursor::spread(&queues, number).unwrap());
        let cursors = (cursors.collect(), AtEnd::Again);
        PullRequests::new(&queues, cursors, 32, Encoding::Json).unwrap()
    }

    /// Records from `offset` on, of nothing but length and queue offset.
    fn records(offset: i64, count: i64) -> Vec<u8> {
        let record = |offset: i64| [&[0, 0, 0, 28], &[0; 16][..], &offset.to_be_bytes()].concat();
        (offset..offset + count).flat_map(record).collect()
    }

    fn frame_of(code: ResponseCode, next: i64, body: Vec<u8>) -> Bytes {
        let header = PullMessageResponseHeader {
            next_begin_offset: next,
            ..PullMessageResponseHeader::default()
        };
        let answer = Command::answer(code).with_header(&header).with_body(body);
        frame::encode(&answer).unwrap().slice(4..)
    }

    fn next(pulls: &mut PullRequests, slot: u16) -> (i32, PullMessageRequestHeader) {
        let mut out = Vec::new();
        pulls.append(slot, &mut out);
        let command = decoded(&out);
        let header = command.header().unwrap();
        (command.opaque, header)
    }

    #[test]
    fn records_are_counted_and_a_gap_is_found() {
        let body = records(7, 3);
        assert_eq!(records_from(7, &body), Ok(3));
        assert!(records_from(6, &body).is_err());
        assert!(records_from(7, &body[..60]).is_err());
        assert!(records_from(7, &[records(7, 1), records(9, 1)].concat()).is_err());
        assert!(records_from(7, &[0, 0, 0, 0]).is_err());
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
    fn parts_of_a_queue_are_all_of_it() {
        for (count, expected) in [
            (1, vec![(10, 20)]),
            (3, vec![(10, 13), (13, 16), (16, 20)]),
            (12, (10..20).map(|at| (at, at + 1)).collect()),
        ] {
            let parts = (0..count).filter_map(|at| Cursor::part(&queue("t", 0), at, count));
            let parts: Vec<_> = parts.map(|part| (part.offset, part.offset_max)).collect();
            assert_eq!(parts, expected);
        }
    }

    #[test]
    fn what_is_pulled_once_is_counted_once_and_in_its_own_topic() {
        let queues = [queue("t-00000", 0), queue("t-00001", 7)];
        let part = |target, number| Cursor::part(target, number, 2).unwrap();
        let waiting = VecDeque::from([part(&queues[1], 1)]);
        let cursors = (vec![part(&queues[0], 0)], AtEnd::Next(waiting));
        let mut pulls = PullRequests::new(&queues, cursors, 32, Encoding::Json).unwrap();
        let mut measured = Measured::new();
        let mut answered = |pulls: &mut PullRequests, next, body| {
            let frame = frame_of(ResponseCode::SUCCESS, next, body);
            pulls.count(0, &Answer::read(&frame).unwrap(), &mut measured)
        };
        let (_, header) = next(&mut pulls, 0);
        assert_eq!(
            (header.topic.as_str(), header.queue_offset),
            ("t-00000", 10)
        );
        assert_eq!(
            answered(&mut pulls, 12, records(10, 2)),
            Counted::Messages(2)
        );
        assert_eq!(next(&mut pulls, 0).1.queue_offset, 12);
        // What comes beyond the part is another's.
        assert_eq!(
            answered(&mut pulls, 20, records(12, 8)),
            Counted::Messages(3)
        );
        let (_, header) = next(&mut pulls, 0);
        let place = (header.topic.as_str(), header.queue_id, header.queue_offset);
        assert_eq!(place, ("t-00001", 7, 15));
        assert_eq!(
            answered(&mut pulls, 20, records(15, 5)),
            Counted::Messages(5)
        );
        assert!(!pulls.has_next(0) && !pulls.has_next(1));
        assert_eq!(measured.done, 10);
    }

    #[test]
    fn a_queue_is_pulled_in_circles_and_what_is_missing_is_told() {
        let mut pulls = pulls(1);
        let mut measured = Measured::new();
        let mut offset_after = |code, next_begin, body, expected| {
            let frame = frame_of(code, next_begin, body);
            let answer = Answer::read(&frame).unwrap();
            assert_eq!(pulls.count(0, &answer, &mut measured), expected);
            (next(&mut pulls, 0).1.queue_offset, measured.mismatch.take())
        };
        let came = Counted::Messages;
        let success = ResponseCode::SUCCESS;
        assert_eq!(
            offset_after(success, 18, records(10, 8), came(8)),
            (18, None)
        );
        assert_eq!(
            offset_after(success, 20, records(18, 2), came(2)),
            (10, None)
        );
        let (offset, mismatch) = offset_after(success, 12, records(11, 1), came(0));
        let expected = "queue 1 at offset 10: offset 11 came in place of 10";
        assert_eq!((offset, mismatch.as_deref()), (10, Some(expected)));
        let (_, mismatch) = offset_after(success, 12, records(10, 1), came(0));
        assert!(
            mismatch
                .unwrap()
                .ends_with("1 came, the next is said to be Some(12)")
        );
        let (_, mismatch) = offset_after(ResponseCode::PULL_NOT_FOUND, 10, vec![], came(0));
        assert!(mismatch.unwrap().ends_with("PULL_NOT_FOUND"));
        let busy = offset_after(ResponseCode::SYSTEM_BUSY, 0, vec![], Counted::Failure);
        assert_eq!(
            (busy, measured.failures, measured.done),
            ((10, None), 1, 10)
        );
    }
}
