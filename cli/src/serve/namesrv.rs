//! `thrustmq namesrv`.

use std::path::Path;

use anyhow::Context;
use thrustmq_namesrv::{NameServer, NamesrvConfig, NamesrvOptions};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_settings::Settings;
use tokio::time::Instant;

use super::banner::Banner;
use super::usable_directory;
use crate::args::{ConfigArguments, NamesrvArguments};
use crate::output;
use crate::signals::StopSignals;

/// Runs a name server until the process is asked to stop.
pub(crate) async fn run(arguments: NamesrvArguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut stop = StopSignals::listen()?;
    let data = arguments
        .data
        .as_deref()
        .map(usable_directory)
        .transpose()?;
    let config = config(&arguments.config, data.as_deref())?;
    if arguments.config.print {
        output::print(config.to_properties().trim_end());
        return Ok(());
    }
    let kept = config.kv_config_path.clone();
    let options = NamesrvOptions {
        config,
        config_file: arguments.config.file,
    };
    let server = NameServer::start(options, Clock::system())
        .await
        .context("the name server did not start")?;
    Banner::new("name server")
        .fact("address", server.local_addr())
        .fact("kv config", kept)
        .print_ready(started.elapsed());
    stop.received().await;
    server.shutdown().await;
    Ok(())
}

/// The defaults, the file, each `--set`, then the directory of `--data`. As in Java, what commands
/// change is kept in the file, if there is one.
fn config(arguments: &ConfigArguments, data: Option<&Path>) -> anyhow::Result<NamesrvConfig> {
    let mut config = NamesrvConfig::default();
    if let Some(file) = &arguments.file {
        config.read_file(file)?;
        config.config_store_path = Some(file.display().to_string());
    }
    config.assign(&arguments.set)?;
    if let Some(directory) = data {
        let store_path = config.config_store_path.take();
        keep_files_in(&mut config, directory);
        if arguments.file.is_some() {
            config.config_store_path = store_path;
        }
    }
    Ok(config)
}

/// Puts the name server's files into `directory`.
pub(super) fn keep_files_in(config: &mut NamesrvConfig, directory: &Path) {
    let file = |name: &str| directory.join(name).display().to_string();
    config.kv_config_path = file("kvConfig.json");
    config.config_store_path = Some(file("namesrv.properties"));
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
        let config = config(&arguments(Some(&file), &["listenPort=2"]), None).unwrap();
        assert_eq!((config.listen_port, config.scan_interval_ms), (2, 77));
    }

    #[test]
    fn changes_are_kept_in_the_file_if_there_is_one_wherever_the_data_is() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let in_data = |name: &str| data.join(name).display().to_string();
        let file = directory.path().join("namesrv.conf");
        std::fs::write(&file, "configStorePath=/elsewhere\n").unwrap();
        let kept = |file: Option<&Path>, set: &[&str], data: Option<&Path>| {
            let config = config(&arguments(file, set), data).unwrap();
            config.config_store_path
        };
        let shown = Some(file.display().to_string());
        assert_eq!(kept(Some(&file), &[], None), shown);
        assert_eq!(kept(Some(&file), &[], Some(&data)), shown);
        assert_eq!(
            kept(None, &[], Some(&data)),
            Some(in_data("namesrv.properties"))
        );
        let set = ["configStorePath=/set"];
        assert_eq!(kept(Some(&file), &set, None).as_deref(), Some("/set"));
        let config = config(&arguments(Some(&file), &[]), Some(&data)).unwrap();
        assert_eq!(config.kv_config_path, in_data("kvConfig.json"));
    }

    #[test]
    fn mistakes_name_the_file_or_the_key() {
        let missing = config(&arguments(Some(Path::new("/no/such.conf")), &[]), None).unwrap_err();
        assert!(format!("{missing:#}").contains("/no/such.conf"));
        let wrong = config(&arguments(None, &["listenPort=x"]), None).unwrap_err();
        assert!(format!("{wrong:#}").contains("listenPort"));
    }
}
