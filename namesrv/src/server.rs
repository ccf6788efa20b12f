//! Starts and stops a name server: tables, pools, socket, and the two tasks beside them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_remoting::{Client, ClientOptions, Server, ServerOptions};
use thrustmq_settings::atomic_file::LoadError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::{self, NamesrvConfig};
use crate::kv_config::KvConfig;
use crate::notices::Notices;
use crate::route_table::RouteTable;
use crate::routes::{Pools, routes};
use crate::state::State;
use crate::unregistration::{self, OnClose, Unregistrations};

/// Shortest pause between two scans, whatever is configured.
const SCAN_MS_MIN: u64 = 10;

/// What a name server is started with.
#[derive(Debug, Clone, Default)]
pub struct NamesrvOptions {
    /// The configuration; addresses and paths are in it.
    pub config: NamesrvConfig,
    /// The properties file that it came from, if one did.
    pub config_file: Option<PathBuf>,
}

/// Why a name server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `bindAddress` is no address of ours to listen on.
    #[error("bindAddress '{0}' is not an IP address")]
    BadAddress(String),
    /// The socket could not be opened.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The key-value configuration could not be read.
    #[error("kvConfigPath: {0}")]
    KvConfig(#[from] LoadError),
}

/// A running name server. Dropped without [`NameServer::shutdown`], it stops without waiting for
/// requests in flight.
#[derive(Debug)]
pub struct NameServer {
    server: Server,
    state: Arc<State>,
    pools: Pools,
    tasks: JoinSet<()>,
}

impl NameServer {
    /// Reads the key-value configuration, listens, and serves. Must be called in a tokio runtime.
    pub async fn start(options: NamesrvOptions, clock: Clock) -> Result<Self, StartError> {
        let config = &options.config;
        let server_options = server_options(config)?;
        let address = server_options.listen;
        let (queue, waiting) = mpsc::channel(config.unregister_queue_capacity.max(1));
        let state = state(options, Unregistrations::new(queue), clock.clone())?;
        let events = Arc::new(OnClose(Arc::clone(&state)));
        let pools = Pools::new(&state.config.current());
        let routes = routes(Arc::clone(&state), &pools);
        let server = Server::bind(server_options, routes, Some(events), clock)
            .await
            .map_err(|cause| StartError::Listen { address, cause })?;
        tracing::info!(address = %server.local_addr(), "name server is ready");
        let mut tasks = JoinSet::new();
        tasks.spawn(unregistration::apply(Arc::clone(&state), waiting));
        tasks.spawn(scan(Arc::clone(&state)));
        Ok(Self {
            server,
            state,
            pools,
            tasks,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops accepting, answers what is in flight, and closes every connection.
    pub async fn shutdown(mut self) {
        self.server.shutdown().await;
        self.tasks.shutdown().await;
        let pools = self.pools;
        // Only fails if the runtime itself is going down, and then nobody waits for the threads.
        let _ = tokio::task::spawn_blocking(move || pools.shutdown()).await;
        self.state.notices.shutdown().await;
        tracing::info!("name server has stopped");
    }
}

fn state(
    options: NamesrvOptions,
    unregistrations: Unregistrations,
    clock: Clock,
) -> Result<Arc<State>, StartError> {
    let kv = KvConfig::load(Path::new(&options.config.kv_config_path))?;
    let client = Client::new(ClientOptions::default(), None, None, clock.clone());
    Ok(Arc::new(State {
        kv,
        routes: RouteTable::default(),
        unregistrations,
        notices: Notices::new(client, Handle::current()),
        started_ms: clock.now_ms(),
        config: config::live(options.config, options.config_file.as_deref()),
        clock,
    }))
}

fn server_options(config: &NamesrvConfig) -> Result<ServerOptions, StartError> {
    let bad = |_| StartError::BadAddress(config.bind_address.clone());
    let ip: IpAddr = config.bind_address.parse().map_err(bad)?;
    let size = |bytes: u32| (bytes > 0).then_some(bytes);
    Ok(ServerOptions {
        backlog: config.backlog,
        idle_ms_max: config.idle_s_max.saturating_mul(1_000),
        async_calls_max: config.async_calls_max,
        oneway_calls_max: config.oneway_calls_max,
        send_buffer_bytes: size(config.send_buffer_bytes),
        receive_buffer_bytes: size(config.receive_buffer_bytes),
        shutdown_wait_ms: config.shutdown_wait_s.saturating_mul(1_000),
        ..ServerOptions::new(SocketAddr::new(ip, config.listen_port))
    })
}

async fn scan(state: Arc<State>) {
    loop {
        let pause_ms = state.config.current().scan_interval_ms.max(SCAN_MS_MIN);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        state.drop_silent();
    }
}
