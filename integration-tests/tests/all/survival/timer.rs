//! Messages with times of their own, spread over a while in which the broker is killed three times: each comes, once,
//! and not before its time.
//!
//! 600 messages over 3 s by default; THRUSTMQ_TIMERS and THRUSTMQ_TIMERS_SECONDS ask for other numbers. Memory and
//! lateness are printed: on busy machines any limit on times is a lie.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::requests;
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::{self, RawConnection};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::properties;

const TOPIC: &str = "Timed";
const QUEUES: i32 = 4;
const KILLS: i64 = 3;
/// On a busy machine no send is to be refused: this is about what comes out.
const SETTINGS: &[&str] = &["waitTimeMillsInSendQueue=60000"];
/// Requests under way at one time.
const WINDOW: usize = 128;
/// So many messages are sent within a second at least.
const SENDS_A_SECOND: i64 = 4_000;
const SEND_MESSAGE_V2: i32 = 310;
const SAMPLE_MS: i64 = 10_000;
/// Upper limits of the classes of lateness that are printed, milliseconds.
const CLASSES_MS: [i64; 10] = [1, 5, 10, 20, 50, 100, 200, 500, 1_000, i64::MAX];

#[test]
fn timers_survive_kills_and_come_once_and_not_early() -> anyhow::Result<()> {
    let count = number("THRUSTMQ_TIMERS", 600)?;
    let spread_ms = number("THRUSTMQ_TIMERS_SECONDS", 3)? * 1_000;
    let mut victim = Victim::new(SETTINGS)?;
    victim.start()?;
    let clock = Clock::system();
    let begin_ms = clock.now_ms();
    let first_ms = begin_ms + 2_000 + count * 1_000 / SENDS_A_SECOND;
    let due = |number: i64| first_ms + spread(number) % spread_ms;
    send_all(&victim, count, due)?;
    eprintln!("{count} sent in {} ms", clock.now_ms() - begin_ms);
    let mut watch = Watch::new(clock);
    for kill in 1..=KILLS {
        let at_ms = first_ms + spread_ms * kill / (KILLS + 1);
        watch.until(&mut victim, at_ms)?;
        let killed_ms = watch.clock.now_ms();
        victim.kill_and_start()?;
        let ready_ms = watch.clock.now_ms();
        eprintln!(
            "kill {kill}: serves again after {} ms",
            ready_ms - killed_ms
        );
        watch.down.push((killed_ms, ready_ms));
    }
    watch.until(&mut victim, first_ms + spread_ms)?;
    let mut connection = victim.connect()?;
    wait_for("all messages", Duration::from_secs(60), || {
        Ok((delivered(&mut connection)? >= count).then_some(()))
    })?;
    let lateness = check(&mut connection, count, due)?;
    watch.tell(&lateness);
    victim.stop(&[])
}

fn number(variable: &str, usual: i64) -> anyhow::Result<i64> {
    match std::env::var(variable) {
        Ok(number) => number.parse().context(variable.to_owned()),
        Err(_) => Ok(usual),
    }
}

/// A number that looks like chance.
fn spread(number: i64) -> i64 {
    let mixed = number
        .unsigned_abs()
        .wrapping_add(1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 16).cast_signed()
}

fn send_all(victim: &Victim, count: i64, due: impl Fn(i64) -> i64) -> anyhow::Result<()> {
    let mut connection = victim.connect()?;
    connection.set_timeout(Duration::from_secs(60))?;
    let clock = Clock::system();
    let numbers: Vec<i64> = (0..count).collect();
    for window in numbers.chunks(WINDOW) {
        let frames: Vec<u8> = window
            .iter()
            .flat_map(|number| request(*number, due(*number)))
            .collect();
        connection.send(&frames)?;
        for _ in window {
            let answer = connection.receive()?;
            anyhow::ensure!(answer.code == 0, "{answer:?}");
            // One that was due when it came is not kept, on a slow machine.
            let was_due = clock.now_ms() > due(answer.opaque);
            let is_kept = answer.fields["recallHandle"].is_string();
            anyhow::ensure!(is_kept || was_due, "{answer:?}");
        }
    }
    Ok(())
}

