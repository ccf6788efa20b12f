//! Our broker under callgrind: how many instructions a load takes. That does not depend on how fast or
//! busy the machine is, so a test can hold it to a limit.
//!
//! A count goes over all threads, from the start of the process to its end; what a load took is the
//! difference to a run without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use crate::cluster::standalone_command_of;
use crate::ports::free_port;
use crate::server::Server;
use crate::wire::RawConnection;

/// Under callgrind everything takes fifty times as long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Nothing is refused for being slow, or for a disk that is nearly full of other things.
const PATIENT: &[&str] = &[
    "diskSpaceCleanForciblyRatio=99",
    "diskSpaceWarningLevelRatio=99",
    "brokerFastFailureEnable=false",
    "osPageCacheBusyTimeOutMills=60000",
];

/// One run of the broker.
#[derive(Debug)]
pub struct CountedBroker {
    directory: TempDir,
    server: Server,
    counts: PathBuf,
    broker_port: u16,
}

impl CountedBroker {
    /// Starts `binary` under `valgrind` and waits until it serves.
    /// What was counted is kept in the file `counts`, for `callgrind_annotate`.
    pub fn start(valgrind: &Path, binary: &Path, counts: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let ports = (free_port()?, free_port()?);
        let standalone = standalone_command_of(binary, directory.path(), ports, PATIENT);
        let mut counting = Command::new(valgrind);
        counting
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", counts.display()))
            .arg(standalone.get_program())
            .args(standalone.get_args());
        let mut server = Server::start(counting, directory.path(), "counted")?;
        server.wait_for_log("ready after")?;
        Ok(Self {
            directory,
            server,
            counts: counts.to_owned(),
            broker_port: ports.1,
        })
    }

    /// A connection to the broker.
    pub fn connect(&self) -> anyhow::Result<RawConnection> {
        let mut connection = RawConnection::open(&format!("127.0.0.1:{}", self.broker_port))?;
        connection.set_timeout(ANSWER_TIMEOUT)?;
        Ok(connection)
    }

    /// Stops the broker; how many instructions it took in all.
    pub fn stop(mut self) -> anyhow::Result<u64> {
        let code = self.server.terminate()?;
        anyhow::ensure!(code == 0, "ended with {code}: {}", self.server.log()?);
        self.directory.close()?;
        let counts = fs::read_to_string(&self.counts)
            .with_context(|| format!("what callgrind wrote to {}", self.counts.display()))?;
        total(&counts).with_context(|| format!("no total in {}", self.counts.display()))
    }
}

/// The number of instructions in a file of callgrind.
fn total(counts: &str) -> Option<u64> {
    let mut lines = counts.lines();
    let total = lines.find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        let counts = "events: Ir\nfn=(1)\n1 20\n\ntotals: 4711\n";
        assert_eq!(total(counts), Some(4711));
        assert_eq!(total("events: Ir\n"), None);
    }
}
