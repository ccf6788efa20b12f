//! A client's way to the servers: connections, name servers, routes. One for each producer or
//! consumer; everything that they send goes through here.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_proto_compat::message::names::AUTO_CREATE_TOPIC;
use thrustmq_proto_compat::request_code::{HeartBeat, UnregisterClient};
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::{
    CallError, Client, ClientOptions, ConnectionEvent, ConnectionEvents, Hooks, Reply, Routes,
    RpcHook,
};
use tokio::sync::{Notify, watch};
use tracing::debug;

use crate::client_id::{ClientId, Membership};
use crate::config::ClientConfig;
use crate::error::{RouteError, StartError};
use crate::name_servers::NameServers;
use crate::namespace::{Namespace, NamespaceFields};
use crate::route::TopicRoute;
use crate::route_cache::RouteCache;

/// Queues a broker of a topic that is created on first use, at most: Java's default.
pub(crate) const AUTO_CREATE_QUEUES: i32 = 4;

/// How far below a broker's port its second one is.
const VIP_PORT_DISTANCE: u16 = 2;
/// What only the first port serves, or must come on the connection that the broker calls back on.
const NOT_BY_VIP: [i32; 2] = [HeartBeat::CODE, UnregisterClient::CODE];

/// See the module.
pub(crate) struct Link {
    client: Client,
    name_servers: NameServers,
    routes: RouteCache,
    /// Held by the one task that asks for a route, so that many senders ask once.
    asking: tokio::sync::Mutex<()>,
    /// Wakes the background task, since a broker is new or was lost and found.
    wake: Arc<Notify>,
    /// Tells when a route is new or has changed.
    changes: watch::Sender<()>,
    call_timeout: Duration,
    vip_channel: bool,
    /// Between two heartbeats.
    pub(crate) heartbeat_interval: Duration,
    /// Between two renewals of the routes.
    pub(crate) route_interval: Duration,
    /// What topics and groups are called at the servers.
    pub(crate) namespace: Namespace,
    /// In the group that this client consumes for, until it is closed.
    membership: Mutex<Option<Membership>>,
    /// Who we are.
    pub(crate) id: ClientId,
    /// Where "now" comes from.
    pub(crate) clock: Clock,
}

impl Link {
    /// A link on which brokers are served by `routes`. Connections are made when they are needed.
    pub(crate) async fn new(
        config: &ClientConfig,
        routes: Option<Arc<Routes>>,
    ) -> Result<Self, StartError> {
        config.check_intervals()?;
        let name_servers = NameServers::of(config).await?;
        let wake = Arc::new(Notify::new());
        let events: Arc<dyn ConnectionEvents> = Arc::new(WakeOnConnect { wake: wake.clone() });
        let clock = config.clock.clone();
        let client = Client::new(client_options(config)?, routes, Some(events), clock.clone());
        let first = name_servers
            .addresses()
            .first()
            .cloned()
            .unwrap_or_default();
        let resolved = tokio::net::lookup_host(first)
            .await
            .ok()
            .and_then(|mut all| all.next());
        Ok(Self {
            client,
            name_servers,
            routes: RouteCache::default(),
            asking: tokio::sync::Mutex::new(()),
            wake,
            changes: watch::Sender::new(()),
            call_timeout: config.call_timeout,
            vip_channel: config.vip_channel,
            heartbeat_interval: config.heartbeat_interval,
            route_interval: config.route_interval,
            namespace: config.namespace.clone(),
            membership: Mutex::default(),
            id: ClientId::new(resolved, config),
            clock,
        })
    }

    /// The name servers' addresses.
    pub(crate) fn name_servers(&self) -> &NameServers {
        &self.name_servers
    }

    /// The connections.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Lets the heartbeat not wait for its next turn.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns when the heartbeat should not wait for its next turn.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Tells of every route that is new or has changed from now on.
    pub(crate) fn route_changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The route to publish to: a topic that does not exist has that which its creation will give it.
    pub(crate) async fn publish_route(&self, topic: &str) -> Result<Arc<TopicRoute>, RouteError> {
        if let Some(route) = self.routes.get(topic) {
            return Ok(route);
        }
        let _turn = self.asking.lock().await;
        if let Some(route) = self.routes.get(topic) {
            return Ok(route);
        }
        match self.ask_route(topic).await {
            Err(RouteError::NoSuchTopic(_)) => self.ask_template(topic).await?,
            other => other?,
        }
        self.known_route(topic)
    }

