//! Nothing that was acknowledged is lost: neither when consumers come and go, nor when brokers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::toolchain;
use thrustmq_integration_tests::wait::wait_for;

#[test]
fn nothing_is_lost_while_a_second_consumer_joins_and_leaves() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let cluster = Cluster::standalone(&[])?;
    let (directory, namesrv) = (cluster.directory(), cluster.namesrv());
    let options = [
        ("namesrv", namesrv.as_str()),
        ("topic", "Rebalance"),
        ("count", "100000"),
    ];
    let program = peer::java(&directory, HeaderEncoding::Json, "rebalance", &options)
        .context("Java was there before")?;
    let result = peer::run(program, &directory, Duration::from_secs(600))?;
    eprintln!("{result}");
    cluster.stop(&[])
}

#[test]
fn nothing_acknowledged_is_lost_when_a_broker_restarts_under_load() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let mut cluster = Cluster::with_our_namesrv()?;
    cluster.add_our_broker("broker-a")?;
    cluster.add_our_broker("broker-b")?;
    let (directory, namesrv) = (cluster.directory(), cluster.namesrv());
    let options = [("namesrv", namesrv.as_str()), ("topic", "Restart")];
    let mut program = peer::java(&directory, HeaderEncoding::Json, "restart-load", &options)
        .context("Java was there before")?;
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut commands = child.stdin.take().context("a piped stdin")?;
    let mut printed = BufReader::new(child.stdout.take().context("a piped stdout")?);

    wait_for_line(&mut printed, "sending")?;
    thread::sleep(Duration::from_secs(3));
    cluster.terminate("broker-b", &[])?;
    thread::sleep(Duration::from_secs(3));
    cluster.restart_our_broker(1, "broker-b")?;
    let before = sent_to_b(&mut commands, &mut printed)?;
    // The producer asks for the route again after 30 s at the latest.
    wait_for("sends to broker-b", Duration::from_secs(120), || {
        thread::sleep(Duration::from_millis(500));
        let after = sent_to_b(&mut commands, &mut printed)?;
        Ok((after > before).then_some(()))
    })?;
    drop(commands);
    let mut rest = String::new();
    printed.read_to_string(&mut rest)?;
    let result = peer::result_line(&rest, child.wait()?.success())?;
    eprintln!("{result}");
    cluster.stop(&[])
}

/// How many messages the broker that was restarted has acknowledged; the load prints `state {broker-a=1, broker-b=2}`.
fn sent_to_b(commands: &mut impl Write, printed: &mut impl BufRead) -> anyhow::Result<u64> {
    writeln!(commands)?;
    commands.flush()?;
    let line = wait_for_line(printed, "state")?;
    let (_, rest) = line.split_once("broker-b=").with_context(|| line.clone())?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    Ok(digits.context("a number")?.parse()?)
}

/// Reads on to the line that begins with `start`: the Java logger talks in between.
fn wait_for_line(printed: &mut impl BufRead, start: &str) -> anyhow::Result<String> {
    loop {
        let mut line = String::new();
        let read = printed.read_line(&mut line)?;
        anyhow::ensure!(read > 0, "the peer ended before it printed {start:?}");
        if line.starts_with("failed") {
            anyhow::bail!(line);
        }
        if line.starts_with(start) {
            return Ok(line);
        }
    }
}
