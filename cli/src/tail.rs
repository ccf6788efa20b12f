//! `thrustmq tail`: shows the messages of a topic as they come. It pulls by itself: no group is left
//! behind, nothing is committed, and no consumer notices.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use thrustmq_client::{MessageQueue, PullConsumer, ReceivedMessage, Subscription};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::args::NameServerArguments;
use crate::moment::{self, Moment};
use crate::output;
use crate::shown_message::{Decode, Format, shown};
use crate::signals::StopSignals;

/// A group that every broker has for tools.
const GROUP: &str = "TOOLS_CONSUMER";
/// How long a broker may hold a pull.
const WAIT: Duration = Duration::from_secs(15);
/// Pulls that have not been shown.
const SHOWN_LATE_MAX: usize = 16;
/// Before a pull is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks for new queues.
const NEW_QUEUES: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    /// Topic.
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) name_servers: NameServerArguments,
    /// Where to begin: `now`, `first`, so long ago (30s, 5m, 2h, 1d, with or without a minus), or a time
    /// such as `2026-11-23 10:00`.
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_parser = moment::parse)]
    pub(crate) from: Moment,
    /// Only messages with one of these tags, with `||` between.
    #[arg(long, conflicts_with = "sql")]
    pub(crate) tags: Option<String>,
    /// Only messages whose properties fulfil this condition.
    #[arg(long, value_name = "CONDITION")]
    pub(crate) sql: Option<String>,
    /// Only messages with this key; may be repeated.
    #[arg(long = "key", visible_alias = "keys", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// How a message is shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// How its body is shown.
    #[arg(long, value_enum, default_value_t = Decode::Auto)]
    pub(crate) decode: Decode,
    /// Ends after so many messages; without it when interrupted.
    #[arg(long)]
    pub(crate) count: Option<u64>,
}

/// Follows a topic until there were enough messages, or the process is interrupted.
pub(crate) async fn tail(arguments: TailArguments) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    let consumer = PullConsumer::builder(GROUP)
        .name_servers(arguments.name_servers.addresses())
        .start()
        .await?;
    let (sender, mut pulls) = mpsc::channel(SHOWN_LATE_MAX);
    let mut followers = Followers {
        consumer: consumer.clone(),
        subscription: subscription(&arguments),
        sender,
        known: HashSet::new(),
        tasks: JoinSet::new(),
    };
    followers
        .follow_new(&arguments.topic, arguments.from)
        .await?;
    let mut looks = tokio::time::interval(NEW_QUEUES);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let mut count = 0_u64;
    while left > 0 {
        let pulled = tokio::select! {
            () = stop.received() => break,
            Some(pulled) = pulls.recv() => pulled,
            _ = looks.tick() => {
                // What fails now is tried again; a queue that is new now has nothing older.
                let _ = followers.follow_new(&arguments.topic, Moment::First).await;
                continue;
            }
        };
        for message in pulled
            .messages
            .iter()
            .filter(|message| arguments.wants(message))
        {
            if left == 0 {
                break;
            }
            output::print(&shown(
                message,
                &pulled.queue,
                arguments.format,
                arguments.decode,
            ));
            left -= 1;
            count += 1;
        }
    }
    followers.tasks.shutdown().await;
    consumer.shutdown().await;
    let plural = if count == 1 { "" } else { "s" };
    output::print_error(&format!("{count} message{plural} of {}", arguments.topic));
    Ok(())
}

fn subscription(arguments: &TailArguments) -> Subscription {
    match (&arguments.tags, &arguments.sql) {
        (_, Some(condition)) => Subscription::sql(condition),
        (Some(tags), None) => Subscription::tags(tags),
        (None, None) => Subscription::all(),
    }
}

impl TailArguments {
    fn wants(&self, message: &ReceivedMessage) -> bool {
        self.keys.is_empty() || message.keys().any(|key| self.keys.iter().any(|k| k == key))
    }
}

/// Messages of one queue.
struct Pulled {
    queue: MessageQueue,
    messages: Vec<ReceivedMessage>,
}

/// A task for each queue.
struct Followers {
    consumer: PullConsumer,
    subscription: Subscription,
    sender: mpsc::Sender<Pulled>,
    known: HashSet<MessageQueue>,
    tasks: JoinSet<()>,
}

impl Followers {
    /// Follows the queues that are not followed yet.
    async fn follow_new(&mut self, topic: &str, from: Moment) -> anyhow::Result<()> {
        for queue in self.consumer.queues(topic).await? {
            if self.known.contains(&queue) {
                continue;
            }
            let offset = offset(&self.consumer, &queue, from).await;
            let offset = offset.with_context(|| format!("find where to begin in {queue}"))?;
            self.known.insert(queue.clone());
            let follower = Follower {
                consumer: self.consumer.clone(),
                subscription: self.subscription.clone(),
                sender: self.sender.clone(),
                queue,
            };
            self.tasks.spawn(follower.follow(offset));
        }
        Ok(())
    }
}

async fn offset(
    consumer: &PullConsumer,
    queue: &MessageQueue,
    from: Moment,
) -> anyhow::Result<i64> {
    Ok(match from {
        Moment::Now => consumer.max_offset(queue).await?,
        Moment::First => consumer.min_offset(queue).await?,
        Moment::Ago(_) | Moment::At(_) => consumer.offset_at(queue, from.to_ms()).await?,
    })
}

struct Follower {
    consumer: PullConsumer,
    subscription: Subscription,
    sender: mpsc::Sender<Pulled>,
    queue: MessageQueue,
}

impl Follower {
    async fn follow(self, mut offset: i64) {
        let mut has_failed = false;
        loop {
            let queue = &self.queue;
            let pull = self.consumer.pull(queue, offset).wait(WAIT);
            match pull.subscription(self.subscription.clone()).await {
                Ok(pull) => {
                    has_failed = false;
                    offset = pull.next_offset;
                    let pulled = Pulled {
                        queue: self.queue.clone(),
                        messages: pull.messages,
                    };
                    if !pulled.messages.is_empty() && self.sender.send(pulled).await.is_err() {
                        return;
                    }
                }
                Err(cause) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        output::print_error(&format!("{queue}: {cause}; tries again"));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
