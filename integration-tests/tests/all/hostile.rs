//! Clients that take without giving: the broker stays level, and whoever is beside them is served as before.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::{self, RawConnection};
use thrustmq_proto_compat::clock::Clock;

const PULL_MESSAGE: i32 = 11;
const HEART_BEAT: i32 = 34;
const GET_CONSUMER_LIST_BY_GROUP: i32 = 38;
const POP_MESSAGE: i32 = 200_050;
const TOPIC: &str = "Crowded";
/// How much more anonymous memory than at rest, kibibytes. A debug build's allocator keeps some of what it had.
const GROWTH_KIB_MAX: u64 = 48 * 1024;
/// Message bodies of this size make what is not read add up.
const BODY_BYTES: usize = 16 * 1024;
/// A round may take this long beside trouble, and ten times as long as before or after it: other tests run at the same
/// time. One that is held up waits for seconds.
const ROUND_MS_ALLOWED: i64 = 200;
/// How many messages a topic is filled with: one pull of 32 is half a mebibyte.
const MESSAGES: usize = 64;

/// What the broker's process holds.
#[derive(Debug)]
struct Level {
    anonymous_kib: u64,
    threads: u64,
    files: usize,
}

impl Level {
    fn of(cluster: &mut Cluster) -> anyhow::Result<Self> {
        let id = cluster.server("standalone")?.id();
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let number = |key: &str| -> anyhow::Result<u64> {
            let line = status.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| line.split_whitespace().nth(1));
            Ok(value.with_context(|| key.to_owned())?.parse()?)
        };
        Ok(Self {
            anonymous_kib: number("RssAnon:")?,
            threads: number("Threads:")?,
            files: fs::read_dir(format!("/proc/{id}/fd"))?.count(),
        })
    }
}

/// Waits until the broker is as it was before: files and threads but for a few, memory but for what is allowed.
fn wait_until_level(cluster: &mut Cluster, before: &Level) -> anyhow::Result<()> {
    let mut now = Level::of(cluster)?;
    let waited = wait_for("the broker to be level", Duration::from_secs(60), || {
        now = Level::of(cluster)?;
        let is_level = now.anonymous_kib <= before.anonymous_kib + GROWTH_KIB_MAX
            && now.threads <= before.threads + 8
            && now.files <= before.files + 32;
        Ok(is_level.then_some(()))
    });
    eprintln!("before {before:?}, now {now:?}");
    waited.with_context(|| format!("before {before:?}, now {now:?}"))
}

/// A producer and consumer that mind their own business: a message goes out and comes back, again and again.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<i64>>>,
}

impl Neighbour {
    fn start(broker: String) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let builder = thread::Builder::new().name("neighbour".to_owned());
        let thread = builder.spawn(move || {
            let clock = Clock::system();
            let mut connection = RawConnection::open(&broker)?;
            let mut took = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                let begin_ms = clock.now_ms();
                send(&mut connection, "Quiet", "hello")?;
                let pulled = requests::pull(&mut connection, "Quiet", 0, 0)?;
                anyhow::ensure!(pulled.len() <= 32, "a pull has its limit");
                took.push(clock.now_ms() - begin_ms);
                thread::sleep(Duration::from_millis(5));
            }
            Ok(took)
        })?;
        Ok(Self { stop, thread })
    }

    /// The median time of a round, milliseconds.
    fn stop(self) -> anyhow::Result<i64> {
        self.stop.store(true, Ordering::Release);
        let mut took = self
            .thread
            .join()
            .map_err(|_| anyhow::anyhow!("the neighbour panicked"))??;
        took.sort_unstable();
        took.get(took.len() / 2)
            .copied()
            .context("the neighbour had no round")
    }
}

/// How long a neighbour's round takes now, without any trouble.
fn quiet_round_ms(cluster: &Cluster) -> anyhow::Result<i64> {
    let quiet = Neighbour::start(cluster.broker(0))?;
    thread::sleep(Duration::from_millis(500));
    quiet.stop()
}

/// Runs `trouble` with a neighbour beside it, whose rounds must keep their order of magnitude, and waits for calm.
fn beside_a_neighbour(
    cluster: &mut Cluster,
    trouble: impl FnOnce(&mut Cluster) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let quiet_ms = quiet_round_ms(cluster)?;
    let before = Level::of(cluster)?;
    let busy = Neighbour::start(cluster.broker(0))?;
    let outcome = trouble(cluster);
    let busy_ms = busy.stop()?;
    outcome?;
    let quiet_ms = quiet_ms.max(quiet_round_ms(cluster)?);
    eprintln!("a round took {quiet_ms} ms, beside trouble {busy_ms} ms");
    anyhow::ensure!(
        busy_ms <= quiet_ms * 10 + ROUND_MS_ALLOWED,
        "a round took {quiet_ms} ms before or after, and {busy_ms} ms beside trouble"
    );
    wait_until_level(cluster, &before)
}

