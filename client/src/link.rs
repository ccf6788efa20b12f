//! A client's way to the servers: connections, name servers, routes. One for each producer or
//! consumer; everything that they send goes through here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_proto_compat::message::names::AUTO_CREATE_TOPIC;
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::{
    CallError, Client, ClientOptions, ConnectionEvent, ConnectionEvents, Reply, Routes,
};
use tokio::sync::Notify;
use tracing::debug;

use crate::client_id::ClientId;
use crate::error::{RouteError, StartError};
use crate::name_servers::NameServers;
use crate::route::{MASTER_ID, TopicRoute};
use crate::route_cache::RouteCache;

/// Queues a broker of a topic that is created on first use, at most: Java's default.
pub(crate) const AUTO_CREATE_QUEUES: i32 = 4;

/// What a builder knows of the servers.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    /// `host:port;host:port`; if absent the environment's.
    pub(crate) name_servers: Option<String>,
    /// For each call but sends and pulls.
    pub(crate) call_timeout: Duration,
    pub(crate) clock: Clock,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            name_servers: None,
            call_timeout: Duration::from_secs(3),
            clock: Clock::system(),
        }
    }
}

/// See the module.
pub(crate) struct Link {
    client: Client,
    name_servers: NameServers,
    routes: RouteCache,
    /// Held by the one task that asks for a route, so that many senders ask once.
    asking: tokio::sync::Mutex<()>,
    /// Wakes the background task, since a broker is new or was lost and found.
    wake: Arc<Notify>,
    /// Rings when a route is new or has changed.
    changed: Notify,
    call_timeout: Duration,
    /// Who we are.
    pub(crate) id: ClientId,
    /// Where "now" comes from.
    pub(crate) clock: Clock,
}

impl Link {
    /// A link on which brokers are served by `routes`. Connections are made when they are needed.
    pub(crate) async fn new(
        options: &LinkOptions,
        routes: Option<Arc<Routes>>,
    ) -> Result<Self, StartError> {
        let name_servers =
            NameServers::parse(options.name_servers.as_deref(), options.call_timeout)?;
        let wake = Arc::new(Notify::new());
        let events: Arc<dyn ConnectionEvents> = Arc::new(WakeOnConnect { wake: wake.clone() });
        let clock = options.clock.clone();
        let client = Client::new(
            ClientOptions::default(),
            routes,
            Some(events),
            clock.clone(),
        );
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
            changed: Notify::new(),
            call_timeout: options.call_timeout,
            id: ClientId::new(resolved, &clock),
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

    /// Returns when a route has changed since the last call. For one waiter.
    pub(crate) async fn routes_changed(&self) {
        self.changed.notified().await;
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

    /// Asks again for every topic in use. A topic whose route is gone keeps the old one: its brokers
    /// may only be restarting.
    pub(crate) async fn refresh_routes(&self) {
        for topic in self.routes.topics() {
            if let Err(cause) = self.ask_route(&topic).await {
                debug!(topic, %cause, "route not renewed");
            }
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
            self.changed.notify_one();
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
        self.client
            .call_as::<C>(address, header, body, self.call_timeout)
            .await
    }

    /// Sends what needs no answer.
    pub(crate) async fn oneway<C: CommandSpec>(
        &self,
        address: &str,
        header: &C::Request,
    ) -> Result<(), CallError> {
        self.client
            .oneway(address, Command::request::<C>(header))
            .await
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

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        self.client.shutdown().await;
    }
}

/// A broker that did not do as asked.
pub(crate) struct FailedCall {
    pub(crate) address: String,
    pub(crate) cause: CallError,
}

impl TopicRoute {
    /// The address of a broker: the one with this id if it is there, else another of its group.
    pub(crate) fn broker_address(&self, broker_name: &str, broker_id: i64) -> Option<&str> {
        let group = self.brokers().get(broker_name)?;
        let found = group.get(&broker_id).or_else(|| group.values().next());
        found.map(String::as_str)
    }

    /// The address of the master of a broker group: only it stores.
    pub(crate) fn master_address(&self, broker_name: &str) -> Option<&str> {
        self.brokers()
            .get(broker_name)?
            .get(&MASTER_ID)
            .map(String::as_str)
    }
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
