//! Messages popped from one broker: acknowledged there, or later, or not at all; and some that nobody popped.

use std::collections::BTreeMap;

use anyhow::Context;
use thrustmq_integration_tests::popping::{self, Pop, Popped};
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::RawConnection;

use super::{BROKER, PATIENCE, now_ms, send};

const GROUP: &str = "lease-group";
const POPPED: usize = 24;
const POPPED_AT_ONCE: u32 = 4;
/// Java brings an acknowledgement to its lease so long before that is due at the latest.
const ACKNOWLEDGED_BEFORE_MS: i64 = 3_000;

/// What a change adds to a lease.
const LONGER_MS: i64 = 1_000;
/// A lease of what is acknowledged at once.
const AGAIN_MS: i64 = 60_000;

/// Those that nobody acknowledged yet.
pub(super) struct Leases {
    topic: String,
    /// To be acknowledged later.
    open: Vec<Popped>,
    /// When each comes that was not acknowledged, by its body.
    awaited: BTreeMap<String, i64>,
    /// One of those, whose lease each broker makes longer.
    lengthened: Popped,
    /// Acknowledged, and maybe too late.
    late: Vec<String>,
    /// On a slow machine some were due before the last broker came. If the one before gave such a message again and
    /// was killed, it may come twice.
    some_were_due: bool,
}

impl Leases {
    pub(super) fn prepare(
        connection: &mut RawConnection,
        life: usize,
        due_ms: i64,
    ) -> anyhow::Result<Self> {
        let topic = format!("Leased{life}");
        for number in 0..POPPED {
            send(connection, &topic, &number.to_string())?;
        }
        let mut popped = Vec::new();
        wait_for("leases", PATIENCE, || {
            popped.extend(pop(connection, &topic, due_ms - now_ms())?);
            Ok((popped.len() >= POPPED).then_some(()))
        })?;
        let lengthened = popped.last().context("a lease")?.clone();
        let mut leases = Self {
            topic,
            lengthened,
            open: Vec::new(),
            awaited: BTreeMap::new(),
            late: Vec::new(),
            some_were_due: false,
        };
        for unseen in ["24", "25"] {
            send(connection, &leases.topic, unseen)?;
            leases.awaited.insert(unseen.to_owned(), 0);
        }
        for (number, message) in popped.into_iter().enumerate() {
            match number % 6 {
                0..=2 => acknowledge(connection, &message)?,
                3 | 4 => leases.open.push(message),
                _ => {
                    leases.awaited.insert(message.body, message.due_ms);
                }
            }
        }
        Ok(leases)
    }

    /// Acknowledges some, or all that are left.
    pub(super) fn acknowledge(
        &mut self,
        connection: &mut RawConnection,
        is_last: bool,
    ) -> anyhow::Result<()> {
        let now_ms = now_ms();
        let mut due = self.awaited.values();
        self.some_were_due |= due.any(|due_ms| (1..now_ms).contains(due_ms));
        let kept = if is_last { 0 } else { self.open.len() / 2 };
        if let Some(first) = self.open.first_mut() {
            lengthen(connection, first)?;
        }
        lengthen(connection, &mut self.lengthened)?;
        let Popped { body, due_ms, .. } = &self.lengthened;
        self.awaited.insert(body.clone(), *due_ms);
        for message in self.open.split_off(kept) {
            acknowledge(connection, &message)?;
            if is_late(&message) {
                eprintln!("{} is acknowledged late", message.body);
                self.late.push(message.body);
            }
        }
        Ok(())
    }

    /// Those on lease come when it ended, those that nobody popped come, and no others.
    pub(super) fn wait(&mut self, connection: &mut RawConnection) -> anyhow::Result<()> {
        wait_for("what was on lease", PATIENCE, || {
            self.take(connection)?;
            Ok(self.awaited.is_empty().then_some(()))
        })
        .with_context(|| format!("{} has not come: {:?}", self.topic, self.awaited))
    }

    /// Whatever comes now is awaited.
    pub(super) fn take(&mut self, connection: &mut RawConnection) -> anyhow::Result<()> {
        for message in pop(connection, &self.topic, AGAIN_MS)? {
            acknowledge(connection, &message)?;
            if self.late.contains(&message.body) {
                continue;
            }
            let Some(due_ms) = self.awaited.remove(&message.body) else {
                anyhow::ensure!(self.some_were_due, "not awaited: {message:?}");
                continue;
            };
            let late_ms = now_ms() - due_ms;
            eprintln!(
                "{} came from {}, {late_ms} ms late",
                message.body, message.topic
            );
            anyhow::ensure!(late_ms >= 0, "{message:?} came {late_ms} ms late");
        }
        Ok(())
    }
}

fn pop(
    connection: &mut RawConnection,
    topic: &str,
    invisible_ms: i64,
) -> anyhow::Result<Vec<Popped>> {
    let pop = Pop {
        group: GROUP,
        topic,
        max: POPPED_AT_ONCE,
        invisible_ms,
        poll_ms: 0,
    };
    let popped = popping::pop(connection, &pop)?;
    Ok(popped.into_iter().map(named).collect())
}

/// Unless it is too late for that.
fn lengthen(connection: &mut RawConnection, message: &mut Popped) -> anyhow::Result<()> {
    if !is_late(message) {
        let longer_ms = message.due_ms - now_ms() + LONGER_MS;
        let changed = popping::change(connection, GROUP, message, longer_ms)?;
        *message = named(changed.context("the lease is refused")?);
    }
    Ok(())
}

fn is_late(message: &Popped) -> bool {
    now_ms() + ACKNOWLEDGED_BEFORE_MS > message.due_ms
}

/// Java tells its leases apart by the name of the broker too.
fn named(message: Popped) -> Popped {
    let handle = message.handle.replace(" broker ", &format!(" {BROKER} "));
    Popped { handle, ..message }
}

fn acknowledge(connection: &mut RawConnection, message: &Popped) -> anyhow::Result<()> {
    let answer = popping::acknowledge(connection, GROUP, message)?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}
