//! The end of a broker, in the order that loses nothing: out of the routes first, then finish what
//! was asked, then write down what was done.

use std::sync::Arc;

use crate::processor::{notification, pop_order, pop_polling, pull};
use crate::registration;
use crate::startup::BrokerServer;

/// Ends a broker; returns when its data directory is free for another.
pub(crate) async fn shutdown(server: BrokerServer) {
    let BrokerServer {
        broker,
        main,
        fast,
        periodic,
        threads,
        registrations,
    } = server;
    for task in &registrations {
        task.abort();
    }
    registration::unregister(&broker).await;
    // Parked pulls are in flight: they are answered with what there is.
    pull::wake(&broker, broker.hold.close());
    pop_polling::wake(&broker, broker.pop.polling.close());
    notification::wake(&broker, broker.pop.notifications.close());
    tokio::join!(main.shutdown(), fast.shutdown());
    let state = Arc::clone(&broker);
    // These block: on threads that finish their work, and on the disk.
    let finished = tokio::task::spawn_blocking(move || {
        state.pools.shutdown();
        threads.stop(&state);
        periodic.stop();
        let metadata = &state.metadata;
        metadata.write_noted(|| state.write_changed_metadata());
        state.offsets.flush();
        pop_order::persist(&state);
        state.delay.persist();
        state
            .filters
            .persist(state.config.current().dead_filter_kept_ms);
        state.transactions.persist();
        state.store.shutdown();
        if let Some(timer) = &state.timer {
            timer.close(&state.store, state.clock.now_ms());
        }
    });
    if let Err(error) = finished.await {
        tracing::error!(%error, "the broker did not end in order");
    }
    broker.namesrv.close().await;
    tracing::info!(address = broker.address, "broker has stopped");
}
