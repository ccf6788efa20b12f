//! `thrustmq namesrv`.

use std::path::Path;

use anyhow::Context;
use thrustmq_namesrv::{NameServer, NamesrvConfig, NamesrvOptions};
use thrustmq_proto_compat::clock::Clock;
use tokio::time::Instant;
use tracing::warn;

use super::banner::Banner;
use super::{stop_requested, usable_directory};
use crate::args::{ConfigArguments, NamesrvArguments};
use crate::output;

/// Runs a name server until the process is asked to stop.
pub(crate) async fn run(arguments: NamesrvArguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut config = config(&arguments.config)?;
    if let Some(data) = &arguments.data {
        keep_files_in(&mut config, &usable_directory(data)?);
    }
    if arguments.config.print {
        output::print(config.to_properties().trim_end());
        return Ok(());
    }
    let kept = config.kv_config_path.clone();
    let server = NameServer::start(NamesrvOptions { config }, Clock::system())
        .await
        .context("the name server did not start")?;
    Banner::new("name server")
        .fact("address", server.local_addr())
        .fact("kv config", kept)
        .print_ready(started.elapsed());
    stop_requested().await?;
    server.shutdown().await;
    Ok(())
}

/// The defaults, the file, then each `--set`.
fn config(arguments: &ConfigArguments) -> anyhow::Result<NamesrvConfig> {
    let mut config = NamesrvConfig::default();
    if let Some(file) = &arguments.file {
        let shown = file.display();
        let text =
            std::fs::read_to_string(file).with_context(|| format!("configuration file {shown}"))?;
        let unknown = config.apply_properties(&text);
        for warning in unknown.with_context(|| format!("configuration file {shown}"))? {
            warn!(%warning, "configuration key is ignored");
        }
    }
    for pair in &arguments.set {
        config.apply_pair(pair).context("--set")?;
    }
    Ok(config)
}

/// Puts the name server's files into `directory`.
pub(super) fn keep_files_in(config: &mut NamesrvConfig, directory: &Path) {
    let file = |name: &str| directory.join(name).display().to_string();
    config.kv_config_path = file("kvConfig.json");
    config.config_store_path = file("namesrv.properties");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(file: Option<&Path>, set: &[&str]) -> ConfigArguments {
        ConfigArguments {
            file: file.map(Path::to_owned),
            set: set.iter().map(|pair| (*pair).to_owned()).collect(),
            print: false,
        }
    }

    #[test]
    fn a_setting_counts_more_than_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("namesrv.conf");
        std::fs::write(
            &file,
            "listenPort=1\nscanNotActiveBrokerInterval=77\nunknownKey=x\n",
        )
        .unwrap();
        let config = config(&arguments(Some(&file), &["listenPort=2"])).unwrap();
        assert_eq!((config.listen_port, config.scan_interval_ms), (2, 77));
    }

    #[test]
    fn mistakes_name_the_file_or_the_key() {
        let missing = config(&arguments(Some(Path::new("/no/such.conf")), &[])).unwrap_err();
        assert!(format!("{missing:#}").contains("/no/such.conf"));
        let wrong = config(&arguments(None, &["listenPort=x"])).unwrap_err();
        assert!(format!("{wrong:#}").contains("listenPort"));
    }
}
