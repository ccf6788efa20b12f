//! Pops in order: one batch of each queue is in flight. What that means `pop/order.rs` decides; here
//! are its pops, acknowledgements and changes, who is woken when a queue is free, and when the file is
//! written.

use std::sync::Arc;

use thrustmq_proto_compat::header::{
    ChangeInvisibleTimeRequestHeader, ChangeInvisibleTimeResponseHeader, PopMessageRequestHeader,
};
use thrustmq_remoting::{Peer, Refusal};
use thrustmq_store::{ReadError, ReadOutcome};

use super::pop::{Looked, Pop, ReadFrom, count};
use super::pop_polling;
use super::pop_queues::{Place, first_offset};
use super::pop_records::offsets_of;
use crate::broker::Broker;
use crate::offset::GroupQueue;
use crate::pop::hold::PollKey;
use crate::pop::info::{push_message_offsets, push_order_counts, push_start_offset};
use crate::pop::order::{Acked, Freed, Grant, JOURNAL_QUEUE, OrderedQueue, Reading};
use crate::refusal;

/// A pop that waits for any queue.
const ANY_QUEUE: i32 = -1;

impl Pop {
    /// Whether it wants messages in order.
    pub(super) fn is_ordered(&self) -> bool {
        self.incoming.header.order == Some(true)
    }

    /// Looks into one queue. What waits behind a batch in flight is not counted as left: it would only
    /// wake others in vain.
    pub(super) fn look_into_in_order(
        &mut self,
        broker: &Broker,
        place: &Place,
        from: ReadFrom,
    ) -> Looked {
        let header = &self.incoming.header;
        let queue = GroupQueue {
            group: &header.consumer_group,
            topic: &place.topic,
            queue_id: place.queue_id,
        };
        let end = broker.store.queue_range(queue.topic, queue.queue_id).max;
        self.seen.push((place.clone(), end));
        if self.messages_left() == 0 {
            let next = broker.offsets.query(queue).unwrap_or(end);
            self.found.rest += (end - next).max(0);
            return Looked::Done;
        }
        let Some(reading) = broker.orders.begin(queue) else {
            self.blocked.push(place.clone());
            return Looked::Done;
        };
        self.settle_offset(broker, queue);
        let committed = || broker.offsets.query(queue).unwrap_or(0);
        let Some(start) = reading.start(header.attempt_id.as_deref(), committed) else {
            self.blocked.push(place.clone());
            return Looked::Done;
        };
        match self.read(broker, queue, start, from) {
            Ok((start, outcome)) => self.take_in_order(broker, reading, start, outcome),
            Err(ReadError::NotInMemory) => return Looked::NotInMemory,
            Err(error) => self.found.refusal = Some(refusal::unreadable(error)),
        }
        Looked::Done
    }

    /// The group has an offset from now on, and goes where it was sent.
    fn settle_offset(&self, broker: &Broker, queue: GroupQueue<'_>) {
        let peer = &self.incoming.peer;
        if let Some(offset) = broker.offsets.take_reset(queue) {
            broker.orders.clear(queue);
            broker.offsets.commit(queue, offset, peer);
        } else if broker.offsets.query(queue).is_none() {
            let init_mode = self.incoming.header.init_mode;
            let offset = first_offset(broker, &self.config, queue, init_mode);
            broker.offsets.commit(queue, offset, peer);
        }
    }

    fn take_in_order(
        &mut self,
        broker: &Broker,
        reading: Reading<'_>,
        start: i64,
        outcome: ReadOutcome,
    ) {
        self.found.rest += (outcome.max_offset - outcome.next_offset).max(0);
        if outcome.records.is_empty() {
            if outcome.next_offset > start && !broker.offsets.has_reset(reading.queue()) {
                broker.offsets.advance(reading.queue(), outcome.next_offset);
            }
            return;
        }
        let header = &self.incoming.header;
        let GroupQueue {
            topic, queue_id, ..
        } = reading.queue();
        let offsets = offsets_of(topic, &outcome.records);
        push_start_offset(&mut self.found.start_offsets, topic, queue_id, start);
        push_message_offsets(&mut self.found.message_offsets, topic, queue_id, &offsets);
        count(broker, reading.queue(), &outcome);
        let topic = topic.to_owned();
        let consumed = reading.grant(Grant {
            attempt_id: header.attempt_id.as_deref(),
            pop_ms: self.pop_time_ms,
            invisible_ms: header.invisible_time_ms,
            offsets: &offsets,
        });
        push_order_counts(&mut self.found.order_counts, &topic, queue_id, &consumed);
        self.found.records.extend(outcome.records);
    }
}

