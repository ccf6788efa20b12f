//! Pulling: 11 and 361, with long polling.
//!
//! A pull that finds nothing new is parked in the hold table, if it may wait, and run once more, on
//! the same pool, when a message for it arrives or its time is up. Young records go out as they lie in
//! the mapped log: no body is copied. A pull of old messages that have to come from the disk is read
//! on a pool of its own, so that no other pull waits for it.

use std::sync::Arc;

use thrustmq_proto_compat::command::Body;
use thrustmq_proto_compat::header::{PullMessageRequestHeader, PullMessageResponseHeader};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Incoming, Reply, Responder};
use thrustmq_store::{ReadError, ReadOutcome, ReadRequest, ReadStatus, RecordFilter, Store};

use super::cold::run_cold;
use super::pull_checks::{Checked, check_pull};
use super::woken::run_woken;
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::hold::ParkedPull;
use crate::offset::GroupQueue;
use crate::refusal;
use crate::stats::Given;

/// The request commits an offset along the way.
const COMMITS_OFFSET: i32 = 1;
/// The request may wait for a message.
const MAY_SUSPEND: i32 = 2;
/// Most bytes of an answer, whatever is asked for.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Id of the master, which serves everything.
const MASTER_ID: i64 = 0;

type Request = Incoming<PullMessageRequestHeader>;

/// One run of a pull.
#[derive(Clone, Copy)]
struct Run {
    /// It came as 361.
    lite: bool,
    /// It was not parked yet.
    first: bool,
}

/// A pull that may be served.
struct Pull {
    incoming: Request,
    checked: Checked,
    run: Run,
    begun_ms: i64,
}

/// 11 PULL_MESSAGE.
pub(crate) fn pull_message(broker: &Arc<Broker>, incoming: Request, responder: Responder) {
    let run = Run {
        lite: false,
        first: true,
    };
    pull(broker, incoming, responder, run);
}

/// 361 LITE_PULL_MESSAGE.
pub(crate) fn lite_pull_message(broker: &Arc<Broker>, incoming: Request, responder: Responder) {
    let run = Run {
        lite: true,
        first: true,
    };
    pull(broker, incoming, responder, run);
}

/// Runs parked pulls again, on their pool; they are answered then, whatever is found.
pub(crate) fn wake(broker: &Arc<Broker>, parked: Vec<ParkedPull>) {
    for woken in parked {
        let pool = if woken.lite {
            &broker.pools.lite_pull
        } else {
            &broker.pools.pull
        };
        let run = Run {
            lite: woken.lite,
            first: false,
        };
        let (state, incoming) = (Arc::clone(broker), woken.incoming);
        run_woken(pool, woken.responder, move |responder| {
            pull(&state, incoming, responder, run);
        });
    }
}

fn run_again(broker: &Arc<Broker>, parked: ParkedPull) {
    let run = Run {
        lite: parked.lite,
        first: false,
    };
    pull(broker, parked.incoming, parked.responder, run);
}

fn pull(broker: &Arc<Broker>, incoming: Request, responder: Responder, run: Run) {
    let begun_ms = broker.clock.now_ms();
    let config = broker.config.current();
    let checked = match check_pull(broker, &config, &incoming, run.lite) {
        Ok(checked) => checked,
        Err(refusal) => return responder.refuse(refusal),
    };
    let reset = broker.offsets.take_reset(group_queue(&incoming.header));
    let pull = Pull {
        incoming,
        checked,
        run,
        begun_ms,
    };
    if let Some(offset) = reset.filter(|_| config.server_side_reset) {
        let outcome = reset_outcome(broker, &pull.incoming.header, offset);
        return answer(broker, pull, responder, Ok(outcome));
    }
    match read(broker, &pull, Store::read_in_memory) {
        Err(ReadError::NotInMemory) => run_cold(broker, responder, |broker, responder| {
            let outcome = read(broker, &pull, Store::read);
            answer(broker, pull, responder, outcome);
        }),
        outcome => answer(broker, pull, responder, outcome),
    }
}

