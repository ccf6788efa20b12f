//! A broker under load that is killed again and again: what it acknowledged is there, once, at the number it named.
//!
//! SIGKILL takes the process and leaves the page cache, so that even with an asynchronous flush nothing may be missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::cluster::standalone_command;
use thrustmq_integration_tests::ports::free_port;
use thrustmq_integration_tests::server::Server;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::{self, RawConnection};
use thrustmq_proto_compat::message::record::{self, CheckBody};

const KILLS: u64 = 50;
const WRITERS: u64 = 4;
const QUEUES: u64 = 4;
/// Requests that a writer has under way at one time.
const WINDOW: u64 = 32;
const TOPIC: &str = "Killed";
const SEED_VARIABLE: &str = "THRUSTMQ_KILL_SEED";

const SEND_MESSAGE_V2: i32 = 310;
const PULL_MESSAGE: i32 = 11;
const QUERY_MESSAGE: i32 = 12;
const GET_MAX_OFFSET: i32 = 30;

#[test]
fn fifty_kills_lose_nothing_with_asynchronous_flush() -> anyhow::Result<()> {
    survive("ASYNC_FLUSH")
}

#[test]
fn fifty_kills_lose_nothing_with_synchronous_flush() -> anyhow::Result<()> {
    survive("SYNC_FLUSH")
}

/// Where the broker said that a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    queue_id: i32,
    queue_offset: i64,
}

/// Bodies of acknowledged messages by their places.
type Acknowledged = BTreeMap<Place, String>;

/// What one writer was told, in the order of the answers.
type Written = Vec<(Place, String)>;

fn survive(flush: &str) -> anyhow::Result<()> {
    let mut random = Random::from_environment();
    eprintln!("{flush}: {SEED_VARIABLE}={}", random.0);
    let victim = Victim::new(flush)?;
    let mut acknowledged = Acknowledged::new();
    for run in 0..KILLS {
        let mut server = victim.start(run)?;
        // One in five dies while it starts, perhaps while it recovers from the kill before.
        if run % 5 == 4 {
            thread::sleep(Duration::from_millis(random.below(40)));
            server.kill()?;
            continue;
        }
        server.wait_for_log("ready after")?;
        let writers = victim.write(run)?;
        thread::sleep(Duration::from_millis(50 + random.below(250)));
        server.kill()?;
        for writer in writers {
            let places = writer
                .join()
                .map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            for (place, body) in places {
                let before = acknowledged.insert(place, body.clone());
                anyhow::ensure!(
                    before.is_none(),
                    "{place:?} was given to {before:?} and to {body}"
                );
            }
        }
    }
    let mut server = victim.start(KILLS)?;
    server.wait_for_log("ready after")?;
    victim.check(&acknowledged)?;
    eprintln!(
        "{flush}: {} messages acknowledged over {KILLS} kills",
        acknowledged.len()
    );
    anyhow::ensure!(acknowledged.len() > 1_000, "hardly any load");
    server.finish(&[])
}

/// A server that is started on the same directory and ports every time.
struct Victim {
    directory: tempfile::TempDir,
    flush: String,
    namesrv_port: u16,
    broker_port: u16,
}

impl Victim {
    fn new(flush: &str) -> anyhow::Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            flush: flush.to_owned(),
            namesrv_port: free_port()?,
            broker_port: free_port()?,
        })
    }

    fn start(&self, run: u64) -> anyhow::Result<Server> {
        // Small files, so that kills come at their borders too.
        let settings = [
            "mappedFileSizeCommitLog=1048576",
            "mappedFileSizeConsumeQueue=20000",
            "maxHashSlotNum=1000",
            "maxIndexNum=5000",
            "defaultTopicQueueNums=4",
            &format!("flushDiskType={}", self.flush),
        ];
        let ports = (self.namesrv_port, self.broker_port);
        let command = standalone_command(self.directory.path(), ports, &settings);
        Server::start(command, self.directory.path(), &format!("run-{run}"))
    }

    fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.broker_port)
    }

    fn write(&self, run: u64) -> anyhow::Result<Vec<JoinHandle<anyhow::Result<Written>>>> {
        let start = |writer| {
            let broker = self.broker();
            let write = move || write_until_killed(&broker, run, writer);
            Ok(thread::Builder::new()
                .name(format!("writer-{writer}"))
                .spawn(write)?)
        };
        (0..WRITERS).map(start).collect()
    }

    /// Everything acknowledged is at its place; places have no gap, and no message has two.
    fn check(&self, acknowledged: &Acknowledged) -> anyhow::Result<()> {
        let mut connection = RawConnection::open(&self.broker())?;
        let mut bodies = HashSet::new();
        for queue_id in 0..QUEUES as i32 {
            let end = wait_for_end(&mut connection, queue_id, acknowledged)?;
            let messages = read_queue(&mut connection, queue_id, end)?;
            for (number, body) in (0..).zip(&messages) {
                let place = Place {
                    queue_id,
                    queue_offset: number,
                };
                anyhow::ensure!(
                    bodies.insert(body.clone()),
                    "{body} is there twice, again at {place:?}"
                );
                if let Some(expected) = acknowledged.get(&place) {
                    anyhow::ensure!(body == expected, "{place:?} holds {body}, not {expected}");
                }
            }
        }
        let missing = acknowledged.values().find(|body| !bodies.contains(*body));
        anyhow::ensure!(missing.is_none(), "acknowledged and gone: {missing:?}");
        for body in acknowledged.values().step_by(acknowledged.len() / 100 + 1) {
            by_key(&mut connection, body)?;
        }
        Ok(())
    }
}

