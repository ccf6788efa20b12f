//! The name servers of a client: it stays with one as long as that answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::{ClusterInfo, TopicRouteData};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::GetRouteInfoRequestHeader;
use thrustmq_proto_compat::request_code::{GetBrokerClusterInfo, GetRouteInfoByTopic};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::{CallError, Client};

use crate::error::{RouteError, StartError};

const ENVIRONMENT_VARIABLE: &str = "NAMESRV_ADDR";

/// An answer and who gave it.
struct Answer {
    address: String,
    body: Bytes,
}

/// Addresses, and which of them answered last.
#[derive(Debug)]
pub(crate) struct NameServers {
    addresses: Vec<String>,
    current: AtomicUsize,
    timeout: Duration,
}

impl NameServers {
    /// Reads `host:port;host:port`; without any, those of the environment.
    pub(crate) fn parse(text: Option<&str>, timeout: Duration) -> Result<Self, StartError> {
        let given = text.map(str::to_owned);
        let text = given.or_else(|| std::env::var(ENVIRONMENT_VARIABLE).ok());
        let addresses: Vec<String> = text
            .unwrap_or_default()
            .split([';', ','])
            .map(str::trim)
            .filter(|address| !address.is_empty())
            .map(str::to_owned)
            .collect();
        if addresses.is_empty() {
            return Err(StartError::NoNameServer);
        }
        Ok(Self {
            addresses,
            current: AtomicUsize::new(0),
            timeout,
        })
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Where a topic is.
    pub(crate) async fn route(
        &self,
        client: &Client,
        topic: &str,
    ) -> Result<TopicRouteData, RouteError> {
        let header = GetRouteInfoRequestHeader {
            topic: topic.to_owned(),
            accept_standard_json_only: Some(true),
        };
        let answer = self
            .ask::<GetRouteInfoByTopic>(client, &header, topic)
            .await?;
        fastjson::from_slice(&answer.body).map_err(|cause| bad_answer(answer.address, &cause))
    }

    /// All clusters and brokers.
    pub(crate) async fn cluster_info(&self, client: &Client) -> Result<ClusterInfo, RouteError> {
        let answer = self.ask::<GetBrokerClusterInfo>(client, &(), "").await?;
        fastjson::from_slice(&answer.body).map_err(|cause| bad_answer(answer.address, &cause))
    }

    /// Asks one name server after the other, first the one that answered last.
    async fn ask<C: CommandSpec>(
        &self,
        client: &Client,
        header: &C::Request,
        topic: &str,
    ) -> Result<Answer, RouteError> {
        let start = self.current.load(Ordering::Relaxed);
        let mut last = CallError::Closed;
        for n in 0..self.addresses.len() {
            let at = start.wrapping_add(n) % self.addresses.len();
            let Some(address) = self.addresses.get(at) else {
                continue;
            };
            let called = client
                .call_as::<C>(address, header, Bytes::new(), self.timeout)
                .await;
            match called {
                Ok(reply) => {
                    self.current.store(at, Ordering::Relaxed);
                    let (address, body) = (address.clone(), reply.body.to_bytes());
                    return Ok(Answer { address, body });
                }
                Err(CallError::Refused(refusal))
                    if refusal.code == ResponseCode::TOPIC_NOT_EXIST =>
                {
                    self.current.store(at, Ordering::Relaxed);
                    return Err(RouteError::NoSuchTopic(topic.to_owned()));
                }
                Err(CallError::Refused(refusal)) => {
                    return Err(bad_answer(address.clone(), &refusal));
                }
                Err(cause) => last = cause,
            }
        }
        Err(RouteError::NoNameServer {
            addresses: self.addresses.clone(),
            last,
        })
    }
}

fn bad_answer(address: String, cause: &dyn std::fmt::Display) -> RouteError {
    RouteError::BadAnswer {
        address,
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_and_trimmed() {
        let parsed = NameServers::parse(Some(" a:1; b:2,c:3;"), Duration::from_secs(1)).unwrap();
        assert_eq!(parsed.addresses(), ["a:1", "b:2", "c:3"]);
        let none = NameServers::parse(Some(" ; "), Duration::from_secs(1));
        assert!(matches!(none, Err(StartError::NoNameServer)));
    }
}