fn read(
    broker: &Broker,
    pull: &Pull,
    from: fn(&Store, &ReadRequest<'_>) -> Result<ReadOutcome, ReadError>,
) -> Result<ReadOutcome, ReadError> {
    let header = &pull.incoming.header;
    let asked_bytes = header
        .max_msg_bytes
        .and_then(|bytes| usize::try_from(bytes).ok());
    let filter: &dyn RecordFilter = &pull.checked.filter;
    let request = ReadRequest {
        topic: &header.topic,
        queue_id: header.queue_id,
        offset: header.queue_offset,
        messages_max: usize::try_from(header.max_msg_nums).unwrap_or(0),
        bytes_max: asked_bytes.map_or(ANSWER_BYTES_MAX, |bytes| bytes.min(ANSWER_BYTES_MAX)),
        filter: Some(filter).filter(|_| !pull.checked.filter.takes_all()),
    };
    let began_ms = broker.clock.now_ms();
    let outcome = from(&broker.store, &request)?;
    broker
        .stats
        .record_get_time(broker.clock.now_ms() - began_ms);
    Ok(outcome)
}

/// Answers with what was read, or parks a pull that found nothing new.
fn answer(
    broker: &Arc<Broker>,
    pull: Pull,
    responder: Responder,
    read: Result<ReadOutcome, ReadError>,
) {
    commit(broker, &pull);
    let Pull {
        incoming,
        checked,
        run,
        begun_ms,
    } = pull;
    let outcome = match read {
        Ok(outcome) => outcome,
        Err(error) => return responder.refuse(refusal::unreadable(error)),
    };
    let queue = group_queue(&incoming.header);
    broker.offsets.record_pull(queue, outcome.next_offset);
    let code = answer_code(outcome.status, incoming.header.queue_offset);
    let may_wait = run.first && incoming.header.sys_flag & MAY_SUSPEND != 0;
    if code == ResponseCode::PULL_NOT_FOUND && may_wait {
        let wait_ms = wait_ms(&broker.config.current(), &incoming.header);
        let parked = ParkedPull {
            deadline_ms: broker.clock.now_ms().saturating_add(wait_ms),
            filter: checked.filter,
            lite: run.lite,
            incoming,
            responder,
        };
        return park(broker, parked);
    }
    count(broker, &incoming.header, &outcome, begun_ms);
    let header = PullMessageResponseHeader {
        suggest_which_broker_id: suggested_broker(&broker.config.current(), &checked, &outcome),
        ..answer_header(&checked, &outcome)
    };
    let reply = Reply::ok(header)
        .with_code(code)
        .with_remark(status_name(outcome.status))
        .with_body(Body::Many(outcome.records));
    responder.send(Ok(reply));
}

/// The offset was reset from outside: the consumer has to go on there.
fn reset_outcome(broker: &Broker, header: &PullMessageRequestHeader, offset: i64) -> ReadOutcome {
    let range = broker.store.queue_range(&header.topic, header.queue_id);
    ReadOutcome {
        status: ReadStatus::OffsetReset,
        next_offset: offset,
        min_offset: range.min,
        max_offset: range.max,
        records: Vec::new(),
        records_bytes: 0,
        message_count: 0,
        suggest_slave: false,
    }
}

/// The consumer says along the way how far it is.
fn commit(broker: &Broker, pull: &Pull) {
    let header = &pull.incoming.header;
    if pull.run.first && header.sys_flag & COMMITS_OFFSET != 0 {
        let queue = group_queue(header);
        broker
            .offsets
            .commit(queue, header.commit_offset, &pull.incoming.peer);
    }
}

fn park(broker: &Arc<Broker>, parked: ParkedPull) {
    let header = &parked.incoming.header;
    let (topic, queue_id) = (header.topic.clone(), header.queue_id);
    if let Err(refused) = broker.hold.park(parked) {
        return run_again(broker, *refused);
    }
    // Between the read and the parking a message may have come that woke nobody.
    let end = broker.store.queue_range(&topic, queue_id).max;
    for pull in broker.hold.take_behind(&topic, queue_id, end) {
        run_again(broker, pull);
    }
}

/// How long a pull waits for a message.
fn wait_ms(config: &BrokerConfig, header: &PullMessageRequestHeader) -> i64 {
    if config.long_polling {
        header.suspend_timeout_ms
    } else {
        config.short_polling_ms
    }
}

fn count(broker: &Broker, header: &PullMessageRequestHeader, outcome: &ReadOutcome, begun_ms: i64) {
    if outcome.status != ReadStatus::Found {
        return broker.stats.record_get_miss();
    }
    let given = Given {
        messages: u64::try_from(outcome.message_count).unwrap_or(u64::MAX),
        bytes: u64::try_from(outcome.records_bytes).unwrap_or(u64::MAX),
    };
    let (group, topic) = (&header.consumer_group, &header.topic);
    broker
        .stats
        .record_get(group, topic, header.queue_id, given);
    let took_ms = broker.clock.now_ms() - begun_ms;
    broker
        .stats
        .record_get_latency(group, topic, header.queue_id, took_ms);
}

fn group_queue(header: &PullMessageRequestHeader) -> GroupQueue<'_> {
    GroupQueue {
        group: &header.consumer_group,
        topic: &header.topic,
        queue_id: header.queue_id,
    }
}

