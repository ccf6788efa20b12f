//! Files and queues that nobody needs: 306, 316 and 329.

use thrustmq_proto_compat::message::names;
use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;

/// `CLEAN_EXPIRED_CONSUMEQUEUE`: queue files that point before the log.
pub(crate) fn clean_expired_queues(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    tracing::info!(peer = %incoming.peer, "expired consume queues are deleted");
    broker.store.delete_expired_queues();
    Ok(Reply::success())
}

/// `CLEAN_UNUSED_TOPIC`: queues of topics that the broker doesn't know.
pub(crate) fn clean_unused_topics(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    for topic in broker.store.topics() {
        let is_kept = broker.topics.is_system(&topic) || names::is_light_queue(&topic);
        if !broker.topics.contains(&topic) && !is_kept {
            tracing::info!(peer = %incoming.peer, topic, "queues of an unknown topic are deleted");
            broker.store.delete_topic(&topic);
        }
    }
    Ok(Reply::success())
}

/// `DELETE_EXPIRED_COMMITLOG`: files of the log that are too old, whatever the hour.
pub(crate) fn delete_expired_log(broker: &Broker, incoming: Incoming<()>) -> Handled<()> {
    let files = broker.store.delete_expired();
    tracing::info!(peer = %incoming.peer, files, "expired files of the log are deleted");
    Ok(Reply::success())
}
