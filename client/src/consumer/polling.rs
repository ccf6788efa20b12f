//! What the application and the tasks of a lite pull consumer share: it says which queues it wants, they
//! say when messages have come.

use std::collections::BTreeMap;

use thrustmq_proto_compat::body::MessageQueue;
use tokio::sync::{Notify, watch};

use crate::subscription::Subscription;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// Rings when a queue got messages, or may give again what it has.
    arrived: Notify,
    /// What the application assigned itself; none as long as it has not.
    chosen: watch::Sender<Option<Chosen>>,
    /// Rings when that has changed.
    rechosen: Notify,
}

/// Queues that the application assigned itself, and which of their messages it wants.
pub(super) type Chosen = BTreeMap<MessageQueue, Subscription>;

impl Polling {
    /// Lets the application look for messages.
    pub(super) fn ring(&self) {
        self.arrived.notify_one();
    }

    /// Returns when there may be messages. For one waiter; cancel safe.
    pub(super) async fn rung(&self) {
        self.arrived.notified().await;
    }

    /// These queues, and no others, from now on.
    pub(super) fn choose(&self, chosen: Chosen) {
        self.chosen.send_replace(Some(chosen));
        self.rechosen.notify_one();
    }

    /// Returns when the application has chosen anew. For one waiter; cancel safe.
    pub(super) async fn rechosen(&self) {
        self.rechosen.notified().await;
    }

    /// What the application chose, if it has.
    pub(super) fn chosen(&self) -> Option<Chosen> {
        self.chosen.borrow().clone()
    }
}
