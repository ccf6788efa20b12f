//! One client on one connection, as a member of a group.

use std::sync::atomic::{AtomicI64, Ordering};

use thrustmq_proto_compat::command::Language;
use thrustmq_remoting::Peer;

use super::subscription::Subscriptions;

/// Who a client says it is.
#[derive(Debug, Clone)]
pub(crate) struct ClientIdentity {
    pub(crate) peer: Peer,
    pub(crate) client_id: String,
    pub(crate) language: Language,
    pub(crate) version: i32,
}

/// A client in a group, from its first heartbeat to its departure.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) client: ClientIdentity,
    /// What it subscribes to as a consumer; nothing of a producer.
    pub(super) subscriptions: Subscriptions,
    last_seen_ms: AtomicI64,
}

impl Member {
    pub(super) fn new(client: ClientIdentity, now_ms: i64) -> Self {
        Self {
            client,
            subscriptions: Subscriptions::new(),
            last_seen_ms: AtomicI64::new(now_ms),
        }
    }

    /// The same as a consumer with subscriptions.
    pub(super) fn subscribed(self, subscriptions: Subscriptions) -> Self {
        Self {
            subscriptions,
            ..self
        }
    }

    /// When its last heartbeat came.
    pub(crate) fn last_seen_ms(&self) -> i64 {
        self.last_seen_ms.load(Ordering::Relaxed)
    }

    pub(super) fn touch(&self, now_ms: i64) {
        self.last_seen_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether it has been silent for longer than `silence_ms_max`.
    pub(super) fn is_expired(&self, now_ms: i64, silence_ms_max: i64) -> bool {
        now_ms - self.last_seen_ms() > silence_ms_max
    }
}