    /// The route to read from; the topic must exist.
    pub(crate) async fn subscribe_route(&self, topic: &str) -> Result<Arc<TopicRoute>, RouteError> {
        if let Some(route) = self.routes.get(topic) {
            return Ok(route);
        }
        let _turn = self.asking.lock().await;
        self.ask_route(topic).await?;
        self.known_route(topic)
    }

    /// The route to read from, as the name servers know it now.
    pub(crate) async fn renewed_route(&self, topic: &str) -> Result<Arc<TopicRoute>, RouteError> {
        let _turn = self.asking.lock().await;
        self.ask_route(topic).await?;
        self.known_route(topic)
    }

    /// Asks again for every topic in use. A topic whose route is gone keeps the old one: its brokers
    /// may only be restarting.
    pub(crate) async fn refresh_routes(&self) {
        for topic in self.routes.topics() {
            if let Err(cause) = self.ask_route(&topic).await {
                debug!(topic, %cause, "route not renewed");
            }
        }
    }

    /// The route of a topic that was sent to or read from before.
    pub(crate) fn cached_route(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.routes.get(topic)
    }

    /// Asks again for one topic, unless somebody is asking just now.
    pub(crate) async fn renew_route(&self, topic: &str) {
        let Ok(_turn) = self.asking.try_lock() else {
            return;
        };
        if let Err(cause) = self.ask_route(topic).await {
            debug!(topic, %cause, "route not renewed");
        }
    }

    async fn ask_route(&self, topic: &str) -> Result<(), RouteError> {
        let data = self.name_servers.route(&self.client, topic).await?;
        self.put_route(topic, TopicRoute::of(topic, &data));
        Ok(())
    }

    async fn ask_template(&self, topic: &str) -> Result<(), RouteError> {
        let template = self
            .name_servers
            .route(&self.client, AUTO_CREATE_TOPIC)
            .await;
        let template = template.map_err(|error| {
            if matches!(error, RouteError::NoSuchTopic(_)) {
                return RouteError::NoSuchTopic(topic.to_owned());
            }
            error
        })?;
        self.put_route(
            topic,
            TopicRoute::of_template(topic, &template, AUTO_CREATE_QUEUES),
        );
        Ok(())
    }

    fn put_route(&self, topic: &str, route: TopicRoute) {
        if self.routes.put(topic, route) {
            debug!(topic, "route changed");
            self.wake.notify_one();
            self.changes.send_replace(());
        }
    }

    fn known_route(&self, topic: &str) -> Result<Arc<TopicRoute>, RouteError> {
        let route = self.routes.get(topic);
        route.ok_or_else(|| RouteError::NoSuchTopic(topic.to_owned()))
    }

    /// Calls a broker or name server; any answer but SUCCESS is an error.
    pub(crate) async fn call<C: CommandSpec>(
        &self,
        address: &str,
        header: &C::Request,
        body: impl Into<Body>,
    ) -> Result<Reply<C::Response>, CallError> {
        let address = self.port_for(address, C::CODE);
        self.client
            .call_as::<C>(&address, header, body, self.call_timeout)
            .await
    }

    /// Sends what needs no answer.
    pub(crate) async fn oneway<C: CommandSpec>(
        &self,
        address: &str,
        header: &C::Request,
    ) -> Result<(), CallError> {
        let address = self.port_for(address, C::CODE);
        self.client
            .oneway(&address, Command::request::<C>(header))
            .await
    }

