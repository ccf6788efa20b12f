//! What groups agreed on: a batch in order that is in flight, a filter, and whether they pull or pop.

use anyhow::Context;
use serde_json::Value;
use thrustmq_integration_tests::requests;
use thrustmq_integration_tests::wait::wait_for;
use thrustmq_integration_tests::wire::RawConnection;

use super::{BROKER, PATIENCE, now_ms, send};

const ORDERED: &str = "Ordered";
const MESSAGES: i64 = 6;
const ORDER_GROUP: &str = "order-group";
const ORDER_INVISIBLE_MS: &str = "300000";
const FILTERED: &str = "Filtered";
const FILTER_GROUP: &str = "filter-group";

const HEART_BEAT: i32 = 34;
const QUERY_CONSUME_QUEUE: i32 = 321;
const SET_MESSAGE_REQUEST_MODE: i32 = 401;
const GET_ALL_MESSAGE_REQUEST_MODE: i32 = 402;
const POP_MESSAGE: i32 = 200_050;
const ACK_MESSAGE: i32 = 200_051;
const NOTHING: i64 = 210;

/// As the first broker had it.
pub(super) struct Agreed {
    /// When the batch in order was popped, and its first message.
    batch: Batch,
    filter: Value,
    modes: Value,
}

impl Agreed {
    pub(super) fn prepare(connection: &mut RawConnection) -> anyhow::Result<Self> {
        send(connection, FILTERED, "a")?;
        heartbeat(connection)?;
        set_mode(connection)?;
        for number in 0..MESSAGES {
            send(connection, ORDERED, &number.to_string())?;
        }
        // A batch is of what is in the queue, which comes behind the log.
        wait_for_queue(connection)?;
        let batch = wait_for("a batch in order", PATIENCE, || pop_in_order(connection))?;
        anyhow::ensure!(batch.offsets == [0, 1], "{batch:?}");
        Ok(Self {
            batch,
            filter: filter_data(connection)?,
            modes: modes(connection)?,
        })
    }

    /// The batch of the broker before is in flight until it is acknowledged.
    pub(super) fn check(&mut self, connection: &mut RawConnection) -> anyhow::Result<()> {
        anyhow::ensure!(modes(connection)? == self.modes, "{:?}", modes(connection)?);
        heartbeat(connection)?;
        let filter = filter_data(connection)?;
        anyhow::ensure!(filter == self.filter, "{} and {filter}", self.filter);
        let blocked = pop_in_order(connection)?;
        anyhow::ensure!(blocked.is_none(), "{blocked:?} beside what is in flight");
        let mut expected = Vec::new();
        for offset in &self.batch.offsets {
            acknowledge_in_order(connection, &self.batch.pop_time, *offset)?;
            expected.push(offset + 2);
        }
        wait_for_queue(connection)?;
        self.batch = wait_for("the next batch in order", PATIENCE, || {
            pop_in_order(connection)
        })?;
        anyhow::ensure!(self.batch.offsets == expected, "{:?}", self.batch);
        Ok(())
    }
}

fn wait_for_queue(connection: &mut RawConnection) -> anyhow::Result<()> {
    wait_for("all messages in the queue", PATIENCE, || {
        let end = requests::max_offset(connection, ORDERED, 0)?;
        Ok((end >= MESSAGES).then_some(()))
    })
}

/// Messages popped in order.
#[derive(Debug)]
struct Batch {
    pop_time: String,
    offsets: Vec<i64>,
}

fn pop_in_order(connection: &mut RawConnection) -> anyhow::Result<Option<Batch>> {
    let attempt = now_ms().to_string();
    let fields = [
        ("consumerGroup", ORDER_GROUP),
        ("topic", ORDERED),
        ("queueId", "0"),
        ("maxMsgNums", "2"),
        ("invisibleTime", ORDER_INVISIBLE_MS),
        ("pollTime", "0"),
        ("bornTime", "0"),
        ("initMode", "0"),
        ("exp", "*"),
        ("expType", "TAG"),
        ("order", "true"),
        ("attemptId", &attempt),
    ];
    let answer = connection.call(POP_MESSAGE, &fields, b"")?;
    if answer.code == NOTHING {
        return Ok(None);
    }
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    let pop_time = answer.fields["popTime"].as_str().context("popTime")?;
    let messages = requests::records(&answer.body)?;
    Ok(Some(Batch {
        pop_time: pop_time.to_owned(),
        offsets: messages
            .iter()
            .map(|message| message.queue_offset)
            .collect(),
    }))
}

fn acknowledge_in_order(
    connection: &mut RawConnection,
    pop_time: &str,
    offset: i64,
) -> anyhow::Result<()> {
    let offset = offset.to_string();
    let handle = format!("0 {pop_time} {ORDER_INVISIBLE_MS} 999 0 {BROKER} 0 {offset}");
    let fields = [
        ("consumerGroup", ORDER_GROUP),
        ("topic", ORDERED),
        ("queueId", "0"),
        ("extraInfo", handle.as_str()),
        ("offset", offset.as_str()),
    ];
    let answer = connection.call(ACK_MESSAGE, &fields, b"")?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// A member subscribes with SQL92; its filter outlives it.
fn heartbeat(connection: &mut RawConnection) -> anyhow::Result<()> {
    let body = format!(
        r#"{{"clientID":"a@1","consumerDataSet":[{{"groupName":"{FILTER_GROUP}","consumeType":"CONSUME_PASSIVELY",
        "messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[
        {{"topic":"{FILTERED}","subString":"a > 5","expressionType":"SQL92","subVersion":7}}],
        "unitMode":false}}],"producerDataSet":[]}}"#
    );
    let answer = connection.call(HEART_BEAT, &[], body.as_bytes())?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

/// The filter as tools see it, with the time at which it was first registered.
fn filter_data(connection: &mut RawConnection) -> anyhow::Result<Value> {
    let fields = [
        ("topic", FILTERED),
        ("queueId", "0"),
        ("index", "0"),
        ("count", "1"),
        ("consumerGroup", FILTER_GROUP),
    ];
    let answer = connection.call(QUERY_CONSUME_QUEUE, &fields, &[])?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    let text = body["filterData"].as_str().context("filter data")?;
    let data: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
    anyhow::ensure!(data["expression"] == "a > 5", "{data}");
    Ok(data)
}

fn set_mode(connection: &mut RawConnection) -> anyhow::Result<()> {
    let body = format!(
        r#"{{"topic":"{FILTERED}","consumerGroup":"{FILTER_GROUP}","mode":"POP","popShareQueueNum":3}}"#
    );
    let answer = connection.call(SET_MESSAGE_REQUEST_MODE, &[], body.as_bytes())?;
    anyhow::ensure!(answer.code == 0, "{answer:?}");
    Ok(())
}

fn modes(connection: &mut RawConnection) -> anyhow::Result<Value> {
    let answer = connection.call(GET_ALL_MESSAGE_REQUEST_MODE, &[], b"")?;
    let modes: Value = serde_json::from_slice(&answer.body)?;
    anyhow::ensure!(modes.to_string().contains(FILTER_GROUP), "{modes}");
    Ok(modes)
}
