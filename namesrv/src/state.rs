//! What every request of a name server reads: the tables, the configurations, and the ways to other threads.

use std::sync::Arc;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_remoting::Peer;

use crate::config::LiveConfig;
use crate::kv_config::KvConfig;
use crate::notices::Notices;
use crate::route_table::{Connection, Leaving, MinBrokerIdNotice, RouteTable};
use crate::unregistration::Unregistrations;

/// Shared by all handlers and tasks of one name server.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: LiveConfig,
    pub(crate) kv: KvConfig,
    pub(crate) routes: RouteTable,
    pub(crate) unregistrations: Unregistrations,
    pub(crate) notices: Notices,
    pub(crate) clock: Clock,
    pub(crate) started_ms: i64,
}

impl State {
    /// Takes members out and tells the rest of their groups.
    pub(crate) fn leave(&self, batch: Vec<Leaving>) {
        for notice in self.routes.leave(batch, self.clock.now_ms()) {
            self.tell(notice);
        }
    }

    /// Tells a group its new lowest broker id, if that is configured.
    pub(crate) fn tell(&self, notice: MinBrokerIdNotice) {
        if self.config.current().notify_min_broker_id_changed {
            self.notices.tell(notice);
        }
    }

    /// One scan: closes the connections of silent brokers, and has their routes removed.
    pub(crate) fn drop_silent(&self) {
        for silent in self.routes.silent(self.clock.now_ms()) {
            let at = silent.at;
            tracing::warn!(
                cluster = at.cluster,
                address = at.address,
                silence_ms_max = silent.silence_ms_max,
                "broker is silent for too long"
            );
            silent.connection.close("broker is silent for too long");
            // If the queue is full, the next scan finds it again.
            self.unregistrations.submit(Leaving::Silent(at));
        }
    }
}

/// A broker's connection, as the route table knows it.
#[derive(Debug)]
struct BrokerPeer(Peer);

impl Connection for BrokerPeer {
    fn id(&self) -> u64 {
        self.0.id()
    }

    fn close(&self, why: &'static str) {
        self.0.close(why);
    }
}

/// The handle that the route table keeps of a connection.
pub(crate) fn connection(peer: Peer) -> Arc<dyn Connection> {
    Arc::new(BrokerPeer(peer))
}
