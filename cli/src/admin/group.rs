//! Commands about consumer groups.

use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use thrustmq_client::{Admin, MessageRequestMode, NewGroup};
use thrustmq_proto_compat::message::names;

use super::arguments::{ClusterArguments, SureArguments};
use super::shown::{Rows, Shown, names_of, version};
use crate::moment::{self, Moment};

/// As brokers are told that a group goes on at the end.
const END: i64 = -1;

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// Lists groups; RocketMQ's own only with `--all`.
    List {
        #[command(flatten)]
        cluster: ClusterArguments,
        /// With RocketMQ's own.
        #[arg(long)]
        all: bool,
    },
    /// How far a group is behind, queue by queue; without a group how far all are.
    Lag {
        group: Option<String>,
        /// Only in this topic.
        #[arg(short, long, requires = "group")]
        topic: Option<String>,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Who is connected as a member of a group.
    Members { group: String },
    /// What the members of a group, or one of them, tell of themselves, queue by queue.
    Info {
        group: String,
        /// Client id of the member.
        client: Option<String>,
        /// Prints its stack instead; only Java's clients have one to show.
        #[arg(long, requires = "client")]
        stack: bool,
    },
    /// How each broker treats a group.
    Config {
        group: String,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// The topics of which a group has offsets.
    Topics { group: String },
    #[command(flatten)]
    Change(GroupChange),
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupChange {
    /// Creates a group, or changes it.
    Create {
        group: String,
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Deliveries after the first, before a message goes to the dead letters.
        #[arg(long, default_value_t = 16)]
        retries_max: u16,
        /// Keeps its members from consuming.
        #[arg(long)]
        disabled: bool,
    },
    /// Deletes a group with its offsets.
    Delete {
        group: String,
        #[command(flatten)]
        cluster: ClusterArguments,
        #[command(flatten)]
        sure: SureArguments,
    },
    /// Lets a group go on elsewhere in a topic.
    Reset {
        group: String,
        topic: String,
        /// `first`, `now` (skips what is there), so long ago (30s, 5m, 2h, 1d), a time such as
        /// `2026-11-23 10:00`, or milliseconds since 1970.
        #[arg(long, allow_hyphen_values = true, value_parser = moment::parse)]
        to: Moment,
        #[command(flatten)]
        sure: SureArguments,
    },
    /// How push consumers of a group that let brokers divide the queues get the messages of a topic.
    Mode {
        group: String,
        topic: String,
        #[arg(value_enum, ignore_case = true)]
        mode: Mode,
        /// Members that share a queue which is popped; 0: all.
        #[arg(long, default_value_t = 0)]
        shared_by: u16,
    },
    /// Lets another group go on where a group is. Stop the members of the other first.
    Clone {
        group: String,
        to_group: String,
        /// Only in this topic.
        #[arg(short, long)]
        topic: Option<String>,
        #[command(flatten)]
        sure: SureArguments,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Mode {
    Pull,
    Pop,
}

pub(super) async fn run(admin: &Admin, command: GroupCommand) -> anyhow::Result<Shown> {
    match command {
        GroupCommand::List { cluster, all } => Ok(names_of(
            "group",
            groups(admin, &cluster.cluster, all).await?,
        )),
        GroupCommand::Lag {
            group,
            topic,
            cluster,
        } => match group {
            Some(group) => lag(admin, &group, topic).await,
            None => all_lags(admin, &cluster.cluster).await,
        },
        GroupCommand::Members { group } => members(admin, &group).await,
        GroupCommand::Info {
            group,
            client,
            stack,
        } => match client {
            Some(client) if stack => stack_of(admin, &group, &client).await,
            client => info(admin, &group, client).await,
        },
        GroupCommand::Config { group, cluster } => config(admin, &group, &cluster.cluster).await,
        GroupCommand::Topics { group } => {
            Ok(names_of("topic", admin.topics_of_group(&group).await?))
        }
        GroupCommand::Change(change) => make(admin, change).await,
    }
}

async fn make(admin: &Admin, change: GroupChange) -> anyhow::Result<Shown> {
    match change {
        GroupChange::Create {
            group,
            cluster,
            retries_max,
            disabled,
        } => {
            let new = NewGroup::named(&group).retries_max(retries_max);
            create(admin, &group, &new.enabled(!disabled), &cluster.cluster).await
        }
        GroupChange::Delete {
            group,
            cluster,
            sure,
        } => {
            sure.check(&format!("deletes {group} with its offsets"))?;
            admin.delete_group(&cluster.cluster, &group).await?;
            Ok(Shown::Done(format!("{group} is deleted")))
        }
        GroupChange::Reset {
            group,
            topic,
            to,
            sure,
        } => {
            sure.check(&format!("moves {group} within {topic}"))?;
            reset(admin, &group, &topic, to).await
        }
        GroupChange::Mode {
            group,
            topic,
            mode,
            shared_by,
        } => {
            let (mode, name) = match mode {
                Mode::Pull => (MessageRequestMode::Pull, "pulls"),
                Mode::Pop => (MessageRequestMode::Pop, "pops"),
            };
            let set = admin.set_request_mode(&group, &topic, mode, shared_by);
            set.await?;
            Ok(Shown::Done(format!("{group} {name} {topic}")))
        }
        GroupChange::Clone {
            group,
            to_group,
            topic,
            sure,
        } => {
            sure.check(&format!("lets {to_group} go on where {group} is"))?;
            clone(admin, &group, &to_group, topic).await
        }
    }
}

async fn create(
    admin: &Admin,
    group: &str,
    new: &NewGroup,
    cluster: &str,
) -> anyhow::Result<Shown> {
    let brokers = admin.create_group(cluster, new).await?;
    Ok(Shown::Done(format!("{group} is on {}", brokers.join(", "))))
}

async fn clone(
    admin: &Admin,
    group: &str,
    to_group: &str,
    topic: Option<String>,
) -> anyhow::Result<Shown> {
    let topic = topic.as_deref();
    admin.clone_offsets(group, to_group, topic).await?;
    Ok(Shown::Done(format!("{to_group} goes on where {group} is")))
}

async fn stack_of(admin: &Admin, group: &str, client: &str) -> anyhow::Result<Shown> {
    let info = admin.consumer_info(group, client, true).await?;
    let stack = info.jstack.filter(|stack| !stack.is_empty());
    let stack = stack.unwrap_or_else(|| format!("{client} shows no stack"));
    Ok(Shown::Done(stack))
}

async fn groups(admin: &Admin, cluster: &str, all: bool) -> anyhow::Result<Vec<String>> {
    let is_own =
        |group: &str| names::is_system_group(group) || names::BROKER_GROUPS.contains(&group);
    let groups = admin.groups(cluster).await?.into_iter();
    Ok(groups.filter(|group| all || !is_own(group)).collect())
}

async fn lag(admin: &Admin, group: &str, topic: Option<String>) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&[
        "topic",
        "broker",
        "queue",
        "end",
        "committed",
        "lag_messages",
        "last_stored_ms",
    ]);
    let lags = match topic {
        Some(topic) => admin.lag_in(group, &topic).await?,
        None => admin.lag(group).await?,
    };
    for lag in lags {
        let messages = lag.messages();
        rows.push([
            lag.queue.topic.into(),
            lag.queue.broker_name.into(),
            lag.queue.queue_id.into(),
            lag.end.into(),
            lag.committed.into(),
            messages.into(),
            lag.last_stored_ms.into(),
        ]);
    }
    Ok(Shown::Rows(rows))
}

async fn all_lags(admin: &Admin, cluster: &str) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&["group", "members", "lag_messages"]);
    for group in groups(admin, cluster, false).await? {
        let lags = admin.lag(&group).await?;
        let members = admin.group_members(&group).await?;
        let lag: i64 = lags.iter().map(thrustmq_client::QueueLag::messages).sum();
        let members = members.map_or(0, |members| members.connection_set.len());
        rows.push([group.into(), members.into(), lag.into()]);
    }
    Ok(Shown::Rows(rows))
}