fn answer_header(checked: &Checked, outcome: &ReadOutcome) -> PullMessageResponseHeader {
    PullMessageResponseHeader {
        suggest_which_broker_id: MASTER_ID,
        next_begin_offset: outcome.next_offset,
        min_offset: outcome.min_offset,
        max_offset: outcome.max_offset,
        offset_delta: None,
        topic_sys_flag: Some(checked.topic.topic_sys_flag),
        group_sys_flag: Some(checked.group.group_sys_flag),
        forbidden_type: None,
    }
}

/// Where the consumer pulls next: from a replica, where the operator allows that and the reader lags
/// so far behind that it would push new messages out of the master's memory.
fn suggested_broker(config: &BrokerConfig, checked: &Checked, outcome: &ReadOutcome) -> i64 {
    if !config.slave_read {
        return MASTER_ID;
    }
    if outcome.suggest_slave {
        checked.group.which_broker_when_consume_slowly
    } else {
        checked.group.broker_id
    }
}

fn answer_code(status: ReadStatus, asked_offset: i64) -> ResponseCode {
    match status {
        ReadStatus::Found => ResponseCode::SUCCESS,
        ReadStatus::NoMatchedMessage | ReadStatus::MessageWasRemoving => {
            ResponseCode::PULL_RETRY_IMMEDIATELY
        }
        ReadStatus::NoMatchedLogicQueue | ReadStatus::NoMessageInQueue if asked_offset == 0 => {
            ResponseCode::PULL_NOT_FOUND
        }
        ReadStatus::OffsetFoundNull | ReadStatus::OffsetOverflowOne => ResponseCode::PULL_NOT_FOUND,
        ReadStatus::NoMatchedLogicQueue
        | ReadStatus::NoMessageInQueue
        | ReadStatus::OffsetOverflowBadly
        | ReadStatus::OffsetReset
        | ReadStatus::OffsetTooSmall => ResponseCode::PULL_OFFSET_MOVED,
    }
}

/// Java's name of the status, which is the answer's remark.
fn status_name(status: ReadStatus) -> &'static str {
    match status {
        ReadStatus::Found => "FOUND",
        ReadStatus::NoMatchedMessage => "NO_MATCHED_MESSAGE",
        ReadStatus::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
        ReadStatus::OffsetFoundNull => "OFFSET_FOUND_NULL",
        ReadStatus::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
        ReadStatus::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
        ReadStatus::OffsetTooSmall => "OFFSET_TOO_SMALL",
        // Java makes a queue when it is asked for one, so its clients see only that it is empty.
        ReadStatus::NoMatchedLogicQueue | ReadStatus::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
        ReadStatus::OffsetReset => "OFFSET_RESET",
    }
}
