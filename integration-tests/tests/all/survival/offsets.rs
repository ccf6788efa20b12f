//! Committed offsets are written every `flushConsumerOffsetInterval`: what was committed longer ago than that is there
//! after a kill.

use std::time::Duration;

use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::RawConnection;

const TOPIC: &str = "Kept";
const GROUP: &str = "kept-group";
const HEART_BEAT: i32 = 34;
const SETTINGS: &[&str] = &["flushConsumerOffsetInterval=100"];

#[test]
fn committed_offsets_survive() -> anyhow::Result<()> {
    let mut victim = Victim::new(SETTINGS)?;
    victim.start()?;
    for round in 1..=3_i64 {
        let mut connection = victim.connect()?;
        for queue_id in 0..4 {
            let message = Outgoing {
                topic: TOPIC,
                queue_id,
                body: "kept",
                ..Outgoing::default()
            };
            requests::send(&mut connection, &message)?;
        }
        register(&mut connection)?;
        for queue_id in 0..4 {
            requests::commit(&mut connection, GROUP, TOPIC, queue_id, round)?;
        }
        wait_until_written(&victim, round)?;
        victim.kill_and_start()?;
        let mut connection = victim.connect()?;
        for queue_id in 0..4 {
            let kept = requests::committed(&mut connection, GROUP, TOPIC, queue_id)?;
            assert_eq!(kept, Some(round), "queue {queue_id} after kill {round}");
        }
    }
    victim.stop(&[])
}

/// A heartbeat creates the group; offsets are kept of groups that exist.
fn register(connection: &mut RawConnection) -> anyhow::Result<()> {
    let body = format!(
        r#"{{"clientID":"survivor","consumerDataSet":[{{"groupName":"{GROUP}","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[],
        "unitMode":false}}],"producerDataSet":[]}}"#
    );
    let answer = connection.call(HEART_BEAT, &[], body.as_bytes())?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

fn wait_until_written(victim: &Victim, offset: i64) -> anyhow::Result<()> {
    let file = victim.directory().join("data/config/consumerOffset.json");
    let wanted = format!("{{0:{offset},1:{offset},2:{offset},3:{offset}}}");
    wait_for("the offsets' file", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Ok(text.contains(&wanted).then_some(()))
    })
}
