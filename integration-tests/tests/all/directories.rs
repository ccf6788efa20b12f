//! A store directory goes from one implementation to the other and back.

use std::time::Duration;

use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::toolchain;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire;

const SEND_MESSAGE_V2: i32 = 310;
const QUERY_MESSAGE: i32 = 12;
const GET_MAX_OFFSET: i32 = 30;
const VIEW_MESSAGE_BY_ID: i32 = 33;
const TOPIC: &str = "Moving";

#[test]
fn a_directory_moves_from_ours_to_java_and_back() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let mut cluster = Cluster::with_our_namesrv()?;
    let mut offsets = Vec::new();
    for (run, is_java) in [false, true, false].into_iter().enumerate() {
        if is_java {
            cluster.add_java_broker("broker-a")?;
        } else {
            cluster.add_our_broker("broker-a")?;
        }
        let broker = cluster.broker(run);
        for number in 0..5 {
            let key = format!("key{run}-{number}");
            offsets.push((send(&broker, &key)?, key));
        }
        all_are_there(&broker, &offsets)?;
        cluster.terminate("broker-a", &[])?;
    }
    cluster.stop(&[])
}

/// Sends to queue 0; the commit-log offset in the answer's id.
fn send(broker: &str, key: &str) -> anyhow::Result<i64> {
    let properties = format!("KEYS\u{1}{key}\u{2}TAGS\u{1}Tag\u{2}");
    let fields = [
        ("a", "group"),
        ("b", TOPIC),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties.as_str()),
    ];
    let answer = wire::call(broker, SEND_MESSAGE_V2, &fields, key.as_bytes())?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    let id = answer.fields["msgId"].as_str().unwrap_or_default();
    Ok(i64::from_str_radix(id.get(16..).unwrap_or_default(), 16)?)
}

/// By place in the log, by number in the queue, and by key.
fn all_are_there(broker: &str, offsets: &[(i64, String)]) -> anyhow::Result<()> {
    for (offset, key) in offsets {
        let offset = offset.to_string();
        let answer = wire::call(broker, VIEW_MESSAGE_BY_ID, &[("offset", &offset)], b"")?;
        anyhow::ensure!(contains(&answer.body, key), "{key} at {offset}: {answer:?}");
        wait_for(
            &format!("{key} in the index"),
            Duration::from_secs(10),
            || Ok(contains(&by_key(broker, key)?, key).then_some(())),
        )?;
    }
    let fields = [("topic", TOPIC), ("queueId", "0")];
    let count = offsets.len().to_string();
    wait_for("the queue's end", Duration::from_secs(10), || {
        let answer = wire::call(broker, GET_MAX_OFFSET, &fields, b"")?;
        Ok((answer.fields["offset"] == count.as_str()).then_some(()))
    })
}

fn by_key(broker: &str, key: &str) -> anyhow::Result<Vec<u8>> {
    let fields = [
        ("topic", TOPIC),
        ("key", key),
        ("maxNum", "8"),
        ("beginTimestamp", "0"),
        ("endTimestamp", "9999999999999"),
    ];
    Ok(wire::call(broker, QUERY_MESSAGE, &fields, b"")?.body)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
