//! Queues that ordered consumers lock: 41 and 42.

use thrustmq_proto_compat::body::{
    LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody,
};
use thrustmq_remoting::{Handled, Incoming, Reply};

use super::json_body;
use crate::broker::Broker;

/// `LOCK_BATCH_MQ`: answers with the queues that the client holds now.
pub(crate) fn lock_queues(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    let wanted: LockBatchRequestBody = json_body::read(&incoming.command)?;
    let held = broker
        .locks
        .lock(&wanted.consumer_group, &wanted.client_id, wanted.mq_set);
    let body = LockBatchResponseBody {
        lock_ok_mq_set: held.into_iter().collect(),
    };
    json_body::answer(Reply::success(), &body)
}

/// `UNLOCK_BATCH_MQ`: lets go of what the client holds.
pub(crate) fn unlock_queues(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    let held: UnlockBatchRequestBody = json_body::read(&incoming.command)?;
    broker
        .locks
        .unlock(&held.consumer_group, &held.client_id, &held.mq_set);
    Ok(Reply::success())
}
