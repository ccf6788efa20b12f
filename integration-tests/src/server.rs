//! One server process: started with its log in a file, stopped by signal, killed if the test forgets it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::log_gate::unexpected_lines;
use crate::wait::wait_for;

const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server process and the file that collects what it prints.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    log_path: PathBuf,
    stopped: bool,
}

impl Server {
    /// Starts `command`, appending its output to `<directory>/<name>.log`.
    pub fn start(mut command: Command, directory: &Path, name: &str) -> anyhow::Result<Self> {
        let log_path = directory.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&log_path)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log_path,
            stopped: false,
        })
    }

    /// Waits until the log holds `text`; fails at once when the process ends instead.
    pub fn wait_for_log(&mut self, text: &str) -> anyhow::Result<()> {
        let what = format!("{text:?} in the log of {}", self.name);
        wait_for(&what, START_TIMEOUT, || {
            if self.log()?.contains(text) {
                return Ok(Some(()));
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{} ended with {status}: {}", self.name, self.log()?);
            }
            Ok(None)
        })
    }

    /// Everything the process printed so far.
    pub fn log(&self) -> anyhow::Result<String> {
        let bytes = fs::read(&self.log_path)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end; the exit code.
    pub fn terminate(&mut self) -> anyhow::Result<i32> {
        signal(self.child.id())?;
        self.wait_for_exit()
    }

    /// Waits until the process ends by itself; the exit code, or an error when a signal ended it.
    pub fn wait_for_exit(&mut self) -> anyhow::Result<i32> {
        let what = format!("the end of {}", self.name);
        let status = wait_for(&what, STOP_TIMEOUT, || Ok(self.child.try_wait()?))?;
        self.stopped = true;
        status
            .code()
            .with_context(|| format!("{} ended with {status}", self.name))
    }

    /// Ends the process without asking it.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.stopped = true;
        Ok(())
    }

    /// A clean stop of one of our servers: exit code 0 and no unannounced warning in its log.
    pub fn finish(mut self, allowed: &[&str]) -> anyhow::Result<()> {
        let code = self.terminate()?;
        anyhow::ensure!(
            code == 0,
            "{} ended with {code}: {}",
            self.name,
            self.log()?
        );
        self.judge(allowed)
    }

    /// An error when the log holds an unannounced warning.
    pub fn judge(&self, allowed: &[&str]) -> anyhow::Result<()> {
        let log = self.log()?;
        let unexpected = unexpected_lines(&log, allowed);
        anyhow::ensure!(
            unexpected.is_empty(),
            "unlisted lines in the log of {}: {unexpected:#?}",
            self.name
        );
        Ok(())
    }
}

fn signal(process_id: u32) -> anyhow::Result<()> {
    let status = Command::new("kill")
        .args(["-TERM", &process_id.to_string()])
        .status()?;
    anyhow::ensure!(status.success(), "kill {process_id}: {status}");
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        // Only a failing test leaves its servers running: their last words are what one wants to read.
        if let Ok(log) = self.log() {
            let start = log.len().saturating_sub(6000);
            let tail = log.get(start..).unwrap_or(&log);
            eprintln!("--- log of {}:\n{tail}", self.name);
        }
        if let Err(error) = self.kill() {
            eprintln!("kill {}: {error}", self.name);
        }
    }
}