    /// The address to which a broker's sends and small calls go: its second port's, if the
    /// configuration says so.
    pub(crate) fn vip_address<'a>(&self, address: &'a str) -> Cow<'a, str> {
        if self.vip_channel {
            vip_address(address)
        } else {
            address.into()
        }
    }

    fn port_for<'a>(&self, address: &'a str, code: i32) -> Cow<'a, str> {
        if NOT_BY_VIP.contains(&code) {
            return address.into();
        }
        self.vip_address(address)
    }

    /// The brokers of all topics in use, or their masters.
    pub(crate) fn broker_addresses(&self, masters_only: bool) -> BTreeSet<String> {
        self.routes.broker_addresses(masters_only)
    }

    /// Sends one request to several brokers at a time; those that fail are returned.
    pub(crate) async fn call_all<C: CommandSpec<Request: Clone + Sync>>(
        self: &Arc<Self>,
        addresses: BTreeSet<String>,
        header: C::Request,
        body: Bytes,
    ) -> Vec<FailedCall> {
        let mut calls = tokio::task::JoinSet::new();
        for address in addresses {
            let (link, header, body) = (self.clone(), header.clone(), body.clone());
            calls.spawn(async move {
                let called = link.call::<C>(&address, &header, body).await;
                called.err().map(|cause| FailedCall { address, cause })
            });
        }
        calls.join_all().await.into_iter().flatten().collect()
    }

    /// Makes this client a member of a group whose queues are divided among its members.
    pub(crate) fn join_group(&self, group: &str) -> Result<(), StartError> {
        let joined = Membership::enter(&self.id.text, group);
        let membership = joined.ok_or_else(|| StartError::ClientIdTaken {
            client_id: self.id.text.clone(),
            group: group.to_owned(),
        })?;
        *self.lock_membership() = Some(membership);
        Ok(())
    }

    fn lock_membership(&self) -> MutexGuard<'_, Option<Membership>> {
        self.membership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        self.client.shutdown().await;
        *self.lock_membership() = None;
    }
}

fn client_options(config: &ClientConfig) -> Result<ClientOptions, StartError> {
    let connect_timeout_ms = config.connect_timeout.as_millis();
    let mut hooks: Vec<Arc<dyn RpcHook>> = Vec::new();
    if let Some(namespace) = config.namespace_v2.clone() {
        hooks.push(Arc::new(NamespaceFields { namespace }));
    }
    if let Some(credentials) = &config.credentials {
        // Last: it signs what the others add.
        hooks.push(Arc::new(credentials.clone()));
    }
    Ok(ClientOptions {
        connect_timeout_ms: u64::try_from(connect_timeout_ms).unwrap_or(u64::MAX),
        hooks: Hooks::new(hooks),
        #[cfg(feature = "tls")]
        tls: config.tls.as_ref().map(|tls| tls.load()).transpose()?,
        ..ClientOptions::default()
    })
}

/// An address whose port makes no second one is left as it is.
fn vip_address(address: &str) -> Cow<'_, str> {
    let second = address.rsplit_once(':').and_then(|(host, port)| {
        let port: u16 = port.parse().ok()?;
        Some(format!("{host}:{}", port.checked_sub(VIP_PORT_DISTANCE)?))
    });
    second.map_or(address.into(), Cow::Owned)
}

/// A broker that did not do as asked.
pub(crate) struct FailedCall {
    pub(crate) address: String,
    pub(crate) cause: CallError,
}

/// A broker forgets its clients when their connection closes, so a new connection needs a heartbeat
/// at once.
struct WakeOnConnect {
    wake: Arc<Notify>,
}

impl ConnectionEvents for WakeOnConnect {
    fn on_event(&self, event: ConnectionEvent) {
        if let ConnectionEvent::Connected { .. } = event {
            self.wake.notify_one();
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Link");
        text.field("id", &self.id)
            .field("name_servers", &self.name_servers);
        text.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_port_is_two_below() {
        assert_eq!(vip_address("10.0.0.1:10911"), "10.0.0.1:10909");
        assert_eq!(vip_address("[::1]:10911"), "[::1]:10909");
        for odd in ["host:1", "host", "host:port"] {
            assert_eq!(vip_address(odd), odd);
        }
    }

    #[tokio::test]
    async fn only_what_needs_the_first_port_goes_there() {
        let config = ClientConfig::new()
            .name_servers("127.0.0.1:1")
            .vip_channel(true);
        let link = Link::new(&config, None).await.unwrap();
        assert_eq!(link.port_for("a:10911", HeartBeat::CODE), "a:10911");
        assert_eq!(link.port_for("a:10911", 0), "a:10909");
        let link = Link::new(&config.vip_channel(false), None).await.unwrap();
        assert_eq!(link.port_for("a:10911", 0), "a:10911");
    }

    #[tokio::test]
    async fn times_of_zero_are_refused() {
        let config = ClientConfig::new().name_servers("127.0.0.1:1");
        let wrong = Link::new(&config.heartbeat_interval(Duration::ZERO), None).await;
        assert!(matches!(
            wrong,
            Err(StartError::ZeroTime("heartbeat_interval"))
        ));
    }
}
