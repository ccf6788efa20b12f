//! The name servers of a client: it stays with one as long as that answers.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::body::{ClusterInfo, TopicRouteData};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::GetRouteInfoRequestHeader;
use thrustmq_proto_compat::request_code::{GetBrokerClusterInfo, GetRouteInfoByTopic};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::{CallError, Client};

#[cfg(feature = "name-server-domain")]
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::error::{RouteError, StartError};
#[cfg(feature = "name-server-domain")]
use crate::name_server_domain::{self, Domain};

const ENVIRONMENT_VARIABLE: &str = "NAMESRV_ADDR";
/// However many name servers there are, each gets so long: a shorter time finds no server that is busy.
const SHARE_MIN: Duration = Duration::from_millis(500);

/// An answer and who gave it.
struct Answer {
    address: String,
    body: Bytes,
}

/// Addresses, and which of them answered last.
#[derive(Debug)]
pub(crate) struct NameServers {
    addresses: RwLock<Arc<[String]>>,
    current: AtomicUsize,
    timeout: Duration,
    #[cfg(feature = "name-server-domain")]
    domain: Option<AskedDomain>,
}

/// Who tells the addresses, and when we asked last.
#[cfg(feature = "name-server-domain")]
#[derive(Debug)]
struct AskedDomain {
    domain: Domain,
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl NameServers {
    /// The servers that a configuration names; if it names none, those of its domain, or those of the
    /// environment.
    pub(crate) async fn of(config: &ClientConfig) -> Result<Self, StartError> {
        let mut found = split(config.name_servers.as_deref());
        #[cfg(feature = "name-server-domain")]
        let domain = config.name_server_domain.as_deref();
        #[cfg(not(feature = "name-server-domain"))]
        let domain = None::<&str>;
        if found.is_empty() && domain.is_none() {
            found = split(std::env::var(ENVIRONMENT_VARIABLE).ok().as_deref());
            if found.is_empty() {
                return Err(StartError::NoNameServer);
            }
        }
        let servers = Self {
            addresses: RwLock::new(found.into()),
            current: AtomicUsize::new(anywhere()),
            timeout: config.call_timeout,
            #[cfg(feature = "name-server-domain")]
            domain: domain
                .filter(|_| config.name_servers.is_none())
                .map(|domain| AskedDomain {
                    domain: Domain::new(domain, config.unit_name.as_deref()),
                    asked: tokio::sync::Mutex::default(),
                }),
        };
        // Without an answer the client starts all the same: it asks again when it needs one.
        #[cfg(feature = "name-server-domain")]
        if let Err(cause) = servers.ask_domain().await {
            tracing::warn!(%cause, "no name server is known yet");
        }
        Ok(servers)
    }

    /// All addresses.
    pub(crate) fn addresses(&self) -> Arc<[String]> {
        let addresses = self.addresses.read();
        addresses.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the domain if that is due. Old addresses stay if it does not answer.
    #[cfg(feature = "name-server-domain")]
    async fn ask_domain(&self) -> Result<(), CallError> {
        let Some(asked) = &self.domain else {
            return Ok(());
        };
        // Whoever comes meanwhile waits for the same answer.
        let mut last = asked.asked.lock().await;
        let is_known = !self.addresses().is_empty();
        if is_known && last.is_some_and(|last| last.elapsed() < name_server_domain::INTERVAL) {
            return Ok(());
        }
        let answer = asked.domain.ask().await;
        *last = Some(Instant::now());
        let found = answer.map(|text| split(Some(&text)));
        let cause = match found {
            Ok(found) if !found.is_empty() => {
                self.put(found);
                return Ok(());
            }
            Ok(_) => "it lists no name server".to_owned(),
            Err(cause) => cause,
        };
        if is_known {
            tracing::warn!(
                url = asked.domain.url(),
                cause,
                "name servers not asked for anew"
            );
            return Ok(());
        }
        Err(CallError::Connect {
            addr: asked.domain.url().to_owned(),
            cause,
        })
    }

    #[cfg(feature = "name-server-domain")]
    fn put(&self, found: Vec<String>) {
        let mut addresses = self
            .addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if **addresses != *found {
            tracing::info!(?found, "name servers are others now");
            *addresses = found.into();
        }
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
        let mut last = CallError::Closed;
        #[cfg(feature = "name-server-domain")]
        if let Err(cause) = self.ask_domain().await {
            last = cause;
        }
        let addresses = self.addresses();
        let start = self.current.load(Ordering::Relaxed);
        let timeout = share(self.timeout, addresses.len());
        for n in 0..addresses.len() {
            let at = start.wrapping_add(n) % addresses.len();
            let Some(address) = addresses.get(at) else {
                continue;
            };
            let called = client
                .call_as::<C>(address, header, Bytes::new(), timeout)
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
            addresses: addresses.to_vec(),
            last,
        })
    }
}

/// Where to begin in the list: not every client asks the first server.
fn anywhere() -> usize {
    usize::from(RandomState::new().hash_one(()) as u16)
}

/// Reads `host:port;host:port`.
fn split(text: Option<&str>) -> Vec<String> {
    let addresses = text.unwrap_or_default().split([';', ',']).map(str::trim);
    addresses
        .filter(|address| !address.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What each of several servers gets of a call's time, so that a silent one does not use it up.
fn share(timeout: Duration, servers: usize) -> Duration {
    let servers = u32::try_from(servers).unwrap_or(u32::MAX).max(1);
    (timeout / servers).max(SHARE_MIN.min(timeout))
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
    fn each_server_gets_its_share_of_the_time() {
        let second = Duration::from_secs(1);
        assert_eq!(share(3 * second, 1), 3 * second);
        assert_eq!(share(3 * second, 3), second);
        assert_eq!(share(3 * second, 100), SHARE_MIN);
        assert_eq!(share(SHARE_MIN / 2, 100), SHARE_MIN / 2);
    }

    #[tokio::test]
    async fn addresses_are_split_and_trimmed() {
        let of = async |text: &str| NameServers::of(&ClientConfig::new().name_servers(text)).await;
        let several = of(" a:1; b:2,c:3;").await.unwrap();
        assert_eq!(*several.addresses(), ["a:1", "b:2", "c:3"]);
        let none = of(" ; ").await;
        assert!(matches!(none, Err(StartError::NoNameServer)));
    }
}
