//! `thrustmq bench connections`: clients that are there and do nothing but send heartbeats.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use thrustmq_proto_compat::body::{HeartbeatData, ProducerData};
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::request_code::HeartBeat;
use thrustmq_proto_compat::response_code::ResponseCode;
use tokio::time::Instant;

use super::answer::Answer;
use super::arguments::ConnectionsArguments;
use super::connection;
use super::inbox::Inbox;
use super::measured::Measured;
use super::process::Usage;
use super::progress::Progress;
use super::report::{Facts, Took};
use super::requests::{GROUP, refused};
use super::template::{Place, Template};

const CLIENT: &str = "127.0.0.1@bench-00000";
const CLIENT_DIGITS: usize = 5;
/// Files that are not connections.
const FILES_SPARE: u64 = 100;

/// Runs the load and prints what it measured.
pub(super) fn run(arguments: &ConnectionsArguments) -> anyhow::Result<()> {
    allow(u64::from(arguments.connections) + FILES_SPARE)?;
    let mut usage = Usage::new(arguments.pid)?;
    let mut clients = Clients::open(arguments)?;
    usage.begin()?;
    let started = Instant::now();
    let held = Duration::from_secs(arguments.seconds);
    let rounds = Duration::from_secs(arguments.heartbeat);
    let interval = rounds / arguments.connections.max(1);
    let mut due = Duration::ZERO;
    let progress = Progress::new();
    for number in (0..clients.streams.len()).cycle() {
        due += interval;
        thread::sleep(due.min(held).saturating_sub(started.elapsed()));
        if due > held {
            break;
        }
        clients.beat(number)?;
        progress.say(clients.told());
    }
    progress.finish();
    usage.end()?;
    let seconds = started.elapsed().as_secs_f64();
    let Clients { measured, .. } = &clients;
    let facts = Facts {
        kind: "connections",
        brokers: vec![arguments.broker.clone()],
        connections: clients.streams.len(),
        ..Facts::default()
    };
    let took = Took {
        until: "a heartbeat is answered",
        prefix: "",
        latencies: &measured.latencies,
    };
    facts
        .measured(measured, seconds, &usage)
        .print(&[took], arguments.json)?;
    (0..clients.streams.len()).try_for_each(|number| clients.beat(number))
}

/// Raises the limit of open files as far as it is needed and allowed.
fn allow(files: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= files),
        "{files} files have to be open, and the limit is {:?}: raise it with `ulimit -Hn`",
        limit.maximum
    );
    limit.current = Some(files);
    setrlimit(Resource::Nofile, limit).context("raise the limit of open files")
}

/// Connections, each of a client of its own.
struct Clients {
    streams: Vec<TcpStream>,
    heartbeat: Template,
    client: Vec<Place>,
    inbox: Inbox,
    measured: Measured,
}

impl Clients {
    /// All of them are open and known to the broker then.
    fn open(arguments: &ConnectionsArguments) -> anyhow::Result<Self> {
        let data = HeartbeatData {
            client_id: CLIENT.to_owned(),
            producer_data_set: vec![ProducerData {
                group_name: GROUP.to_owned(),
            }],
            ..HeartbeatData::default()
        };
        let body = fastjson::to_vec(&data)?;
        let heartbeat = Template::new(Command::request::<HeartBeat>(&()).with_body(body))?;
        let mut clients = Self {
            streams: Vec::new(),
            client: heartbeat.ends_of(CLIENT, CLIENT_DIGITS),
            heartbeat,
            inbox: Inbox::new(),
            measured: Measured::new(),
        };
        for number in 0..arguments.connections as usize {
            let stream = connection::open(&arguments.broker);
            let opened = stream.with_context(|| format!("after {number} connections"))?;
            clients.streams.push(opened);
            clients.beat(number)?;
        }
        clients.measured = Measured::new();
        Ok(clients)
    }

    /// In a line.
    fn told(&self) -> String {
        let slowest = self.measured.latencies.max();
        format!(
            "{} connections, heartbeats answered in at most {slowest} µs",
            self.streams.len()
        )
    }

    /// Sends a heartbeat and waits for its answer.
    fn beat(&mut self, number: usize) -> anyhow::Result<()> {
        let Some(mut stream) = self.streams.get(number) else {
            return Ok(());
        };
        for place in &self.client {
            self.heartbeat.put_decimal(*place, number as u64);
        }
        let broken = || format!("connection {number} of {}", self.streams.len());
        let sent = Instant::now();
        stream
            .write_all(self.heartbeat.frame(0))
            .with_context(broken)?;
        self.inbox.clear();
        loop {
            if let Some(frame) = self.inbox.next()? {
                let answer = Answer::read(frame)?;
                if answer.code == ResponseCode::SUCCESS {
                    self.measured.count(1, sent.elapsed());
                } else {
                    refused(&answer, &mut self.measured);
                }
                return Ok(());
            }
            let read = stream.read(self.inbox.room()).with_context(broken)?;
            ensure!(read > 0, "{} was closed by the broker", broken());
            self.inbox.filled(read);
        }
    }
}