async fn members(admin: &Admin, group: &str) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&[
        "client_id",
        "address",
        "language",
        "version",
        "subscriptions",
    ]);
    let Some(members) = admin.group_members(group).await? else {
        return Ok(Shown::Rows(rows));
    };
    let subscriptions = members.subscription_table.values();
    let subscriptions: Value = subscriptions
        .filter(|data| !names::is_retry_topic(&data.topic))
        .map(|data| format!("{}: {}", data.topic, data.sub_string))
        .collect();
    for member in members.connection_set {
        rows.push([
            member.client_id.into(),
            member.client_addr.into(),
            member.language.name().into(),
            version(member.version),
            subscriptions.clone(),
        ]);
    }
    Ok(Shown::Rows(rows))
}

async fn info(admin: &Admin, group: &str, client: Option<String>) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&[
        "client_id",
        "topic",
        "broker",
        "queue",
        "committed",
        "waiting_messages",
        "waiting_mib",
        "is_locked",
        "last_pulled_ms",
        "last_consumed_ms",
    ]);
    let clients = match client {
        Some(client) => vec![client],
        None => {
            let members = admin.group_members(group).await?;
            let members = members
                .into_iter()
                .flat_map(|members| members.connection_set);
            members.map(|member| member.client_id).collect()
        }
    };
    for client in clients {
        let info = admin.consumer_info(group, &client, false).await?;
        for (queue, state) in info.mq_table {
            rows.push([
                client.as_str().into(),
                queue.topic.into(),
                queue.broker_name.into(),
                queue.queue_id.into(),
                state.commit_offset.into(),
                state.cached_msg_count.into(),
                state.cached_msg_size_in_mib.into(),
                state.locked.into(),
                state.last_pull_timestamp.into(),
                state.last_consume_timestamp.into(),
            ]);
        }
    }
    Ok(Shown::Rows(rows))
}

async fn config(admin: &Admin, group: &str, cluster: &str) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&[
        "broker",
        "is_enabled",
        "retries_max",
        "retry_queues",
        "is_ordered",
        "may_broadcast",
        "consume_timeout_minutes",
    ]);
    let clusters = admin.clusters().await?.cluster_addr_table;
    for name in clusters.get(cluster).into_iter().flatten() {
        let address = admin.broker_address(name).await?;
        let config = admin.group_config(&address, group).await?;
        rows.push([
            name.as_str().into(),
            config.consume_enable.into(),
            config.retry_max_times.into(),
            config.retry_queue_nums.into(),
            config.consume_message_orderly.into(),
            config.consume_broadcast_enable.into(),
            config.consume_timeout_minute.into(),
        ]);
    }
    Ok(Shown::Rows(rows))
}

async fn reset(admin: &Admin, group: &str, topic: &str, to: Moment) -> anyhow::Result<Shown> {
    let timestamp_ms = match to {
        Moment::Now => END,
        Moment::First | Moment::Ago(_) | Moment::At(_) => to.to_ms(),
    };
    let mut rows = Rows::of(&["broker", "queue", "goes_on_at"]);
    for (queue, offset) in admin.reset_offsets(group, topic, timestamp_ms).await? {
        rows.push([
            queue.broker_name.into(),
            queue.queue_id.into(),
            offset.into(),
        ]);
    }
    Ok(Shown::Rows(rows))
}
