//! Commands about topics.

use clap::Subcommand;
use serde_json::Value;
use thrustmq_client::{Admin, MessageQueue, NewTopic};
use thrustmq_proto_compat::message::names;

use super::arguments::{ClusterArguments, SureArguments};
use super::shown::{Rows, Shown, names_of, version};
use crate::moment::{self, Moment};

#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// Lists topics; RocketMQ's own only with `--all`.
    List {
        /// With RocketMQ's own, retries and dead letters.
        #[arg(long)]
        all: bool,
    },
    /// Creates a topic, or changes it.
    Create {
        topic: String,
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Queues on each broker.
        #[arg(short = 'q', long, default_value_t = 8)]
        queues: u16,
        /// Permission: 2 write, 4 read, 6 both.
        #[arg(short, long, default_value_t = 6)]
        permission: i32,
    },
    /// Deletes a topic with all its messages.
    Delete {
        topic: String,
        #[command(flatten)]
        cluster: ClusterArguments,
        /// From all clusters that have it.
        #[arg(long, conflicts_with = "cluster")]
        everywhere: bool,
        #[command(flatten)]
        sure: SureArguments,
    },
    /// Where a topic is: its brokers, their addresses and queues.
    Route { topic: String },
    /// What each queue of a topic holds.
    Stats { topic: String },
    /// The groups that consume a topic.
    Groups { topic: String },
    /// How each broker keeps a topic.
    Config { topic: String },
    /// Sets what may be done with a topic.
    Permission {
        topic: String,
        /// 2 write, 4 read, 6 both.
        #[arg(value_parser = clap::value_parser!(i32).range(0..=7))]
        permission: i32,
    },
    /// How much comes into a topic and goes out to its groups; without a topic all of them.
    Rates {
        topic: Option<String>,
        /// Only topics to which something came within a day.
        #[arg(long)]
        active: bool,
    },
    /// Where the messages of a time begin in each queue.
    Offsets {
        topic: String,
        /// The time: so long ago (30s, 5m, 2h, 1d), `2026-11-23 10:00`, or milliseconds since 1970.
        #[arg(long, allow_hyphen_values = true, value_parser = moment::parse)]
        at: Moment,
    },
    /// The producers of a group that send to a topic.
    Producers { topic: String, group: String },
}

pub(super) async fn run(admin: &Admin, command: TopicCommand) -> anyhow::Result<Shown> {
    match command {
        TopicCommand::List { all } => Ok(names_of("topic", topics(admin, all).await?)),
        TopicCommand::Create {
            topic,
            cluster,
            queues,
            permission,
        } => {
            let new = NewTopic::named(&topic)
                .queues(queues)
                .permission(permission);
            let brokers = admin.create_topic(&cluster.cluster, &new).await?;
            Ok(Shown::Done(format!("{topic} is on {}", brokers.join(", "))))
        }
        TopicCommand::Delete {
            topic,
            cluster,
            everywhere,
            sure,
        } => {
            sure.check(&format!("deletes {topic} with all its messages"))?;
            let clusters = if everywhere {
                admin.delete_topic_everywhere(&topic).await?
            } else {
                admin.delete_topic(&cluster.cluster, &topic).await?;
                vec![cluster.cluster]
            };
            let clusters = clusters.join(", ");
            Ok(Shown::Done(format!("{topic} is deleted from {clusters}")))
        }
        TopicCommand::Route { topic } => route(admin, &topic).await,
        TopicCommand::Stats { topic } => stats(admin, &topic).await,
        TopicCommand::Groups { topic } => {
            Ok(names_of("group", admin.groups_of_topic(&topic).await?))
        }
        TopicCommand::Config { topic } => config(admin, &topic).await,
        TopicCommand::Permission { topic, permission } => {
            admin.set_topic_permission(&topic, permission).await?;
            Ok(Shown::Done(format!("{topic} has permission {permission}")))
        }
        TopicCommand::Rates { topic, active } => rates(admin, topic, active).await,
        TopicCommand::Offsets { topic, at } => offsets(admin, &topic, at).await,
        TopicCommand::Producers { topic, group } => producers(admin, &topic, &group).await,
    }
}

/// Topics, without RocketMQ's own unless all are wanted.
async fn topics(admin: &Admin, all: bool) -> anyhow::Result<Vec<String>> {
    let is_own = |topic: &str| {
        names::is_system_topic(topic)
            || topic.starts_with(names::RETRY_PREFIX)
            || topic.starts_with(names::DEAD_LETTER_PREFIX)
            || topic.ends_with(names::REPLY_TOPIC_SUFFIX)
    };
    // Brokers and clusters have topics of their names.
    let clusters = admin.clusters().await?;
    let is_server = |topic: &String| {
        clusters.cluster_addr_table.contains_key(topic)
            || clusters.broker_addr_table.contains_key(topic)
    };
    let mut topics: Vec<_> = admin.topics().await?.into_iter().collect();
    topics.retain(|topic| all || !(is_own(topic) || is_server(topic)));
    Ok(topics)
}

