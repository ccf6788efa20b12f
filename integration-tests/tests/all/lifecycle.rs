//! Starting, stopping and starting again; what goes wrong is said in one line.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::ports::free_port;
use thrustmq_integration_tests::toolchain;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire;

const GET_MAX_OFFSET: i32 = 30;
const SEND_MESSAGE_V2: i32 = 310;

/// A start that must fail: exit code 1 and one line that contains `text`, beside what was done before.
fn fails_with(mut command: Command, text: &str) -> anyhow::Result<()> {
    let output = command.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(
        output.status.code() == Some(1),
        "{}: {stderr}",
        output.status
    );
    let complaints: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.contains(" INFO "))
        .collect();
    anyhow::ensure!(
        complaints.len() == 1 && complaints[0].contains(text),
        "not one line with {text:?}: {stderr}"
    );
    Ok(())
}

#[test]
fn a_second_process_on_the_same_data_is_refused() -> anyhow::Result<()> {
    let cluster = Cluster::standalone(&[])?;
    let (namesrv, broker) = (free_port()?.to_string(), free_port()?.to_string());
    let data = cluster.directory().join("data");
    let mut second = Command::new(toolchain::thrustmq());
    second
        .args(["standalone", "--bind", "127.0.0.1"])
        .args(["--namesrv-port", &namesrv, "--broker-port", &broker])
        .arg("--data")
        .arg(&data);
    fails_with(second, &data.display().to_string())?;
    let answer = wire::call(&cluster.broker(0), 28, &[], b"")?;
    assert_eq!(answer.code, 0, "the first process serves on");
    cluster.stop(&[])
}

#[test]
fn a_taken_port_is_one_clear_line() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    // Its neighbours are free: the one that is taken is what is told.
    let port = free_port()?;
    let _taken = TcpListener::bind(("127.0.0.1", port))?;
    let port = port.to_string();
    let free = free_port()?.to_string();
    for ports in [
        ["--namesrv-port", &port, "--broker-port", &free],
        ["--namesrv-port", &free, "--broker-port", &port],
    ] {
        let mut command = Command::new(toolchain::thrustmq());
        command
            .args(["standalone", "--bind", "127.0.0.1"])
            .args(ports)
            .arg("--data")
            .arg(directory.path().join("data"));
        fails_with(command, &port)?;
    }
    Ok(())
}

#[test]
fn an_unusable_data_directory_is_one_clear_line() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    fs::write(&file, "in the way")?;
    let ports = [free_port()?.to_string(), free_port()?.to_string()];
    let mut command = Command::new(toolchain::thrustmq());
    command
        .args(["standalone", "--bind", "127.0.0.1"])
        .args(["--namesrv-port", &ports[0], "--broker-port", &ports[1]])
        .arg("--data")
        .arg(&file);
    fails_with(command, &file.display().to_string())
}

#[test]
fn messages_and_offsets_survive_a_clean_restart() -> anyhow::Result<()> {
    let mut cluster = Cluster::with_our_namesrv()?;
    cluster.add_our_broker("broker-a")?;
    for _ in 0..3 {
        send_one(&cluster, "RestartTopic")?;
    }
    wait_for_max_offset(&cluster, "RestartTopic", "3")?;
    cluster.terminate("broker-a", &[])?;
    cluster.restart_our_broker(0, "broker-a")?;
    wait_for_max_offset(&cluster, "RestartTopic", "3")?;
    send_one(&cluster, "RestartTopic")?;
    wait_for_max_offset(&cluster, "RestartTopic", "4")?;
    cluster.stop(&[])
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_standalone_is_small() -> anyhow::Result<()> {
    let mut cluster = Cluster::standalone(&[])?;
    let id = cluster.server("standalone")?.id();
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let resident_kb = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .ok_or_else(|| anyhow::anyhow!("no resident memory in {status}"))?;
    assert!(resident_kb.parse::<u32>()? < 40_000, "{resident_kb} kB");
    cluster.stop(&[])
}

fn send_one(cluster: &Cluster, topic: &str) -> anyhow::Result<()> {
    let fields = [
        ("a", "group"),
        ("b", topic),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
    ];
    let answer = wire::call(&cluster.broker(0), SEND_MESSAGE_V2, &fields, b"body")?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// The consume queue is written behind the append, so this waits for it.
fn wait_for_max_offset(cluster: &Cluster, topic: &str, offset: &str) -> anyhow::Result<()> {
    let fields = [("topic", topic), ("queueId", "0")];
    wait_for(&format!("offset {offset}"), Duration::from_secs(60), || {
        let answer = wire::call(&cluster.broker(0), GET_MAX_OFFSET, &fields, b"")?;
        Ok((answer.fields["offset"] == offset).then_some(()))
    })
}
