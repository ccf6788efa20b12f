//! What clients can do: Java programs that assert outcomes, with Apache's clients of both lines of versions. They must
//! pass on the Java broker as well, which is how they came to be: THRUSTMQ_CONFORMANCE=java runs them there.
//! THRUSTMQ_CASES, names with commas, runs only those.

use std::time::Duration;

use thrustmq_integration_tests::cluster::{Cluster, FAIR_SETTINGS};
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::toolchain::{self, JavaClient};

const TIMEOUT: Duration = Duration::from_secs(600);
const JUDGE_VARIABLE: &str = "THRUSTMQ_CONFORMANCE";

/// Cases that pass on the Java broker and not on ours yet, each with its reason.
const NOT_ON_OURS: &[&str] = &[];

#[test]
fn java_5_clients_on_ours() -> anyhow::Result<()> {
    on_ours(JavaClient::Five)
}

#[test]
fn java_4_clients_on_ours() -> anyhow::Result<()> {
    on_ours(JavaClient::Four)
}

#[test]
fn java_5_clients_on_java() -> anyhow::Result<()> {
    on_java(JavaClient::Five)
}

#[test]
fn java_4_clients_on_java() -> anyhow::Result<()> {
    on_java(JavaClient::Four)
}

fn on_ours(client: JavaClient) -> anyhow::Result<()> {
    if toolchain::java_with(client, 512).is_none() {
        return Ok(());
    }
    let cluster = Cluster::standalone(FAIR_SETTINGS)?;
    run(&cluster, client, &NOT_ON_OURS.join(","))?;
    cluster.stop(EXPECTED_WARNINGS)
}

/// Warnings that the cases mean to cause.
const EXPECTED_WARNINGS: &[&str] = &[
    // The cases of filters come to their groups with one subscription after the other.
    "members of one group subscribe differently",
    // A transaction that nobody ends.
    "half message that no producer ends is given up",
];

/// Only where it is asked for: it says nothing about our broker, and takes minutes.
fn on_java(client: JavaClient) -> anyhow::Result<()> {
    if !std::env::var(JUDGE_VARIABLE).is_ok_and(|value| value == "java") {
        return Ok(());
    }
    let Some(mut cluster) = Cluster::with_java_namesrv()? else {
        return Ok(());
    };
    cluster.set_broker_settings(FAIR_SETTINGS);
    cluster.add_java_broker("broker-a")?;
    run(&cluster, client, "")?;
    cluster.stop(&[])
}

fn run(cluster: &Cluster, client: JavaClient, without: &str) -> anyhow::Result<()> {
    let (directory, namesrv) = (cluster.directory(), cluster.namesrv());
    let cases = std::env::var("THRUSTMQ_CASES").unwrap_or_else(|_| "all".to_owned());
    let options = [
        ("namesrv", namesrv.as_str()),
        ("cases", cases.as_str()),
        ("without", without),
    ];
    let program = ("conformance", options.as_slice());
    let encoding = match client {
        JavaClient::Four => HeaderEncoding::RocketMq,
        JavaClient::Five => HeaderEncoding::Json,
    };
    if let Some(command) = peer::java_with(client, &directory, encoding, program) {
        let result = peer::run(command, &directory, TIMEOUT)?;
        eprintln!("{result}");
    }
    Ok(())
}
