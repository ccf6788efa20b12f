//! Keeps a client known: renews its routes and tells the brokers that it is alive. One task for each
//! client; it ends with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::{ConsumerData, HeartbeatData, ProducerData};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::UnregisterClientRequestHeader;
use thrustmq_proto_compat::message::names;
use thrustmq_proto_compat::request_code::{HeartBeat, UnregisterClient};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tracing::{debug, warn};

use crate::link::Link;
use crate::stop::StopSignal;

/// What a client tells the brokers.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    /// The encoded groups and subscriptions; they do not change while a client runs.
    pub(crate) body: Bytes,
    /// Producers have nothing to say to slaves.
    pub(crate) masters_only: bool,
}

impl Heartbeat {
    /// Of a consumer.
    pub(crate) fn of_consumer(client_id: &str, consumer: ConsumerData) -> Self {
        let data = HeartbeatData {
            client_id: client_id.to_owned(),
            consumer_data_set: vec![consumer],
            // Java's consumers send back as producers of this group, and tools list them so.
            producer_data_set: vec![ProducerData {
                group_name: names::CLIENT_INNER_PRODUCER_GROUP.to_owned(),
            }],
            ..HeartbeatData::default()
        };
        Self {
            body: fastjson::to_vec(&data)
                .expect("plain names and numbers always encode")
                .into(),
            masters_only: false,
        }
    }

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
    let mut beats = turns(link.heartbeat_interval);
    let mut renewals = turns(link.route_interval);
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            // A route that changed wakes us.
            _ = renewals.tick() => {
                link.refresh_routes().await;
                continue;
            }
            () = link.woken() => {}
            _ = beats.tick() => {}
        }
        heartbeat.beat(&link).await;
    }
}

/// Turns of which the first comes after one interval.
fn turns(interval: Duration) -> Interval {
    let mut turns = tokio::time::interval_at(Instant::now() + interval, interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
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
