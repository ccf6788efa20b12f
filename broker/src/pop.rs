//! Popping: messages on lease.
//!
//! `queue_state.rs` decides, for one queue and group, without I/O; `table.rs` holds all of them.
//! `journal.rs` is their ground state in the commit log, `leases.rs` the steps that are written there
//! first, `replay.rs` the way back after a start. `revive.rs` is the thread that gives messages to
//! their group again whose leases ran out; `hold.rs` has who waits for messages. `names.rs` and
//! `info.rs` are Java's names and texts. Queues that are popped in order are apart: `order.rs` has the one
//! batch of each that is in flight.

pub(crate) mod hold;
pub(crate) mod info;
mod journal;
pub(crate) mod leases;
pub(crate) mod names;
pub(crate) mod order;
pub(crate) mod queue_state;
mod replay;
pub(crate) mod revive;
pub(crate) mod table;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::header::{NotificationRequestHeader, PopMessageRequestHeader};
use thrustmq_proto_compat::message::properties;
use thrustmq_store::{Arrival, Store};

use crate::alarm::Alarm;
use crate::config::BrokerConfig;
use hold::PopHold;
use journal::{Journal, WRITTEN_DIRECTLY};
use table::PopTable;

/// Records from timers that wait to be read; more are found at the next start.
const LATE_RECORDS_MAX: usize = 100_000;
/// Steps by which [`Pop::dice`] goes round: prime to 100, so that it comes everywhere.
const DICE_STEP: usize = 37;

/// All that popping keeps.
pub(crate) struct Pop {
    pub(crate) table: Arc<PopTable>,
    pub(crate) journal: Journal,
    /// Pops that wait.
    pub(crate) polling: PopHold<PopMessageRequestHeader>,
    /// Notifications that wait.
    pub(crate) notifications: PopHold<NotificationRequestHeader>,
    /// When `pop-revive` has to wake.
    alarm: Alarm,
    /// When `pop-polling` has to wake.
    pub(crate) polling_alarm: Alarm,
    /// Records of the journal that came through a timer: queue and offset.
    late_records: Mutex<Vec<(i32, i64)>>,
    dice: AtomicUsize,
}

impl Pop {
    /// Nothing on lease yet; `host` is what records are stored with.
    pub(crate) fn new(
        config: &BrokerConfig,
        store: Arc<Store>,
        host: SocketAddr,
        clock: Clock,
    ) -> Self {
        Self {
            table: Arc::default(),
            journal: Journal {
                topic: Journal::topic_of(&config.broker_cluster_name),
                queues: config.revive_queues,
                store,
                clock,
                broker_name: config.broker_name.clone(),
                host,
            },
            polling: PopHold::default(),
            notifications: PopHold::default(),
            alarm: Alarm::default(),
            polling_alarm: Alarm::default(),
            late_records: Mutex::default(),
            dice: AtomicUsize::new(0),
        }
    }

    /// A number that goes round; its last two digits come everywhere.
    pub(crate) fn dice(&self) -> usize {
        self.dice.fetch_add(DICE_STEP, Ordering::Relaxed)
    }

    /// A message has become visible: if it is a record of the journal that a timer brought, it is
    /// read soon.
    pub(crate) fn arrived(&self, arrival: &Arrival<'_>) {
        if arrival.topic != self.journal.topic
            || properties::get(arrival.properties, WRITTEN_DIRECTLY).is_some()
        {
            return;
        }
        let mut late = self.lock_late();
        if late.len() < LATE_RECORDS_MAX {
            late.push((arrival.queue_id, arrival.queue_offset));
        }
        drop(late);
        self.alarm.set_before(0);
    }

    /// Ends the threads.
    pub(crate) fn stop(&self) {
        self.alarm.stop();
    }

    fn take_late_records(&self) -> Vec<(i32, i64)> {
        std::mem::take(&mut *self.lock_late())
    }

    fn lock_late(&self) -> std::sync::MutexGuard<'_, Vec<(i32, i64)>> {
        self.late_records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pop").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
