//! The same requests to Java's broker and to ours: answers are the same, but for what docs/differences.md explains.
//!
//! Java's answers were recorded once, with the 5.5.0 broker, and stand in `replay/`; with THRUSTMQ_RECORD=1 they are
//! recorded anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, thread};

use anyhow::Context;
use serde_json::Value;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::replay::difference::{self, Difference};
use thrustmq_integration_tests::replay::play::{self, Answers};
use thrustmq_integration_tests::replay::script::{self, Request};

/// What ours is told. Nothing happens by the clock while the script plays, and no send is refused because the machine
/// is slow.
const SETTINGS: &[&str] = &[
    "traceTopicEnable=true",
    "recallMessageEnable=true",
    "mappedFileSizeCommitLog=67108864",
    "brokerFastFailureEnable=false",
    "osPageCacheBusyTimeOutMills=60000",
];
const JAVA_SETTINGS: &[&str] = &[
    "enablePropertyFilter=true",
    "traceTopicEnable=true",
    "timerWheelEnable=true",
    "recallMessageEnable=true",
    "mappedFileSizeCommitLog=67108864",
    "mappedFileSizeConsumeQueue=600000",
    "maxHashSlotNum=50000",
    "maxIndexNum=200000",
];

/// A file of requests, and one of Java's answers to them.
struct Script {
    requests: &'static str,
    answers: &'static str,
}

/// Each is played to a fresh broker.
const SCRIPTS: [Script; 3] = [
    Script {
        requests: "requests.txt",
        answers: "java-answers.json",
    },
    Script {
        requests: "lag.txt",
        answers: "java-lag.json",
    },
    Script {
        requests: "figures.txt",
        answers: "java-figures.json",
    },
];

impl Script {
    fn read(&self) -> anyhow::Result<Vec<Request>> {
        script::parse(&fs::read_to_string(directory().join(self.requests))?)
    }

    /// What ours says otherwise than Java's broker.
    fn differences(&self) -> anyhow::Result<Vec<Difference>> {
        let recorded: Value = serde_json::from_slice(&fs::read(directory().join(self.answers))?)?;
        let cluster = Cluster::standalone(SETTINGS)?;
        let answers = play::play(&cluster.broker(0), &self.read()?)?;
        cluster.stop(&["unknown configuration key is ignored"])?;
        let mut found = Vec::new();
        for (name, ours) in &answers {
            let java = recorded
                .get(name)
                .with_context(|| format!("{name} is not recorded: THRUSTMQ_RECORD=1"))?;
            found.extend(difference::compare(name, java, ours));
        }
        Ok(found)
    }

    fn record(&self) -> anyhow::Result<()> {
        let mut cluster = Cluster::with_java_namesrv()?.context("recording needs Java")?;
        cluster.set_broker_settings(JAVA_SETTINGS);
        cluster.add_java_broker("broker-a")?;
        let answers = play::play(&cluster.broker(0), &self.read()?)?;
        cluster.stop(&[])?;
        Ok(fs::write(directory().join(self.answers), lines(&answers)?)?)
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("replay")
}

#[test]
fn ours_answers_recorded_requests_as_java_does() -> anyhow::Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md");
    let rows = difference::meant(&fs::read_to_string(page)?)?;
    let found: Vec<_> = thread::scope(|scope| {
        let players = SCRIPTS.map(|script| scope.spawn(move || script.differences()));
        players
            .map(|player| player.join().expect("a player does not panic"))
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let left = difference::unexplained(found.into_iter().flatten().collect(), &rows);
    let mut report = String::new();
    for difference in &left {
        writeln!(report, "{difference}")?;
    }
    anyhow::ensure!(
        left.is_empty(),
        "{} differences that docs/differences.md does not explain:\n{report}",
        left.len()
    );
    let stale = difference::stale(&rows);
    anyhow::ensure!(
        stale.is_empty(),
        "rows of docs/differences.md that are no longer so: {stale:#?}"
    );
    Ok(())
}

/// Only with THRUSTMQ_RECORD: `1` for all scripts, or the name of one.
#[test]
fn java_answers_are_recorded() -> anyhow::Result<()> {
    let Ok(wanted) = env::var("THRUSTMQ_RECORD") else {
        return Ok(());
    };
    let is_wanted = |script: &&Script| wanted == "1" || wanted == script.requests;
    SCRIPTS
        .iter()
        .filter(is_wanted)
        .try_for_each(Script::record)
}

/// A JSON object with a line for each answer, so that changes show.
fn lines(answers: &Answers) -> anyhow::Result<String> {
    let mut text = String::from("{\n");
    for (index, (name, answer)) in answers.iter().enumerate() {
        let comma = if index + 1 < answers.len() { "," } else { "" };
        writeln!(text, "{}: {answer}{comma}", Value::from(name.as_str()))?;
    }
    text.push_str("}\n");
    Ok(text)
}
