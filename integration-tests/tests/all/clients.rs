//! Unmodified clients create a topic, send in every way, receive, and look messages up.

use std::time::Duration;

use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::toolchain;

const TIMEOUT: Duration = Duration::from_secs(300);

#[test]
fn java_sends_and_receives_with_json_headers() -> anyhow::Result<()> {
    java_sends_and_receives(HeaderEncoding::Json)
}

/// And through the port two below, which clients call the VIP channel.
#[test]
fn java_sends_and_receives_with_binary_headers() -> anyhow::Result<()> {
    java_sends_and_receives(HeaderEncoding::RocketMq)
}

fn java_sends_and_receives(encoding: HeaderEncoding) -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let cluster = Cluster::standalone(&[])?;
    send_and_receive(&cluster, encoding)?;
    cluster.stop(&[])
}

/// The Java peer program, against any cluster of one broker. Java must be there.
pub(crate) fn send_and_receive(cluster: &Cluster, encoding: HeaderEncoding) -> anyhow::Result<()> {
    let directory = cluster.directory();
    let namesrv = cluster.namesrv();
    let port = match encoding {
        HeaderEncoding::Json => "main",
        HeaderEncoding::RocketMq => "fast",
    };
    let options = [
        ("namesrv", namesrv.as_str()),
        ("topic", "JavaTopic"),
        ("port", port),
    ];
    if let Some(program) = peer::java(&directory, encoding, "send-receive", &options) {
        peer::run(program, &directory, TIMEOUT)?;
    }
    Ok(())
}

#[test]
fn go_sends_and_receives() -> anyhow::Result<()> {
    let Some(mut program) = toolchain::go() else {
        return Ok(());
    };
    let cluster = Cluster::standalone(&[])?;
    program.args([&cluster.namesrv(), &cluster.broker(0), "GoTopic"]);
    peer::run(program, &cluster.directory(), TIMEOUT)?;
    cluster.stop(&[])
}
