//! Messages that wait for a time of their own, or at a delay level: each comes once, and not early, whichever broker
//! runs then.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::requests::{self, Outgoing, Pulled};
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::RawConnection;

use super::{Life, Maker, PATIENCE, now_ms};

const TOPIC: &str = "Timed";
/// The first come before the move, some become due during it, most come after it.
const TIMERS: i64 = 62;
const FIRST_MS: i64 = 2_500;
const SPACING_MS: i64 = 500;
/// Java counts in seconds.
const JAVA_EARLY_MS: i64 = 1_000;
const DELAYED: &str = "Delayed";
/// Those that the settings have, and how far apart they are.
const LEVELS: i64 = 17;
const LEVEL_MS: i64 = 2_000;
/// What comes twice comes soon.
const AGAIN: Duration = Duration::from_millis(1_500);

/// When each message is due, by its body.
pub(super) struct Waiting {
    timers: BTreeMap<String, i64>,
    delayed: BTreeMap<String, i64>,
}

impl Waiting {
    pub(super) fn prepare(connection: &mut RawConnection) -> anyhow::Result<Self> {
        let mut waiting = Self {
            timers: BTreeMap::new(),
            delayed: BTreeMap::new(),
        };
        for level in (2..=LEVELS).step_by(3) {
            let (body, level_text) = (format!("level {level}"), level.to_string());
            let message = Outgoing {
                topic: DELAYED,
                body: &body,
                properties: &[("DELAY", &level_text)],
                ..Outgoing::default()
            };
            let due_ms = now_ms() + level * LEVEL_MS;
            requests::send(connection, &message)?;
            waiting.delayed.insert(body, due_ms);
        }
        let first_due_ms = now_ms() + FIRST_MS;
        for number in 0..TIMERS {
            let due_ms = first_due_ms + number * SPACING_MS;
            let (body, due_text) = (number.to_string(), due_ms.to_string());
            let message = Outgoing {
                topic: TOPIC,
                body: &body,
                properties: &[("TIMER_DELIVER_MS", &due_text)],
                ..Outgoing::default()
            };
            requests::send(connection, &message)?;
            waiting.timers.insert(body, due_ms);
        }
        Ok(waiting)
    }

    /// Until this broker has delivered some.
    pub(super) fn see_some(connection: &mut RawConnection) -> anyhow::Result<()> {
        let before = requests::max_offset(connection, TOPIC, 0)?;
        wait_for("some timers", PATIENCE, || {
            let end = requests::max_offset(connection, TOPIC, 0)?;
            Ok((end == TIMERS || end >= before + 3).then_some(()))
        })
    }

    pub(super) fn check(
        &self,
        connection: &mut RawConnection,
        lives: &[Life],
    ) -> anyhow::Result<()> {
        let last_due_ms = self.timers.values().max().context("one at least")?;
        let left_ms = u64::try_from((last_due_ms - now_ms()).max(0))?;
        thread::sleep(Duration::from_millis(left_ms));
        check_topic(connection, TOPIC, &self.timers, lives)?;
        check_topic(connection, DELAYED, &self.delayed, lives)
    }
}

fn check_topic(
    connection: &mut RawConnection,
    topic: &str,
    due: &BTreeMap<String, i64>,
    lives: &[Life],
) -> anyhow::Result<()> {
    wait_for("all of them", PATIENCE, || {
        let came = requests::pull_all(connection, topic, 0, due.len(), PATIENCE)?;
        let bodies: BTreeSet<&str> = came.iter().map(|one| one.body.as_str()).collect();
        Ok((bodies.len() == due.len()).then_some(()))
    })?;
    thread::sleep(AGAIN);
    let came = requests::pull_all(connection, topic, 0, due.len(), PATIENCE)?;
    let mut first: BTreeMap<&str, &Pulled> = BTreeMap::new();
    let mut wrong = Vec::new();
    for one in &came {
        let due_ms = due.get(&one.body).context("a message of this test")?;
        let late_ms = one.store_timestamp - due_ms;
        let life = life_at(lives, one.store_timestamp).context("a broker lived then")?;
        eprintln!("{topic} {}: {late_ms} ms late, {:?}", one.body, life.maker);
        let early_ms = match life.maker {
            Maker::Java => JAVA_EARLY_MS,
            Maker::Ours => 0,
        };
        if late_ms < -early_ms {
            wrong.push(format!("{} came {late_ms} ms late", one.body));
        }
        let before = first.insert(&one.body, one);
        if before.is_some_and(|before| !may_come_again(topic, before, one, lives)) {
            wrong.push(format!("{} came twice: {before:?}, {one:?}", one.body));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

fn life_at(lives: &[Life], time_ms: i64) -> Option<&Life> {
    lives.iter().find(|life| time_ms <= life.ended_ms)
}

/// What a broker delivered shortly before a kill, and did not note yet, comes again from Java's; ours finds timers that
/// were delivered.
fn may_come_again(topic: &str, before: &Pulled, again: &Pulled, lives: &[Life]) -> bool {
    const NOTED_MS: i64 = 5_000;
    lives.windows(2).any(|lives| {
        let [killed, next] = lives else { return false };
        let shortly_before = killed.ended_ms - NOTED_MS..=killed.ended_ms;
        killed.is_killed
            && (next.maker == Maker::Java || topic == DELAYED)
            && shortly_before.contains(&before.store_timestamp)
            && again.store_timestamp > killed.ended_ms
    })
}
