//! Transactions: a half message, and once that is there, its commit in the same slot.

use anyhow::Context;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::EndTransactionRequestHeader;
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::sys_flag::TRANSACTION_COMMIT;
use thrustmq_proto_compat::request_code::EndTransaction;
use thrustmq_proto_compat::response_code::ResponseCode;

use super::answer::Answer;
use super::measured::Measured;
use super::requests::{Counted, GROUP, refused};
use super::send::{SendRequests, Shape};
use super::target::TargetQueue;
use super::template::{Place, Template, WIDE_I64};

const QUEUE_OFFSET: &str = "\"queueOffset\":\"";
const MESSAGE_ID: &str = "\"msgId\":\"";

/// Makes the halves and the commits of one connection.
#[derive(Debug)]
pub(super) struct TransactionRequests {
    halves: SendRequests,
    commit: Template,
    queue_offset: Place,
    commit_log_offset: Place,
    keys: Vec<Place>,
    slots: Vec<Slot>,
}

/// The half message of a slot.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key_counter: u64,
    /// Where it is stored; `None` until that is known.
    stored: Option<Stored>,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    queue_offset: u64,
    commit_log_offset: u64,
}

impl TransactionRequests {
    /// Transactions of one message each, with `in_flight` slots.
    pub(super) fn new(
        queues: &[TargetQueue],
        shape: &Shape,
        connection: u32,
        in_flight: u16,
    ) -> anyhow::Result<Self> {
        let shape = Shape {
            is_half: true,
            ..shape.clone()
        };
        let halves = SendRequests::new(queues, &shape, connection, Clock::system())?;
        let first = queues.first().context("no queue")?.queue.clone();
        let header = EndTransactionRequestHeader {
            topic: Some(first.topic),
            producer_group: GROUP.to_owned(),
            tran_state_table_offset: WIDE_I64,
            commit_log_offset: WIDE_I64,
            commit_or_rollback: TRANSACTION_COMMIT,
            msg_id: halves.first_key().to_owned(),
            transaction_id: Some(halves.first_key().to_owned()),
            broker_name: Some(first.broker_name),
            ..EndTransactionRequestHeader::default()
        };
        let mut request = Command::request::<EndTransaction>(&header);
        request.encoding = shape.encoding;
        let commit = Template::new(request)?;
        Ok(Self {
            queue_offset: commit.field("tranStateTableOffset")?,
            commit_log_offset: commit.field("commitLogOffset")?,
            keys: halves.ends_of_keys(&commit),
            commit,
            halves,
            slots: vec![Slot::default(); usize::from(in_flight)],
        })
    }

    /// Before some requests that are written together.
    pub(super) fn begin(&mut self) {
        self.halves.begin();
    }

    /// Appends the commit of the slot's half message, or if there is none, the next half message.
    pub(super) fn append(&mut self, slot: u16, out: &mut Vec<u8>) {
        let Some(place) = self.slots.get_mut(usize::from(slot)) else {
            return;
        };
        let Some(stored) = place.stored else {
            self.halves.append(slot, out);
            place.key_counter = self.halves.last_key();
            return;
        };
        self.commit
            .put_decimal(self.queue_offset, stored.queue_offset);
        self.commit
            .put_decimal(self.commit_log_offset, stored.commit_log_offset);
        for key in &self.keys {
            self.commit.put_hex(*key, place.key_counter);
        }
        out.extend_from_slice(self.commit.frame(slot));
    }

    /// Takes the answer to the half message or to the commit of a slot.
    pub(super) fn count(
        &mut self,
        slot: u16,
        answer: &Answer<'_>,
        measured: &mut Measured,
    ) -> Counted {
        let Some(place) = self.slots.get_mut(usize::from(slot)) else {
            return Counted::Messages(0);
        };
        let is_commit = place.stored.take().is_some();
        let is_success = answer.code == ResponseCode::SUCCESS;
        if is_commit && is_success {
            measured.done += 1;
            return Counted::FollowUp(1);
        }
        if !is_success {
            measured.uncertain += u64::from(is_commit);
            return refused(answer, measured);
        }
        match stored(answer) {
            Some(stored) => {
                place.stored = Some(stored);
                Counted::First
            }
            None => {
                let why = "the answer to a half message does not say where it is stored";
                measured.fail("answer", why.to_owned());
                Counted::Failure
            }
        }
    }

