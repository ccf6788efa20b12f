//! `thrustmq admin`: looks after a cluster. Every command prints a table, or with `--json` one JSON
//! value for programs, whose names tell units. The names of `mqadmin`'s everyday commands are
//! understood too (`java_names`).

mod arguments;
mod broker;
mod dead_letter;
mod group;
pub(crate) mod java_names;
mod message;
mod name_server;
mod shown;
mod topic;

use std::collections::BTreeMap;

use serde_json::Value;
use thrustmq_client::Admin;

pub(crate) use arguments::{AdminArguments, NotSure};
use arguments::{AdminCommand, ClusterCommand};
use shown::{Rows, Shown, show};

/// Does one command.
pub(crate) async fn run(arguments: AdminArguments) -> anyhow::Result<()> {
    let admin = Admin::connect(arguments.name_servers.addresses()).await?;
    let done = command(&admin, arguments.command).await;
    admin.close().await;
    show(done?, arguments.json);
    Ok(())
}

async fn command(admin: &Admin, command: AdminCommand) -> anyhow::Result<Shown> {
    match command {
        AdminCommand::Cluster(ClusterCommand::List) => clusters(admin).await,
        AdminCommand::Topic(command) => topic::run(admin, command).await,
        AdminCommand::Group(command) => group::run(admin, command).await,
        AdminCommand::Broker(command) => broker::run(admin, command).await,
        AdminCommand::Message(command) => message::run(admin, command).await,
        AdminCommand::DeadLetter(command) => dead_letter::run(admin, command).await,
        AdminCommand::Namesrv(command) => name_server::run(admin, command).await,
    }
}

async fn clusters(admin: &Admin) -> anyhow::Result<Shown> {
    let clusters = admin.clusters().await?;
    let mut rows = Rows::of(&[
        "cluster",
        "broker",
        "id",
        "address",
        "version",
        "in_per_s",
        "out_per_s",
        "in_today",
        "out_today",
        "in_yesterday",
        "out_yesterday",
    ]);
    for (cluster, names) in &clusters.cluster_addr_table {
        let brokers = names
            .iter()
            .filter_map(|name| clusters.broker_addr_table.get(name));
        for broker in brokers {
            for (id, address) in &broker.broker_addrs {
                let info = admin.broker_info(address).await.unwrap_or_default();
                let fact = |name: &str| info.get(name).map_or("?", String::as_str);
                let rate = |name: &str| {
                    fact(name)
                        .split_whitespace()
                        .next()
                        .unwrap_or("?")
                        .to_owned()
                };
                rows.push([
                    cluster.as_str().into(),
                    broker.broker_name.as_str().into(),
                    (*id).into(),
                    address.as_str().into(),
                    fact("brokerVersionDesc").into(),
                    rate("putTps").into(),
                    rate("getTransferredTps").into(),
                    counted(&info, "Put", ["TodayNow", "TodayMorning"]),
                    counted(&info, "Get", ["TodayNow", "TodayMorning"]),
                    counted(&info, "Put", ["TodayMorning", "YesterdayMorning"]),
                    counted(&info, "Get", ["TodayMorning", "YesterdayMorning"]),
                ]);
            }
        }
    }
    Ok(Shown::Rows(rows))
}

/// Messages that a broker stored or gave between two times of which it notes its sums.
fn counted(info: &BTreeMap<String, String>, what: &str, [until, since]: [&str; 2]) -> Value {
    let sum = |time| -> Option<i64> { info.get(&format!("msg{what}Total{time}"))?.parse().ok() };
    match (sum(until), sum(since)) {
        (Some(until), Some(since)) => until.saturating_sub(since).into(),
        _ => Value::Null,
    }
}
