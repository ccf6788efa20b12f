//! Producers with hooks, with traces, and such that let messages wait for each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use thrustmq_client::{
    ConsumeResult, Message, MessageError, Producer, ProducerBuilder, SendError, SendHook, Sent,
};

use crate::standalone::{Received, Standalone, wait_until};

fn builder(servers: &Standalone) -> ProducerBuilder {
    let builder = Producer::builder("p").name_servers(servers.name_servers());
    builder.send_timeout(Duration::from_secs(20))
}

/// Notes what it sees, marks messages, and forbids some.
#[derive(Debug, Clone, Default)]
struct Notes {
    seen: Arc<Mutex<Vec<String>>>,
}

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl SendHook for Notes {
    fn before(&self, message: &mut Message) -> Result<(), String> {
        if message.body() == "forbidden" {
            return Err("not this one".to_owned());
        }
        message.set_property("seen", "yes");
        Ok(())
    }

    fn after(&self, sent: &Sent<'_>) {
        let outcome = match sent.outcome {
            Ok(Some(receipt)) => format!("number {}", receipt.queue_offset),
            Ok(None) => "oneway".to_owned(),
            Err(why) => why.to_string(),
        };
        let body = String::from_utf8_lossy(sent.message.body()).into_owned();
        self.seen.lock().unwrap().push(format!("{body}: {outcome}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_sees_changes_and_forbids_messages() {
    let servers = Standalone::start_with(&[("defaultTopicQueueNums", "1")]).await;
    let notes = Notes::default();
    let producer = builder(&servers).hook(notes.clone()).start().await.unwrap();
    let message = |body: &'static str| Message::new("t", body);
    producer.send(message("one")).await.unwrap();
    assert_eq!(notes.take(), ["one: number 0"]);
    let batch = vec![message("two"), message("three")];
    producer.send_batch(batch).await.unwrap();
    assert_eq!(notes.take(), ["two: number 1", "three: number 2"]);
    producer.send_oneway(message("four")).await.unwrap();
    assert_eq!(notes.take(), ["four: oneway"]);
    let (outcome, told) = tokio::sync::oneshot::channel();
    let done = |sent: Result<_, _>| drop(outcome.send(sent));
    producer
        .send_with_callback(message("five"), done)
        .await
        .unwrap();
    told.await.unwrap().unwrap();
    assert_eq!(notes.take().len(), 1);
    let failed = producer.send(message("")).await.unwrap_err();
    assert_eq!(notes.take(), [format!(": {failed}")]);

    let forbidden = producer.send(message("forbidden")).await.unwrap_err();
    assert!(
        matches!(&forbidden, SendError::Forbidden(why) if why == "not this one"),
        "{forbidden}"
    );
    let batch = vec![message("two"), message("forbidden")];
    let forbidden = producer.send_batch(batch).await.unwrap_err();
    assert_eq!((forbidden.stored.len(), forbidden.unsent.len()), (0, 2));
    assert!(notes.take().is_empty(), "nothing was sent");

    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("5 messages", || received.len() >= 5).await;
    let is_marked = |m: &thrustmq_client::ReceivedMessage| m.properties.get("seen") == Some("yes");
    assert!(received.all().iter().all(is_marked));
    assert_eq!(received.len(), 5);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_messages_wait_for_each_other() {
    let servers = Standalone::start_with(&[("defaultTopicQueueNums", "1")]).await;
    let linger = Duration::from_millis(200);
    let producer = builder(&servers).linger(linger).start().await.unwrap();
    producer.send(Message::new("t", "alone")).await.unwrap();
    let sends = (0..50).map(|n| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let message = Message::new("t", n.to_string()).key(n.to_string());
            producer.send(message).await.unwrap()
        })
    });
    let sends: Vec<_> = sends.collect();
    let at_fault = producer.send(Message::new("t", "")).await.unwrap_err();
    assert!(matches!(
        at_fault,
        SendError::Message(MessageError::EmptyBody)
    ));
    let mut receipts = Vec::new();
    for send in sends {
        receipts.push(send.await.unwrap());
    }
    let offsets: BTreeSet<_> = receipts.iter().map(|r| r.queue_offset).collect();
    assert_eq!(offsets, (1..=50).collect(), "each has its own number");
    let ids: BTreeSet<_> = receipts.iter().map(|r| r.msg_id.clone()).collect();

    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("51 messages", || received.len() == 51).await;
    for receipt in &receipts {
        let all = received.all();
        let same = all.iter().find(|m| m.message_id() == receipt.msg_id);
        let same = same.expect("every id arrives");
        assert_eq!(same.queue_offset, receipt.queue_offset);
        assert_eq!(same.offset_id().encode(), receipt.offset_msg_id);
    }
    assert_eq!(ids.len(), 50);
    consumer.shutdown().await;

    // Shutdown does not leave those behind that wait.
    let waiting = producer.clone();
    let last = tokio::spawn(async move { waiting.send(Message::new("t", "last")).await });
    tokio::task::yield_now().await;
    let started = Instant::now();
    producer.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(15));
    match last.await.unwrap() {
        Ok(receipt) => assert_eq!(receipt.queue_offset, 51),
        Err(why) => assert!(matches!(why, SendError::ShutDown), "{why}"),
    }
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_tell_what_was_sent() {
    let servers = Standalone::start_with(&[("traceTopicEnable", "true")]).await;
    let producer = builder(&servers).trace(true).start().await.unwrap();
    let mut sent = Vec::new();
    for n in 0..25 {
        let message = Message::new("t", "body").tag("x").key(format!("key-{n}"));
        sent.push(producer.send(message).await.unwrap());
    }
    // Sends what is left.
    producer.shutdown().await;
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("RMQ_SYS_TRACE_TOPIC", "*")
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    let records = || -> Vec<String> {
        let bodies = received.bodies().concat();
        let records = bodies.split_terminator('\u{2}');
        records.map(str::to_owned).collect()
    };
    wait_until("25 records", || records().len() >= 25).await;
    for (n, receipt) in sent.iter().enumerate() {
        let key = format!("key-{n}");
        let records = records();
        let record = records.iter().find(|r| r.contains(&receipt.msg_id));
        let fields: Vec<_> = record.expect("a record each").split('\u{1}').collect();
        assert_eq!(fields.len(), 14);
        assert_eq!(fields[0], "Pub");
        assert_eq!(fields[2..5], ["DefaultRegion", "p", "t"]);
        assert_eq!(fields[6..8], ["x", key.as_str()]);
        assert_eq!(fields[8], servers.broker_address());
        assert_eq!(fields[9], "4");
        assert_eq!(fields[11..], ["0", receipt.offset_msg_id.as_str(), "true"]);
        let all = received.all();
        let by_key = all.iter().any(|m| m.keys().any(|of_trace| of_trace == key));
        assert!(by_key, "it can be found by the message's key");
    }
    consumer.shutdown().await;
    servers.stop().await;
}