fn send(connection: &mut RawConnection, topic: &str, body: &str) -> anyhow::Result<()> {
    let message = Outgoing {
        topic,
        body,
        ..Outgoing::default()
    };
    requests::send(connection, &message).map(|_| ())
}

fn fill(cluster: &Cluster) -> anyhow::Result<()> {
    let mut connection = RawConnection::open(&cluster.broker(0))?;
    let body = "x".repeat(BODY_BYTES);
    for _ in 0..MESSAGES {
        send(&mut connection, TOPIC, &body)?;
    }
    Ok(())
}

/// A pull by `group` from `offset` on; it waits for messages if `suspend_ms` is not 0.
fn pull_frame(opaque: i32, group: &str, offset: usize, suspend_ms: u32) -> Vec<u8> {
    let (offset, suspend) = (offset.to_string(), suspend_ms.to_string());
    let fields = [
        ("consumerGroup", group),
        ("topic", TOPIC),
        ("queueId", "0"),
        ("queueOffset", offset.as_str()),
        ("maxMsgNums", "32"),
        ("sysFlag", if suspend_ms > 0 { "6" } else { "4" }),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", suspend.as_str()),
        ("subscription", "*"),
        ("subVersion", "0"),
    ];
    wire::request(PULL_MESSAGE, opaque, &fields, b"")
}

