//! Light queues in a directory that goes from Java's broker to ours and back: each goes on in every queue where the
//! one before it stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::wire::RawConnection;

const BROKER: &str = "broker-a";
const TOPIC: &str = "Many";
const GROUP: &str = "%LMQ%readers";
const WAIT: Duration = Duration::from_secs(60);
const SETTINGS: &[&str] = &[
    "mappedFileSizeCommitLog=1048576",
    "mappedFileSizeConsumeQueue=1000",
    "maxHashSlotNum=500",
    "maxIndexNum=400",
    "flushConsumerOffsetInterval=200",
    "enableLmq=true",
    "enableMultiDispatch=true",
];
const NAMES: &[&str] = &["%LMQ%a", "%LMQ%b", "%LMQ%a,%LMQ%b", "%LMQ%c,%LMQ%a"];

/// Bodies by light queue.
type Sent = BTreeMap<&'static str, Vec<String>>;

#[test]
fn light_queues_move_between_java_and_ours() -> anyhow::Result<()> {
    let mut cluster = Cluster::with_our_namesrv()?;
    cluster.set_broker_settings(SETTINGS);
    let mut sent = Sent::new();
    cluster.add_our_broker(BROKER)?;
    go_on(&cluster, 0, &mut sent)?;
    cluster.terminate(BROKER, &[])?;
    if thrustmq_integration_tests::toolchain::java(512).is_none() {
        return cluster.stop(&[]);
    }
    cluster.add_java_broker(BROKER)?;
    go_on(&cluster, 1, &mut sent)?;
    // Its orderly end takes long.
    cluster.kill(BROKER, &[])?;
    cluster.add_our_broker(BROKER)?;
    go_on(&cluster, 2, &mut sent)?;
    cluster.stop(&[])
}

/// All that was sent is there, and how far a group was at first; more is sent.
fn go_on(cluster: &Cluster, run: usize, sent: &mut Sent) -> anyhow::Result<()> {
    let mut connection = RawConnection::open(&cluster.broker(run))?;
    expect(&mut connection, sent)?;
    let committed = requests::committed(&mut connection, GROUP, "%LMQ%a", 0)?;
    let expected = (run > 0).then_some(1);
    anyhow::ensure!(committed == expected, "{committed:?} in run {run}");
    for number in 0..100 {
        let (body, names) = (format!("{run} {number}"), NAMES[number % NAMES.len()]);
        let message = Outgoing {
            topic: TOPIC,
            body: &body,
            properties: &[("INNER_MULTI_DISPATCH", names)],
            ..Outgoing::default()
        };
        requests::send(&mut connection, &message)?;
        for name in names.split(',') {
            sent.entry(name).or_default().push(body.clone());
        }
    }
    expect(&mut connection, sent)?;
    match run {
        0 => requests::commit(&mut connection, GROUP, "%LMQ%a", 0, 1),
        _ => Ok(()),
    }
}

fn expect(connection: &mut RawConnection, sent: &Sent) -> anyhow::Result<()> {
    for (name, expected) in sent {
        let came = requests::pull_all(connection, name, 0, expected.len(), WAIT)?;
        let came: Vec<_> = came.into_iter().map(|message| message.body).collect();
        anyhow::ensure!(came == *expected, "{name}: {came:?}");
    }
    Ok(())
}
