//! `thrustmq bench store recover`: a process of our own is killed while it appends, and its directory
//! opened here; then closed, and opened again.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context;
use thrustmq_store::Store;
use tokio::time::Instant;

use super::arguments::{Flush, RecoverArguments};
use super::filling::Messages;
use super::{Directory, open};
use crate::output;

/// What the filling process says when the log is long enough.
const FILLED: &str = "filled";

pub(super) fn run(arguments: &RecoverArguments) -> anyhow::Result<()> {
    if arguments.until_killed {
        return append_until_killed(arguments);
    }
    let directory = Directory::new(&arguments.fill.dir)?;
    fill_and_kill(arguments, &directory)?;
    let (size, queues) = (arguments.fill.size, arguments.fill.queues);
    output::print(&format!("recover {size} B, {queues} queues"));
    let store = timed_open("killed", &directory)?;
    let started = Instant::now();
    store.shutdown();
    drop(store);
    let seconds = started.elapsed().as_secs_f64();
    output::print(&format!("  {seconds:>8.3} s to close"));
    let store = timed_open("closed", &directory)?;
    store.shutdown();
    Ok(())
}

fn timed_open(after: &str, directory: &Directory) -> anyhow::Result<Store> {
    let started = Instant::now();
    let store = open(&directory.0, Flush::Async)?;
    let seconds = started.elapsed().as_secs_f64();
    let recovered = store.recovered();
    output::print(&format!(
        "  {seconds:>8.3} s to open what was {after}: the log ends at {}, {} bytes of it were read again",
        recovered.end, recovered.walked_bytes
    ));
    Ok(store)
}

fn fill_and_kill(arguments: &RecoverArguments, directory: &Directory) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("find our own program")?;
    let mut child = Command::new(program)
        .args(["bench", "store", "recover", "--until-killed", "--dir"])
        .arg(&directory.0)
        .args(["--bytes", &arguments.bytes.to_string()])
        .args(["--size", &arguments.fill.size.to_string()])
        .args(["--queues", &arguments.fill.queues.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .context("start the process that fills the directory")?;
    let stdout = child.stdout.take().context("read what it says")?;
    let said = BufReader::new(stdout).lines().next();
    child.kill().context("kill it")?;
    child.wait().context("wait for its end")?;
    anyhow::ensure!(
        matches!(said, Some(Ok(line)) if line == FILLED),
        "the process that fills the directory failed"
    );
    Ok(())
}

fn append_until_killed(arguments: &RecoverArguments) -> anyhow::Result<()> {
    let store = open(&arguments.fill.dir, Flush::Async)?;
    let mut messages = Messages::new(arguments.fill.size, arguments.fill.queues, 0);
    messages.fill(&store, arguments.bytes)?;
    output::print(FILLED);
    messages.fill(&store, u64::MAX)?;
    Ok(())
}
