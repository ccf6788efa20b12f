//! Locks of queues are not kept: a consumer of ordered messages that died with the broker must not hold up the others.

use serde_json::{Value, json};
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wire::RawConnection;

const TOPIC: &str = "Locked";
const LOCK_BATCH_MQ: i32 = 41;

#[test]
fn a_lock_ends_with_the_broker() -> anyhow::Result<()> {
    let mut victim = Victim::new(&[])?;
    victim.start()?;
    let mut connection = victim.connect()?;
    let message = Outgoing {
        topic: TOPIC,
        body: "ordered",
        ..Outgoing::default()
    };
    requests::send(&mut connection, &message)?;
    assert_eq!(locked(&mut connection, "first")?, 1);
    assert_eq!(locked(&mut connection, "second")?, 0);
    victim.kill_and_start()?;
    let mut connection = victim.connect()?;
    assert_eq!(locked(&mut connection, "second")?, 1);
    assert_eq!(locked(&mut connection, "first")?, 0);
    victim.stop(&[])
}

/// How many queues of one that was asked for the client holds now.
fn locked(connection: &mut RawConnection, client: &str) -> anyhow::Result<usize> {
    let queue = json!({"topic": TOPIC, "brokerName": "broker-a", "queueId": 0});
    let body = json!({"consumerGroup": "ordered-group", "clientId": client, "mqSet": [queue]});
    let answer = connection.call(LOCK_BATCH_MQ, &[], body.to_string().as_bytes())?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body)?;
    Ok(body["lockOKMQSet"].as_array().map_or(0, Vec::len))
}
