//! How a client finds its servers, connects to them and says who it is. Made by applications, read by
//! [`Link`](crate::link::Link) when a client starts; it does not change afterwards.

use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;

use crate::credentials::Credentials;
use crate::error::StartError;
use crate::namespace::Namespace;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// How a client connects: one value for all producers, consumers and administrators of a program.
///
/// Every setting has a default, that of Java's client. Give it to a builder with `.config(..)`; the
/// builder's own `name_servers(..)` may follow and changes only that.
///
/// ```
/// use std::time::Duration;
/// use thrustmq_client::{ClientConfig, Credentials, Producer};
///
/// let config = ClientConfig::new()
///     .name_servers("10.0.0.1:9876;10.0.0.2:9876")
///     .credentials(Credentials::new("orders-service", "its secret"))
///     .call_timeout(Duration::from_secs(5));
/// let builder = Producer::builder("orders").config(config);
/// # let _ = builder;
/// ```
#[derive(Debug, Clone)]
#[must_use = "a configuration does nothing until a builder gets it"]
pub struct ClientConfig {
    pub(crate) name_servers: Option<String>,
    #[cfg(feature = "name-server-domain")]
    pub(crate) name_server_domain: Option<String>,
    pub(crate) call_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) route_interval: Duration,
    pub(crate) instance_name: Option<String>,
    pub(crate) unit_name: Option<String>,
    /// Whether the client id says, as in Java, that the client has connections of the kind `STREAM`.
    pub(crate) is_stream: bool,
    pub(crate) namespace: Namespace,
    pub(crate) namespace_v2: Option<String>,
    pub(crate) vip_channel: bool,
    pub(crate) credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) clock: Clock,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            name_servers: None,
            #[cfg(feature = "name-server-domain")]
            name_server_domain: None,
            call_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(3),
            heartbeat_interval: Duration::from_secs(30),
            route_interval: Duration::from_secs(30),
            instance_name: None,
            unit_name: None,
            is_stream: false,
            namespace: Namespace::default(),
            namespace_v2: None,
            vip_channel: false,
            credentials: None,
            #[cfg(feature = "tls")]
            tls: None,
            clock: Clock::system(),
        }
    }
}

impl ClientConfig {
    /// The defaults, with the name servers of the environment variable `NAMESRV_ADDR`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the name servers are: `host:port`, several with `;` between. Names are looked up anew for
    /// each connection. Default: the environment variable `NAMESRV_ADDR`.
    pub fn name_servers(mut self, addresses: impl Into<String>) -> Self {
        self.name_servers = Some(addresses.into());
        self
    }

    /// Who tells where the name servers are: `http://<domain>:8080/rocketmq/nsaddr` is asked at the
    /// start and every 2 minutes. `host`, `host:port`, or a whole URL. With the feature
    /// `name-server-domain`; not used if `name_servers` is set. Default: nobody is asked.
    #[cfg(feature = "name-server-domain")]
    pub fn name_server_domain(mut self, domain: impl Into<String>) -> Self {
        self.name_server_domain = Some(domain.into());
        self
    }

    /// How long a call to a server may take, but for sends and pulls, which have their own. With
    /// several name servers each gets its share of it, so that one that is silent does not use it up.
    /// Default 3 s.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How long making a connection may take. Where a name has several addresses, each gets its share.
    /// Default 3 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Between two heartbeats to the brokers, which forget a client after 2 minutes of silence. A
    /// connection whose other end is gone without a word is noticed by the next heartbeat. Default 30 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// Between two looks at the name servers for changed routes. Default 30 s.
    pub fn route_interval(mut self, interval: Duration) -> Self {
        self.route_interval = interval;
        self
    }

    /// The middle of the client id, `address@instance@unit`, by which brokers and tools know a client.
    /// Within one group no two members may have the same id: they would take each other's queues.
    /// Default: made of the process id, the time and a counter, different for every client.
    pub fn instance_name(mut self, name: impl Into<String>) -> Self {
        self.instance_name = Some(name.into());
        self
    }

    /// The end of the client id: the unit (a data centre, for instance) that the client belongs to.
    /// Default: none.
    pub fn unit_name(mut self, name: impl Into<String>) -> Self {
        self.unit_name = Some(name.into());
        self
    }

    /// Keeps topics and groups apart from those of the same name elsewhere: servers know them as
    /// `namespace%name`, the application says and receives plain names. Clients of 4.x and 5.x, in
    /// every language, meet in it. [`Admin`](crate::Admin) is not confined to it: it takes the names
    /// that servers know. Default: none.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Namespace::new(Some(namespace));
        self
    }

    /// The namespace as clients of 5.x tell it to proxies and servers that keep namespaces apart
    /// themselves: in every request, with names left as they are. Default: none.
    pub fn namespace_v2(mut self, namespace: impl Into<String>) -> Self {
        self.namespace_v2 = Some(namespace.into());
        self
    }

    /// Whether sends and small calls go to the brokers' second port, which is two below the first and
    /// does not serve pulls: they need not wait behind those. Default off, as since Java's 4.5.1.
    pub fn vip_channel(mut self, is_used: bool) -> Self {
        self.vip_channel = is_used;
        self
    }

    /// Signs every request for brokers that ask who calls. Default: requests are not signed.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Encrypts every connection. With the feature `tls`. Default: nothing is encrypted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Where clients get the time from; tests pass a clock that they move. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// An interval of zero would never end, and a time of zero never begin.
    pub(crate) fn check_intervals(&self) -> Result<(), StartError> {
        for (name, interval) in [
            ("call_timeout", self.call_timeout),
            ("connect_timeout", self.connect_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("route_interval", self.route_interval),
        ] {
            if interval.is_zero() {
                return Err(StartError::ZeroTime(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::new("reader", "hidden-key").security_token("hidden-token");
        let config = ClientConfig::new().credentials(credentials);
        let shown = format!("{config:?}");
        assert!(
            shown.contains("reader") && !shown.contains("hidden"),
            "{shown}"
        );
    }
}
