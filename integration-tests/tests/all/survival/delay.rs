//! Messages that wait at a delay level come after kills, and none before its time. What was delivered just before a
//! kill may come again: how far a level is delivered is written every `flushDelayOffsetInterval`.

use std::collections::BTreeSet;
use std::time::Duration;

use thrustmq_integration_tests::requests::{self, Outgoing, Pulled};
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_proto_compat::clock::Clock;

const TOPIC: &str = "Delayed";
const EACH: usize = 20;
const KILLS: usize = 3;
const DELAY_MS: i64 = 2_000;
const SETTINGS: &[&str] = &["messageDelayLevel=1s 2s", "flushDelayOffsetInterval=200"];

#[test]
fn delayed_messages_survive_and_none_comes_early() -> anyhow::Result<()> {
    let mut victim = Victim::new(SETTINGS)?;
    victim.start()?;
    let clock = Clock::system();
    let mut sent = BTreeSet::new();
    for kill in 0..KILLS {
        let mut connection = victim.connect()?;
        for number in 0..EACH {
            // The body says when the message was sent.
            let body = format!("{} {kill} {number}", clock.now_ms());
            let message = Outgoing {
                topic: TOPIC,
                body: &body,
                properties: &[("DELAY", "2")],
                ..Outgoing::default()
            };
            requests::send(&mut connection, &message)?;
            sent.insert(body);
        }
        victim.kill_and_start()?;
    }
    let mut connection = victim.connect()?;
    let mut came = BTreeSet::new();
    let mut offset = 0;
    wait_for("the delayed messages", Duration::from_secs(60), || {
        for message in requests::pull(&mut connection, TOPIC, 0, offset)? {
            check_time(&message)?;
            offset = message.queue_offset + 1;
            came.insert(message.body);
        }
        Ok((came.len() >= sent.len()).then_some(()))
    })?;
    assert_eq!(came, sent);
    victim.stop(&[])
}

fn check_time(message: &Pulled) -> anyhow::Result<()> {
    let sent_ms: i64 = message.body.split(' ').next().unwrap_or_default().parse()?;
    let waited_ms = message.store_timestamp - sent_ms;
    anyhow::ensure!(
        waited_ms >= DELAY_MS,
        "{message:?} came after {waited_ms} ms"
    );
    anyhow::ensure!(message.properties.get("DELAY") == Some("2"), "{message:?}");
    Ok(())
}
