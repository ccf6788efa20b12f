//! Tells the members of a broker group that their lowest id has changed (905), over connections of our own.

use std::time::Duration;

use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::NotifyMinBrokerIdChangeRequestHeader;
use thrustmq_proto_compat::request_code::NotifyMinBrokerIdChange;
use thrustmq_remoting::Client;
use tokio::runtime::Handle;

use crate::route_table::MinBrokerIdNotice;

/// Longest wait for a connection to a member; it learns by its next registration anyway.
const NOTICE_MS_MAX: u64 = 3_000;

/// Sends notices; handlers do not wait for it.
#[derive(Debug)]
pub(crate) struct Notices {
    client: Client,
    runtime: Handle,
}

impl Notices {
    pub(crate) fn new(client: Client, runtime: Handle) -> Self {
        Self { client, runtime }
    }

    /// Sends one notice to all its recipients, oneway.
    pub(crate) fn tell(&self, notice: MinBrokerIdNotice) {
        tracing::info!(
            broker = notice.broker_name,
            min_broker_id = notice.min_broker_id,
            recipients = ?notice.recipients,
            "lowest broker id changed"
        );
        let header = NotifyMinBrokerIdChangeRequestHeader {
            min_broker_id: Some(notice.min_broker_id),
            broker_name: Some(notice.broker_name),
            min_broker_address: Some(notice.min_broker_address),
            offline_broker_address: notice.offline_broker_address,
            ha_broker_address: notice.ha_address,
        };
        let request = Command::request::<NotifyMinBrokerIdChange>(&header);
        for address in notice.recipients {
            let (client, request) = (self.client.clone(), request.clone());
            self.runtime.spawn(send(client, address, request));
        }
    }

    /// Closes the connections.
    pub(crate) async fn shutdown(&self) {
        self.client.shutdown().await;
    }
}

async fn send(client: Client, address: String, request: Command) {
    let sending = client.oneway(&address, request);
    let sent = tokio::time::timeout(Duration::from_millis(NOTICE_MS_MAX), sending).await;
    match sent {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(address, %error, "broker not told of its lowest id"),
        Err(_) => tracing::info!(address, "broker not told of its lowest id in time"),
    }
}
