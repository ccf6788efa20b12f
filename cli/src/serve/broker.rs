//! `thrustmq broker`.

use anyhow::Context;
use thrustmq_broker::config::BrokerConfig;
use thrustmq_broker::{BrokerOptions, BrokerServer};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_settings::Settings;
use tokio::time::Instant;
use tracing::warn;

use super::banner::Banner;
use super::usable_directory;
use crate::args::{BrokerArguments, ConfigArguments};
use crate::output;
use crate::signals::StopSignals;

/// What `-m` prints: the keys that decide where a broker is and what it is.
const IMPORTANT_KEYS: [&str; 12] = [
    "autoCreateSubscriptionGroup",
    "autoCreateTopicEnable",
    "brokerClusterName",
    "brokerIP1",
    "brokerIP2",
    "brokerId",
    "brokerName",
    "brokerPermission",
    "flushDiskType",
    "listenPort",
    "namesrvAddr",
    "storePathRootDir",
];

/// Runs a broker until the process is asked to stop.
pub(crate) async fn run(arguments: BrokerArguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut stop = StopSignals::listen()?;
    let mut config = load(&arguments.config)?;
    if let Some(addresses) = arguments.namesrv_addr {
        config.namesrv_addr = Some(addresses);
    }
    if let Some(data) = &arguments.data {
        config.store_root_dir = usable_directory(data)?.display().to_string();
    }
    if arguments.config.print {
        print(config.entries());
        return Ok(());
    }
    if arguments.print_important {
        let entries = config.entries().into_iter();
        print(
            entries
                .filter(|(key, _)| IMPORTANT_KEYS.contains(key))
                .collect(),
        );
        return Ok(());
    }
    if config.namesrv_addr.is_none() {
        warn!(
            "no name server is configured, so clients cannot find this broker: use -n or namesrvAddr"
        );
    }
    let options = BrokerOptions {
        config,
        config_file: arguments.config.file,
        ..BrokerOptions::default()
    };
    let running = Running::start(options).await?;
    running
        .facts(Banner::new("broker"))
        .print_ready(started.elapsed());
    stop.received().await;
    running.server.shutdown().await;
    Ok(())
}

/// The defaults, the file, then each `--set`.
pub(super) fn load(arguments: &ConfigArguments) -> anyhow::Result<BrokerConfig> {
    Ok(BrokerConfig::load(
        arguments.file.as_deref(),
        &arguments.set,
    )?)
}

/// Prints keys and values as a properties file has them.
pub(super) fn print(entries: Vec<(&str, String)>) {
    let lines: Vec<_> = entries
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    output::print(&lines.join("\n"));
}

/// A broker that serves, and what its banner tells.
pub(super) struct Running {
    pub(super) server: BrokerServer,
    config: BrokerConfig,
}

impl Running {
    pub(super) async fn start(options: BrokerOptions) -> anyhow::Result<Self> {
        let config = options.config.clone();
        let server = BrokerServer::start(options, Clock::system()).await;
        let server = server.context("the broker did not start")?;
        Ok(Self { server, config })
    }

    pub(super) fn facts(&self, banner: Banner) -> Banner {
        let addresses = self.server.addresses();
        let config = &self.config;
        let name = format!("{} in {}", config.broker_name, config.broker_cluster_name);
        let ports = format!("{} and {}", addresses.listen, addresses.fast.port());
        banner
            .fact("broker", name)
            .fact("listens on", ports)
            .fact("clients use", addresses.advertised)
            .fact("data", &config.store_root_dir)
            .fact("flush", config.get("flushDiskType").unwrap_or_default())
    }
}
