//! Acknowledgements, and changes of leases, that come ahead of the leases. A Java broker sends its checkpoints through the
//! timer, which brings them shortly before they are due: so while its directory is new to us, a handle
//! that names no lease may name one of those. Its acknowledgement goes into the timer too, as Java's
//! does, and comes behind the checkpoint. A change is a new lease and an acknowledgement of the old
//! one. Called by `ack.rs` and `change_invisible.rs`; nothing is kept in memory.

use std::sync::Arc;

use thrustmq_remoting::Refusal;
use thrustmq_store::NewMessage;

use super::send_refusals::append_refusal;
use crate::broker::Broker;
use crate::pop::leases::{Changed, Read};
use crate::pop::queue_state::Lease;
use crate::pop::table::{Begin, QueueKey};
use crate::timer::{ForTimer, Scheduled, WAITING_IN, schedule};

/// Messages of one acknowledgement that are looked at: more than one pop gives.
const MESSAGES_MAX: usize = 64;

/// What was acknowledged, or changed, without a lease.
#[derive(Debug)]
pub(super) struct Ahead<'a> {
    /// As the handle says it.
    pub(super) lease: Lease,
    /// Queue of the journal that the checkpoint goes to.
    pub(super) journal_queue: i32,
    pub(super) offsets: &'a [i64],
}

/// Sends it through the timer, unless its checkpoint cannot be on the way; the end of what was written.
pub(super) fn acknowledge_ahead(
    broker: &Broker,
    key: &QueueKey,
    ahead: &Ahead<'_>,
) -> Result<i64, Refusal> {
    if !is_on_its_way(broker, key, ahead) {
        return Ok(0);
    }
    let mut end_offset = 0;
    for offset in ahead.offsets.iter().take(MESSAGES_MAX) {
        end_offset = send(broker, key, ahead, *offset)?.max(end_offset);
    }
    Ok(end_offset)
}

/// Gives a message a new lease, unless its checkpoint cannot be on the way, or no lease is to be had.
pub(super) fn change_ahead(
    broker: &Broker,
    key: QueueKey,
    ahead: &Ahead<'_>,
    invisible_ms: i64,
) -> Result<Option<Changed>, Refusal> {
    let Some(start_offset) = ahead.offsets.first().copied() else {
        return Ok(None);
    };
    if !is_on_its_way(broker, &key, ahead) {
        return Ok(None);
    }
    let key = Arc::new(key);
    let begin = Begin {
        start_offset,
        pop_time_ms: broker.clock.now_ms(),
        // One that the other broker gave goes.
        leases_max: usize::MAX,
    };
    let Ok(popping) = broker.pop.begin(&key, begin) else {
        return Ok(None);
    };
    let read = Read {
        start_offset,
        pop_time_ms: begin.pop_time_ms,
        invisible_ms,
        offsets: &[start_offset],
        is_again: true,
    };
    let leased = broker.pop.lease(&popping, &read);
    let leased = leased.map_err(|error| append_refusal(&broker.config.current(), &error))?;
    let acknowledged = send(broker, &key, ahead, start_offset)?;
    Ok(Some(Changed {
        pop_time_ms: begin.pop_time_ms,
        end_offset: leased.max(acknowledged),
    }))
}

fn is_on_its_way(broker: &Broker, key: &QueueKey, ahead: &Ahead<'_>) -> bool {
    let lease = &ahead.lease;
    // Our own leases are written at once, and those of before the start are known from there.
    let is_older = lease.pop_time_ms < broker.started_ms;
    let is_open = lease.due_ms() > broker.clock.now_ms();
    let is_queue = (0..broker.pop.journal.queues).contains(&ahead.journal_queue);
    // Without the timer no checkpoint comes either.
    let comes = broker.timer.is_some() && broker.topics.contains(&key.topic);
    is_older && is_open && is_queue && comes
}

fn send(broker: &Broker, key: &QueueKey, ahead: &Ahead<'_>, offset: i64) -> Result<i64, Refusal> {
    let (journal, now_ms) = (&broker.pop.journal, broker.clock.now_ms());
    let mut record = journal.timed_ack(key, &ahead.lease, offset);
    let for_timer = ForTimer {
        topic: &journal.topic,
        queue_id: ahead.journal_queue,
        now_ms,
    };
    let config = broker.config.current();
    let text = &mut record.properties;
    let Scheduled::Waits { .. } = schedule(broker.timer.as_ref(), &config, for_timer, text)? else {
        // It has become due meanwhile.
        return Ok(0);
    };
    let appended = broker.store.append(&NewMessage {
        topic: WAITING_IN.0,
        queue_id: WAITING_IN.1,
        flag: 0,
        sys_flag: 0,
        born_timestamp: now_ms,
        born_host: journal.host,
        store_host: journal.host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &record.body,
        properties: &record.properties,
    });
    let appended = appended.map_err(|error| append_refusal(&config, &error))?;
    Ok(appended.end_offset)
}
