//! Topics and groups whose creation was answered are there after a kill in the midst of many more.

use std::sync::mpsc::{self, Sender};
use std::thread::Builder;

use serde_json::json;
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wire::RawConnection;

const UPDATE_AND_CREATE_TOPIC: i32 = 17;
const UPDATE_AND_CREATE_GROUP: i32 = 200;
const GET_TOPIC_CONFIG: i32 = 351;
const GET_GROUP_CONFIG: i32 = 352;
const CONNECTIONS: usize = 4;
/// Answers before the kill.
const ANSWERS: usize = 200;

#[test]
fn what_was_answered_as_created_is_there() -> anyhow::Result<()> {
    let mut victim = Victim::new(&["autoCreateSubscriptionGroup=false"])?;
    victim.start()?;
    let (answered, answers) = mpsc::channel();
    let mut creators = Vec::new();
    for connection in 0..CONNECTIONS {
        let (mut connected, answered) = (victim.connect()?, answered.clone());
        let creator = Builder::new().name(format!("creator-{connection}"));
        creators.push(creator.spawn(move || {
            create_until_killed(&mut connected, connection, &answered);
        })?);
    }
    drop(answered);
    let mut names: Vec<String> = answers.iter().take(ANSWERS).collect();
    victim.kill()?;
    for creator in creators {
        creator
            .join()
            .map_err(|_| anyhow::anyhow!("a creator panicked"))?;
    }
    names.extend(answers.iter());
    anyhow::ensure!(names.len() >= ANSWERS, "{} answers", names.len());
    victim.start()?;
    let mut connection = victim.connect()?;
    for name in &names {
        let topic = connection.call(GET_TOPIC_CONFIG, &[("topic", name)], b"")?;
        anyhow::ensure!(topic.code == 0, "topic {name}: {topic:?}");
        let group = connection.call(GET_GROUP_CONFIG, &[("group", name)], b"")?;
        anyhow::ensure!(group.code == 0, "group {name}: {group:?}");
    }
    victim.stop(&[])
}

/// Creates a group and a topic of one name, again and again, and tells of those that were answered.
fn create_until_killed(connection: &mut RawConnection, number: usize, answered: &Sender<String>) {
    for round in 0.. {
        let name = format!("Kept-{number}-{round}");
        if create(connection, &name).is_err() || answered.send(name).is_err() {
            return;
        }
    }
}

fn create(connection: &mut RawConnection, name: &str) -> anyhow::Result<()> {
    let group = json!({"groupName": name}).to_string();
    let made = connection.call(UPDATE_AND_CREATE_GROUP, &[], group.as_bytes())?;
    anyhow::ensure!(made.code == 0, "{made:?}");
    let fields = [
        ("topic", name),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "1"),
        ("writeQueueNums", "1"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    let made = connection.call(UPDATE_AND_CREATE_TOPIC, &fields, b"")?;
    anyhow::ensure!(made.code == 0, "{made:?}");
    Ok(())
}
