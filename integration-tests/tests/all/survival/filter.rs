//! What groups filter by is in `consumerFilter.json` within a second: after a kill a consumer that says the same again
//! finds its filter as old as it was, and is served by it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::requests::{self, Outgoing};
use thrustmq_integration_tests::toolchain;
use thrustmq_integration_tests::victim::Victim;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::RawConnection;

const TOPIC: &str = "Filtered";
const GROUP: &str = "filtering-group";
const VERSION: &str = "1700000000000";
const HEART_BEAT: i32 = 34;
const PULL_MESSAGE: i32 = 11;
const QUERY_CONSUME_QUEUE: i32 = 321;
const NOT_FOUND: i64 = 19;

#[test]
fn filters_survive() -> anyhow::Result<()> {
    let mut victim = Victim::new(&[])?;
    victim.start()?;
    let mut connection = victim.connect()?;
    let message = Outgoing {
        topic: TOPIC,
        body: "none",
        ..Outgoing::default()
    };
    requests::send(&mut connection, &message)?;
    register(&mut connection)?;
    let born = filter_data(&mut connection)?;
    let file = victim.directory().join("data/config/consumerFilter.json");
    wait_for("the filters' file", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Ok(text.contains("a > 5").then_some(()))
    })?;
    for _ in 0..2 {
        victim.kill_and_start()?;
        let mut connection = victim.connect()?;
        register(&mut connection)?;
        assert_eq!(filter_data(&mut connection)?, born);
        // The queues come behind the log.
        let filtered = wait_for("the message", Duration::from_secs(60), || {
            let code = pull(&mut connection)?;
            Ok((code != NOT_FOUND).then_some(code))
        })?;
        assert_eq!(filtered, 20, "a message without the property is left out");
    }
    victim.stop(&[])
}

/// The same seen by Java's consumer, which stays while its broker is killed.
#[test]
fn java_consumers_with_sql_go_on_after_a_kill() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let mut victim = Victim::new(&[])?;
    victim.start()?;
    let namesrv = victim.namesrv();
    let options = [("namesrv", namesrv.as_str()), ("topic", "SqlRestart")];
    let program = peer::java(
        victim.directory(),
        HeaderEncoding::Json,
        "sql-restart",
        &options,
    );
    let mut child = program
        .context("Java was there before")?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut commands = child.stdin.take().context("a piped stdin")?;
    let mut printed = BufReader::new(child.stdout.take().context("a piped stdout")?);
    wait_for_line(&mut printed, "ready")?;
    for round in ["round 1", "round 2"] {
        if round != "round 1" {
            victim.kill_and_start()?;
        }
        commands.write_all(b"\n")?;
        commands.flush()?;
        wait_for_line(&mut printed, round)?;
    }
    drop(commands);
    let mut rest = String::new();
    printed.read_to_string(&mut rest)?;
    eprintln!("{}", peer::result_line(&rest, child.wait()?.success())?);
    victim.stop(&[])
}

/// Reads on to the line that begins with `start`: the Java logger talks in between.
fn wait_for_line(printed: &mut impl BufRead, start: &str) -> anyhow::Result<()> {
    for line in printed.lines() {
        let line = line?;
        anyhow::ensure!(!line.starts_with("failed"), line);
        if line.starts_with(start) {
            return Ok(());
        }
    }
    anyhow::bail!("the peer ended before it printed {start:?}")
}

fn register(connection: &mut RawConnection) -> anyhow::Result<()> {
    let body = format!(
        r#"{{"clientID":"survivor","consumerDataSet":[{{"groupName":"{GROUP}","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[
        {{"topic":"{TOPIC}","subString":"a > 5","expressionType":"SQL92","subVersion":{VERSION}}}],
        "unitMode":false}}],"producerDataSet":[]}}"#
    );
    let answer = connection.call(HEART_BEAT, &[], body.as_bytes())?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// The filter as tools see it, with the time at which it was first registered.
fn filter_data(connection: &mut RawConnection) -> anyhow::Result<String> {
    let fields = [
        ("topic", TOPIC),
        ("queueId", "0"),
        ("index", "0"),
        ("count", "1"),
        ("consumerGroup", GROUP),
    ];
    let answer = connection.call(QUERY_CONSUME_QUEUE, &fields, &[])?;
    let body = String::from_utf8(answer.body.to_vec())?;
    anyhow::ensure!(answer.code == 0 && body.contains("a > 5"), "{body}");
    let data = body.split("\"filterData\":").nth(1);
    let data = data.and_then(|rest| rest.split("\"maxQueueIndex\"").next());
    Ok(data.context("filter data in the answer")?.to_owned())
}

/// The answer's code to a pull by what the heartbeat said.
fn pull(connection: &mut RawConnection) -> anyhow::Result<i64> {
    let fields = [
        ("consumerGroup", GROUP),
        ("topic", TOPIC),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "0"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subVersion", VERSION),
    ];
    Ok(connection.call(PULL_MESSAGE, &fields, &[])?.code)
}
