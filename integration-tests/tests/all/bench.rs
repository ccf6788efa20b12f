//! `thrustmq bench` against our broker: each kind of load runs, and counts what there was. Its times are not judged.

use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::toolchain;

#[test]
fn loads_count_what_there_was() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    for (kind, more) in [
        ("producer", &["--in-flight", "4"][..]),
        ("producer", &["--count", "500", "--encoding", "binary"]),
        (
            "producer",
            &["--rate", "500", "--keys", "both", "--body", "random"],
        ),
        ("batch", &["--in-flight", "4", "--count", "320"]),
        ("consumer", &["--in-flight", "4"]),
        ("consumer", &["--encoding", "binary"]),
        ("consumer", &["--once", "--in-flight", "3"]),
        (
            "producer",
            &["--count", "500", "--topics", "3", "--queues", "2"],
        ),
        ("consumer", &["--once", "--topics", "3"]),
        ("transaction", &["--in-flight", "4", "--count", "320"]),
        ("transaction", &["--rate", "500", "--encoding", "binary"]),
        ("latency", &["--rate", "500", "--connections", "2"]),
        ("latency", &["--rate", "500", "--send-only"]),
    ] {
        let result = bench(&cluster, kind, more)?;
        ensure!(result["failures"] == 0, "{kind}: {result}");
        ensure!(result["kind"] == kind, "{kind}: {result}");
        ensure!(result["messages"].as_u64() > Some(0), "{kind}: {result}");
        let is_once = more.contains(&"--once");
        let stored = result[if is_once { "received" } else { "acknowledged" }].clone();
        ensure!(result["stored"] == stored, "{kind}: {result}");
        let counted = [("--rate", 500), ("500", 500), ("320", 320)];
        if let Some((_, messages)) = counted.iter().find(|(option, _)| more.contains(option)) {
            ensure!(result["messages"] == *messages, "{kind}: {result}");
        }
        if kind == "latency" {
            let has_received = !result["received_p99_us"].is_null();
            ensure!(has_received != more.contains(&"--send-only"), "{result}");
        }
    }
    cluster.stop(&[])
}

fn bench(cluster: &Cluster, kind: &str, more: &[&str]) -> anyhow::Result<Value> {
    let mut command = Command::new(toolchain::thrustmq());
    command
        .args(["bench", kind, "--json", "-n", &cluster.namesrv()])
        .args(["--size", "64", "--seconds", "1", "--warm-up", "0"])
        .args(more);
    let output = command.output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bench {kind}: {complaint}");
    serde_json::from_slice(&output.stdout).context("one JSON object")
}
