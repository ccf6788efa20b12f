//! Calls to the name servers, and the signal that they should hear of a change.
//!
//! What is registered, and when, is `registration.rs`'s.

use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::{DataVersion, KVTable, TopicRouteData};
use thrustmq_proto_compat::command::Body;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    GetRouteInfoRequestHeader, QueryDataVersionRequestHeader, RegisterBrokerRequestHeader,
    UnRegisterBrokerRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    GetRouteInfoByTopic, QueryDataVersion, RegisterBroker, UnregisterBroker,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{CallError, Client};
use tokio::sync::watch;

/// Stands between addresses in `namesrvAddr`.
const SEPARATOR: char = ';';
/// Time for anything but a registration.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The name servers of this broker; none for a broker that stands alone.
#[derive(Debug)]
pub(crate) struct NamesrvLink {
    addresses: Vec<String>,
    client: Client,
    changes: watch::Sender<u64>,
    /// For each address the number of the last change that it heard of, or could not be told.
    heard: Vec<watch::Sender<u64>>,
}

impl NamesrvLink {
    /// `addresses` as `namesrvAddr` has them.
    pub(crate) fn new(addresses: Option<&str>, client: Client) -> Self {
        let addresses = addresses.unwrap_or("").split(SEPARATOR).map(str::trim);
        let addresses: Vec<String> = addresses
            .filter(|a| !a.is_empty())
            .map(str::to_owned)
            .collect();
        Self {
            heard: addresses.iter().map(|_| watch::Sender::new(0)).collect(),
            addresses,
            client,
            changes: watch::Sender::new(0),
        }
    }

    /// Addresses of the name servers.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// A topic or the broker's permission has changed: registers at once with every name server.
    /// Changes that come while a registration is under way are registered together after it: with
    /// ten thousand topics one takes megabytes. Returns the number of the change.
    pub(crate) fn register_soon(&self) -> u64 {
        let mut number = 0;
        self.changes.send_modify(|change| {
            *change = change.wrapping_add(1);
            number = *change;
        });
        number
    }

    /// Notes the last change that the name server of this number heard of, or could not be told.
    pub(crate) fn heard(&self, address: usize, change: u64) {
        if let Some(heard) = self.heard.get(address) {
            heard.send_replace(change);
        }
    }

    /// Returns once every name server has heard of a change, or could not be told.
    pub(crate) async fn all_heard(&self, change: u64) {
        for heard in &self.heard {
            // The sender lives as long as `self`, so that this ends by hearing only.
            let _ = heard.subscribe().wait_for(|heard| *heard >= change).await;
        }
    }

    /// Hears of changes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Registers with one name server; the ordered topics that it knows.
    pub(crate) async fn register(
        &self,
        address: &str,
        header: &RegisterBrokerRequestHeader,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Vec<String>, CallError> {
        let called = self
            .client
            .call_as::<RegisterBroker>(address, header, body, timeout);
        let reply = called.await?;
        Ok(ordered_topics(address, &reply.body))
    }

    /// Whether a name server has another version of this broker's topics. Also keeps the broker
    /// alive there.
    pub(crate) async fn has_other_version(
        &self,
        address: &str,
        header: &QueryDataVersionRequestHeader,
        version: &DataVersion,
    ) -> Result<bool, CallError> {
        let body = fastjson::to_vec(version).unwrap_or_default();
        let called = self
            .client
            .call_as::<QueryDataVersion>(address, header, body, CALL_TIMEOUT);
        Ok(called.await?.header.changed)
    }

    /// Where a topic is, from the first name server that answers; `None` if there is no such topic.
    pub(crate) async fn route(&self, topic: &str) -> Result<Option<TopicRouteData>, CallError> {
        let header = GetRouteInfoRequestHeader {
            topic: topic.to_owned(),
            accept_standard_json_only: Some(true),
        };
        let mut last = CallError::Closed;
        for address in &self.addresses {
            let called = self.client.call_as::<GetRouteInfoByTopic>(
                address,
                &header,
                Bytes::new(),
                CALL_TIMEOUT,
            );
            match called.await {
                Ok(reply) => match fastjson::from_slice(&reply.body.to_bytes()) {
                    Ok(route) => return Ok(Some(route)),
                    Err(error) => {
                        tracing::warn!(address, topic, %error, "name server's route is unreadable");
                    }
                },
                Err(CallError::Refused(refusal))
                    if refusal.code == ResponseCode::TOPIC_NOT_EXIST =>
                {
                    return Ok(None);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Tells one name server that the broker leaves.
    pub(crate) async fn unregister(
        &self,
        address: &str,
        header: &UnRegisterBrokerRequestHeader,
    ) -> Result<(), CallError> {
        let called =
            self.client
                .call_as::<UnregisterBroker>(address, header, Bytes::new(), CALL_TIMEOUT);
        called.await.map(|_| ())
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        self.client.shutdown().await;
    }
}

fn ordered_topics(address: &str, body: &Body) -> Vec<String> {
    if body.is_empty() {
        return Vec::new();
    }
    match fastjson::from_slice::<KVTable>(&body.to_bytes()) {
        Ok(table) => table.table.into_keys().collect(),
        Err(error) => {
            tracing::warn!(address, %error, "name server's ordered topics are unreadable");
            Vec::new()
        }
    }
}
