//! All that the Go client can do, case by case: the same program passes on Java's broker, which is what makes it a
//! measure. THRUSTMQ_GO_CASES, names with commas, runs only those.

use std::env;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::{peer, toolchain};

/// Some cases wait for clocks of the client's: 30 s for routes, 30 s for a suspended queue.
const TIMEOUT: Duration = Duration::from_secs(400);
/// What ours is told: features on, transactions looked at each few seconds, and no send refused because this machine is
/// slow, since the Go client does not try again.
const SETTINGS: &[&str] = &[
    "traceTopicEnable=true",
    "enableLmq=true",
    "enableMultiDispatch=true",
    "waitTimeMillsInSendQueue=10000",
    "osPageCacheBusyTimeOutMills=10000",
    "transactionCheckInterval=3000",
    "transactionTimeOut=3000",
];
/// What Java is told: the same, and small files.
const JAVA_SETTINGS: &[&str] = &[
    "enablePropertyFilter=true",
    "traceTopicEnable=true",
    "timerWheelEnable=true",
    "enableLmq=true",
    "enableMultiDispatch=true",
    "waitTimeMillsInSendQueue=10000",
    "osPageCacheBusyTimeOutMills=10000",
    "transactionCheckInterval=3000",
    "transactionTimeOut=3000",
    "mappedFileSizeCommitLog=67108864",
    "mappedFileSizeConsumeQueue=600000",
    "maxHashSlotNum=50000",
    "maxIndexNum=200000",
];
/// Warnings that the cases mean to cause.
const EXPECTED_WARNINGS: &[&str] = &["members of one group subscribe differently"];

#[test]
fn go_clients_on_ours() -> anyhow::Result<()> {
    if toolchain::go().is_none() {
        return Ok(());
    }
    let cluster = Cluster::standalone(SETTINGS)?;
    run(&cluster)?;
    cluster.stop(EXPECTED_WARNINGS)
}

/// Only with THRUSTMQ_CONFORMANCE=java: Java's broker does not change from commit to commit.
#[test]
fn go_clients_on_java() -> anyhow::Result<()> {
    let is_wanted = env::var("THRUSTMQ_CONFORMANCE").is_ok_and(|value| value == "java");
    if !is_wanted || toolchain::go().is_none() {
        return Ok(());
    }
    let mut cluster = Cluster::with_java_namesrv()?.context("Java's broker needs Java")?;
    cluster.set_broker_settings(JAVA_SETTINGS);
    cluster.add_java_broker("broker-a")?;
    run(&cluster)?;
    cluster.stop(&[])
}

fn run(cluster: &Cluster) -> anyhow::Result<()> {
    let mut program = toolchain::go().context("Go was there before")?;
    let cases = env::var("THRUSTMQ_GO_CASES").unwrap_or_default();
    program
        .args(["conformance", &cluster.namesrv(), &cluster.broker(0)])
        .args(cases.split(',').filter(|name| !name.is_empty()))
        .env("HOME", cluster.directory()); // broadcasting members keep their offsets there
    let result = peer::run(program, &cluster.directory(), TIMEOUT)?;
    eprintln!("{result}");
    Ok(())
}
