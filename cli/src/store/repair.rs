//! `thrustmq store repair`.

use std::process::ExitCode;

use thrustmq_proto_compat::clock::Clock;
use thrustmq_store::offline::{Change, Repair, repair};

use super::arguments::RepairArguments;
use super::verify::{findings, progress_bar};
use super::{DAMAGED, text};
use crate::output;

/// More changes than that are only counted.
const SHOWN_MAX: usize = 100;

pub(super) fn run(arguments: &RepairArguments) -> anyhow::Result<ExitCode> {
    let options = arguments.directory.options();
    let clock = Clock::system();
    let bar = progress_bar(&options)?;
    let write = arguments.write.then_some(&clock);
    let repair = repair(&options, write, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let repair = repair?;
    output::print(&as_text(&repair).join("\n"));
    let is_left_to_do = !repair.changes.is_empty() && repair.copy.is_none();
    Ok(if is_left_to_do {
        ExitCode::from(DAMAGED)
    } else {
        ExitCode::SUCCESS
    })
}

fn as_text(repair: &Repair) -> Vec<String> {
    if repair.changes.is_empty() {
        return vec!["nothing to repair".to_owned()];
    }
    let mut lines = vec!["found:".to_owned()];
    lines.extend(indented(findings(&repair.verification.findings)));
    lines.push("repair:".to_owned());
    let shown = repair.changes.iter().take(SHOWN_MAX);
    lines.extend(indented(shown.map(Change::to_string)));
    let hidden = repair.changes.len().saturating_sub(SHOWN_MAX);
    if hidden > 0 {
        lines.push(format!("  and {hidden} more changes"));
    }
    lines.extend(lost(repair));
    lines.push(match &repair.copy {
        Some(copy) => format!("done; what was changed is kept in {}", copy.display()),
        None => "nothing was changed: with --write it is done".to_owned(),
    });
    lines
}

fn lost(repair: &Repair) -> Vec<String> {
    let messages: u64 = repair.lost.iter().map(|lost| lost.messages).sum();
    let bytes = text::bytes(repair.lost_bytes);
    let mut lines = vec![format!(
        "lost: {bytes} within the log, and {messages} messages that queues know of"
    )];
    let shown = repair.lost.iter().take(SHOWN_MAX).map(|lost| {
        let (topic, queue, messages) = (&lost.topic, lost.queue_id, lost.messages);
        let (first, last) = (lost.first, lost.last);
        format!("{messages} of {topic} queue {queue}, from number {first} to {last}")
    });
    lines.extend(indented(shown));
    lines
}

fn indented(lines: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(|line| format!("  {line}"))
}
