//! 200050 POP_MESSAGE: takes messages on lease, with long polling.
//!
//! A pop looks into one queue after the other until it has enough. What it takes of a queue is
//! written into the journal of leases before it counts. A pop that finds nothing is parked, if it may
//! wait, and run again on the same pool when a message comes or its time is up; one that needs old
//! messages from the disk goes on where others do not wait for it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::command::Body;
use thrustmq_proto_compat::header::{PopMessageRequestHeader, PopMessageResponseHeader};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Incoming, Refusal, Reply, Responder};
use thrustmq_store::{ReadError, ReadOutcome, ReadRequest, ReadStatus, RecordFilter, Store};

use super::cold::run_cold;
use super::pop_checks::{Checked, check_pop};
use super::pop_polling::{leave_to_others, park};
use super::pop_queues::{Place, Wanted, first_offset, places};
use super::pop_records::{offsets_of, with_topic};
use super::send_refusals::append_refusal;
use super::when_flushed::send_when_flushed;
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::filter::MessageFilter;
use crate::offset::{GroupQueue, Popped};
use crate::pop::hold::PollKey;
use crate::pop::info::{ExtraInfo, push_message_offsets, push_start_offset};
use crate::pop::leases::Read;
use crate::pop::names::TopicKind;
use crate::pop::order::JOURNAL_QUEUE;
use crate::pop::queue_state::NotNow;
use crate::pop::table::{Begin, Popping, QueueKey};
use crate::refusal;
use crate::stats::Given;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 128 << 20;

type Request = Incoming<PopMessageRequestHeader>;
pub(super) type ReadFrom = fn(&Store, &ReadRequest<'_>) -> Result<ReadOutcome, ReadError>;

/// A pop that is being served.
pub(super) struct Pop {
    pub(super) incoming: Request,
    /// Which messages it wants; none is all.
    pub(super) filter: Option<MessageFilter>,
    pub(super) config: Arc<BrokerConfig>,
    pub(super) pop_time_ms: i64,
    /// Queues to look into.
    left: VecDeque<Place>,
    pub(super) found: Found,
    /// Queues that were looked into, and their ends then.
    pub(super) seen: Vec<(Place, i64)>,
    /// Queues that are popped in order and were not free.
    pub(super) blocked: Vec<Place>,
}

/// What a pop has found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) records: Vec<Bytes>,
    pub(super) rest: i64,
    pub(super) start_offsets: String,
    pub(super) message_offsets: String,
    pub(super) order_counts: String,
    /// What has to be on the disk for the leases to be safe.
    end_offset: i64,
    /// Too many messages are on lease.
    is_full: bool,
    /// Why a queue could not be popped.
    pub(super) refusal: Option<Refusal>,
}

/// 200050 POP_MESSAGE.
pub(crate) fn pop_message(broker: &Arc<Broker>, mut incoming: Request, responder: Responder) {
    if !incoming.peer.is_open() {
        return leave_to_others(broker, &key_of(&incoming), responder);
    }
    let now_ms = broker.clock.now_ms();
    if incoming.header.born_time_ms == 0 {
        incoming.header.born_time_ms = now_ms;
    }
    let config = broker.config.current();
    let Checked { topic, filter } = match check_pop(broker, &config, &incoming) {
        Ok(checked) => checked,
        Err(refusal) => return responder.refuse(refusal),
    };
    let header = &incoming.header;
    let wanted = Wanted {
        group: &header.consumer_group,
        topic: &topic,
        queue_id: header.queue_id,
        is_ordered: header.order == Some(true),
    };
    let left = places(broker, &config, wanted, broker.pop.dice());
    let pop = Pop {
        left: left.into(),
        incoming,
        filter,
        config,
        pop_time_ms: now_ms,
        found: Found::default(),
        seen: Vec::new(),
        blocked: Vec::new(),
    };
    go_on(broker, pop, responder, Store::read_in_memory);
}

