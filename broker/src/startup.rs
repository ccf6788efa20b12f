//! From options to a broker that serves, in the order in which things need each other: store and
//! tables, pools, servers, threads, and the name servers last, when requests can be answered.

mod ports;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::id::UniqueKeys;
use thrustmq_proto_compat::request_code::{
    LitePullMessage, Notification, PeekMessage, PollingInfo, PopMessage, PullMessage,
};
use thrustmq_remoting::{Client, ClientOptions, Routes, Server, ServerOptions};
use thrustmq_store::{ArrivalListener, OpenError, Store, StoreOptions};
use tokio::sync::Semaphore;

use crate::arrivals::Arrivals;
use crate::assignment::{RequestModes, TopicQueues};
use crate::broker::Broker;
use crate::config::LiveConfig;
use crate::connections::Connections;
use crate::delay::{DelayLevels, LevelError, Levels};
use crate::filter::{Bloom, FilterRegistry};
use crate::group::GroupTable;
use crate::hold::HoldTable;
use crate::lock::QueueLocks;
use crate::member::{ConsumerTable, ProducerTable};
use crate::metadata_file::LoadError;
use crate::metadata_writer::MetadataWriter;
use crate::namesrv_link::NamesrvLink;
use crate::offset::OffsetTable;
use crate::options::BrokerOptions;
use crate::periodic::Periodic;
use crate::pools::Pools;
use crate::pop::Pop;
use crate::pop::order::OrderTable;
use crate::processor::reply::PUSHES_MAX;
use crate::registration;
use crate::routes::routes;
use crate::shutdown;
use crate::stats::BrokerStats;
use crate::store_options::store_options;
use crate::threads::Threads;
use crate::timer::Timer;
use crate::topic::TopicTable;
use crate::transaction::Transactions;
use ports::{reserve_ports, resolve};

/// Between two looks at how far the queues are.
const DISPATCH_PAUSE: Duration = Duration::from_millis(1);

