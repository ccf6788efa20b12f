//! Half messages survive kills: what was committed is there once, what was rolled back never, and producers are asked
//! about the rest, and about nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::requests;
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::{self, Answer, RawConnection};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::properties;

pub(crate) const TOPIC: &str = "Transactions";
const GROUP: &str = "transaction-producer";
const EACH: usize = 10;
const KILLS: usize = 3;
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

const HEART_BEAT: i32 = 34;
const END_TRANSACTION: i32 = 37;
const CHECK_TRANSACTION_STATE: i64 = 39;
const SEND_MESSAGE_V2: i32 = 310;
pub(crate) const COMMIT: &str = "8";
pub(crate) const ROLLBACK: &str = "12";
const NOT_KNOWN_YET: i64 = 14;

/// Marks wait for a look for checks, which comes after the kill for the last ones: only the committed messages tell of the commits.
#[test]
fn transactions_end_once_though_their_ends_were_not_marked() -> anyhow::Result<()> {
    survive("transactionOpBatchInterval=60000")
}

#[test]
fn transactions_end_once_though_their_ends_were_marked_at_once() -> anyhow::Result<()> {
    survive("transactionOpBatchInterval=0")
}

fn survive(marks: &str) -> anyhow::Result<()> {
    let mut victim = Victim::new(&[
        marks,
        "transactionCheckInterval=200",
        "transactionTimeOut=300",
        "transactionCheckMax=1000",
    ])?;
    victim.start()?;
    let (mut committed, mut open) = (BTreeSet::new(), BTreeSet::new());
    for kill in 0..KILLS {
        let mut connection = victim.connect()?;
        for number in 0..EACH {
            if number == EACH / 2 {
                // Some are stored again by checks that no producer hears.
                thread::sleep(CHECK_INTERVAL * 3);
            }
            let body = |fate| format!("{fate} {kill} {number}");
            let half = Half::send(&mut connection, &body("commit"))?;
            half.end(&mut connection, COMMIT)?;
            committed.insert(body("commit"));
            let half = Half::send(&mut connection, &body("rollback"))?;
            half.end(&mut connection, ROLLBACK)?;
            Half::send(&mut connection, &body("open"))?;
            open.insert(body("open"));
        }
        victim.kill_and_start()?;
    }
    let asked = answer_questions(&victim, open.len())?;
    assert_eq!(asked, open);
    let expected: BTreeMap<String, usize> = committed
        .union(&open)
        .map(|body| (body.clone(), 1))
        .collect();
    assert_eq!(count_bodies(&victim, expected.len())?, expected);
    victim.stop(&[])
}

fn count_bodies(victim: &Victim, least: usize) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut connection = victim.connect()?;
    let mut counts = BTreeMap::new();
    let timeout = Duration::from_secs(60);
    for message in requests::pull_all(&mut connection, TOPIC, 0, least, timeout)? {
        *counts.entry(message.body).or_default() += 1;
    }
    Ok(counts)
}

/// A half message as its producer knows it.
pub(crate) struct Half {
    queue_offset: String,
    physical_offset: String,
    transaction_id: String,
}

impl Half {
    pub(crate) fn send(connection: &mut RawConnection, body: &str) -> anyhow::Result<Self> {
        let mut text = String::new();
        for (name, value) in [("TRAN_MSG", "true"), ("PGROUP", GROUP)] {
            properties::push(&mut text, name, value);
        }
        let born_ms = Clock::system().now_ms().to_string();
        let fields = [
            ("a", GROUP),
            ("b", TOPIC),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "0"),
            ("f", "4"),
            ("g", born_ms.as_str()),
            ("h", "0"),
            ("i", text.as_str()),
        ];
        let answer = connection.call(SEND_MESSAGE_V2, &fields, body.as_bytes())?;
        anyhow::ensure!(answer.code == 0, "{body}: {answer:?}");
        let id = OffsetId::decode(&field(&answer, "msgId")?)?;
        Ok(Self {
            queue_offset: field(&answer, "queueOffset")?,
            physical_offset: id.physical_offset.to_string(),
            transaction_id: field(&answer, "transactionId")?,
        })
    }

    fn asked_about(question: &Answer) -> anyhow::Result<Self> {
        Ok(Self {
            queue_offset: field(question, "tranStateTableOffset")?,
            physical_offset: field(question, "commitLogOffset")?,
            transaction_id: field(question, "transactionId")?,
        })
    }

    /// Right after a start the broker may not know yet what is open.
    pub(crate) fn end(&self, connection: &mut RawConnection, how: &str) -> anyhow::Result<()> {
        wait_for(
            "the transactions to be known",
            Duration::from_secs(60),
            || {
                let answer = connection.call(END_TRANSACTION, &self.end_fields(how), b"")?;
                let is_ended = answer.code == 0;
                anyhow::ensure!(is_ended || answer.code == NOT_KNOWN_YET, "{answer:?}");
                Ok(is_ended.then_some(()))
            },
        )
    }

    fn end_fields<'a>(&'a self, how: &'a str) -> [(&'a str, &'a str); 6] {
        [
            ("producerGroup", GROUP),
            ("tranStateTableOffset", &self.queue_offset),
            ("commitLogOffset", &self.physical_offset),
            ("commitOrRollback", how),
            ("msgId", &self.transaction_id),
            ("transactionId", &self.transaction_id),
        ]
    }
}

fn field(answer: &Answer, name: &str) -> anyhow::Result<String> {
    let value = answer.fields[name].as_str();
    Ok(value
        .with_context(|| format!("{name} in {answer:?}"))?
        .to_owned())
}

/// Joins as a producer and commits what it is asked about, until it was asked about `count` messages and then about
/// nothing more for some checks. What it was asked about.
fn answer_questions(victim: &Victim, count: usize) -> anyhow::Result<BTreeSet<String>> {
    let mut connection = victim.connect()?;
    let heartbeat =
        format!(r#"{{"clientID":"asked@1","producerDataSet":[{{"groupName":"{GROUP}"}}]}}"#);
    let joined = connection.call(HEART_BEAT, &[], heartbeat.as_bytes())?;
    anyhow::ensure!(joined.code == 0, "{joined:?}");
    let mut asked = BTreeSet::new();
    loop {
        if asked.len() >= count {
            connection.set_timeout(CHECK_INTERVAL * 5)?;
        }
        let question = match connection.receive() {
            Ok(question) if question.code == CHECK_TRANSACTION_STATE => question,
            Ok(_) => continue,
            Err(_) if asked.len() >= count => return Ok(asked),
            Err(error) => return Err(error.context(format!("asked about {asked:?}"))),
        };
        let half = Half::asked_about(&question)?;
        asked.extend(
            requests::records(&question.body)?
                .into_iter()
                .map(|message| message.body),
        );
        // The answers are left out among the questions.
        connection.send(&wire::request(
            END_TRANSACTION,
            1,
            &half.end_fields(COMMIT),
            b"",
        ))?;
    }
}
