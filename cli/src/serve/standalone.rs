//! `thrustmq standalone`: a name server and a broker in one process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use thrustmq_broker::BrokerOptions;
use thrustmq_broker::config::BrokerConfig;
use thrustmq_namesrv::{NameServer, NamesrvConfig, NamesrvOptions};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_settings::Settings;
use tokio::time::Instant;

use super::banner::Banner;
use super::broker::{self, Running};
use super::namesrv::keep_files_in;
use super::usable_directory;
use crate::args::StandaloneArguments;
use crate::signals::StopSignals;

const DATA_DEFAULT: &str = "thrustmq-data";
const BROKER_NAME: &str = "broker-a";

/// Runs both until the process is asked to stop.
pub(crate) async fn run(arguments: StandaloneArguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut stop = StopSignals::listen()?;
    let mut config = broker_config(&arguments)?;
    if arguments.config.print {
        broker::print(config.entries());
        return Ok(());
    }
    let data = usable_directory(Path::new(&config.store_root_dir))?;
    config.store_root_dir = data.display().to_string();
    let namesrv = namesrv_config(&config.bind_address, arguments.namesrv_port, &data);
    let namesrv = NamesrvOptions {
        config: namesrv,
        config_file: None,
    };
    let name_server = NameServer::start(namesrv, Clock::system())
        .await
        .context("the name server did not start")?;
    config.namesrv_addr = Some(reachable(name_server.local_addr()).to_string());
    let options = BrokerOptions {
        config,
        config_file: arguments.config.file,
        ..BrokerOptions::default()
    };
    let running = match Running::start(options).await {
        Ok(running) => running,
        Err(error) => {
            name_server.shutdown().await;
            return Err(error);
        }
    };
    let banner = Banner::new("standalone").fact("name server", name_server.local_addr());
    running.facts(banner).print_ready(started.elapsed());
    stop.received().await;
    // The broker leaves the name server before that ends.
    running.server.shutdown().await;
    name_server.shutdown().await;
    Ok(())
}

/// The broker's configuration: what is asked for here, then `--set` and the file, then what suits a
/// broker that stands alone.
fn broker_config(arguments: &StandaloneArguments) -> anyhow::Result<BrokerConfig> {
    let mut config = broker::load(&arguments.config)?;
    let defaults = BrokerConfig::default();
    if config.broker_name == defaults.broker_name {
        config.broker_name = BROKER_NAME.to_owned();
    }
    let directory = |path: PathBuf| path.display().to_string();
    match &arguments.data {
        Some(data) => config.store_root_dir = directory(data.clone()),
        None if config.store_root_dir == defaults.store_root_dir => {
            config.store_root_dir = directory(DATA_DEFAULT.into());
        }
        None => {}
    }
    if let Some(port) = arguments.broker_port {
        config.listen_port = port;
    }
    if let Some(address) = &arguments.bind {
        config.bind_address = address.clone();
    }
    if let Some(address) = advertised(arguments) {
        config.broker_ip1 = address.to_owned();
        config.broker_ip2 = address.to_owned();
    }
    Ok(config)
}

/// Clients are told what `--advertise` says, else the one address that is listened on.
fn advertised(arguments: &StandaloneArguments) -> Option<&str> {
    let given = arguments.advertise.as_deref();
    let bound = arguments.bind.as_deref().filter(|bind| {
        let address: Option<IpAddr> = bind.parse().ok();
        address.is_some_and(|address| !address.is_unspecified())
    });
    given.or(bound)
}

fn namesrv_config(bind_address: &str, port: u16, data: &Path) -> NamesrvConfig {
    let mut config = NamesrvConfig {
        bind_address: bind_address.to_owned(),
        listen_port: port,
        ..NamesrvConfig::default()
    };
    keep_files_in(&mut config, data);
    config
}

/// An address to connect to for one that is listened on: `0.0.0.0` is every address of this machine.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let mut address = listening;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn config(line: &[&str]) -> BrokerConfig {
        let line = ["thrustmq", "standalone"].iter().chain(line);
        let Command::Standalone(arguments) = Arguments::try_parse_from(line).unwrap().command
        else {
            panic!("not standalone");
        };
        broker_config(&arguments).unwrap()
    }

    #[test]
    fn a_broker_that_stands_alone_is_broker_a() {
        let config = config(&[]);
        assert_eq!(config.broker_name, "broker-a");
        assert_eq!(config.broker_cluster_name, "DefaultCluster");
        assert_eq!(
            (config.store_root_dir.as_str(), config.listen_port),
            ("thrustmq-data", 10911)
        );
    }

    #[test]
    fn what_is_asked_for_counts_before_settings_before_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("broker.conf");
        std::fs::write(
            &file,
            "brokerName=x\nlistenPort=1000\nstorePathRootDir=/s\nflushDiskType=SYNC_FLUSH\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let from_file = config(&["-c", file, "--set", "listenPort=2000"]);
        assert_eq!(
            (from_file.broker_name.as_str(), from_file.listen_port),
            ("x", 2000)
        );
        assert_eq!(from_file.store_root_dir, "/s");
        assert_eq!(
            from_file.get("flushDiskType").as_deref(),
            Some("SYNC_FLUSH")
        );
        let asked = config(&["-c", file, "--broker-port", "3000", "--data", "/d"]);
        assert_eq!(
            (asked.listen_port, asked.store_root_dir.as_str()),
            (3000, "/d")
        );
    }

    #[test]
    fn one_bound_address_is_the_advertised_one() {
        assert_eq!(config(&["--bind", "127.0.0.1"]).broker_ip1, "127.0.0.1");
        let both = config(&["--bind", "127.0.0.1", "--advertise", "example.org"]);
        assert_eq!(both.broker_ip1, "example.org");
        let every = config(&["--bind", "0.0.0.0"]);
        assert_eq!(every.broker_ip1, BrokerConfig::default().broker_ip1);
    }

    #[test]
    fn the_name_server_is_reached_where_it_listens() {
        let reach = |listening: &str| reachable(listening.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:9876"), "127.0.0.1:9876");
        assert_eq!(reach("10.0.0.1:9876"), "10.0.0.1:9876");
    }
}