/// Why a broker does not start, in one line for its operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory cannot be made or written.
    #[error("data directory {path} is unusable: {cause}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process has the data directory open.
    #[error("data directory {path} is in use by another process")]
    InUse {
        /// The directory.
        path: String,
    },
    /// The store's files cannot be opened.
    #[error("store is unusable: {0}")]
    Store(String),
    /// A file of `config/` cannot be read.
    #[error(transparent)]
    Metadata(#[from] LoadError),
    /// `messageDelayLevel` cannot be read.
    #[error("{0}")]
    DelayLevels(String),
    /// The port cannot be listened on.
    #[error("can not listen on {address}: {cause}")]
    Listen {
        /// Address and port.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The address for clients stands for nothing.
    #[error("brokerIP1 {address} is no address: {cause}")]
    Address {
        /// As configured.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The system has no more threads.
    #[error("can not start a thread: {0}")]
    Thread(io::Error),
}

impl From<LevelError> for StartError {
    fn from(error: LevelError) -> Self {
        Self::DelayLevels(error.to_string())
    }
}

/// Where a broker can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddresses {
    /// Main port.
    pub listen: SocketAddr,
    /// The port two below, which serves all but pulls.
    pub fast: SocketAddr,
    /// What clients are told.
    pub advertised: String,
}

/// A running broker.
pub struct BrokerServer {
    pub(crate) broker: Arc<Broker>,
    pub(crate) main: Server,
    pub(crate) fast: Server,
    pub(crate) periodic: Periodic,
    pub(crate) threads: Threads,
    pub(crate) registrations: Vec<tokio::task::JoinHandle<()>>,
}

impl BrokerServer {
    /// Opens the data directory, listens, and registers with the name servers. Returns when each of
    /// those has answered or failed once; the broker goes on trying.
    ///
    /// # Errors
    /// One line that says what is wrong; nothing is left running then.
    pub async fn start(options: BrokerOptions, clock: Clock) -> Result<Self, StartError> {
        let arrivals = Arc::new(Arrivals::default());
        let store = open_store(&options, &clock, &arrivals).await?;
        let started = Self::start_on(options, clock, Arc::clone(&store), &arrivals).await;
        if started.is_err() {
            store.shutdown();
        }
        started
    }

    async fn start_on(
        options: BrokerOptions,
        clock: Clock,
        store: Arc<Store>,
        arrivals: &Arrivals,
    ) -> Result<Self, StartError> {
        let listening = reserve_ports(&options.config)?;
        let address = format!("{}:{}", options.config.broker_ip1, listening.main.port());
        let advertised = resolve(&address).await?;
        let parts = Parts {
            options,
            clock,
            store,
            address,
            advertised,
        };
        let broker = Arc::new(parts.into_broker()?);
        arrivals.attach(&broker);
        know_leases(&broker).await?;
        let routes = routes(&broker);
        let main = bind(&broker, listening.main, Arc::clone(&routes)).await;
        let fast_routes = routes
            .without::<PullMessage>()
            .without::<LitePullMessage>()
            .without::<PopMessage>()
            .without::<PeekMessage>()
            .without::<Notification>()
            .without::<PollingInfo>();
        let fast = bind(&broker, listening.fast, fast_routes).await;
        let (main, fast) = match (main, fast) {
            (Ok(main), Ok(fast)) => (main, fast),
            (Err(error), _) | (_, Err(error)) => {
                broker.pools.shutdown();
                return Err(error);
            }
        };
        let periodic = Periodic::start(&broker).map_err(StartError::Thread)?;
        let threads = Threads::start(&broker).map_err(StartError::Thread)?;
        let registrations = registration::start(&broker).await;
        let (listen, fast_port) = (main.local_addr(), fast.local_addr().port());
        let address = &broker.address;
        tracing::info!(%listen, fast_port, address, "broker is ready");
        Ok(Self {
            broker,
            main,
            fast,
            periodic,
            threads,
            registrations,
        })
    }

    /// Where it can be reached.
    pub fn addresses(&self) -> BrokerAddresses {
        BrokerAddresses {
            listen: self.main.local_addr(),
            fast: self.fast.local_addr(),
            advertised: self.broker.address.clone(),
        }
    }

    /// Leaves the name servers, finishes what is in flight, writes everything down and ends.
    pub async fn shutdown(self) {
        shutdown::shutdown(self).await;
    }
}

impl std::fmt::Debug for BrokerServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerServer")
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

/// What a broker is made of.
struct Parts {
    options: BrokerOptions,
    clock: Clock,
    store: Arc<Store>,
    address: String,
    advertised: SocketAddr,
}

impl Parts {
    fn into_broker(self) -> Result<Broker, StartError> {
        let Self {
            options,
            clock,
            store,
            address,
            advertised,
        } = self;
        let settings = Arc::new(options.config.clone());
        let root = Path::new(&settings.store_root_dir);
        let config = LiveConfig::new(options.config, options.config_file, clock.clone());
        let levels = Levels::parse(&settings.message_delay_level)?;
        let timer = settings
            .timer_enable
            .then(|| Timer::open(&settings, options.disk, &store, &clock))
            .transpose()
            .map_err(|error| StartError::Store(one_line(&error)))?;
        let client = Client::new(ClientOptions::default(), None, None, clock.clone());
        let cluster = &settings.broker_cluster_name;
        let metadata = MetadataWriter::new();
        let bloom = Bloom::new(settings.bloom_error_percent, settings.bloom_groups);
        Ok(Broker {
            address,
            advertised,
            started_ms: clock.now_ms(),
            topics: TopicTable::open(root, config.clone(), clock.clone(), &metadata)?,
            groups: GroupTable::open(root, config.clone(), clock.clone(), &metadata)?,
            offsets: OffsetTable::open(root, &settings, clock.clone())?,
            producers: ProducerTable::new(clock.clone()),
            reply_pushes: Arc::new(Semaphore::new(PUSHES_MAX)),
            consumers: ConsumerTable::new(clock.clone()),
            request_modes: RequestModes::open(root, &metadata)?,
            metadata,
            topic_queues: TopicQueues::default(),
            filters: FilterRegistry::open(root, bloom, clock.clone())?,
            orders: OrderTable::open(root, clock.clone())?,
            locks: QueueLocks::new(config.clone(), clock.clone()),
            delay: DelayLevels::open(levels, root, clock.clone())?,
            transactions: Transactions::open(root, clock.clone())?,
            timer,
            hold: HoldTable::default(),
            pop: Pop::new(&settings, Arc::clone(&store), advertised, clock.clone()),
            namesrv: NamesrvLink::new(settings.namesrv_addr.as_deref(), client),
            stats: Arc::new(BrokerStats::new(
                cluster,
                settings.detail_stat,
                clock.clone(),
            )),
            unique_keys: UniqueKeys::new(advertised.ip(), std::process::id(), 0, clock.clone()),
            pools: Pools::new(&settings),
            runtime: tokio::runtime::Handle::current(),
            config,
            clock,
            store,
        })
    }
}

async fn open_store(
    options: &BrokerOptions,
    clock: &Clock,
    arrivals: &Arc<Arrivals>,
) -> Result<Arc<Store>, StartError> {
    let BrokerOptions { config, disk, .. } = options;
    let path = config.store_root_dir.clone();
    std::fs::create_dir_all(&path).map_err(|cause| StartError::Directory {
        path: path.clone(),
        cause,
    })?;
    let options = StoreOptions {
        disk: disk.clone(),
        ..store_options(config)?
    };
    let (clock, listener) = (clock.clone(), Arc::clone(arrivals));
    let listener: Arc<dyn ArrivalListener> = listener;
    // Recovery reads the log: not on a thread of the runtime.
    let opening = tokio::task::spawn_blocking(move || Store::open(options, clock, listener));
    match opening.await {
        Ok(Ok(store)) => Ok(Arc::new(store)),
        Ok(Err(OpenError::InUse { .. })) => Err(StartError::InUse { path }),
        Ok(Err(error)) => Err(StartError::Store(one_line(&error))),
        Err(error) => Err(StartError::Store(error.to_string())),
    }
}

/// Reads which messages are on lease, once all queues are complete: before, nobody may pop.
async fn know_leases(broker: &Arc<Broker>) -> Result<(), StartError> {
    let broker = Arc::clone(broker);
    let reading = tokio::task::spawn_blocking(move || {
        let end = broker.store.watermarks().confirm;
        while broker.store.watermarks().dispatched < end {
            std::thread::sleep(DISPATCH_PAUSE);
        }
        broker.pop.replay(&broker.offsets);
    });
    let read = reading.await;
    read.map_err(|error| StartError::Store(error.to_string()))
}

/// An error with all its causes.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

async fn bind(
    broker: &Arc<Broker>,
    listen: SocketAddr,
    routes: Arc<Routes>,
) -> Result<Server, StartError> {
    let config = broker.config.current();
    let nonzero = |bytes: u32| (bytes > 0).then_some(bytes);
    let options = ServerOptions {
        idle_ms_max: u64::from(config.server_channel_idle_seconds_max) * 1_000,
        async_calls_max: config.server_async_calls_max,
        oneway_calls_max: config.server_oneway_calls_max,
        send_buffer_bytes: nonzero(config.server_socket_send_bytes),
        receive_buffer_bytes: nonzero(config.server_socket_receive_bytes),
        shutdown_wait_ms: u64::from(config.shutdown_wait_seconds) * 1_000,
        ..ServerOptions::new(listen)
    };
    let events = Connections::of(broker);
    let bound = Server::bind(options, routes, Some(events), broker.clock.clone()).await;
    bound.map_err(|cause| StartError::Listen {
        address: listen.to_string(),
        cause,
    })
}