fn heartbeat(connection: &mut RawConnection, group: &str) -> anyhow::Result<()> {
    let body = format!(
        r#"{{"clientID":"client-of-{group}","consumerDataSet":[{{"groupName":"{group}","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[{{"topic":"{TOPIC}","subString":"*","subVersion":1,"expressionType":"TAG"}}]}}],"producerDataSet":[]}}"#
    );
    let answer = connection.call(HEART_BEAT, &[], body.as_bytes())?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// Asks for half a mebibyte again and again and reads nothing of it.
#[test]
fn a_consumer_that_stops_reading() -> anyhow::Result<()> {
    let mut cluster = Cluster::standalone(&[])?;
    fill(&cluster)?;
    beside_a_neighbour(&mut cluster, |cluster| {
        let mut deaf = Vec::new();
        for _ in 0..8 {
            let mut connection = RawConnection::open(&cluster.broker(0))?;
            connection.set_timeout(Duration::from_millis(200))?;
            // 32 GiB of answers each, if the broker made them; it stops reading instead, or closes.
            let requests: Vec<u8> = (0..64).flat_map(|n| pull_frame(n, "deaf", 0, 0)).collect();
            let held_back = (0..1000).any(|_| connection.send(&requests).is_err());
            anyhow::ensure!(
                held_back,
                "the broker reads on from a client that reads nothing"
            );
            deaf.push(connection);
        }
        let level = Level::of(cluster)?;
        eprintln!("with all of them deaf {level:?}");
        thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    // A client that does not read is cut off some time after: that may be told.
    cluster.stop(&["connection closed"])
}

/// Takes everything as fast as it can, holds pulls open, and never says how far it is.
#[test]
fn a_consumer_that_never_commits() -> anyhow::Result<()> {
    let mut cluster = Cluster::standalone(&[])?;
    fill(&cluster)?;
    beside_a_neighbour(&mut cluster, |cluster| {
        let mut greedy = RawConnection::open(&cluster.broker(0))?;
        heartbeat(&mut greedy, "greedy")?;
        for round in 0..200 {
            greedy.send(&pull_frame(
                round,
                "greedy",
                usize::try_from(round)? % 32,
                0,
            ))?;
            let answer = greedy.receive()?;
            anyhow::ensure!(answer.code == 0, "{answer:?}");
        }
        // Then it waits at the end, a hundred times over, and what comes goes to each.
        for opaque in 0..100 {
            greedy.send(&pull_frame(opaque, "greedy", MESSAGES, 15_000))?;
        }
        let mut producer = RawConnection::open(&cluster.broker(0))?;
        send(&mut producer, TOPIC, "new")?;
        for _ in 0..100 {
            let answer = greedy.receive()?;
            anyhow::ensure!(answer.code == 0 && !answer.body.is_empty(), "{answer:?}");
        }
        Ok(())
    })?;
    let mut connection = RawConnection::open(&cluster.broker(0))?;
    let committed = requests::committed(&mut connection, "greedy", TOPIC, 0)?;
    anyhow::ensure!(committed.is_none(), "it never said {committed:?}");
    cluster.stop(&[])
}

/// Takes messages on lease as often as it can and acknowledges none: each is leased once, and others get theirs.
#[test]
fn a_consumer_that_never_acknowledges() -> anyhow::Result<()> {
    let mut cluster = Cluster::standalone(&[])?;
    fill(&cluster)?;
    beside_a_neighbour(&mut cluster, |cluster| {
        let mut connection = RawConnection::open(&cluster.broker(0))?;
        for group in ["taker", "other"] {
            heartbeat(&mut connection, group)?;
            let mut leased = Vec::new();
            wait_for("all messages on lease", Duration::from_secs(60), || {
                leased.extend(pop(&mut connection, group)?);
                Ok((leased.len() >= MESSAGES).then_some(()))
            })?;
            for _ in 0..200 {
                leased.extend(pop(&mut connection, group)?);
            }
            anyhow::ensure!(leased.len() == MESSAGES, "{group} has {leased:?}");
        }
        Ok(())
    })?;
    cluster.stop(&[])
}

/// The offsets of what one pop gives, without waiting.
fn pop(connection: &mut RawConnection, group: &str) -> anyhow::Result<Vec<i64>> {
    let fields = [
        ("consumerGroup", group),
        ("topic", TOPIC),
        ("queueId", "0"),
        ("maxMsgNums", "32"),
        ("invisibleTime", "60000"),
        ("pollTime", "0"),
        ("bornTime", "0"),
        ("initMode", "0"),
        ("expType", "TAG"),
        ("exp", "*"),
    ];
    let answer = connection.call(POP_MESSAGE, &fields, b"")?;
    let found = requests::records(&answer.body)?;
    Ok(found.iter().map(|message| message.queue_offset).collect())
}

/// Some say nothing, some half a frame, some ask and are gone before the answer, some have a group.
#[test]
fn two_thousand_connections_that_come_and_leave() -> anyhow::Result<()> {
    let mut cluster = Cluster::standalone(&[])?;
    fill(&cluster)?;
    beside_a_neighbour(&mut cluster, |cluster| {
        let broker = cluster.broker(0);
        let whole = pull_frame(1, "passing", 0, 0);
        let waiting = pull_frame(2, "passing", MESSAGES, 15_000);
        for batch in 0..20 {
            let mut connections = Vec::new();
            for number in 0..100 {
                let mut connection = RawConnection::open(&broker)?;
                match number % 5 {
                    0 => {}
                    1 => connection.send(&whole[..whole.len() / 2])?,
                    2 => connection.send(&whole)?,
                    3 => connection.send(&waiting)?,
                    _ => heartbeat(&mut connection, &format!("passing-{}", batch % 4))?,
                }
                connections.push(connection);
            }
        }
        Ok(())
    })?;
    // Whoever left is no member any more.
    let mut connection = RawConnection::open(&cluster.broker(0))?;
    wait_for("the groups to be empty", Duration::from_secs(60), || {
        let fields = [("consumerGroup", "passing-0")];
        let answer = connection.call(GET_CONSUMER_LIST_BY_GROUP, &fields, b"")?;
        Ok((answer.code == 1).then_some(()))
    })?;
    cluster.stop(&["connection closed"])
}

/// Each with a client of its own that waits for the next message: each gets it.
#[test]
fn five_hundred_groups_of_one_topic() -> anyhow::Result<()> {
    const GROUPS: usize = 500;
    let mut cluster = Cluster::standalone(&[])?;
    fill(&cluster)?;
    beside_a_neighbour(&mut cluster, |cluster| {
        let mut members = Vec::new();
        for number in 0..GROUPS {
            let mut member = RawConnection::open(&cluster.broker(0))?;
            let group = format!("group-{number}");
            heartbeat(&mut member, &group)?;
            members.push((group, member));
        }
        let mut producer = RawConnection::open(&cluster.broker(0))?;
        for round in 0..3 {
            for (group, member) in &mut members {
                member.send(&pull_frame(7, group, MESSAGES + round, 15_000))?;
            }
            send(&mut producer, TOPIC, &format!("round {round}"))?;
            for (group, member) in &mut members {
                let mut answer = member.receive()?;
                while answer.is_request {
                    answer = member.receive()?;
                }
                let found = requests::records(&answer.body)?;
                let [message] = found.as_slice() else {
                    anyhow::bail!("{group}: {answer:?}");
                };
                anyhow::ensure!(
                    message.body == format!("round {round}"),
                    "{group}: {message:?}"
                );
            }
        }
        for (group, member) in &mut members {
            requests::commit(member, group, TOPIC, 0, i64::try_from(MESSAGES + 3)?)?;
        }
        Ok(())
    })?;
    let mut connection = RawConnection::open(&cluster.broker(0))?;
    let committed = requests::committed(&mut connection, "group-499", TOPIC, 0)?;
    anyhow::ensure!(
        committed == Some(i64::try_from(MESSAGES + 3)?),
        "{committed:?}"
    );
    cluster.stop(&[])
}
