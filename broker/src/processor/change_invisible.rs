//! 200053 CHANGE_MESSAGE_INVISIBLETIME: a message gets a new lease from now on, and its consumer the
//! handle of that; the old handle names nothing any more.

use std::sync::Arc;

use thrustmq_proto_compat::header::{
    ChangeInvisibleTimeRequestHeader, ChangeInvisibleTimeResponseHeader,
};
use thrustmq_remoting::{Incoming, Refusal, Reply, Responder};
use thrustmq_store::QueueRange;

use super::ack::check_queue;
use super::ack_ahead::{Ahead, change_ahead};
use super::pop_order;
use super::send_refusals::append_refusal;
use super::when_flushed::send_when_flushed;
use crate::broker::Broker;
use crate::pop::info::ExtraInfo;
use crate::pop::leases::Changed;
use crate::pop::order::JOURNAL_QUEUE;
use crate::pop::queue_state::{Handle, Lease};
use crate::pop::table::QueueKey;
use crate::refusal;

type Request = Incoming<ChangeInvisibleTimeRequestHeader>;

/// 200053 CHANGE_MESSAGE_INVISIBLETIME.
pub(crate) fn change_invisible_time(broker: &Arc<Broker>, incoming: Request, responder: Responder) {
    let info = match check(broker, &incoming) {
        Ok(info) => info,
        Err(refusal) => return responder.refuse(refusal),
    };
    let header = &incoming.header;
    if info.journal_queue == JOURNAL_QUEUE {
        let changed = pop_order::change_invisible(broker, header, info.pop_time_ms);
        return responder.send(Ok(Reply::ok(changed)));
    }
    let changed = match change(broker, header, &info) {
        Ok(changed) => changed,
        Err(refusal) => return responder.refuse(refusal),
    };
    let reply = Reply::ok(ChangeInvisibleTimeResponseHeader {
        pop_time_ms: changed.pop_time_ms,
        invisible_time_ms: header.invisible_time_ms,
        revive_queue_id: broker
            .pop
            .journal
            .queue_of(&header.consumer_group, &header.topic),
    });
    send_when_flushed(broker, changed.end_offset, responder, reply);
}

fn check(broker: &Broker, incoming: &Request) -> Result<ExtraInfo, Refusal> {
    let header = &incoming.header;
    check_queue(broker, &header.topic, header.queue_id, &incoming.peer)?;
    let QueueRange { min, max } = broker.store.queue_range(&header.topic, header.queue_id);
    if !(min..max).contains(&header.offset) {
        return Err(refusal::nothing_on_lease());
    }
    let info = ExtraInfo::parse(&header.extra_info);
    info.ok_or_else(|| refusal::handle_unreadable(&header.extra_info))
}

fn change(
    broker: &Broker,
    header: &ChangeInvisibleTimeRequestHeader,
    info: &ExtraInfo,
) -> Result<Changed, Refusal> {
    let key = QueueKey {
        group: header.consumer_group.clone(),
        topic: header.topic.clone(),
        queue_id: header.queue_id,
    };
    let handle = Handle {
        offset: header.offset,
        pop_time_ms: info.pop_time_ms,
    };
    let changed = broker.pop.change(&key, handle, header.invisible_time_ms);
    let changed = changed.map_err(|error| append_refusal(&broker.config.current(), &error))?;
    let changed = match changed {
        Some(changed) => Some(changed),
        None => change_unknown(broker, header, info, key.clone())?,
    };
    let changed = changed.ok_or_else(|| refusal::lease_ended(&header.extra_info))?;
    // One lease ends and another begins.
    broker.stats.record_leased(&key.group, &key.topic);
    broker.stats.record_acknowledged(&key.group, &key.topic, 1);
    Ok(changed)
}

fn change_unknown(
    broker: &Broker,
    header: &ChangeInvisibleTimeRequestHeader,
    info: &ExtraInfo,
    key: QueueKey,
) -> Result<Option<Changed>, Refusal> {
    let lease = Lease {
        start_offset: info.start_offset,
        pop_time_ms: info.pop_time_ms,
        invisible_ms: info.invisible_ms,
        journal_offset: 0,
        attempts: 0,
    };
    let ahead = Ahead {
        lease,
        journal_queue: info.journal_queue,
        offsets: &[header.offset],
    };
    change_ahead(broker, key, &ahead, header.invisible_time_ms)
}
