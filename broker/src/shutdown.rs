//! The end of a broker, in the order that loses nothing: out of the routes first, then finish what
//! was asked, then write down what was done.

use std::sync::Arc;

use crate::processor::pull;
use crate::registration;
use crate::startup::BrokerServer;

/// Ends a broker; returns when its data directory is free for another.
pub(crate) async fn shutdown(server: BrokerServer) {
    let BrokerServer {
        broker,
        main,
        fast,
        periodic,
        delivery,
        registrations,
    } = server;
    for task in &registrations {
        task.abort();
    }
    registration::unregister(&broker).await;
    // Parked pulls are in flight: they are answered with what there is.
    pull::wake(&broker, broker.hold.close());
    tokio::join!(main.shutdown(), fast.shutdown());
    broker.delay.stop();
    let state = Arc::clone(&broker);
    // These block: on threads that finish their work, and on the disk.
    let finished = tokio::task::spawn_blocking(move || {
        state.pools.shutdown();
        if delivery.join().is_err() {
            tracing::error!("the thread of delay delivery panicked");
        }
        periodic.stop();
        state.offsets.flush();
        state.delay.persist();
        state.store.shutdown();
    });
    if let Err(error) = finished.await {
        tracing::error!(%error, "the broker did not end in order");
    }
    broker.namesrv.close().await;
    tracing::info!(address = broker.address, "broker has stopped");
}
