//! Nothing that was acknowledged is lost: neither when consumers come and go, nor when brokers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::toolchain;

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
    let result = peer::run(program, &directory, Duration::from_secs(240))?;
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
    let before = state(&mut commands, &mut printed)?;
    // The producer asks for the route again after 30 s at the latest.
    thread::sleep(Duration::from_secs(32));
    let after = state(&mut commands, &mut printed)?;
    anyhow::ensure!(
        before != after && after.contains("broker-b"),
        "{before}, then {after}"
    );
    drop(commands);
    let mut rest = String::new();
    printed.read_to_string(&mut rest)?;
    let result = peer::result_line(&rest, child.wait()?.success())?;
    eprintln!("{result}");
    cluster.stop(&[])
}

fn state(commands: &mut impl Write, printed: &mut impl BufRead) -> anyhow::Result<String> {
    writeln!(commands)?;
    commands.flush()?;
    wait_for_line(printed, "state")
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
