//! mqadmin: Apache's own commands, all in one JVM, which answers each with what it printed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::Context;

use crate::cluster::Cluster;
use crate::peer::{self, HeaderEncoding};

/// A running `Peer admin`.
#[derive(Debug)]
pub struct Admin {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    errors: PathBuf,
}

/// One message that [`Admin::send`] sent.
#[derive(Debug)]
pub struct Sent {
    /// The id that names broker and commit-log offset.
    pub offset_id: String,
    /// The producer's id.
    pub unique_id: String,
    /// The queue.
    pub queue_id: String,
    /// Its place in the queue.
    pub queue_offset: String,
}

impl Admin {
    /// Starts the JVM against the cluster's name server; None where there is no Java.
    pub fn start(cluster: &Cluster) -> anyhow::Result<Option<Self>> {
        let namesrv = cluster.namesrv();
        let directory = cluster.directory();
        let options = [("namesrv", namesrv.as_str())];
        let Some(mut command) = peer::java(&directory, HeaderEncoding::Json, "admin", &options)
        else {
            return Ok(None);
        };
        let errors = directory.join("admin.err");
        let mut child = command
            .current_dir(&directory) // consumerStatus writes files where it stands
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .spawn()?;
        let commands = child.stdin.take().context("a piped stdin")?;
        let answers = BufReader::new(child.stdout.take().context("a piped stdout")?);
        Ok(Some(Self {
            child,
            commands,
            answers,
            errors,
        }))
    }

    /// Runs one command, its words separated by blanks; what it printed.
    pub fn run(&mut self, command: &str) -> anyhow::Result<String> {
        self.run_words(&command.split(' ').collect::<Vec<_>>())
    }

    /// Runs one command whose words may contain blanks.
    pub fn run_words(&mut self, words: &[&str]) -> anyhow::Result<String> {
        writeln!(self.commands, "{}", words.join("\t"))?;
        self.commands.flush()?;
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line)?;
            if read == 0 {
                let errors = fs::read_to_string(&self.errors)?;
                anyhow::bail!("mqadmin ended at {words:?}: {errors}");
            }
            // The logger reports its configuration on stdout before the first answer.
            if let Ok(length) = line.trim_end().parse() {
                let mut text = vec![0; length];
                self.answers.read_exact(&mut text)?;
                return Ok(String::from_utf8(text)?);
            }
        }
    }

    /// Sends messages `key0`… through a Java producer; returns when the consumer has them and its offset is stored.
    pub fn send(&mut self, topic: &str, count: usize) -> anyhow::Result<Vec<Sent>> {
        let printed = self.run(&format!("@send {topic} {count}"))?;
        printed.lines().map(parse_sent).collect()
    }

    /// Ends the JVM.
    pub fn stop(self) -> anyhow::Result<()> {
        let Self {
            mut child,
            commands,
            ..
        } = self;
        drop(commands);
        let status = child.wait()?;
        anyhow::ensure!(status.success(), "mqadmin ended with {status}");
        Ok(())
    }
}

fn parse_sent(line: &str) -> anyhow::Result<Sent> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[offset_id, unique_id, queue_id, queue_offset] = words.as_slice() else {
        anyhow::bail!("not a sent message: {line}");
    };
    Ok(Sent {
        offset_id: offset_id.to_owned(),
        unique_id: unique_id.to_owned(),
        queue_id: queue_id.to_owned(),
        queue_offset: queue_offset.to_owned(),
    })
}
