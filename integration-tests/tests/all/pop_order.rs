//! Pops in order, by hand: what our broker answers is what Java's answers.

use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::wire::{Answer, RawConnection};

const TOPIC: &str = "PoppedAlike";
const GROUP: &str = "alike-group";
const POP_MESSAGE: i32 = 200_050;
const ACK_MESSAGE: i32 = 200_051;
const CHANGE_INVISIBLE_TIME: i32 = 200_053;
const NOTIFICATION: i32 = 200_054;

#[test]
fn pops_in_order_are_answered_as_java_answers_them() -> anyhow::Result<()> {
    let Some(java) = Cluster::java()? else {
        return Ok(());
    };
    let theirs = Script::run(&java)?;
    java.stop(&[])?;
    let cluster = Cluster::standalone(&[])?;
    let ours = Script::run(&cluster)?;
    cluster.stop(&[])?;
    assert_eq!(ours, theirs);
    Ok(())
}

/// Requests in a row, and what was answered.
struct Script {
    connection: RawConnection,
    answers: Vec<String>,
}

impl Script {
    fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
        let mut script = Self {
            connection: RawConnection::open(&cluster.broker(0))?,
            answers: Vec::new(),
        };
        for number in 0..4 {
            let body = number.to_string();
            let message = Outgoing {
                topic: TOPIC,
                body: &body,
                ..Outgoing::default()
            };
            requests::send(&mut script.connection, &message)?;
        }
        script.wait_for_messages()?;
        script.play()?;
        Ok(script.answers)
    }

    fn wait_for_messages(&mut self) -> anyhow::Result<()> {
        while requests::pull(&mut self.connection, TOPIC, 0, 0)?.len() < 4 {}
        Ok(())
    }

    fn play(&mut self) -> anyhow::Result<()> {
        self.notification()?;
        let lost = self.pop("one", 0)?;
        self.pop("two", 0)?;
        self.notification()?;
        let first = self.pop("one", 0)?;
        self.ack(&lost, 0)?;
        self.pop("two", 0)?;
        self.ack(&first, 1)?;
        self.pop("two", 0)?;
        self.ack(&first, 0)?;
        let second = self.pop("two", 0)?;
        self.ack(&first, 1)?;
        self.ack(&second, 4)?;
        self.ack(&second, 5)?;
        self.change(&second, 2)?;
        self.change(&second, 3)?;
        let third = self.pop("three", 10_000)?;
        self.ack(&second, 2)?;
        self.ack(&third, 2)?;
        self.change(&third, 2)?;
        self.change(&third, 3)?;
        let last = self.pop("four", 10_000)?;
        self.ack(&last, 3)?;
        self.pop("five", 0)?;
        self.notification()
    }

    /// Gives the pop time. A handle names its pop by the millisecond alone, so no two pops of a
    /// script may fall into one.
    fn pop(&mut self, attempt: &str, poll_ms: u32) -> anyhow::Result<String> {
        std::thread::sleep(Duration::from_millis(2));
        let poll = poll_ms.to_string();
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", "0"),
            ("maxMsgNums", "2"),
            ("invisibleTime", "60000"),
            ("pollTime", poll.as_str()),
            ("bornTime", "0"),
            ("initMode", "0"),
            ("exp", "*"),
            ("expType", "TAG"),
            ("order", "true"),
            ("attemptId", attempt),
        ];
        let answer = self.connection.call(POP_MESSAGE, &fields, b"")?;
        let names = [
            "reviveQid",
            "restNum",
            "startOffsetInfo",
            "msgOffsetInfo",
            "orderCountInfo",
            "invisibleTime",
        ];
        self.note("pop", &answer, &names);
        let pop_time = answer.fields["popTime"].as_str();
        Ok(pop_time.unwrap_or("0").to_owned())
    }

    fn ack(&mut self, pop_time: &str, offset: i64) -> anyhow::Result<()> {
        let answer = self.with_handle(ACK_MESSAGE, pop_time, offset)?;
        self.note("ack", &answer, &[]);
        Ok(())
    }

    fn change(&mut self, pop_time: &str, offset: i64) -> anyhow::Result<()> {
        let answer = self.with_handle(CHANGE_INVISIBLE_TIME, pop_time, offset)?;
        self.note("change", &answer, &["reviveQid"]);
        let is_kept = answer.fields["popTime"].as_str() == Some(pop_time);
        self.answers.push(format!("pop time is kept: {is_kept}"));
        Ok(())
    }

    fn with_handle(&mut self, code: i32, pop_time: &str, offset: i64) -> anyhow::Result<Answer> {
        let offset = offset.to_string();
        let handle = format!("0 {pop_time} 60000 999 0 broker-a 0 {offset}");
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", "0"),
            ("extraInfo", handle.as_str()),
            ("offset", offset.as_str()),
            ("invisibleTime", "300"),
        ];
        self.connection
            .call(code, &fields, b"")
            .context("an answer")
    }

    fn notification(&mut self) -> anyhow::Result<()> {
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", "0"),
            ("pollTime", "0"),
            ("bornTime", "0"),
            ("order", "true"),
            ("attemptId", "notified"),
        ];
        let answer = self.connection.call(NOTIFICATION, &fields, b"")?;
        self.note("notification", &answer, &["hasMsg"]);
        Ok(())
    }

    /// Code, remark but for the client's port, and some fields.
    fn note(&mut self, what: &str, answer: &Answer, names: &[&str]) {
        let remark = answer.remark.split(", /").next().unwrap_or_default();
        let remark = remark.split(", 127").next().unwrap_or_default();
        // What Java's commands say until somebody sets a remark.
        let remark = remark.replace("not set any response code", "");
        let fields = names
            .iter()
            .map(|name| format!(" {name}={}", answer.fields[*name]));
        let fields: String = fields.collect();
        self.answers
            .push(format!("{what} {} [{remark}]{fields}", answer.code));
    }
}