/// Whether a queue that was blocked may be popped by now.
pub(super) fn is_any_free(
    broker: &Broker,
    header: &PopMessageRequestHeader,
    blocked: &[Place],
) -> bool {
    blocked.iter().any(|place| {
        let queue = GroupQueue {
            group: &header.consumer_group,
            topic: &place.topic,
            queue_id: place.queue_id,
        };
        let committed = broker.offsets.query(queue).unwrap_or(0);
        let attempt_id = header.attempt_id.as_deref();
        broker.orders.is_free(queue, attempt_id, committed)
    })
}

/// Messages of an ordered pop are done.
pub(super) fn acknowledge(
    broker: &Broker,
    queue: GroupQueue<'_>,
    pop_time_ms: i64,
    offsets: &[i64],
    peer: &Peer,
) -> Result<(), Refusal> {
    let mut illegal = None;
    for offset in offsets {
        let committed = broker.offsets.query(queue).unwrap_or(0);
        match broker.orders.ack(queue, *offset, pop_time_ms, committed) {
            Acked::Commit(next) => {
                if !broker.offsets.has_reset(queue) {
                    broker.offsets.advance(queue, next);
                }
            }
            Acked::NotInBatch if *offset >= committed => {
                illegal = Some(refusal::ordered_ack_illegal(
                    queue, committed, *offset, peer,
                ));
            }
            Acked::Stale | Acked::NotInBatch => {}
        }
    }
    broker.orders.settle(queue);
    illegal.map_or(Ok(()), Err)
}

/// A message of an ordered pop is to be visible at another time. Its handle stays.
pub(super) fn change_invisible(
    broker: &Broker,
    header: &ChangeInvisibleTimeRequestHeader,
    pop_time_ms: i64,
) -> ChangeInvisibleTimeResponseHeader {
    let queue = GroupQueue {
        group: &header.consumer_group,
        topic: &header.topic,
        queue_id: header.queue_id,
    };
    let committed = broker.offsets.query(queue).unwrap_or(0);
    if header.offset < committed {
        return ChangeInvisibleTimeResponseHeader::default();
    }
    let visible_ms = broker
        .clock
        .now_ms()
        .saturating_add(header.invisible_time_ms);
    broker
        .orders
        .change_visible(queue, header.offset, pop_time_ms, visible_ms);
    ChangeInvisibleTimeResponseHeader {
        pop_time_ms,
        invisible_time_ms: visible_ms.saturating_sub(pop_time_ms),
        revive_queue_id: JOURNAL_QUEUE,
    }
}

/// Work of the thread `pop-order`: wakes those who wait for queues that are free.
pub(crate) fn wake_free(broker: &Arc<Broker>) {
    while !broker.orders.is_stopped() {
        for Freed { queue, for_all } in broker.orders.take_free() {
            for queue_id in [queue.queue_id, ANY_QUEUE] {
                let key = PollKey {
                    topic: queue.topic.to_string(),
                    group: queue.group.to_string(),
                    queue_id,
                };
                wake(broker, &key, for_all);
            }
        }
    }
}

fn wake(broker: &Arc<Broker>, key: &PollKey, for_all: bool) {
    let waiting = broker.pop.polling.count_of(key);
    for _ in 0..if for_all { waiting } else { waiting.min(1) } {
        pop_polling::wake_next(broker, key);
    }
    let notification = broker.pop.notifications.take_next(key);
    super::notification::wake(broker, notification.into_iter().collect());
}

/// Writes `consumerOrderInfo.json`; called every 10 s and at the end. The offsets are written in
/// between, so that no batch in the file is ahead of them.
pub(crate) fn persist(broker: &Broker) {
    broker.orders.clean(|queue| exists(broker, queue));
    if let Some(changes) = broker.orders.changes() {
        broker.offsets.flush();
        broker.orders.store(changes);
    }
}

fn exists(broker: &Broker, queue: &OrderedQueue) -> bool {
    let topic = broker.topics.find(&queue.topic);
    let has_queue = topic.is_some_and(|topic| queue.queue_id < topic.read_queue_nums);
    has_queue && broker.groups.contains(&queue.group)
}
