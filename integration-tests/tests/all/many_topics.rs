//! Very many queues in one broker: made, written, read, and there again after a restart, within small memory.
//!
//! 1,000 topics of 8 queues by default; THRUSTMQ_TOPICS asks for another number.

use std::fs;
use std::time::Instant;

use anyhow::Context;
use thrustmq_integration_tests::cluster::standalone_command;
use thrustmq_integration_tests::ports::free_port;
use thrustmq_integration_tests::server::Server;
use thrustmq_integration_tests::wire::{self, Answer, RawConnection};

const QUEUES: usize = 8;
/// Requests under way at one time.
const WINDOW: usize = 64;
const TOPICS_VARIABLE: &str = "THRUSTMQ_TOPICS";

const PULL_MESSAGE: i32 = 11;
const UPDATE_AND_CREATE_TOPIC: i32 = 17;
const SEND_MESSAGE_V2: i32 = 310;

#[test]
fn many_topics_are_made_written_read_and_restarted() -> anyhow::Result<()> {
    let topics = match std::env::var(TOPICS_VARIABLE) {
        Ok(topics) => topics.parse().context(TOPICS_VARIABLE)?,
        Err(_) => 1_000,
    };
    let host = Host::new()?;
    let mut first = host.start("first")?;
    timed("created", || host.create(topics))?;
    timed("written", || host.write(topics, "one"))?;
    timed("read", || host.read(topics, 0, "one"))?;
    first.tell("after the first reading")?;
    timed("closed", || first.server.finish(&[]))?;
    let mut second = timed("restarted", || host.start("second"))?;
    second.tell("after the restart")?;
    timed("read again", || host.read(topics, 0, "one"))?;
    timed("written again", || host.write(topics, "two"))?;
    second.tell("after all")?;
    timed("killed", || second.server.kill())?;
    let mut third = timed("restarted after the kill", || host.start("third"))?;
    timed("read", || host.read(topics, 1, "two"))?;
    third.tell("at the end")?;
    anyhow::ensure!(third.maps()? < 40_000, "maps near the limit of 65,530");
    third.server.finish(&[])
}

/// Debug builds and busy machines make any limit on these times a lie, so they are printed only.
#[allow(clippy::disallowed_methods)]
fn timed<T>(what: &str, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begin = Instant::now();
    let result = act()?;
    eprintln!("{what}: {:.2} s", begin.elapsed().as_secs_f64());
    Ok(result)
}

/// Where the server lives.
struct Host {
    directory: tempfile::TempDir,
    namesrv_port: u16,
    broker_port: u16,
}

struct Running {
    server: Server,
}

impl Host {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            namesrv_port: free_port()?,
            broker_port: free_port()?,
        })
    }

    fn start(&self, name: &str) -> anyhow::Result<Running> {
        let ports = (self.namesrv_port, self.broker_port);
        let command = standalone_command(self.directory.path(), ports, &[]);
        let mut server = Server::start(command, self.directory.path(), name)?;
        server.wait_for_log("ready after")?;
        Ok(Running { server })
    }

    fn connect(&self) -> anyhow::Result<RawConnection> {
        let mut connection = RawConnection::open(&format!("127.0.0.1:{}", self.broker_port))?;
        connection.set_timeout(std::time::Duration::from_secs(60))?;
        Ok(connection)
    }

    fn create(&self, topics: usize) -> anyhow::Result<()> {
        let queues = QUEUES.to_string();
        self.call_all(
            topics,
            |number| {
                let fields = [
                    ("topic", topic(number).as_str()),
                    ("defaultTopic", "TBW102"),
                    ("readQueueNums", &queues),
                    ("writeQueueNums", &queues),
                    ("perm", "6"),
                    ("topicFilterType", "SINGLE_TAG"),
                    ("topicSysFlag", "0"),
                    ("order", "false"),
                ]
                .map(|(name, value)| (name, value.to_owned()));
                request(UPDATE_AND_CREATE_TOPIC, number, &fields, b"")
            },
            |_, _| Ok(()),
        )
    }

    /// One message to each queue.
    fn write(&self, topics: usize, text: &str) -> anyhow::Result<()> {
        self.call_all(
            topics * QUEUES,
            |number| {
                let fields = [
                    ("a", "many-producer".to_owned()),
                    ("b", topic(number / QUEUES)),
                    ("c", "TBW102".to_owned()),
                    ("d", QUEUES.to_string()),
                    ("e", (number % QUEUES).to_string()),
                    ("f", "0".to_owned()),
                    ("g", "1700000000000".to_owned()),
                    ("h", "0".to_owned()),
                ];
                request(
                    SEND_MESSAGE_V2,
                    number,
                    &fields,
                    body(number, text).as_bytes(),
                )
            },
            |_, _| Ok(()),
        )
    }

    /// The message of each queue at an offset.
    fn read(&self, topics: usize, offset: i64, text: &str) -> anyhow::Result<()> {
        self.call_all(
            topics * QUEUES,
            |number| {
                let fields = [
                    ("consumerGroup", "many-consumer".to_owned()),
                    ("topic", topic(number / QUEUES)),
                    ("queueId", (number % QUEUES).to_string()),
                    ("queueOffset", offset.to_string()),
                    ("maxMsgNums", "1".to_owned()),
                    // May wait for the message, and carries its subscription.
                    ("sysFlag", "6".to_owned()),
                    ("commitOffset", "0".to_owned()),
                    ("suspendTimeoutMillis", "20000".to_owned()),
                    ("subscription", "*".to_owned()),
                    ("subVersion", "0".to_owned()),
                ];
                request(PULL_MESSAGE, number, &fields, b"")
            },
            |number, answer| {
                let expected = body(number, text);
                let found = answer
                    .body
                    .windows(expected.len())
                    .any(|part| part == expected.as_bytes());
                anyhow::ensure!(found, "{expected} is not in {answer:?}");
                Ok(())
            },
        )
    }

    /// Sends numbered requests, many at a time, and looks at each answer.
    fn call_all(
        &self,
        count: usize,
        make: impl Fn(usize) -> Vec<u8>,
        look: impl Fn(usize, &Answer) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut connection = self.connect()?;
        for begin in (0..count).step_by(WINDOW) {
            let end = count.min(begin + WINDOW);
            let frames: Vec<u8> = (begin..end).flat_map(&make).collect();
            connection.send(&frames)?;
            for _ in begin..end {
                let answer = connection.receive()?;
                anyhow::ensure!(answer.code == 0, "{answer:?}");
                look(usize::try_from(answer.opaque)?, &answer)?;
            }
        }
        Ok(())
    }
}

impl Running {
    fn tell(&mut self, when: &str) -> anyhow::Result<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id()))?;
        let memory: Vec<&str> = status
            .lines()
            .filter(|line| line.starts_with("RssAnon") || line.starts_with("RssFile"))
            .collect();
        eprintln!("{when}: {} maps, {}", self.maps()?, memory.join(", "));
        Ok(())
    }

    fn maps(&self) -> anyhow::Result<usize> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.server.id()))?;
        Ok(maps.lines().count())
    }
}

fn topic(number: usize) -> String {
    format!("Topic{number:05}")
}

fn body(number: usize, text: &str) -> String {
    format!("message {number} {text}.")
}

fn request(code: i32, number: usize, fields: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    wire::request(code, number as i32, &fields, body)
}
