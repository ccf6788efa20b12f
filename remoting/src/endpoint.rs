//! What the connections of one server, or one client, share: limits, routes, events, callbacks, and
//! the table of those that are open, which is swept every second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::response_code::ResponseCode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::callbacks::Callbacks;
use crate::events::{ConnectionEvent, ConnectionEvents, Events};
use crate::hooks::Hooks;
use crate::integer_hash::IntegerMap;
use crate::options::ConnectionLimits;
use crate::outbox::Closing;
use crate::peer::{Ends, Peer};
use crate::refusal::Refusal;
use crate::routes::{Route, Routes};

const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// A connection without traffic for so long gives back its buffers.
const QUIET_MS: u64 = 3_000;
/// Clients of a version above 5.3.1 understand GO_AWAY.
const LAST_VERSION_WITHOUT_GO_AWAY: i32 = 475;
/// How often shutdown looks whether it is done.
const SHUTDOWN_LOOK_EVERY: Duration = Duration::from_millis(10);
/// So many looks in a row must find nothing in flight: what peers sent just before still arrives.
const QUIET_LOOKS: u32 = 5;
/// How long peers may take to read the last answers.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// One server's or client's side of all its connections.
pub(crate) struct Endpoint {
    side: Side,
    limits: ConnectionLimits,
    hooks: Hooks,
    routes: Option<Arc<Routes>>,
    events: Events,
    clock: Clock,
    callbacks: Arc<Callbacks>,
    going_away: AtomicBool,
    open: Mutex<IntegerMap<u64, Tracked>>,
}

struct Tracked {
    peer: Peer,
    idle_ms: u64,
}

/// Who made the connections.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// What the owner of an endpoint decides.
pub(crate) struct EndpointParts {
    pub(crate) side: Side,
    pub(crate) limits: ConnectionLimits,
    pub(crate) hooks: Hooks,
    pub(crate) routes: Option<Arc<Routes>>,
    pub(crate) events: Option<Arc<dyn ConnectionEvents>>,
    pub(crate) clock: Clock,
}

impl Endpoint {
    pub(crate) fn new(parts: EndpointParts) -> Arc<Self> {
        Arc::new(Self {
            side: parts.side,
            limits: parts.limits,
            hooks: parts.hooks,
            routes: parts.routes,
            events: Events::new(parts.events),
            clock: parts.clock,
            callbacks: Arc::new(Callbacks::new()),
            going_away: AtomicBool::new(false),
            open: Mutex::default(),
        })
    }

