//! 370 RECALL_MESSAGE: a message that waits in the timer is not to be delivered.
//!
//! Stores a message of the same slot that names the other one's key; whether there is such a message
//! shows when the slot is delivered, and nobody is told.

use thrustmq_proto_compat::header::{RecallMessageRequestHeader, RecallMessageResponseHeader};
use thrustmq_proto_compat::message::id::RecallHandle;
use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;
use thrustmq_remoting::{Incoming, Refusal, Reply, Responder};
use thrustmq_store::NewMessage;

use crate::broker::Broker;
use crate::config::{BrokerConfig, FlushDiskType};
use crate::refusal;
use crate::timer::{self, ForTimer, Scheduled, WAITING_IN};
use crate::topic::PERM_WRITE;

/// What every recall has as its tag and its body.
const TAG: &str = "_RECALL_TAG_";
const BODY: &[u8] = b"0";

/// A recall that is stored.
struct Stored {
    unique_key: String,
    end_offset: i64,
}

/// 370 RECALL_MESSAGE.
pub(crate) fn recall_message(
    broker: &Broker,
    incoming: Incoming<RecallMessageRequestHeader>,
    responder: Responder,
) {
    let config = broker.config.current();
    let region = config.region_id.clone();
    let stored = check(broker, &config, &incoming.header)
        .and_then(|handle| store(broker, &config, &incoming, &handle));
    let stored = match stored {
        Ok(stored) => stored,
        Err(refusal) => {
            let reply = Reply::refused(refusal).with_field(name::MSG_REGION, &region);
            return responder.send(Ok(reply));
        }
    };
    let header = RecallMessageResponseHeader {
        msg_id: stored.unique_key,
    };
    let reply = Reply::ok(header).with_field(name::MSG_REGION, &region);
    if config.flush_disk_type != FlushDiskType::SyncFlush {
        return responder.send(Ok(reply));
    }
    // It counts as stored even if the disk is slow, as in Java.
    let finish = move |_| responder.send(Ok(reply));
    broker
        .store
        .when_flushed(stored.end_offset, Box::new(finish));
}

/// Java's checks, in its order.
fn check(
    broker: &Broker,
    config: &BrokerConfig,
    header: &RecallMessageRequestHeader,
) -> Result<RecallHandle, Refusal> {
    if !config.recall_enable {
        return Err(refusal::recall_off());
    }
    let is_writable = config.broker_permission & PERM_WRITE != 0;
    let accepts = broker.clock.now_ms() >= config.start_accept_send_ms;
    if !accepts || !(is_writable || config.recall_not_writable) {
        return Err(refusal::recall_not_served());
    }
    if !broker.topics.contains(&header.topic) {
        return Err(refusal::recall_topic_not_exist(&header.topic));
    }
    let illegal = refusal::recall_illegal;
    let handle = RecallHandle::decode(&header.recall_handle)
        .map_err(|_| illegal("recall handle is invalid"))?;
    if handle.topic != header.topic {
        return Err(illegal("recall failed, topic not match"));
    }
    if handle.broker_name != config.broker_name {
        return Err(illegal("recall failed, broker service not available"));
    }
    let left_ms = handle.deliver_ms.saturating_sub(broker.clock.now_ms());
    let left_ms_max = config.timer_delay_seconds_max.saturating_mul(1_000);
    if left_ms <= 0 || left_ms >= left_ms_max {
        return Err(illegal("recall failed, timestamp invalid"));
    }
    Ok(handle)
}

fn store(
    broker: &Broker,
    config: &BrokerConfig,
    incoming: &Incoming<RecallMessageRequestHeader>,
    handle: &RecallHandle,
) -> Result<Stored, Refusal> {
    let now_ms = broker.clock.now_ms();
    let mut text = own_properties(config, &incoming.header, handle, now_ms);
    let message = ForTimer {
        topic: &handle.topic,
        queue_id: 0,
        now_ms,
    };
    let scheduled = timer::schedule(broker.timer.as_ref(), config, message, &mut text);
    let Ok(Scheduled::Waits { .. }) = scheduled else {
        return Err(refusal::recall_failed());
    };
    let message = NewMessage {
        topic: WAITING_IN.0,
        queue_id: WAITING_IN.1,
        flag: 0,
        sys_flag: 0,
        born_timestamp: now_ms,
        born_host: incoming.peer.remote_addr(),
        store_host: broker.advertised,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: BODY,
        properties: &text,
    };
    let appended = broker.store.append(&message).map_err(|error| {
        tracing::warn!(topic = handle.topic, %error, "a recall is not stored");
        refusal::recall_failed()
    })?;
    let bytes = u64::try_from(appended.record_bytes).unwrap_or(0);
    broker
        .stats
        .record_put(message.topic, message.queue_id, 1, bytes);
    Ok(Stored {
        unique_key: handle.unique_key.clone(),
        end_offset: appended.end_offset,
    })
}

fn own_properties(
    config: &BrokerConfig,
    header: &RecallMessageRequestHeader,
    handle: &RecallHandle,
    now_ms: i64,
) -> String {
    let RecallHandle {
        topic, unique_key, ..
    } = handle;
    let cancelled = if config.recall_key_with_topic {
        format!("{topic}+{unique_key}")
    } else {
        unique_key.clone()
    };
    let deliver_ms = handle.deliver_ms.to_string();
    let born_ms = now_ms.to_string();
    let mut text = String::new();
    for (name, value) in [
        (name::TAGS, TAG),
        (name::TIMER_DEL_UNIQUE_KEY, &cancelled),
        (name::UNIQUE_KEY, unique_key),
        (name::TIMER_DELIVER_MS, &deliver_ms),
        (name::BORN_TIMESTAMP, &born_ms),
    ] {
        properties::push(&mut text, name, value);
    }
    if let Some(group) = &header.producer_group {
        properties::push(&mut text, name::PRODUCER_GROUP, group);
    }
    text
}
