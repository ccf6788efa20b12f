//! What waits goes on with the other broker: timers, delayed messages, leases, half messages, and what groups agreed on,
//! in a directory that one implementation leaves and the other opens, after a clean stop or a kill.

mod agreed;
mod halves;
mod leases;
mod waiting;

use std::thread;
use std::time::Duration;

use agreed::Agreed;
use halves::Halves;
use leases::Leases;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::toolchain;
use thrustmq_integration_tests::wire::RawConnection;
use thrustmq_proto_compat::clock::Clock;
use waiting::Waiting;

const BROKER: &str = "broker-a";
const PATIENCE: Duration = Duration::from_secs(120);
const SETTINGS: &[&str] = &[
    "mappedFileSizeCommitLog=1048576",
    "mappedFileSizeConsumeQueue=6000",
    "maxHashSlotNum=500",
    "maxIndexNum=400",
    "flushConsumerOffsetInterval=500",
    "flushDelayOffsetInterval=500",
    "messageDelayLevel=2s 4s 6s 8s 10s 12s 14s 16s 18s 20s 22s 24s 26s 28s 30s 32s 34s 1h",
    "enablePropertyFilter=true",
    "brokerFastFailureEnable=false",
    "timerWheelEnable=true",
    "transactionCheckInterval=600000",
    "transactionTimeOut=600000",
    "transactionOpBatchInterval=100",
];
/// Until the last broker is there with time to spare, on a slow machine too: Java takes 5 s to start, 10 to end.
const LEASED_MS: i64 = 33_000;
/// A lease at least.
const LEASED_MS_MIN: i64 = 15_000;
/// What happened so long before is on the disk, of either maker, ...
const PERSISTED_MS: i64 = 1_500;
/// ... but Java writes its offsets for the first time when it has run for so long.
const JAVA_PERSISTS_AFTER_MS: i64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    Ours,
    Java,
}

/// One broker on the directory.
struct Life {
    maker: Maker,
    is_killed: bool,
    ended_ms: i64,
}

const fn life(maker: Maker, is_killed: bool) -> Life {
    Life {
        maker,
        is_killed,
        ended_ms: i64::MAX,
    }
}

#[test]
fn what_waits_in_our_directory_goes_on_with_javas_and_with_ours_after_a_kill() -> anyhow::Result<()>
{
    hand_over([
        life(Maker::Ours, false),
        life(Maker::Java, true),
        life(Maker::Ours, false),
    ])
}

#[test]
fn what_waits_in_javas_directory_goes_on_with_ours_and_with_javas_after_a_kill()
-> anyhow::Result<()> {
    hand_over([
        life(Maker::Java, false),
        life(Maker::Ours, true),
        life(Maker::Java, false),
    ])
}

fn hand_over<const LIVES: usize>(mut lives: [Life; LIVES]) -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let mut cluster = Cluster::with_our_namesrv()?;
    cluster.set_broker_settings(SETTINGS);
    let mut left: Option<Left> = None;
    for number in 0..LIVES {
        let Life {
            maker, is_killed, ..
        } = lives[number];
        let is_last = number + 1 == LIVES;
        let asked_ms = now_ms();
        match maker {
            Maker::Ours => cluster.add_our_broker(BROKER)?,
            Maker::Java => cluster.add_java_broker(BROKER)?,
        }
        let there_ms = now_ms();
        eprintln!("{maker:?} is there after {} ms", there_ms - asked_ms);
        let mut connection = RawConnection::open(&cluster.broker(number))?;
        let left = match &mut left {
            None => left.insert(Left::prepare(&mut connection)?),
            Some(left) => {
                left.go_on(&mut connection, is_last)?;
                left
            }
        };
        if is_last {
            left.check(&mut connection, &lives)?;
            break;
        }
        left.pop_more(&mut connection, number)?;
        Waiting::see_some(&mut connection)?;
        let asked_ms = now_ms();
        if is_killed {
            // It is written every few seconds, and a kill may take it back.
            left.agreed = None;
            thread::sleep(until_persisted(maker, there_ms));
            cluster.kill(BROKER, &[])?;
        } else {
            cluster.terminate(BROKER, &[])?;
        }
        lives[number].ended_ms = now_ms();
        eprintln!("{maker:?} has ended after {} ms", now_ms() - asked_ms);
    }
    cluster.stop(&[])
}

fn until_persisted(maker: Maker, there_ms: i64) -> Duration {
    let begins_ms = match maker {
        Maker::Ours => there_ms,
        Maker::Java => there_ms + JAVA_PERSISTS_AFTER_MS,
    };
    let now_ms = now_ms();
    let until_ms = begins_ms.max(now_ms) + PERSISTED_MS;
    Duration::from_millis((until_ms - now_ms).unsigned_abs())
}

/// What each broker leaves to the next.
struct Left {
    waiting: Waiting,
    /// Of each broker but the last.
    leases: Vec<Leases>,
    halves: Halves,
    agreed: Option<Agreed>,
    leases_due_ms: i64,
}

impl Left {
    fn prepare(connection: &mut RawConnection) -> anyhow::Result<Self> {
        Ok(Self {
            agreed: Some(Agreed::prepare(connection)?),
            halves: Halves::prepare(connection)?,
            waiting: Waiting::prepare(connection)?,
            leases: Vec::new(),
            leases_due_ms: now_ms() + LEASED_MS,
        })
    }

    fn pop_more(&mut self, connection: &mut RawConnection, number: usize) -> anyhow::Result<()> {
        let due_ms = self.leases_due_ms.max(now_ms() + LEASED_MS_MIN);
        let leases = Leases::prepare(connection, number, due_ms)?;
        self.leases.push(leases);
        Ok(())
    }

    fn go_on(&mut self, connection: &mut RawConnection, is_last: bool) -> anyhow::Result<()> {
        if let Some(agreed) = &mut self.agreed {
            agreed.check(connection)?;
        }
        self.halves.end(connection, is_last)?;
        self.leases
            .iter_mut()
            .try_for_each(|leases| leases.acknowledge(connection, is_last))
    }

    fn check(&mut self, connection: &mut RawConnection, lives: &[Life]) -> anyhow::Result<()> {
        self.halves.check(connection)?;
        for leases in &mut self.leases {
            leases.wait(connection)?;
        }
        self.waiting.check(connection, lives)?;
        // Whatever came twice would have come by now.
        self.leases
            .iter_mut()
            .try_for_each(|leases| leases.take(connection))
    }
}

fn send(connection: &mut RawConnection, topic: &str, body: &str) -> anyhow::Result<()> {
    let message = Outgoing {
        topic,
        body,
        ..Outgoing::default()
    };
    requests::send(connection, &message).map(|_| ())
}

fn now_ms() -> i64 {
    Clock::system().now_ms()
}
