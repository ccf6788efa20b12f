//! A name server and broker in one process that are killed and started again on the same directory and ports.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

use crate::cluster::standalone_command;
use crate::ports::free_port;
use crate::server::Server;
use crate::wire::RawConnection;

/// A server whose directory outlives it.
#[derive(Debug)]
pub struct Victim {
    directory: TempDir,
    settings: Vec<String>,
    /// Of the name server and of the broker.
    ports: (u16, u16),
    runs: u32,
    server: Option<Server>,
}

impl Victim {
    /// Not started yet; the settings hold for every run.
    pub fn new(settings: &[&str]) -> anyhow::Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            settings: settings.iter().map(|&pair| pair.to_owned()).collect(),
            ports: (free_port()?, free_port()?),
            runs: 0,
            server: None,
        })
    }

    /// Starts the process and does not wait for it.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let command = standalone_command(self.directory.path(), self.ports, &settings);
        self.runs += 1;
        let name = format!("run-{}", self.runs);
        self.server = Some(Server::start(command, self.directory.path(), &name)?);
        Ok(())
    }

    /// Starts it, and waits until it serves.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.server()?.wait_for_log("ready after")
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.server()?.kill()?;
        self.server = None;
        Ok(())
    }

    /// SIGKILL, and a new process that serves.
    pub fn kill_and_start(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.start()
    }

    /// The process that runs now.
    pub fn server(&mut self) -> anyhow::Result<&mut Server> {
        self.server.as_mut().context("a server that runs")
    }

    /// `host:port` of the broker.
    pub fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.ports.1)
    }

    /// `host:port` of the name server.
    pub fn namesrv(&self) -> String {
        format!("127.0.0.1:{}", self.ports.0)
    }

    /// A new connection to the broker.
    pub fn connect(&self) -> anyhow::Result<RawConnection> {
        RawConnection::open(&self.broker())
    }

    /// Where everything lies; the server's own data are in `data`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A clean stop; the last run's log must hold no unlisted warning.
    pub fn stop(mut self, allowed: &[&str]) -> anyhow::Result<()> {
        let server = self.server.take().context("a server that runs")?;
        server.finish(allowed)
    }
}
