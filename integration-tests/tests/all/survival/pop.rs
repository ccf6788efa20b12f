//! Messages on lease under load, with a broker that is killed again and again: what was acknowledged does not come
//! again, what is on lease does not come before its time, and everything comes in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use thrustmq_integration_tests::popping::{self, Pop, Popped};
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wire::RawConnection;
use thrustmq_proto_compat::clock::Clock;

const TOPIC: &str = "Popped";
const GROUP: &str = "pop-group";
const KILLS: u64 = 6;
const POPPERS: u64 = 3;
const INVISIBLE_MS: i64 = 400;
/// In the end each is to be acknowledged in time, on a slow machine too.
const LAST_INVISIBLE_MS: i64 = 10_000;
/// What is sent in each round at least, on a slow machine too.
const SENT_MIN: u64 = 40;
/// An acknowledgement this long before its lease ends gets there in time.
const MARGIN_MS: i64 = 200;
const SEED_VARIABLE: &str = "THRUSTMQ_POP_SEED";
const SETTINGS: &[&str] = &["flushConsumerOffsetInterval=300", "defaultTopicQueueNums=4"];

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sent,
    /// It may come again from then on, milliseconds.
    OnLease(i64),
    /// The broker was told, and its answer did not come: both may be.
    Perhaps,
    Acknowledged,
}

/// Bodies and their fates; each popper has its own, as nobody knows more of a message than who has it.
type Fates = HashMap<String, Fate>;

#[test]
fn leases_survive() -> anyhow::Result<()> {
    let mut random = Random::from_environment();
    let mut victim = Victim::new(SETTINGS)?;
    victim.start()?;
    let first = Outgoing {
        topic: TOPIC,
        body: "first",
        ..Outgoing::default()
    };
    requests::send(&mut victim.connect()?, &first)?;
    let mut fates = Fates::from([(first.body.to_owned(), Fate::Sent)]);
    for round in 0..KILLS {
        let sent = Arc::new(AtomicU64::new(0));
        let writer = start_writer(&victim, round, &sent)?;
        let mut connection = victim.connect()?;
        let end_ms = now_ms() + 200 + random.below(400) as i64;
        let is_slow = || sent.load(Ordering::Relaxed) < SENT_MIN && !writer.is_finished();
        while now_ms() < end_ms || is_slow() {
            for _ in 0..POPPERS {
                step(&mut connection, &mut fates, &mut random)?;
            }
        }
        // Some requests are under way when it dies.
        let last = thread::Builder::new().name("last".into()).spawn(move || {
            let mut fates = fates;
            let mut random = Random(round | 1);
            let failure = loop {
                if let Err(error) = step(&mut connection, &mut fates, &mut random) {
                    break error;
                }
            };
            (fates, failure)
        })?;
        thread::sleep(Duration::from_millis(random.below(60)));
        victim.kill()?;
        let (known, failure) = last.join().map_err(|_| anyhow::anyhow!("a panic"))?;
        anyhow::ensure!(!failure.to_string().contains(VIOLATION), "{failure}");
        fates = known;
        for body in writer.join().map_err(|_| anyhow::anyhow!("a panic"))?? {
            fates.entry(body).or_insert(Fate::Sent);
        }
        victim.start()?;
    }
    finish(&victim, &mut fates)?;
    let acknowledged = fates.len();
    eprintln!("{acknowledged} messages over {KILLS} kills");
    anyhow::ensure!(acknowledged > 200, "hardly any load: {acknowledged}");
    victim.stop(&[])
}

const VIOLATION: &str = "that must not be";

/// One pop, and something done with each message of it.
fn step(
    connection: &mut RawConnection,
    fates: &mut Fates,
    random: &mut Random,
) -> anyhow::Result<()> {
    for message in pop(connection, fates, INVISIBLE_MS)? {
        match random.below(10) {
            0..=4 => acknowledge(connection, fates, &message)?,
            5 => change(connection, fates, &message, random)?,
            _ => {}
        }
    }
    Ok(())
}

