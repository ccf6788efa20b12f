//! Commands about one broker, said by its name or its address.

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use thrustmq_client::{Admin, BrokerSetting};

use super::arguments::SureArguments;
use super::shown::{Rows, Shown, version};

#[derive(Debug, Subcommand)]
pub(super) enum BrokerCommand {
    /// What a broker says of itself.
    Info {
        /// Name, or host:port.
        broker: String,
    },
    /// A broker's configuration, or the keys of it that contain a text.
    Config {
        /// Name, or host:port.
        broker: String,
        /// Part of the keys.
        key: Option<String>,
    },
    /// Changes keys of a broker's configuration.
    Set {
        /// Name, or host:port.
        broker: String,
        /// KEY=VALUE.
        #[arg(required = true)]
        settings: Vec<String>,
    },
    /// The producers that are connected to a broker.
    Producers {
        /// Name, or host:port.
        broker: String,
    },
    /// How a broker replicates.
    Replication {
        /// Name, or host:port.
        broker: String,
    },
    /// What a broker counted over a minute, an hour and a day.
    Stats {
        /// Name, or host:port.
        broker: String,
        /// RocketMQ's name of the item, such as TOPIC_PUT_NUMS or GROUP_GET_NUMS.
        name: String,
        /// Of what: a topic, `topic@group`, a cluster.
        key: String,
    },
    /// Has a broker remove now what it would remove in time.
    Clean {
        /// Name, or host:port.
        broker: String,
        /// What.
        #[arg(value_enum)]
        what: Rubbish,
        #[command(flatten)]
        sure: SureArguments,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Rubbish {
    /// Consume queues and index files of messages that are gone.
    ExpiredQueues,
    /// Consume queues of topics that are gone.
    UnusedTopics,
    /// Files of the commit log whose time is over.
    ExpiredFiles,
}

pub(super) async fn run(admin: &Admin, command: BrokerCommand) -> anyhow::Result<Shown> {
    match command {
        BrokerCommand::Info { broker } => {
            let address = address(admin, &broker).await?;
            let mut rows = Rows::of(&["name", "value"]);
            for (name, value) in admin.broker_info(&address).await? {
                rows.push([name.into(), value.into()]);
            }
            Ok(Shown::Rows(rows))
        }
        BrokerCommand::Config { broker, key } => {
            let config = admin.broker_config(&address(admin, &broker).await?).await?;
            Ok(Shown::Rows(config_rows(config, key)))
        }
        BrokerCommand::Set { broker, settings } => {
            let address = address(admin, &broker).await?;
            admin
                .set_broker_config(&address, &pairs(&settings)?)
                .await?;
            Ok(Shown::Done(format!("{broker} has {}", settings.join(", "))))
        }
        BrokerCommand::Producers { broker } => producers(admin, &broker).await,
        BrokerCommand::Replication { broker } => replication(admin, &broker).await,
        BrokerCommand::Stats { broker, name, key } => {
            let address = address(admin, &broker).await?;
            let found = admin
                .statistics(&address, &name, &key)
                .await?
                .unwrap_or_default();
            let mut rows = Rows::of(&["span", "sum", "per_s", "average"]);
            for (span, counted) in [
                ("minute", found.minute),
                ("hour", found.hour),
                ("day", found.day),
            ] {
                let (per_s, average) = (counted.per_second, counted.average);
                rows.push([
                    span.into(),
                    counted.sum.into(),
                    per_s.into(),
                    average.into(),
                ]);
            }
            Ok(Shown::Rows(rows))
        }
        BrokerCommand::Clean { broker, what, sure } => {
            sure.check(&format!("has {broker} delete files"))?;
            let address = address(admin, &broker).await?;
            match what {
                Rubbish::ExpiredQueues => admin.clean_expired_queues(&address).await?,
                Rubbish::UnusedTopics => admin.clean_unused_topics(&address).await?,
                Rubbish::ExpiredFiles => admin.delete_expired_files(&address).await?,
            }
            Ok(Shown::Done(format!("{broker} cleans up")))
        }
    }
}

/// A broker's address, which names have no colon in.
async fn address(admin: &Admin, broker: &str) -> anyhow::Result<String> {
    if broker.contains(':') {
        return Ok(broker.to_owned());
    }
    Ok(admin.broker_address(broker).await?)
}

/// A configuration, or the keys of it that contain a text.
pub(super) fn config_rows(
    config: impl IntoIterator<Item = (String, String)>,
    part: Option<String>,
) -> Rows {
    let part = part.unwrap_or_default().to_lowercase();
    let mut rows = Rows::of(&["key", "value"]);
    for (key, value) in config {
        if key.to_lowercase().contains(&part) {
            rows.push([key.into(), value.into()]);
        }
    }
    rows
}

/// Words `KEY=VALUE`, taken apart.
pub(super) fn pairs(settings: &[String]) -> anyhow::Result<Vec<BrokerSetting<'_>>> {
    let pairs = settings.iter().map(|setting| {
        let pair = setting.split_once('=');
        pair.with_context(|| format!("'{setting}' is not KEY=VALUE"))
    });
    pairs.collect()
}

async fn producers(admin: &Admin, broker: &str) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&[
        "group",
        "client_id",
        "address",
        "language",
        "version",
        "last_heartbeat_ms",
    ]);
    let address = address(admin, broker).await?;
    for (group, producers) in admin.producers_of_broker(&address).await? {
        for producer in producers {
            rows.push([
                group.as_str().into(),
                producer.client_id.into(),
                producer.remote_ip.into(),
                producer.language.name().into(),
                version(producer.version),
                producer.last_update_timestamp.into(),
            ]);
        }
    }
    Ok(Shown::Rows(rows))
}

async fn replication(admin: &Admin, broker: &str) -> anyhow::Result<Shown> {
    let found = admin.replication(&address(admin, broker).await?).await?;
    let mut rows = Rows::of(&["peer", "role", "offset", "behind_bytes", "bytes_per_s"]);
    if found.master {
        for slave in found.ha_connection_info {
            rows.push([
                slave.addr.into(),
                "slave".into(),
                slave.slave_ack_offset.into(),
                slave.diff.into(),
                slave.transferred_byte_in_second.into(),
            ]);
        }
    } else {
        let slave = found.ha_client_runtime_info;
        rows.push([
            slave.master_addr.into(),
            "master".into(),
            slave.max_offset.into(),
            (slave.master_flush_offset - slave.max_offset).max(0).into(),
            slave.transferred_byte_in_second.into(),
        ]);
    }
    Ok(Shown::Rows(rows))
}