/// Sends windows of requests until the connection breaks; the places of what was acknowledged.
fn write_until_killed(broker: &str, run: u64, writer: u64) -> anyhow::Result<Written> {
    let mut acknowledged = Vec::new();
    let Ok(mut connection) = RawConnection::open(broker) else {
        return Ok(acknowledged);
    };
    for window in 0.. {
        let mut under_way = HashMap::new();
        for number in window * WINDOW..(window + 1) * WINDOW {
            let body = format!("message-{run}-{writer}-{number}");
            if connection.send(&send_request(number, &body)).is_err() {
                break;
            }
            under_way.insert(i64::try_from(number)?, body);
        }
        while !under_way.is_empty() {
            let Ok(answer) = connection.receive() else {
                return Ok(acknowledged);
            };
            let body = under_way
                .remove(&answer.opaque)
                .context("an answer to nothing")?;
            anyhow::ensure!(answer.code == 0, "{body}: {answer:?}");
            acknowledged.push((place_in(&answer)?, body));
        }
    }
    Ok(acknowledged)
}

fn send_request(number: u64, body: &str) -> Vec<u8> {
    let queue_id = (number % QUEUES).to_string();
    // Bodies of all sizes up to some pages, so that records lie across pages in every way.
    let filler = "x".repeat((number * 37 % 3_000) as usize);
    let properties = format!("KEYS\u{1}{body}\u{2}");
    let fields = [
        ("a", "killed-producer"),
        ("b", TOPIC),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", queue_id.as_str()),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties.as_str()),
    ];
    let body = format!("{body} {filler}");
    wire::request(SEND_MESSAGE_V2, number as i32, &fields, body.as_bytes())
}

fn place_in(answer: &wire::Answer) -> anyhow::Result<Place> {
    let field = |name: &str| {
        answer.fields[name]
            .as_str()
            .context("a place in the answer")
    };
    Ok(Place {
        queue_id: field("queueId")?.parse()?,
        queue_offset: field("queueOffset")?.parse()?,
    })
}

/// Queues are written behind the log: waits until the acknowledged messages can be seen.
fn wait_for_end(
    connection: &mut RawConnection,
    queue_id: i32,
    acknowledged: &Acknowledged,
) -> anyhow::Result<i64> {
    let last = acknowledged
        .keys()
        .rfind(|place| place.queue_id == queue_id);
    let least = last.map_or(0, |last| last.queue_offset + 1);
    let queue_id = queue_id.to_string();
    let fields = [("topic", TOPIC), ("queueId", queue_id.as_str())];
    wait_for("the acknowledged messages", Duration::from_secs(10), || {
        let answer = connection.call(GET_MAX_OFFSET, &fields, b"")?;
        let end: i64 = answer.fields["offset"]
            .as_str()
            .context("an offset")?
            .parse()?;
        Ok((end >= least).then_some(end))
    })
}

/// All messages of a queue, in order; each must carry the number at which it is found.
fn read_queue(
    connection: &mut RawConnection,
    queue_id: i32,
    end: i64,
) -> anyhow::Result<Vec<String>> {
    let mut messages = Vec::new();
    while (messages.len() as i64) < end {
        let answer = pull(connection, queue_id, messages.len() as i64)?;
        let mut rest = answer.body.as_slice();
        while !rest.is_empty() {
            let view = record::check(rest, CheckBody::Crc)?;
            anyhow::ensure!(
                view.queue_offset == messages.len() as i64,
                "{view:?} out of place"
            );
            let body = std::str::from_utf8(view.body)?;
            messages.push(body.split(' ').next().unwrap_or_default().to_owned());
            rest = rest.get(view.record_bytes..).context("a whole record")?;
        }
    }
    Ok(messages)
}

fn pull(
    connection: &mut RawConnection,
    queue_id: i32,
    offset: i64,
) -> anyhow::Result<wire::Answer> {
    let (queue_id, offset) = (queue_id.to_string(), offset.to_string());
    let fields = [
        ("consumerGroup", "killed-consumer"),
        ("topic", TOPIC),
        ("queueId", queue_id.as_str()),
        ("queueOffset", offset.as_str()),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
    ];
    let answer = connection.call(PULL_MESSAGE, &fields, b"")?;
    anyhow::ensure!(answer.code == 0, "queue {queue_id} at {offset}: {answer:?}");
    Ok(answer)
}

fn by_key(connection: &mut RawConnection, key: &str) -> anyhow::Result<()> {
    let fields = [
        ("topic", TOPIC),
        ("key", key),
        ("maxNum", "8"),
        ("beginTimestamp", "0"),
        ("endTimestamp", "9999999999999"),
    ];
    let answer = connection.call(QUERY_MESSAGE, &fields, b"")?;
    let view = record::check(&answer.body, CheckBody::Crc)
        .with_context(|| format!("{key}: {answer:?}"))?;
    anyhow::ensure!(view.body.starts_with(key.as_bytes()), "{key}: {view:?}");
    anyhow::ensure!(
        view.record_bytes == answer.body.len(),
        "{key} is found twice"
    );
    Ok(())
}

/// Xorshift: the moments of the kills need no better one.
struct Random(u64);

impl Random {
    fn from_environment() -> Self {
        let given = std::env::var(SEED_VARIABLE)
            .ok()
            .and_then(|seed| seed.parse().ok());
        Self(given.unwrap_or(u64::from(std::process::id()) | 1))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