fn pop(
    connection: &mut RawConnection,
    fates: &mut Fates,
    invisible_ms: i64,
) -> anyhow::Result<Vec<Popped>> {
    let wanted = Pop {
        group: GROUP,
        topic: TOPIC,
        max: 8,
        invisible_ms,
        poll_ms: 0,
    };
    let popped = popping::pop(connection, &wanted)?;
    let now_ms = now_ms();
    for message in &popped {
        let fate = fates.insert(message.body.clone(), Fate::OnLease(message.due_ms));
        let may_come = match fate {
            None | Some(Fate::Sent | Fate::Perhaps) => true,
            Some(Fate::OnLease(due_ms)) => due_ms <= now_ms,
            Some(Fate::Acknowledged) => false,
        };
        anyhow::ensure!(
            may_come,
            "{VIOLATION}: at {now_ms} came {message:?}, which was {fate:?}"
        );
    }
    Ok(popped)
}

fn acknowledge(
    connection: &mut RawConnection,
    fates: &mut Fates,
    message: &Popped,
) -> anyhow::Result<()> {
    if message.due_ms - now_ms() < MARGIN_MS {
        return Ok(());
    }
    fates.insert(message.body.clone(), Fate::Perhaps);
    let answer = popping::acknowledge(connection, GROUP, message)?;
    anyhow::ensure!(answer.code == 0, "{VIOLATION}: {answer:?}");
    // Where the machine stood still, the lease may have ended before.
    if message.due_ms > now_ms() {
        fates.insert(message.body.clone(), Fate::Acknowledged);
    }
    Ok(())
}

fn change(
    connection: &mut RawConnection,
    fates: &mut Fates,
    message: &Popped,
    random: &mut Random,
) -> anyhow::Result<()> {
    let invisible_ms = 100 + random.below(600) as i64;
    if message.due_ms - now_ms() < MARGIN_MS {
        return Ok(());
    }
    fates.insert(message.body.clone(), Fate::Perhaps);
    if let Some(changed) = popping::change(connection, GROUP, message, invisible_ms)? {
        fates.insert(message.body.clone(), Fate::OnLease(changed.due_ms));
        // The old handle names nothing any more.
        let answer = popping::acknowledge(connection, GROUP, message)?;
        anyhow::ensure!(answer.code == 0, "{VIOLATION}: {answer:?}");
    }
    Ok(())
}

/// Acknowledges until nothing is left.
fn finish(victim: &Victim, fates: &mut Fates) -> anyhow::Result<()> {
    let mut connection = victim.connect()?;
    let is_open = |fates: &Fates| {
        fates
            .values()
            .any(|fate| matches!(fate, Fate::Sent | Fate::OnLease(_)))
    };
    let end_ms = now_ms() + 60_000;
    while is_open(fates) && now_ms() < end_ms {
        for message in pop(&mut connection, fates, LAST_INVISIBLE_MS)? {
            acknowledge(&mut connection, fates, &message)?;
        }
    }
    let left = fates
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Sent | Fate::OnLease(_)));
    let left: Vec<_> = left.collect();
    anyhow::ensure!(
        left.is_empty(),
        "{} are lost: {:?}",
        left.len(),
        left.first()
    );
    Ok(())
}

type Writer = thread::JoinHandle<anyhow::Result<Vec<String>>>;

/// Sends until the broker is killed; the bodies that were taken.
fn start_writer(victim: &Victim, round: u64, sent: &Arc<AtomicU64>) -> anyhow::Result<Writer> {
    let (mut connection, sent) = (victim.connect()?, Arc::clone(sent));
    let write = move || {
        let mut taken = Vec::new();
        for number in 0_u64.. {
            let body = format!("{round}-{number}");
            let message = Outgoing {
                topic: TOPIC,
                queue_id: (number % 4) as i32,
                body: &body,
                ..Outgoing::default()
            };
            if requests::send(&mut connection, &message).is_err() {
                break;
            }
            taken.push(body);
            sent.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(2));
        }
        Ok(taken)
    };
    Ok(thread::Builder::new().name("writer".into()).spawn(write)?)
}

fn now_ms() -> i64 {
    Clock::system().now_ms()
}

struct Random(u64);

impl Random {
    fn from_environment() -> Self {
        let chosen = std::env::var(SEED_VARIABLE)
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed: u64 = chosen.unwrap_or_else(|| now_ms().unsigned_abs());
        eprintln!("{SEED_VARIABLE}={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
