//! `thrustmq store verify`.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use thrustmq_store::offline::{DirectoryOptions, Findings, Verification, bytes_to_verify, verify};

use super::arguments::DirectoryArguments;
use super::{DAMAGED, text};
use crate::output;

pub(super) fn run(arguments: &DirectoryArguments) -> anyhow::Result<ExitCode> {
    let options = arguments.options();
    let bar = progress_bar(&options)?;
    let verification = verify(&options, &|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let verification = verification?;
    output::print(&as_text(&verification).join("\n"));
    Ok(if verification.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DAMAGED)
    })
}

/// A bar on stderr; on anything but a terminal indicatif draws none.
pub(super) fn progress_bar(options: &DirectoryOptions) -> anyhow::Result<ProgressBar> {
    let style = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
    let bar = ProgressBar::new(bytes_to_verify(options)?);
    bar.set_style(ProgressStyle::with_template(style)?);
    Ok(bar)
}

fn as_text(verification: &Verification) -> Vec<String> {
    let mut lines = findings(&verification.findings);
    let Verification {
        log_start,
        log_end,
        log_files,
        records,
        queues,
        queue_entries,
        index_entries,
        ..
    } = verification;
    lines.extend(
        verification
            .notes
            .iter()
            .map(|note| format!("note: {note}")),
    );
    let bytes = u64::try_from(log_end - log_start).unwrap_or(0);
    lines.push(format!(
        "{records} records in {log_files} log files ({}), {queue_entries} entries in {queues} queues, {index_entries} index entries",
        text::bytes(bytes)
    ));
    lines.push(if verification.findings.is_empty() {
        "all sound".to_owned()
    } else {
        "damaged: `thrustmq store repair` tells what can be saved".to_owned()
    });
    lines
}

/// A line each, then how many there are of each kind.
pub(super) fn findings(findings: &Findings) -> Vec<String> {
    let line = |finding: &thrustmq_store::offline::Finding| {
        let (path, offset) = (finding.path.display(), finding.offset);
        format!("{path} at {offset}: {}", finding.text)
    };
    let mut lines: Vec<String> = findings.first.iter().map(line).collect();
    let all: u64 = findings.counts.values().sum();
    if all > lines.len() as u64 {
        lines.push(format!("and {} more", all - lines.len() as u64));
    }
    for (kind, count) in &findings.counts {
        lines.push(format!("{count} {}", kind.words()));
    }
    lines
}
