//! Light queues hold the same after kills, and go on where they were: no number is missing, none is used twice.

use std::collections::BTreeMap;
use std::time::Duration;

use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::victim::Victim;

const TOPIC: &str = "Many";
const EACH: usize = 30;
const KILLS: usize = 3;
const WAIT: Duration = Duration::from_secs(60);
const SETTINGS: &[&str] = &["enableLmq=true", "enableMultiDispatch=true"];

#[test]
fn light_queues_go_on_where_they_were() -> anyhow::Result<()> {
    let mut victim = Victim::new(SETTINGS)?;
    victim.start()?;
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kill in 0..KILLS {
        let mut connection = victim.connect()?;
        for number in 0..EACH {
            let body = format!("{kill} {number}");
            let names = [
                format!("%LMQ%{}", number % 3),
                format!("%LMQ%{}", number % 5),
            ];
            let message = Outgoing {
                topic: TOPIC,
                body: &body,
                properties: &[("INNER_MULTI_DISPATCH", &names.join(","))],
                ..Outgoing::default()
            };
            requests::send(&mut connection, &message)?;
            for name in names {
                let bodies = sent.entry(name).or_default();
                if bodies.last() != Some(&body) {
                    bodies.push(body.clone());
                }
            }
        }
        victim.kill_and_start()?;
        let mut connection = victim.connect()?;
        for (name, expected) in &sent {
            let came = requests::pull_all(&mut connection, name, 0, expected.len(), WAIT)?;
            let came: Vec<_> = came.into_iter().map(|message| message.body).collect();
            assert_eq!(came, *expected, "{name}");
            let end = requests::max_offset(&mut connection, name, 0)?;
            assert_eq!(end, expected.len() as i64, "{name}");
        }
    }
    victim.stop(&[])
}
