//! Foreign client programs: run to the end, judged by exit code and last line.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::toolchain::{self, JavaClient};
use crate::wait::wait_for;

/// How Java clients encode the headers of their requests.
#[derive(Clone, Copy, Debug)]
pub enum HeaderEncoding {
    /// The default.
    Json,
    /// The binary form.
    RocketMq,
}

impl HeaderEncoding {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::RocketMq => "ROCKETMQ",
        }
    }
}

/// The command that runs a Java peer program; None where there is no Java.
pub fn java(
    directory: &Path,
    encoding: HeaderEncoding,
    program: &str,
    options: &[(&str, &str)],
) -> Option<Command> {
    java_with(JavaClient::Five, directory, encoding, (program, options))
}

/// The same with one of the versions of Apache's client.
pub fn java_with(
    client: JavaClient,
    directory: &Path,
    encoding: HeaderEncoding,
    program: (&str, &[(&str, &str)]),
) -> Option<Command> {
    let (program, options) = program;
    let mut command = toolchain::java_with(client, 512)?;
    command
        .arg(format!("-Duser.home={}", directory.display()))
        .arg(format!("-Drocketmq.client.logRoot={}", directory.display()))
        .arg(format!("-Drocketmq.serialize.type={}", encoding.name()))
        .args(["Peer", program]);
    for (key, value) in options {
        command.arg(format!("{key}={value}"));
    }
    Some(command)
}

/// Runs a program to its end; its result line, or what it printed as an error.
pub fn run(mut command: Command, directory: &Path, timeout: Duration) -> anyhow::Result<String> {
    let output = directory.join("peer.out");
    let file = File::create(&output)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()?;
    let status = wait_for("a peer program", timeout, || Ok(child.try_wait()?));
    let printed = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
    let status = status.inspect_err(|_| kill(&mut child, &printed))?;
    result_line(&printed, status.success())
}

fn kill(child: &mut Child, printed: &str) {
    eprintln!("{printed}");
    if let Err(error) = child.kill() {
        eprintln!("kill a peer program: {error}");
    }
}

/// The last line, which begins with `ok` when the program is content.
pub fn result_line(printed: &str, success: bool) -> anyhow::Result<String> {
    let last = printed.lines().last().unwrap_or_default();
    anyhow::ensure!(
        success && last.starts_with("ok"),
        "the peer program failed:\n{}--- all that it printed:\n{}",
        failed_cases(printed),
        without_logger_noise(printed)
    );
    Ok(last.to_owned())
}

/// First, since who reads a long log often has only its beginning.
fn failed_cases(printed: &str) -> String {
    let failed = printed.lines().filter(|line| line.starts_with("fail "));
    failed.map(|line| format!("{line}\n")).collect()
}

/// Java's logger reports its own configuration in hundreds of lines.
fn without_logger_noise(printed: &str) -> String {
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| !line.contains("|-"))
        .collect();
    lines.join("\n")
}
