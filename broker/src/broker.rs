//! The state that every handler reads: one [`Broker`] a process, shared as `Arc<Broker>`.
//!
//! It owns nothing that runs: threads and tasks belong to `startup.rs` and end in `shutdown.rs`.
//! Each field guards itself; none of them calls back into the broker.

use std::net::SocketAddr;
use std::sync::Arc;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_store::Store;

use crate::config::LiveConfig;
use crate::delay::DelayLevels;
use crate::group::GroupTable;
use crate::hold::HoldTable;
use crate::lock::QueueLocks;
use crate::member::{ConsumerTable, ProducerTable};
use crate::namesrv_link::NamesrvLink;
use crate::offset::OffsetTable;
use crate::pools::Pools;
use crate::stats::BrokerStats;
use crate::topic::TopicTable;

/// Everything a handler may need.
pub(crate) struct Broker {
    /// Configuration, some of it changeable at run time.
    pub(crate) config: LiveConfig,
    /// Where "now" comes from.
    pub(crate) clock: Clock,
    /// The address that clients and name servers are told, `host:port`.
    pub(crate) address: String,
    /// The same in numbers, as records carry it.
    pub(crate) advertised: SocketAddr,
    /// When this process started, milliseconds.
    pub(crate) started_ms: i64,
    /// Messages.
    pub(crate) store: Arc<Store>,
    /// Threads that run the handlers.
    pub(crate) pools: Pools,
    /// For handlers that have to wait for a peer: spawn there, never block.
    pub(crate) runtime: tokio::runtime::Handle,
    /// Topics.
    pub(crate) topics: TopicTable,
    /// Consumer groups.
    pub(crate) groups: GroupTable,
    /// How far each group has consumed.
    pub(crate) offsets: OffsetTable,
    /// Live producers.
    pub(crate) producers: ProducerTable,
    /// Live consumers and what they subscribe to.
    pub(crate) consumers: ConsumerTable,
    /// Queues locked by ordered consumers.
    pub(crate) locks: QueueLocks,
    /// Delay levels and how far each is delivered.
    pub(crate) delay: DelayLevels,
    /// Parked pulls.
    pub(crate) hold: HoldTable,
    /// Registration with the name servers.
    pub(crate) namesrv: NamesrvLink,
    /// Makes unique keys for messages that come without.
    pub(crate) unique_keys: UniqueKeys,
    /// Counters.
    pub(crate) stats: BrokerStats,
}