    /// The connection broke: what was committed last may be stored.
    pub(super) fn lose(&mut self, measured: &mut Measured) {
        for slot in &mut self.slots {
            measured.uncertain += u64::from(slot.stored.take().is_some());
        }
    }
}

fn stored(answer: &Answer<'_>) -> Option<Stored> {
    let queue_offset = u64::try_from(answer.number(QUEUE_OFFSET)?).ok()?;
    let id = OffsetId::decode(answer.text(MESSAGE_ID)?).ok()?;
    Some(Stored {
        queue_offset,
        commit_log_offset: u64::try_from(id.physical_offset).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use thrustmq_proto_compat::command::Encoding;
    use thrustmq_proto_compat::frame;
    use thrustmq_proto_compat::header::{SendMessageRequestHeaderV2, SendMessageResponseHeader};

    use super::super::template::decoded;
    use super::*;

    fn answered(code: ResponseCode, queue_offset: i64) -> Bytes {
        let id = OffsetId {
            store_host: ([127, 0, 0, 1], 10_911).into(),
            physical_offset: 4_711,
        };
        let header = SendMessageResponseHeader {
            msg_id: id.encode(),
            queue_offset,
            ..SendMessageResponseHeader::default()
        };
        let answer = Command::answer(code).with_header(&header);
        frame::encode(&answer).unwrap().slice(4..)
    }

    fn assert_halves_are_committed(encoding: Encoding) {
        let queue = TargetQueue {
            queue: thrustmq_client::MessageQueue {
                topic: "t".into(),
                broker_name: "a".into(),
                queue_id: 3,
            },
            offset_min: 0,
            offset_max: 0,
        };
        let shape = Shape {
            encoding,
            ..Shape::default()
        };
        let mut requests = TransactionRequests::new(&[queue], &shape, 1, 2).unwrap();
        let mut measured = Measured::new();
        let next = |requests: &mut TransactionRequests, slot| {
            let mut out = Vec::new();
            requests.begin();
            requests.append(slot, &mut out);
            decoded(&out)
        };
        let half = next(&mut requests, 1);
        let header: SendMessageRequestHeaderV2 = half.header().unwrap();
        let properties = header.properties.unwrap();
        assert_eq!(header.sys_flag, 4);
        assert!(properties.contains("TRAN_MSG\u{1}true") && properties.contains(GROUP));
        next(&mut requests, 0);
        let mut count = |requests: &mut TransactionRequests, code, offset| {
            let frame = answered(code, offset);
            requests.count(1, &Answer::read(&frame).unwrap(), &mut measured)
        };
        let success = ResponseCode::SUCCESS;
        assert_eq!(count(&mut requests, success, 17), Counted::First);
        let commit = next(&mut requests, 1);
        let header: EndTransactionRequestHeader = commit.header().unwrap();
        assert_eq!((commit.code, header.commit_or_rollback), (37, 8));
        let place = (header.tran_state_table_offset, header.commit_log_offset);
        assert_eq!(place, (17, 4_711));
        assert!(properties.contains(&header.msg_id));
        assert_eq!(header.transaction_id, Some(header.msg_id));
        assert_eq!(count(&mut requests, success, 0), Counted::FollowUp(1));
        assert_eq!(next(&mut requests, 1).code, 310);
        let busy = ResponseCode::SYSTEM_BUSY;
        assert_eq!(count(&mut requests, busy, 0), Counted::Failure);
        assert_eq!(next(&mut requests, 1).code, 310);
        assert_eq!((measured.done, measured.uncertain), (1, 0));
    }

    #[test]
    fn a_half_message_is_committed_where_it_is() {
        for encoding in [Encoding::Json, Encoding::Binary] {
            assert_halves_are_committed(encoding);
        }
    }
}
