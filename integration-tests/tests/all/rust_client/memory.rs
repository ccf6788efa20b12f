//! What our client holds while messages pass through it: a program that sends, and one that receives, for as many
//! messages as a debug build manages in some seconds.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::toolchain;
use thrustmq_integration_tests::wait::wait_for;

const TOPIC: &str = "RustMemory";
const PATIENCE: Duration = Duration::from_secs(120);
/// From the first look to the second.
const BETWEEN: Duration = Duration::from_secs(6);
/// Buffers that are not warm at the first look, on a slow machine.
const GROWTH_BYTES_MAX: u64 = 8_000_000;
const MESSAGES_MIN: u64 = 10_000;

pub(super) fn run(namesrv: &str) -> anyhow::Result<()> {
    // The topic comes with its first message.
    let first = Command::new(toolchain::thrustmq())
        .args(["produce", TOPIC, "first", "--namesrv", namesrv])
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(first.success(), "{first}");
    let loads = ["send", "receive"].map(|kind| start(kind, namesrv));
    let loads = loads.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    thread::sleep(BETWEEN);
    let before: Vec<_> = loads.iter().map(anonymous_bytes).collect();
    thread::sleep(BETWEEN);
    for (load, before) in loads.into_iter().zip(before) {
        let (before, after) = (before?, anonymous_bytes(&load)?);
        let grown = after.saturating_sub(before);
        anyhow::ensure!(grown < GROWTH_BYTES_MAX, "from {before} to {after} bytes");
        let messages = messages(load)?;
        anyhow::ensure!(messages > MESSAGES_MIN, "only {messages} messages");
        eprintln!("{messages} messages: from {before} to {after} bytes");
    }
    Ok(())
}

fn start(kind: &str, namesrv: &str) -> anyhow::Result<Child> {
    let child = Command::new(toolchain::thrustmq())
        .args([
            "bench",
            "client",
            kind,
            "--topic",
            TOPIC,
            "--namesrv",
            namesrv,
        ])
        .args([
            "--in-flight",
            "64",
            "--warm-up",
            "1",
            "--seconds",
            "14",
            "--json",
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// Memory that no file is behind.
fn anonymous_bytes(load: &Child) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", load.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context(status.clone())?.parse::<u64>()? * 1_024)
}

/// How many there were, in the end.
fn messages(mut load: Child) -> anyhow::Result<u64> {
    wait_for("the end of a load", PATIENCE, || Ok(load.try_wait()?))?;
    let output = load.wait_with_output()?;
    let result: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    anyhow::ensure!(result["failures"] == 0, "{result}");
    result["messages"]
        .as_u64()
        .with_context(|| result.to_string())
}
