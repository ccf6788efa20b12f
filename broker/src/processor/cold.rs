//! Handing on what has to wait for the disk, from threads that others wait for.

use std::sync::Arc;

use thrustmq_remoting::Responder;

use crate::broker::Broker;
use crate::refusal;

/// Goes on with a request on the pool that may wait for the disk, or refuses it if too many do.
pub(super) fn run_cold(
    broker: &Arc<Broker>,
    responder: Responder,
    handle: impl FnOnce(&Arc<Broker>, Responder) + Send + 'static,
) {
    let pool = &broker.pools.cold_pull;
    if pool.queued() >= pool.capacity() {
        return responder.refuse(refusal::pool_full(pool));
    }
    let state = Arc::clone(broker);
    if let Err(full) = pool.run(move || handle(&state, responder)) {
        // The request went with its job; its client was told so by its responder.
        tracing::warn!(
            pool = full.pool,
            "request of old messages does not fit its pool"
        );
    }
}
