//! Pops in order across kills: at most the same batch comes again, in order, and nothing is skipped.

use anyhow::Context;
use thrustmq_integration_tests::requests::{self, Outgoing, Pulled};
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::RawConnection;

const TOPIC: &str = "PoppedInOrder";
const GROUP: &str = "orderly-group";
const POP_MESSAGE: i32 = 200_050;
const ACK_MESSAGE: i32 = 200_051;
const NOTHING: i64 = 210;
const MESSAGES: i64 = 40;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn batches_come_again_in_order_and_nothing_is_skipped() -> anyhow::Result<()> {
    let mut victim = Victim::new(&["flushConsumerOffsetInterval=200"])?;
    victim.start()?;
    let mut connection = victim.connect()?;
    for number in 0..MESSAGES {
        let body = number.to_string();
        let message = Outgoing {
            topic: TOPIC,
            body: &body,
            ..Outgoing::default()
        };
        requests::send(&mut connection, &message)?;
    }
    let mut done = 0;
    for round in 0..3 {
        for _ in 0..2 {
            let batch = pop_some(&mut connection, &format!("{round}-{done}"), done)?;
            for offset in batch.offsets.clone() {
                batch.ack(&mut connection, offset)?;
                done = done.max(offset + 1);
            }
        }
        // This one is on its way when the broker dies. Its last message is done, those before are not.
        let lost = pop_some(&mut connection, &format!("{round}-lost"), done)?;
        let last = *lost.offsets.last().context("a batch has messages")?;
        lost.ack(&mut connection, last)?;
        victim.kill_and_start()?;
        connection = victim.connect()?;
        // What a consumer of before the kill is late with skips nothing either.
        lost.ack(&mut connection, last)?;
        let again = pop_some(&mut connection, &format!("{round}-again"), done)?;
        for offset in again.offsets.clone() {
            again.ack(&mut connection, offset)?;
            done = done.max(offset + 1);
        }
    }
    while done < MESSAGES {
        let batch = pop_some(&mut connection, &format!("end-{done}"), done)?;
        for offset in batch.offsets.clone() {
            batch.ack(&mut connection, offset)?;
            done = done.max(offset + 1);
        }
    }
    victim.stop(&[])
}

/// What a pop was given.
struct Batch {
    pop_time: String,
    offsets: Vec<i64>,
}

impl Batch {
    fn ack(&self, connection: &mut RawConnection, offset: i64) -> anyhow::Result<()> {
        let (start, offset) = (
            self.offsets.first().copied().unwrap_or(0),
            offset.to_string(),
        );
        let handle = format!("{start} {} 3000 999 0 broker-a 0 {offset}", self.pop_time);
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", "0"),
            ("extraInfo", handle.as_str()),
            ("offset", offset.as_str()),
        ];
        let answer = connection.call(ACK_MESSAGE, &fields, b"")?;
        anyhow::ensure!(answer.code == 0, "{answer:?}");
        Ok(())
    }
}

/// Pops until there is something: a message that is done already comes again at most, none is left out.
fn pop_some(connection: &mut RawConnection, attempt: &str, done: i64) -> anyhow::Result<Batch> {
    let batch = wait_for("messages in order", PATIENCE, || pop(connection, attempt))?;
    let first = batch.offsets.first().copied().unwrap_or(0);
    anyhow::ensure!(first <= done, "{:?} leaves out {done}", batch.offsets);
    let expected: Vec<i64> = (first..).take(batch.offsets.len()).collect();
    anyhow::ensure!(
        batch.offsets == expected,
        "{:?} is not in order",
        batch.offsets
    );
    Ok(batch)
}

fn pop(connection: &mut RawConnection, attempt: &str) -> anyhow::Result<Option<Batch>> {
    let fields = [
        ("consumerGroup", GROUP),
        ("topic", TOPIC),
        ("queueId", "0"),
        ("maxMsgNums", "3"),
        ("invisibleTime", "3000"),
        ("pollTime", "2000"),
        ("bornTime", "0"),
        ("initMode", "0"),
        ("exp", "*"),
        ("expType", "TAG"),
        ("order", "true"),
        ("attemptId", attempt),
    ];
    let answer = connection.call(POP_MESSAGE, &fields, b"")?;
    if answer.code == NOTHING {
        return Ok(None);
    }
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    let pop_time = answer.fields["popTime"].as_str().context("popTime")?;
    let offset = |message: &Pulled| message.queue_offset;
    Ok(Some(Batch {
        pop_time: pop_time.to_owned(),
        offsets: requests::records(&answer.body)?
            .iter()
            .map(offset)
            .collect(),
    }))
}
