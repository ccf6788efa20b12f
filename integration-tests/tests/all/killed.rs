//! A broker under load that is killed again and again: what it acknowledged is there, once, at the number it named.
//!
//! SIGKILL takes the process and leaves the page cache, so that even with an asynchronous flush nothing may be missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::requests;
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::{self, RawConnection};
use thrustmq_proto_compat::message::record::{self, CheckBody};

const KILLS: u64 = 50;
const WRITERS: u64 = 4;
const QUEUES: u64 = 4;
/// Requests that a writer has under way at one time.
const WINDOW: u64 = 32;
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers at least before a kill, on a slow machine too: most kills come later.
const ANSWERS_MIN: usize = 2 * WINDOW as usize;
const TOPIC: &str = "Killed";
const SEED_VARIABLE: &str = "THRUSTMQ_KILL_SEED";

const SEND_MESSAGE_V2: i32 = 310;
const QUERY_MESSAGE: i32 = 12;

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
    let mut settings = SETTINGS.to_vec();
    let flush_setting = format!("flushDiskType={flush}");
    settings.push(&flush_setting);
    let mut victim = Victim::new(&settings)?;
    let mut acknowledged = Acknowledged::new();
    for run in 0..KILLS {
        victim.spawn()?;
        // One in five dies while it starts, perhaps while it recovers from the kill before.
        if run % 5 == 4 {
            thread::sleep(Duration::from_millis(random.below(40)));
            victim.kill()?;
            continue;
        }
        victim.server()?.wait_for_log("ready after")?;
        let answers = Arc::new(AtomicUsize::new(0));
        let writers = write(&victim, run, &answers)?;
        thread::sleep(Duration::from_millis(50 + random.below(250)));
        wait_for("some answers", PATIENCE, || {
            Ok((answers.load(Ordering::Relaxed) >= ANSWERS_MIN).then_some(()))
        })?;
        victim.kill()?;
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
    victim.start()?;
    check(&victim, &acknowledged)?;
    eprintln!(
        "{flush}: {} messages acknowledged over {KILLS} kills",
        acknowledged.len()
    );
    anyhow::ensure!(acknowledged.len() > 1_000, "hardly any load");
    victim.stop(&[])
}

// Small files, so that kills come at their borders too.
const SETTINGS: &[&str] = &[
    "mappedFileSizeCommitLog=1048576",
    "mappedFileSizeConsumeQueue=20000",
    "maxHashSlotNum=1000",
    "maxIndexNum=5000",
    "defaultTopicQueueNums=4",
];

fn write(
    victim: &Victim,
    run: u64,
    answers: &Arc<AtomicUsize>,
) -> anyhow::Result<Vec<JoinHandle<anyhow::Result<Written>>>> {
    let start = |writer| {
        let (broker, answers) = (victim.broker(), Arc::clone(answers));
        let write = move || write_until_killed(&broker, run, writer, &answers);
        Ok(thread::Builder::new()
            .name(format!("writer-{writer}"))
            .spawn(write)?)
    };
    (0..WRITERS).map(start).collect()
}

/// Everything acknowledged is at its place; places have no gap, and no message has two.
fn check(victim: &Victim, acknowledged: &Acknowledged) -> anyhow::Result<()> {
    let mut connection = victim.connect()?;
    let mut bodies = HashSet::new();
    for queue_id in 0..QUEUES as i32 {
        let messages = read_queue(&mut connection, queue_id, acknowledged)?;
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

/// Sends windows of requests until the connection breaks; the places of what was acknowledged.
fn write_until_killed(
    broker: &str,
    run: u64,
    writer: u64,
    answers: &AtomicUsize,
) -> anyhow::Result<Written> {
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
            answers.fetch_add(1, Ordering::Relaxed);
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

/// All messages of a queue, in order; each must carry the number at which it is found.
fn read_queue(
    connection: &mut RawConnection,
    queue_id: i32,
    acknowledged: &Acknowledged,
) -> anyhow::Result<Vec<String>> {
    let last = acknowledged
        .keys()
        .rfind(|place| place.queue_id == queue_id);
    let least = last.map_or(0, |last| last.queue_offset + 1);
    let pulled = requests::pull_all(
        connection,
        TOPIC,
        queue_id,
        usize::try_from(least)?,
        PATIENCE,
    )?;
    let mut messages = Vec::new();
    for (number, message) in (0..).zip(pulled) {
        anyhow::ensure!(
            message.queue_offset == number,
            "{message:?} is out of place"
        );
        messages.push(
            message
                .body
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    Ok(messages)
}

fn by_key(connection: &mut RawConnection, key: &str) -> anyhow::Result<()> {
    let fields = [
        ("topic", TOPIC),
        ("key", key),
        ("maxNum", "8"),
        ("beginTimestamp", "0"),
        ("endTimestamp", "9999999999999"),
    ];
    // The index comes behind the queues.
    let answer = wait_for("the key", PATIENCE, || {
        let answer = connection.call(QUERY_MESSAGE, &fields, b"")?;
        Ok((!answer.body.is_empty()).then_some(answer))
    })
    .with_context(|| key.to_owned())?;
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