fn go_on(broker: &Arc<Broker>, mut pop: Pop, responder: Responder, from: ReadFrom) {
    while let Some(place) = pop.left.pop_front() {
        let looked = if pop.is_ordered() {
            pop.look_into_in_order(broker, &place, from)
        } else {
            pop.look_into(broker, &place, from)
        };
        if looked == Looked::NotInMemory {
            pop.left.push_front(place);
            return run_cold(broker, responder, |broker, responder| {
                go_on(broker, pop, responder, Store::read);
            });
        }
    }
    pop.answer(broker, responder);
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked {
    Done,
    NotInMemory,
}

impl Pop {
    fn look_into(&mut self, broker: &Broker, place: &Place, from: ReadFrom) -> Looked {
        let header = &self.incoming.header;
        let queue = GroupQueue {
            group: &header.consumer_group,
            topic: &place.topic,
            queue_id: place.queue_id,
        };
        let end = broker.store.queue_range(queue.topic, queue.queue_id).max;
        self.seen.push((place.clone(), end));
        let committed = broker.offsets.query(queue);
        let offset = committed
            .unwrap_or_else(|| first_offset(broker, &self.config, queue, header.init_mode));
        if self.messages_left() == 0 {
            self.found.rest += (end - offset).max(0);
            return Looked::Done;
        }
        let popping = match self.begin(broker, queue, offset) {
            Ok(popping) => popping,
            Err(not_now) => {
                self.found.is_full |= not_now == NotNow::Full;
                self.found.rest += (end - offset).max(0);
                return Looked::Done;
            }
        };
        // From here on nobody else pops the queue: what its offset is now, it stays.
        let reset = broker.offsets.take_reset(queue);
        let committed = broker.offsets.query(queue).filter(|_| reset.is_none());
        let start = committed.unwrap_or_else(|| {
            let start = reset.unwrap_or(offset);
            broker.offsets.commit(queue, start, &self.incoming.peer);
            start
        });
        match self.read(broker, queue, start, from) {
            Ok((start, outcome)) => self.take(broker, &popping, start, outcome),
            Err(ReadError::NotInMemory) => return Looked::NotInMemory,
            Err(error) => self.found.refusal = Some(refusal::unreadable(error)),
        }
        Looked::Done
    }

    fn begin(
        &self,
        broker: &Broker,
        queue: GroupQueue<'_>,
        start_offset: i64,
    ) -> Result<Popping, NotNow> {
        let key = Arc::new(QueueKey {
            group: queue.group.to_owned(),
            topic: queue.topic.to_owned(),
            queue_id: queue.queue_id,
        });
        let leases_max = if self.config.pop_leases_limited {
            self.config.pop_leases_max
        } else {
            usize::MAX
        };
        let begin = Begin {
            start_offset,
            pop_time_ms: self.pop_time_ms,
            leases_max,
        };
        broker.pop.begin(&key, begin)
    }

    pub(super) fn messages_left(&self) -> usize {
        let wanted = usize::try_from(self.incoming.header.max_msg_nums).unwrap_or(0);
        wanted.saturating_sub(self.found.records.len())
    }

    /// Reads from `start`, or from where the queue has messages; where that was.
    pub(super) fn read(
        &self,
        broker: &Broker,
        queue: GroupQueue<'_>,
        start: i64,
        from: ReadFrom,
    ) -> Result<(i64, ReadOutcome), ReadError> {
        let filter = self.filter.as_ref().filter(|filter| !filter.takes_all());
        let request = ReadRequest {
            topic: queue.topic,
            queue_id: queue.queue_id,
            offset: start,
            messages_max: self.messages_left(),
            bytes_max: ANSWER_BYTES_MAX,
            filter: filter.map(|filter| filter as &dyn RecordFilter),
        };
        let outcome = from(&broker.store, &request)?;
        let lies_elsewhere = matches!(
            outcome.status,
            ReadStatus::OffsetTooSmall
                | ReadStatus::OffsetOverflowBadly
                | ReadStatus::OffsetFoundNull
        );
        if !lies_elsewhere {
            return Ok((start, outcome));
        }
        let next = outcome.next_offset;
        let peer = &self.incoming.peer;
        broker.offsets.commit_popped(queue, next, peer);
        let request = ReadRequest {
            offset: next,
            ..request
        };
        Ok((next, from(&broker.store, &request)?))
    }

    /// Puts what was read on lease, and the group behind it.
    fn take(&mut self, broker: &Broker, popping: &Popping, start: i64, outcome: ReadOutcome) {
        let key = &popping.key;
        let queue = GroupQueue {
            group: &key.group,
            topic: &key.topic,
            queue_id: key.queue_id,
        };
        let header = &self.incoming.header;
        if !outcome.records.is_empty() {
            let offsets = offsets_of(&key.topic, &outcome.records);
            let read = Read {
                start_offset: start,
                pop_time_ms: self.pop_time_ms,
                invisible_ms: header.invisible_time_ms,
                offsets: &offsets,
                is_again: false,
            };
            match broker.pop.lease(popping, &read) {
                Ok(end_offset) => {
                    self.found.end_offset = self.found.end_offset.max(end_offset);
                }
                Err(error) => {
                    self.found.rest += (outcome.max_offset - start).max(0);
                    self.found.refusal = Some(append_refusal(&self.config, &error));
                    return;
                }
            }
            push_start_offset(
                &mut self.found.start_offsets,
                &key.topic,
                key.queue_id,
                start,
            );
            let list = &mut self.found.message_offsets;
            push_message_offsets(list, &key.topic, key.queue_id, &offsets);
            broker.stats.record_leased(&key.group, &header.topic);
            count(broker, queue, &outcome);
        }
        self.found.rest += (outcome.max_offset - outcome.next_offset).max(0);
        if outcome.next_offset > start {
            let (next, peer) = (outcome.next_offset, &self.incoming.peer);
            let popped = broker.offsets.commit_popped(queue, next, peer);
            // The lease stands behind the reset in the journal now.
            if let Popped::Reset(offset) = popped {
                broker.pop.note_reset(key, offset, &broker.offsets);
            }
        }
        self.keep_records(broker, key, start, outcome.records);
    }

    /// Retried messages are given out under the topic that they were sent to.
    fn keep_records(&mut self, broker: &Broker, key: &QueueKey, start: i64, records: Vec<Bytes>) {
        let topic = &self.incoming.header.topic;
        if key.topic == *topic || self.config.pop_tells_retry_topic {
            return self.found.records.extend(records);
        }
        let info = ExtraInfo {
            start_offset: start,
            pop_time_ms: self.pop_time_ms,
            invisible_ms: self.incoming.header.invisible_time_ms,
            journal_queue: broker.pop.journal.queue_of(&key.group, &key.topic),
            kind: TopicKind::of(&key.topic),
            broker_name: self.config.broker_name.clone(),
            queue_id: key.queue_id,
        };
        let renamed = records
            .iter()
            .map(|record| with_topic(record, topic, &info));
        self.found.records.extend(renamed);
    }

    fn answer(mut self, broker: &Arc<Broker>, responder: Responder) {
        if !self.found.records.is_empty() {
            self.pass_on(broker);
            let records = std::mem::take(&mut self.found.records);
            let reply = Reply::ok(self.answer_header(broker))
                .with_remark("FOUND")
                .with_body(Body::Many(records));
            return send_when_flushed(broker, self.found.end_offset, responder, reply);
        }
        if let Some(refusal) = self.found.refusal.take() {
            return responder.refuse(refusal);
        }
        broker.stats.record_get_miss();
        if self.found.is_full {
            return self.answer_nothing(broker, responder, ResponseCode::POLLING_FULL);
        }
        park(broker, self, responder);
    }

    /// Tells that there is nothing, and why nobody waits for more.
    pub(super) fn answer_nothing(&self, broker: &Broker, responder: Responder, code: ResponseCode) {
        let reply = Reply::ok(self.answer_header(broker))
            .with_code(code)
            .with_remark("NO_MESSAGE_IN_QUEUE");
        responder.send(Ok(reply));
    }

    /// What is left is for the next that waits.
    pub(super) fn pass_on(&self, broker: &Arc<Broker>) {
        if self.found.rest > 0 {
            super::pop_polling::wake_next(broker, &self.poll_key());
        }
    }

    pub(super) fn poll_key(&self) -> PollKey {
        key_of(&self.incoming)
    }

    fn answer_header(&self, broker: &Broker) -> PopMessageResponseHeader {
        let header = &self.incoming.header;
        PopMessageResponseHeader {
            pop_time_ms: self.pop_time_ms,
            invisible_time_ms: header.invisible_time_ms,
            revive_queue_id: self.journal_queue(broker),
            rest_num: self.found.rest,
            start_offset_info: Some(self.found.start_offsets.clone()),
            msg_offset_info: Some(self.found.message_offsets.clone()),
            order_count_info: self.is_ordered().then(|| self.found.order_counts.clone()),
        }
    }

    fn journal_queue(&self, broker: &Broker) -> i32 {
        let header = &self.incoming.header;
        if self.is_ordered() {
            return JOURNAL_QUEUE;
        }
        let journal = &broker.pop.journal;
        journal.queue_of(&header.consumer_group, &header.topic)
    }
}

fn key_of(incoming: &Request) -> PollKey {
    let header = &incoming.header;
    PollKey {
        topic: header.topic.clone(),
        group: header.consumer_group.clone(),
        queue_id: header.queue_id,
    }
}

pub(super) fn count(broker: &Broker, queue: GroupQueue<'_>, outcome: &ReadOutcome) {
    let GroupQueue {
        group,
        topic,
        queue_id,
    } = queue;
    let given = Given {
        messages: u64::try_from(outcome.message_count).unwrap_or(u64::MAX),
        bytes: u64::try_from(outcome.records_bytes).unwrap_or(u64::MAX),
    };
    broker.stats.record_get(group, topic, queue_id, given);
}