async fn route(admin: &Admin, topic: &str) -> anyhow::Result<Shown> {
    let route = admin.route(topic).await?;
    let mut names: Vec<_> = route.brokers().keys().collect();
    names.sort();
    let mut rows = Rows::of(&["broker", "id", "address", "write_queues", "read_queues"]);
    for name in names {
        let of_broker = |queues: &[MessageQueue]| {
            let queues = queues.iter().filter(|queue| queue.broker_name == *name);
            Value::from(queues.count())
        };
        for (id, address) in route.brokers().get(name).into_iter().flatten() {
            rows.push([
                name.as_str().into(),
                (*id).into(),
                address.as_str().into(),
                of_broker(route.publish_queues()),
                of_broker(route.subscribe_queues()),
            ]);
        }
    }
    Ok(Shown::Rows(rows))
}

async fn stats(admin: &Admin, topic: &str) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&[
        "broker",
        "queue",
        "min",
        "max",
        "messages",
        "last_stored_ms",
    ]);
    for stats in admin.topic_stats(topic).await? {
        let offsets = stats.offsets;
        rows.push([
            stats.queue.broker_name.into(),
            stats.queue.queue_id.into(),
            offsets.min.into(),
            offsets.max.into(),
            (offsets.max - offsets.min).into(),
            stats.last_stored_ms.into(),
        ]);
    }
    Ok(Shown::Rows(rows))
}

async fn config(admin: &Admin, topic: &str) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&[
        "broker",
        "write_queues",
        "read_queues",
        "permission",
        "is_ordered",
        "attributes",
    ]);
    let route = admin.route(topic).await?;
    let mut names: Vec<_> = route.brokers().keys().collect();
    names.sort();
    for name in names {
        let address = admin.broker_address(name).await?;
        let config = admin.topic_config(&address, topic).await?;
        let attributes = config.attributes.iter();
        rows.push([
            name.as_str().into(),
            config.write_queue_nums.into(),
            config.read_queue_nums.into(),
            config.perm.into(),
            config.order.into(),
            attributes
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ]);
    }
    Ok(Shown::Rows(rows))
}

async fn rates(admin: &Admin, topic: Option<String>, active: bool) -> anyhow::Result<Shown> {
    let topics = match topic {
        Some(topic) => vec![topic],
        None => topics(admin, false).await?,
    };
    let mut rows = Rows::of(&[
        "topic",
        "group",
        "lag_messages",
        "in_per_s",
        "out_per_s",
        "in_per_day",
        "out_per_day",
    ]);
    for topic in topics {
        let rates = admin.topic_rates(&topic).await?;
        if active && rates.in_per_day == 0 {
            continue;
        }
        let incoming = (Value::from(rates.in_per_second), rates.in_per_day);
        let mut push = |group: Value, [lag, out, out_day]: [Value; 3]| {
            let topic = topic.as_str().into();
            rows.push([
                topic,
                group,
                lag,
                incoming.0.clone(),
                out,
                incoming.1.into(),
                out_day,
            ]);
        };
        if rates.groups.is_empty() {
            push(Value::Null, [Value::Null, Value::Null, Value::Null]);
        }
        for (group, out) in rates.groups {
            let lag = out.lag.into();
            push(
                group.into(),
                [lag, out.out_per_second.into(), out.out_per_day.into()],
            );
        }
    }
    Ok(Shown::Rows(rows))
}

async fn offsets(admin: &Admin, topic: &str, at: Moment) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&["broker", "queue", "offset"]);
    for (queue, offset) in admin.offsets_at(topic, at.to_ms()).await? {
        let (broker, number) = (queue.broker_name, queue.queue_id);
        rows.push([broker.into(), number.into(), offset.into()]);
    }
    Ok(Shown::Rows(rows))
}

async fn producers(admin: &Admin, topic: &str, group: &str) -> anyhow::Result<Shown> {
    let mut rows = Rows::of(&["client_id", "address", "language", "version"]);
    for producer in admin.producers_of_group(group, topic).await?.connection_set {
        rows.push([
            producer.client_id.into(),
            producer.client_addr.into(),
            producer.language.name().into(),
            version(producer.version),
        ]);
    }
    Ok(Shown::Rows(rows))
}
