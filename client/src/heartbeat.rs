//! Keeps a client known: renews its routes and tells the brokers that it is alive. One task for each
//! client; it ends with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::header::UnregisterClientRequestHeader;
use thrustmq_proto_compat::request_code::{HeartBeat, UnregisterClient};
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use crate::link::Link;
use crate::stop::StopSignal;

/// Between two heartbeats, and between two renewals of the routes.
const INTERVAL: Duration = Duration::from_secs(30);

/// What a client tells the brokers.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    /// The encoded groups and subscriptions; they do not change while a client runs.
    pub(crate) body: Bytes,
    /// Producers have nothing to say to slaves.
    pub(crate) masters_only: bool,
}

impl Heartbeat {
    /// Tells all brokers of the routes in use.
    pub(crate) async fn beat(&self, link: &Arc<Link>) {
        let addresses = link.broker_addresses(self.masters_only);
        let failed = link
            .call_all::<HeartBeat>(addresses, (), self.body.clone())
            .await;
        for call in failed {
            warn!(broker = call.address, cause = %call.cause, "heartbeat failed");
        }
    }
}

/// Beats until the client stops.
pub(crate) async fn keep_alive(link: Arc<Link>, heartbeat: Heartbeat, mut stop: StopSignal) {
    let mut turn = tokio::time::interval(INTERVAL);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turn.tick().await;
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = link.woken() => {}
            _ = turn.tick() => link.refresh_routes().await,
        }
        heartbeat.beat(&link).await;
    }
}

/// Says goodbye, so that the brokers need not wait for the connection to close.
pub(crate) async fn unregister(
    link: &Arc<Link>,
    producer_group: Option<String>,
    consumer_group: Option<String>,
) {
    let header = UnregisterClientRequestHeader {
        client_id: link.id.text.clone(),
        producer_group,
        consumer_group,
    };
    let addresses = link.broker_addresses(false);
    for call in link
        .call_all::<UnregisterClient>(addresses, header, Bytes::new())
        .await
    {
        debug!(broker = call.address, cause = %call.cause, "unregistering failed");
    }
}
