//! Commands about name servers.

use clap::Subcommand;
use thrustmq_client::{Admin, PermissionChange};

use super::arguments::SureArguments;
use super::broker::{config_rows, pairs};
use super::shown::{Rows, Shown};

#[derive(Debug, Subcommand)]
pub(super) enum NameServerCommand {
    /// The configuration of the first name server, or the keys of it that contain a text.
    Config {
        /// Part of the keys.
        key: Option<String>,
    },
    /// Changes keys of the configuration of all name servers.
    Set {
        /// KEY=VALUE.
        #[arg(required = true)]
        settings: Vec<String>,
    },
    /// The values of a namespace that name servers keep.
    Values { namespace: String },
    /// Has all name servers keep a value.
    Put {
        namespace: String,
        key: String,
        value: String,
    },
    /// Has all name servers forget a value.
    Remove {
        namespace: String,
        key: String,
        #[command(flatten)]
        sure: SureArguments,
    },
    /// Sends no producers to a broker any more, so that it can be emptied and stopped.
    Wipe {
        /// The broker's name.
        broker: String,
        #[command(flatten)]
        sure: SureArguments,
    },
    /// Sends producers to a broker again.
    Unwipe {
        /// The broker's name.
        broker: String,
    },
}

pub(super) async fn run(admin: &Admin, command: NameServerCommand) -> anyhow::Result<Shown> {
    match command {
        NameServerCommand::Config { key } => {
            let servers = admin.name_servers();
            let first = servers.first().map_or("", String::as_str);
            let config = admin.name_server_config(first).await?;
            Ok(Shown::Rows(config_rows(config, key)))
        }
        NameServerCommand::Set { settings } => {
            admin.set_name_server_config(&pairs(&settings)?).await?;
            let servers = admin.name_servers().join(", ");
            Ok(Shown::Done(format!(
                "{servers} have {}",
                settings.join(", ")
            )))
        }
        NameServerCommand::Values { namespace } => {
            let mut rows = Rows::of(&["key", "value"]);
            for (key, value) in admin.values(&namespace).await? {
                rows.push([key.into(), value.into()]);
            }
            Ok(Shown::Rows(rows))
        }
        NameServerCommand::Put {
            namespace,
            key,
            value,
        } => {
            admin.put_value(&namespace, &key, &value).await?;
            Ok(Shown::Done(format!("{key} of {namespace} is {value}")))
        }
        NameServerCommand::Remove {
            namespace,
            key,
            sure,
        } => {
            sure.check(&format!("removes {key} of {namespace}"))?;
            admin.delete_value(&namespace, &key).await?;
            Ok(Shown::Done(format!("{key} of {namespace} is removed")))
        }
        NameServerCommand::Wipe { broker, sure } => {
            sure.check(&format!("keeps producers away from {broker}"))?;
            Ok(changes(admin.wipe_write_permission(&broker).await?))
        }
        NameServerCommand::Unwipe { broker } => {
            Ok(changes(admin.add_write_permission(&broker).await?))
        }
    }
}

fn changes(changes: Vec<PermissionChange>) -> Shown {
    let mut rows = Rows::of(&["name_server", "changed_topics"]);
    for change in changes {
        rows.push([change.address.into(), change.topics.into()]);
    }
    Shown::Rows(rows)
}
