//! What a consumer tells about itself when `mqadmin` or the console asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thrustmq_proto_compat::body::{
    CMResult, ConsumeMessageDirectlyResult, ConsumerRunningInfo, MessageQueue, ProcessQueueInfo,
};
use thrustmq_proto_compat::command::CURRENT_VERSION;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{Handled, Refusal, Reply};

use super::assigned_queue::AssignedQueue;
use super::broker_requests::DirectMessage;
use super::context::Context;
use super::listener::{Consumed, Listener, OrderedResult, Outcome};
use crate::received::pulled_records;

const MIB: usize = 1024 * 1024;

/// Everything about the consumer of these queues.
pub(super) fn running_info<'a>(
    context: &Context,
    queues: impl Iterator<Item = &'a Arc<AssignedQueue>>,
) -> ConsumerRunningInfo {
    let subscriptions = context.subscriptions.iter();
    ConsumerRunningInfo {
        properties: properties(context),
        mq_table: queues
            .map(|queue| (queue.queue.clone(), queue_info(queue)))
            .collect(),
        subscription_set: subscriptions
            .map(|(topic, filter)| filter.to_data(topic, context.subscription_version))
            .collect(),
        ..ConsumerRunningInfo::default()
    }
}

fn properties(context: &Context) -> BTreeMap<String, String> {
    let addresses = context.link.name_servers().addresses().join(";");
    let consume_type = if context.is_polled() {
        "CONSUME_ACTIVELY"
    } else {
        "CONSUME_PASSIVELY"
    };
    [
        ("PROP_NAMESERVER_ADDR", addresses),
        (
            "PROP_THREADPOOL_CORE_SIZE",
            context.concurrency.limit().to_string(),
        ),
        (
            "PROP_CONSUMEORDERLY",
            context.listener.is_ordered().to_string(),
        ),
        (
            "PROP_CONSUMER_START_TIMESTAMP",
            context.started_ms.to_string(),
        ),
        ("PROP_CONSUME_TYPE", consume_type.to_owned()),
        ("PROP_CLIENT_VERSION", CURRENT_VERSION.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn queue_info(queue: &AssignedQueue) -> ProcessQueueInfo {
    let Some(process) = queue.process() else {
        return ProcessQueueInfo::default();
    };
    let held = process.held();
    ProcessQueueInfo {
        commit_offset: process.commit_offset(),
        cached_msg_count: i32::try_from(held.messages).unwrap_or(i32::MAX),
        cached_msg_min_offset: held.offset_min,
        cached_msg_max_offset: held.offset_max,
        cached_msg_size_in_mib: i32::try_from(held.bytes / MIB).unwrap_or(i32::MAX),
        locked: queue.lock.granted_ms().is_some(),
        last_lock_timestamp: queue.lock.granted_ms().unwrap_or(0),
        droped: process.is_revoked(),
        last_pull_timestamp: queue.last_pull_ms.load(Ordering::Relaxed),
        last_consume_timestamp: queue.last_consume_ms.load(Ordering::Relaxed),
        ..ProcessQueueInfo::default()
    }
}

/// How far the consumer is in a topic.
pub(super) fn status<'a>(
    topic: &str,
    queues: impl Iterator<Item = &'a Arc<AssignedQueue>>,
) -> BTreeMap<MessageQueue, i64> {
    queues
        .filter(|queue| queue.queue.topic == topic)
        .filter_map(|queue| Some((queue.queue.clone(), queue.process()?.commit_offset())))
        .collect()
}

/// Gives the listener one message out of its turn and answers what came of it.
pub(super) async fn consume_directly(context: Arc<Context>, direct: DirectMessage) {
    let record = pulled_records(&direct.record, |_| true).into_iter().next();
    let message = record.map(|record| context.decode(&record));
    let Some(Ok(message)) = message else {
        let remark = "the request holds no message that can be read";
        let refusal = Refusal::new(ResponseCode::SYSTEM_ERROR, remark);
        return direct.responder.refuse(refusal);
    };
    let clock = &context.link.clock;
    let started_ms = clock.now_ms();
    let consume_result = match &context.listener {
        Listener::Concurrent(call) => {
            let time = Some(context.options.consume_timeout);
            shown(call.consume(vec![message], time).await, |outcomes| {
                outcomes.of(0) == Outcome::Done
            })
        }
        Listener::Ordered(call) => shown(call.consume(vec![message], None).await, |result| {
            *result == OrderedResult::Success
        }),
        Listener::Polled(_) => {
            let remark = "the consumer has no listener: its application polls";
            let refusal = Refusal::new(ResponseCode::SYSTEM_ERROR, remark);
            return direct.responder.refuse(refusal);
        }
    };
    let result = ConsumeMessageDirectlyResult {
        consume_result: Some(consume_result),
        order: context.listener.is_ordered(),
        spent_time_mills: clock.now_ms() - started_ms,
        ..ConsumeMessageDirectlyResult::default()
    };
    direct.responder.send(with_json(&result));
}

fn shown<R>(consumed: Consumed<R>, is_success: impl Fn(&R) -> bool) -> CMResult {
    match consumed {
        Consumed::Ended(result) if is_success(&result) => CMResult::Success,
        Consumed::Ended(_) | Consumed::TimedOut => CMResult::Later,
        Consumed::Panicked => CMResult::ThrowException,
    }
}

/// An answer with a JSON body.
pub(super) fn with_json(body: &impl serde::Serialize) -> Handled<()> {
    let json = fastjson::to_vec(body)
        .map_err(|cause| Refusal::new(ResponseCode::SYSTEM_ERROR, cause.to_string()))?;
    Ok(Reply::success().with_body(json))
}
