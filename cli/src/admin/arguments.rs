//! What can be asked of `thrustmq admin`.

use std::fmt;

use clap::{Args, Subcommand};
use thrustmq_client::TimeRange;

use super::broker::BrokerCommand;
use super::dead_letter::DeadLetterCommand;
use super::group::GroupCommand;
use super::message::MessageCommand;
use super::name_server::NameServerCommand;
use super::topic::TopicCommand;
use crate::args::NameServerArguments;
use crate::moment::{self, Moment};

#[derive(Debug, Args)]
pub(crate) struct AdminArguments {
    #[command(subcommand)]
    pub(super) command: AdminCommand,
    #[command(flatten)]
    pub(super) name_servers: NameServerArguments,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Clusters and their brokers.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Topics.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Consumer groups.
    #[command(subcommand)]
    Group(GroupCommand),
    /// One broker.
    #[command(subcommand)]
    Broker(BrokerCommand),
    /// Messages.
    #[command(subcommand)]
    Message(MessageCommand),
    /// Messages that a group gave up.
    #[command(subcommand, visible_alias = "dlq")]
    DeadLetter(DeadLetterCommand),
    /// Name servers.
    #[command(subcommand)]
    Namesrv(NameServerCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Lists all brokers of all clusters.
    List,
}

#[derive(Debug, Args)]
pub(super) struct ClusterArguments {
    /// Cluster.
    #[arg(short, long, default_value = "DefaultCluster")]
    pub(super) cluster: String,
}

#[derive(Debug, Args)]
pub(super) struct SureArguments {
    /// Yes, do it.
    #[arg(short, long)]
    pub(super) yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct SpanArguments {
    /// Stored then or later: `first`, so long ago (30s, 5m, 2h, 1d), a time such as `2026-11-23 10:00`, or
    /// milliseconds since 1970.
    #[arg(
        long,
        default_value = "first",
        allow_hyphen_values = true,
        value_parser = moment::parse
    )]
    since: Moment,
    /// Stored then or before.
    #[arg(long, allow_hyphen_values = true, value_parser = moment::parse)]
    until: Option<Moment>,
}

impl SpanArguments {
    pub(super) fn range(&self) -> TimeRange {
        let range = TimeRange::since(self.since.to_ms());
        match self.until {
            Some(until) => range.until(until.to_ms()),
            None => range,
        }
    }
}

/// What is dangerous was not confirmed; what it does.
#[derive(Debug)]
pub(crate) struct NotSure(String);

impl fmt::Display for NotSure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this {}: say --yes to do it", self.0)
    }
}

impl std::error::Error for NotSure {}

impl SureArguments {
    /// Nothing is asked for: a program that waits for an answer would hang.
    pub(super) fn check(&self, what: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        Err(NotSure(what.to_owned()).into())
    }
}
