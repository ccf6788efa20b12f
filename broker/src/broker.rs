//! The state that every handler reads: one [`Broker`] a process, shared as `Arc<Broker>`.
//!
//! It owns nothing that runs: threads and tasks belong to `startup.rs` and end in `shutdown.rs`.
//! Each field guards itself; none of them calls back into the broker.

use std::net::SocketAddr;
use std::sync::Arc;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_store::Store;
use tokio::sync::Semaphore;

use crate::assignment::{RequestModes, TopicQueues};
use crate::config::LiveConfig;
use crate::delay::DelayLevels;
use crate::filter::FilterRegistry;
use crate::group::GroupTable;
use crate::hold::HoldTable;
use crate::lock::QueueLocks;
use crate::member::{ConsumerTable, ProducerTable};
use crate::metadata_writer::MetadataWriter;
use crate::namesrv_link::NamesrvLink;
use crate::offset::OffsetTable;
use crate::pools::Pools;
use crate::pop::Pop;
use crate::pop::order::OrderTable;
use crate::stats::BrokerStats;
use crate::timer::Timer;
use crate::topic::TopicTable;
use crate::transaction::Transactions;

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
    /// Writes topics, groups and request modes once they have changed.
    pub(crate) metadata: MetadataWriter,
    /// Topics.
    pub(crate) topics: TopicTable,
    /// Consumer groups.
    pub(crate) groups: GroupTable,
    /// How far each group has consumed.
    pub(crate) offsets: OffsetTable,
    /// Live producers.
    pub(crate) producers: ProducerTable,
    /// A permit for each reply that waits for its requester.
    pub(crate) reply_pushes: Arc<Semaphore>,
    /// Live consumers and what they subscribe to.
    pub(crate) consumers: ConsumerTable,
    /// Whether groups pull or pop.
    pub(crate) request_modes: RequestModes,
    /// Queues of topics in the whole cluster.
    pub(crate) topic_queues: TopicQueues,
    /// What groups filter by, kept across restarts.
    pub(crate) filters: FilterRegistry,
    /// What is popped in order.
    pub(crate) orders: OrderTable,
    /// Queues locked by ordered consumers.
    pub(crate) locks: QueueLocks,
    /// Delay levels and how far each is delivered.
    pub(crate) delay: DelayLevels,
    /// Half messages and their ends.
    pub(crate) transactions: Transactions,
    /// Messages that wait for a time of their own; nothing if that is switched off.
    pub(crate) timer: Option<Timer>,
    /// Parked pulls.
    pub(crate) hold: HoldTable,
    /// Messages on lease.
    pub(crate) pop: Pop,
    /// Registration with the name servers.
    pub(crate) namesrv: NamesrvLink,
    /// Makes unique keys for messages that come without.
    pub(crate) unique_keys: UniqueKeys,
    /// Counters.
    pub(crate) stats: Arc<BrokerStats>,
}

impl Broker {
    /// Writes each file of `config/` whose table has changed since it was written.
    pub(crate) fn write_changed_metadata(&self) {
        self.topics.write_changes();
        self.groups.write_changes();
        self.request_modes.write_changes();
    }
}
