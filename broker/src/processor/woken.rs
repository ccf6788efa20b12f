//! Requests that waited and are run again, on their pool.

use thrustmq_remoting::{Pool, Responder};

use crate::refusal;

/// Runs `job` with the responder of its request; a full pool refuses the request instead.
pub(super) fn run_woken(
    pool: &Pool,
    responder: Responder,
    job: impl FnOnce(Responder) + Send + 'static,
) {
    if pool.queued() >= pool.capacity() {
        return responder.refuse(refusal::pool_full(pool));
    }
    if let Err(full) = pool.run(move || job(responder)) {
        // The request went with its job; its client was told so by its responder.
        tracing::warn!(pool = full.pool, "woken request does not fit its pool");
    }
}
