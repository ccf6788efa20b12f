//! Commands about dead letters.

use clap::Subcommand;
use thrustmq_client::{Admin, Redrive, RedriveProgress};

use super::arguments::{SpanArguments, SureArguments};
use super::message::found_rows;
use super::shown::{Rows, Shown};
use crate::output;
use crate::shown_message::Decode;

/// Between two lines that tell how far it is.
const MESSAGES_A_LINE: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetterCommand {
    /// The messages that a group gave up, oldest first.
    List {
        group: String,
        #[command(flatten)]
        span: SpanArguments,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// How bodies are shown.
        #[arg(long, value_enum, default_value_t = Decode::Auto)]
        decode: Decode,
    },
    /// Sends dead letters back to the topics where they came from, those that were not sent back before.
    /// No message is lost; if it breaks off, start it again: up to 32 may then come twice.
    Redrive {
        group: String,
        #[command(flatten)]
        span: SpanArguments,
        /// At most so many.
        #[arg(long)]
        limit: Option<u64>,
        /// Those too that were sent back before.
        #[arg(long)]
        again: bool,
        /// To the group's retry topic, so that no other group gets them.
        #[arg(long)]
        only_to_group: bool,
        /// Only counts.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        sure: SureArguments,
    },
}

pub(super) async fn run(admin: &Admin, command: DeadLetterCommand) -> anyhow::Result<Shown> {
    match command {
        DeadLetterCommand::List {
            group,
            span,
            limit,
            decode,
        } => {
            let walk = admin.dead_letters(&group, span.range()).await?;
            Ok(Shown::Rows(found_rows(walk, limit, decode).await?))
        }
        DeadLetterCommand::Redrive {
            group,
            span,
            limit,
            again,
            only_to_group,
            dry_run,
            sure,
        } => {
            if !dry_run {
                sure.check(&format!(
                    "sends the dead letters of {group} again; --dry-run counts them"
                ))?;
            }
            let redrive = Redrive::of(group)
                .between(span.range())
                .messages_max(limit.unwrap_or(u64::MAX))
                .again(again)
                .only_to_group(only_to_group)
                .dry_run(dry_run);
            let mut told = 0;
            let done = admin.redrive(&redrive, |now| tell(now, &mut told)).await?;
            Ok(Shown::Rows(rows(done)))
        }
    }
}

fn tell(now: &RedriveProgress, told: &mut u64) {
    if now.messages / MESSAGES_A_LINE > *told / MESSAGES_A_LINE {
        *told = now.messages;
        output::print_error(&format!("{told} messages so far"));
    }
}

fn rows(done: RedriveProgress) -> Rows {
    let mut rows = Rows::of(&["topic", "messages"]);
    for (topic, messages) in done.by_topic {
        rows.push([topic.into(), messages.into()]);
    }
    if done.unreadable > 0 {
        output::print_error(&format!("{} dead letters are damaged", done.unreadable));
    }
    rows
}
