//! Which request is served by which handler, on which pool: the map of the broker.
//!
//! The fast port serves the same without pulls. Codes that are not here get code 3.

use std::sync::Arc;

use thrustmq_proto_compat::request_code::*;
use thrustmq_remoting::Routes;

use crate::broker::Broker;
use crate::processor::{heartbeat, lock, offset, pull, query, send, send_back};

/// The routes of the main port.
pub(crate) fn routes(broker: &Arc<Broker>) -> Arc<Routes> {
    let pools = &broker.pools;
    let store = Arc::clone(&broker.store);
    Routes::builder(Arc::clone(broker))
        // Sending.
        .on_parked::<SendMessage>(&pools.send, send::send_message)
        .on_parked::<SendMessageV2>(&pools.send, send::send_message_v2)
        .on_parked::<SendBatchMessage>(&pools.send, send::send_message_v2)
        .on::<ConsumerSendMsgBack>(&pools.send, send_back::consumer_send_back)
        .reject_when(&pools.send, move || store.page_cache_busy_ms().is_some())
        // Pulling.
        .on_parked::<PullMessage>(&pools.pull, pull::pull_message)
        .on_parked::<LitePullMessage>(&pools.lite_pull, pull::lite_pull_message)
        // Finding.
        .on::<QueryMessage>(&pools.query, query::query_message)
        .on::<ViewMessageById>(&pools.query, query::view_message_by_id)
        // Clients.
        .on::<HeartBeat>(&pools.heartbeat, heartbeat::heart_beat)
        .on::<UnregisterClient>(&pools.client_manage, heartbeat::unregister_client)
        .on::<CheckClientConfig>(&pools.client_manage, heartbeat::check_client_config)
        // Consumers.
        .on::<QueryConsumerOffset>(&pools.consumer_manage, offset::query_consumer_offset)
        .on::<UpdateConsumerOffset>(&pools.consumer_manage, offset::update_consumer_offset)
        .on::<GetConsumerListByGroup>(&pools.consumer_manage, offset::list_consumers)
        .on::<LockBatchMq>(&pools.admin, lock::lock_queues)
        .on::<UnlockBatchMq>(&pools.admin, lock::unlock_queues)
        .build()
}