    /// Starts the sweep; it ends with the endpoint.
    pub(crate) fn start_sweep(self: &Arc<Self>) -> JoinHandle<()> {
        tokio::spawn(sweep_loop(Arc::downgrade(self)))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    pub(crate) fn tell(&self, event: ConnectionEvent) {
        self.events.tell(event);
    }

    /// Enters a new connection, whose task has not started.
    pub(crate) fn enter(&self, ends: Ends) -> Peer {
        let callbacks = Arc::clone(&self.callbacks);
        let peer = Peer::new(ends, &self.limits, self.hooks.clone(), callbacks);
        let tracked = Tracked {
            peer: peer.clone(),
            idle_ms: 0,
        };
        self.lock_open().insert(peer.id(), tracked);
        self.tell(ConnectionEvent::Connected { peer: peer.clone() });
        if self.side == Side::Client {
            self.tell(ConnectionEvent::Active { peer: peer.clone() });
        }
        peer
    }

    /// Forgets a connection that has ended.
    pub(crate) fn leave(&self, peer: &Peer) {
        peer.finish();
        self.lock_open().remove(&peer.id());
        self.tell(ConnectionEvent::Closed { peer: peer.clone() });
    }

    /// The route of a request, or the refusal that it gets at once.
    pub(crate) fn admit(&self, request: &Command) -> Result<&Route, Refusal> {
        let Some(routes) = &self.routes else {
            return Err(Refusal::not_supported(request.code));
        };
        if self.going_away.load(Ordering::Relaxed) && request.version > LAST_VERSION_WITHOUT_GO_AWAY
        {
            return Err(Refusal::new(ResponseCode::GO_AWAY, "please go away"));
        }
        routes.find(request.code)
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        let open = self.lock_open();
        open.values().map(|tracked| tracked.peer.clone()).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.lock_open().len()
    }

    /// Answers GO_AWAY to requests that come from now on, and waits until those that came before are
    /// answered, at most until `deadline`.
    pub(crate) async fn finish_requests(&self, deadline: Instant) {
        self.going_away.store(true, Ordering::Relaxed);
        let mut quiet_looks = 0;
        while quiet_looks < QUIET_LOOKS && self.connections() > 0 {
            let unanswered: usize = self.peers().iter().map(Peer::unanswered).sum();
            if Instant::now() >= deadline {
                tracing::warn!(
                    unanswered,
                    "shutdown no longer waits for requests in flight"
                );
                break;
            }
            quiet_looks = if unanswered == 0 { quiet_looks + 1 } else { 0 };
            tokio::time::sleep(SHUTDOWN_LOOK_EVERY).await;
        }
    }

    /// Closes the connections once they have taken what waits to be sent, and soon anyway.
    pub(crate) async fn close_connections(&self) {
        self.close_all(Closing::Drained("shutdown")).await;
        self.close_all(Closing::Now("shutdown")).await;
    }

    /// Closes the connections without waiting for anything: nobody is left who could.
    pub(crate) fn close_now(&self, why: &'static str) {
        self.peers().iter().for_each(|peer| peer.close(why));
    }

    async fn close_all(&self, closing: Closing) {
        for peer in self.peers() {
            peer.outbox().request_close(closing);
        }
        let deadline = Instant::now() + DRAIN_MAX;
        while self.connections() > 0 && Instant::now() < deadline {
            tokio::time::sleep(SHUTDOWN_LOOK_EVERY).await;
        }
    }

    /// One look at every connection: idle ones are closed, quiet ones give back memory, calls whose
    /// time is over end.
    fn sweep(&self, now: Instant) {
        let mut idle = Vec::new();
        let mut quiet = Vec::new();
        let mut calling = Vec::new();
        for tracked in self.lock_open().values_mut() {
            if tracked.is_idle(self.limits.idle_ms_max) {
                idle.push(tracked.peer.clone());
            } else if tracked.idle_ms == QUIET_MS {
                quiet.push(tracked.peer.clone());
            }
            if tracked.peer.pending().in_flight() > 0 {
                calling.push(tracked.peer.clone());
            }
        }
        for peer in calling {
            let addr = || peer.remote_addr().to_string();
            peer.pending().expire(now, addr);
        }
        for peer in quiet {
            peer.outbox().grow_quiet();
        }
        for peer in idle {
            peer.outbox().request_close(Closing::Idle);
        }
    }

    fn lock_open(&self) -> MutexGuard<'_, IntegerMap<u64, Tracked>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracked {
    /// Counts sweeps without traffic: cheaper for the connection than reading a clock, and no step
    /// of the wall clock closes it.
    fn is_idle(&mut self, idle_ms_max: u64) -> bool {
        let sweep_ms = u64::try_from(SWEEP_EVERY.as_millis()).unwrap_or(u64::MAX);
        self.idle_ms = match self.peer.take_active() {
            true => 0,
            false => self.idle_ms.saturating_add(sweep_ms),
        };
        let is_idle = self.idle_ms >= idle_ms_max;
        if is_idle {
            // It is told to close once; if it lingers, not with every sweep.
            self.idle_ms = 0;
        }
        is_idle
    }
}

async fn sweep_loop(endpoint: Weak<Endpoint>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = ticks.tick().await;
        match endpoint.upgrade() {
            Some(endpoint) => endpoint.sweep(now),
            None => return,
        }
    }
}