fn request(number: i64, due_ms: i64) -> Vec<u8> {
    let mut text = String::new();
    properties::push(&mut text, "UNIQ_KEY", &format!("timed-{number}"));
    properties::push(&mut text, "TIMER_DELIVER_MS", &due_ms.to_string());
    let queue_id = (number % i64::from(QUEUES)).to_string();
    let fields = [
        ("a", "timed-producer"),
        ("b", TOPIC),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", queue_id.as_str()),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", text.as_str()),
    ];
    wire::request(
        SEND_MESSAGE_V2,
        number as i32,
        &fields,
        number.to_string().as_bytes(),
    )
}

fn delivered(connection: &mut RawConnection) -> anyhow::Result<i64> {
    (0..QUEUES)
        .map(|queue| requests::max_offset(connection, TOPIC, queue))
        .sum()
}

/// How late a message was, and when it was due, milliseconds.
type Lateness = Vec<(i64, i64)>;

/// Every message is there once, and none was stored before its time.
fn check(
    connection: &mut RawConnection,
    count: i64,
    due: impl Fn(i64) -> i64,
) -> anyhow::Result<Lateness> {
    let mut copies: HashMap<i64, u32> = HashMap::new();
    let mut lateness = Lateness::new();
    for queue_id in 0..QUEUES {
        let mut offset = 0;
        loop {
            let messages = requests::pull(connection, TOPIC, queue_id, offset)?;
            let Some(last) = messages.last() else { break };
            offset = last.queue_offset + 1;
            for message in &messages {
                let number: i64 = message.body.parse()?;
                *copies.entry(number).or_default() += 1;
                let due_ms = due(number);
                lateness.push((message.store_timestamp - due_ms, due_ms));
            }
        }
    }
    let lost = (0..count)
        .filter(|number| !copies.contains_key(number))
        .count();
    let twice = copies.values().filter(|copies| **copies > 1).count();
    let early = lateness.iter().filter(|(late_ms, _)| *late_ms < 0).count();
    eprintln!("{count} messages: {lost} lost, {twice} twice, {early} early");
    anyhow::ensure!(lost == 0 && twice == 0 && early == 0);
    Ok(lateness)
}

/// What is printed.
struct Watch {
    clock: Clock,
    /// When there was no broker: from, to.
    down: Vec<(i64, i64)>,
    memory_kib_max: u64,
}

impl Watch {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            down: Vec::new(),
            memory_kib_max: 0,
        }
    }

    /// Waits for a time, and looks at the broker's memory meanwhile.
    fn until(&mut self, victim: &mut Victim, at_ms: i64) -> anyhow::Result<()> {
        loop {
            let memory_kib = anonymous_kib(victim)?;
            self.memory_kib_max = self.memory_kib_max.max(memory_kib);
            let now_ms = self.clock.now_ms();
            let left_ms = at_ms - now_ms;
            if left_ms <= 0 {
                return Ok(());
            }
            if left_ms > SAMPLE_MS {
                let mut connection = victim.connect()?;
                let came = delivered(&mut connection)?;
                eprintln!("{now_ms}: {memory_kib} KiB anonymous, {came} delivered");
            }
            thread::sleep(Duration::from_millis(left_ms.min(SAMPLE_MS).unsigned_abs()));
        }
    }

    fn tell(&self, lateness: &Lateness) {
        eprintln!("anonymous memory at most: {} KiB", self.memory_kib_max);
        let while_down = |due_ms: i64| {
            let is_in = |(from, to): &(i64, i64)| (*from..=*to).contains(&due_ms);
            self.down.iter().any(is_in)
        };
        let (down, up): (Lateness, Lateness) =
            lateness.iter().partition(|(_, due_ms)| while_down(*due_ms));
        tell("due while it ran", &up);
        tell("due while it was down or started", &down);
    }
}

fn tell(what: &str, lateness: &Lateness) {
    let latest = lateness
        .iter()
        .map(|(late_ms, _)| *late_ms)
        .max()
        .unwrap_or(0);
    eprintln!(
        "{what}: {} messages, at most {latest} ms late",
        lateness.len()
    );
    let mut from_ms = 0;
    for to_ms in CLASSES_MS {
        let class = |late_ms: &i64| (from_ms..to_ms).contains(late_ms);
        let messages = lateness
            .iter()
            .filter(|(late_ms, _)| class(late_ms))
            .count();
        eprintln!("  {from_ms} ms and more: {messages}");
        from_ms = to_ms;
    }
}

fn anonymous_kib(victim: &mut Victim) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", victim.server()?.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("RssAnon")?.parse()?)
}
