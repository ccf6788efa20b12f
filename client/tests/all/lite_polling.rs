//! Lite pull consumers: what polls and streams bring, and what waits for them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_client::testing::BROKER;
use thrustmq_client::{
    Admin, ClientConfig, ConsumeEnd, ConsumeHook, ConsumedBatch, LitePullConsumer, LitePullError,
    Message, MessageQueue, Producer, PullConsumer, Subscription,
};

use crate::lite_pulling::{NOTHING, PATIENCE, builder, committed, numbers, poll, send};
use crate::standalone::{Standalone, wait_until, wait_until_async};

/// Polls until nothing comes.
async fn poll_all(consumer: &mut LitePullConsumer) -> Vec<(i32, String)> {
    let mut all = Vec::new();
    loop {
        let messages = consumer.poll(NOTHING).await;
        if messages.is_empty() {
            return all;
        }
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        all.extend(messages.iter().map(|m| (m.queue_id, text(&m.body))));
    }
}

/// Waits until so many messages wait for polls, or are polled and not done.
async fn wait_until_held(servers: &Standalone, consumer: &LitePullConsumer, count: i32) {
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    wait_until_async("messages that wait", async || {
        let info = admin.consumer_info("g", consumer.client_id(), false).await;
        // The broker may not know it yet.
        let Ok(info) = info else { return false };
        let queues = info.mq_table.values();
        queues.map(|queue| queue.cached_msg_count).sum::<i32>() >= count
    })
    .await;
    admin.close().await;
}

/// Sends `count` messages to each queue, tagged `even` and `odd` in turn, and waits until they can be
/// pulled.
async fn fill(servers: &Standalone, producer: &Producer, count: i64) -> Vec<MessageQueue> {
    let queues = producer.publish_queues("t").await.unwrap();
    let reader = PullConsumer::builder("readers").name_servers(servers.name_servers());
    let reader = reader.start().await.unwrap();
    for queue in &queues {
        for n in 0..count {
            let tag = if n % 2 == 0 { "even" } else { "odd" };
            let message = Message::new("t", format!("{n:03}")).tag(tag);
            producer.send_to(queue, message).await.unwrap();
        }
        wait_until_async("its messages in the queue", async || {
            reader.max_offset(queue).await.unwrap() == count
        })
        .await;
    }
    reader.shutdown().await;
    queues
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_of_each_message_that_the_one_before_is_done() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..5).await;
    let start = || builder(&servers).subscribe("t", "*").start();
    let mut consumer = start().await.unwrap();
    let mut messages = consumer.stream();
    for n in 0..3 {
        assert_eq!(messages.next().await.unwrap().body, format!("{n:03}"));
    }
    let queue = messages.consumer().assignment().remove(0);
    // The third is still in our hands.
    drop(consumer);
    wait_until_async("the first two committed", async || {
        committed(&servers, &queue).await == Some(2)
    })
    .await;

    let mut consumer = start().await.unwrap();
    let mut messages = consumer.stream();
    for n in 2..5 {
        assert_eq!(messages.next().await.unwrap().body, format!("{n:03}"));
    }
    let (message, ()) = tokio::join!(messages.next(), send(&producer, 5..6));
    assert_eq!(message.unwrap().body, "005");
    let waiting = tokio::time::timeout(NOTHING, messages.next());
    assert!(waiting.await.is_err(), "there are no more");
    drop(messages);
    let (messages, ()) = tokio::join!(consumer.poll(Duration::MAX), send(&producer, 6..7));
    assert_eq!(messages[0].body, "006");
    consumer.shutdown().await;
    assert_eq!(committed(&servers, &queue).await, Some(7));
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_queue_has_its_own_filter_which_may_change() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    let queues = fill(&servers, &producer, 10).await;
    let mut consumer = builder(&servers).poll_batch(1).start().await.unwrap();
    let filters = ["even", "odd"].map(Subscription::tags);
    let assigned = queues.iter().cloned().zip(filters);
    consumer.assign_each(assigned).await.unwrap();
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let message = consumer.poll(PATIENCE).await.remove(0);
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        let of_queue = [&mut even, &mut odd];
        let of_queue = of_queue.into_iter().nth(message.queue_id as usize);
        of_queue.unwrap().push(body);
    }
    assert_eq!(even, ["000", "002", "004", "006", "008"]);
    assert_eq!(odd, ["001", "003", "005", "007", "009"]);

    consumer.assign([queues[0].clone()], "odd").await.unwrap();
    consumer.seek(&queues[0], 2).unwrap();
    assert_eq!(poll(&mut consumer, 1).await, ["003"]);
    // What waits was pulled with the old filter. The queue goes on where it is.
    let assigning = consumer.assign([queues[0].clone()], "*");
    let assigned = tokio::time::timeout(PATIENCE, assigning).await;
    assigned.expect("a changed filter is taken").unwrap();
    let mut rest = Vec::new();
    while rest.last().is_none_or(|last| last != "009") {
        rest.extend(poll(&mut consumer, 1).await);
    }
    assert!(rest.ends_with(&numbers(5..10)), "{rest:?}");
    assert!(!rest.contains(&"003".to_owned()), "{rest:?}");
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_queues_named_are_committed() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    let queues = fill(&servers, &producer, 10).await;
    let mut consumer = builder(&servers).commit_by_hand().start().await.unwrap();
    consumer.assign([queues[0].clone()], "*").await.unwrap();
    let stranger = consumer.commit_queues(&queues).await;
    assert!(matches!(stranger, Err(LitePullError::NotAssigned(queue)) if queue == queues[1]));
    consumer.assign(queues.clone(), "*").await.unwrap();
    poll(&mut consumer, 20).await;
    consumer.commit_queues(&queues[1..]).await.unwrap();
    assert_eq!(committed(&servers, &queues[0]).await, None);
    assert_eq!(committed(&servers, &queues[1]).await, Some(10));
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_poller_that_stops_is_bounded() {
    let mut servers = Standalone::start().await;
    servers.create_topic(4).await;
    let producer = servers.producer().await;
    fill(&servers, &producer, 100).await;
    let limited = builder(&servers).subscribe("t", "*").pull_batch(5);
    // Ten of each queue, by count and by bytes: three bytes each.
    let by_count = limited.clone().messages_max(40);
    let by_bytes = limited.bytes_max(120);
    for limited in [by_count, by_bytes] {
        let mut consumer = limited.start().await.unwrap();
        wait_until("its queues", || consumer.assignment().len() == 4).await;
        wait_until_held(&servers, &consumer, 40).await;
        // Nothing more can be pulled: what comes now has waited.
        servers.stop_broker(BROKER).await;
        let waited = poll_all(&mut consumer).await.len();
        assert_eq!(waited, 40, "ten of each queue");
        servers.start_broker(BROKER).await;
        // All of it comes, however little waits.
        assert!(!consumer.poll(PATIENCE).await.is_empty());
        // While two are members, each has two queues, which may hold twice as much.
        consumer.shutdown().await;
    }
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_of_a_queue_that_is_taken_away_is_never_polled() {
    let servers = Standalone::start().await;
    servers.create_topic(4).await;
    let producer = servers.producer().await;
    fill(&servers, &producer, 10).await;
    let start = || builder(&servers).subscribe("t", "*").start();
    let mut first = start().await.unwrap();
    wait_until("all queues", || first.assignment().len() == 4).await;
    wait_until_held(&servers, &first, 40).await;
    let mut second = start().await.unwrap();
    wait_until("half of them", || first.assignment().len() == 2).await;
    wait_until("the others", || second.assignment().len() == 2).await;
    let ours: BTreeSet<_> = first.assignment().iter().map(|q| q.queue_id).collect();
    let polled = poll_all(&mut first).await;
    assert!(
        polled.iter().all(|(queue, _)| ours.contains(queue)),
        "{polled:?}"
    );
    let mut others = Vec::new();
    while others.len() < 10 {
        let messages = second.poll(PATIENCE).await;
        assert!(!messages.is_empty(), "all of two queues is there");
        others.extend(messages.into_iter().map(|m| (m.queue_id, m.body)));
    }
    assert!(
        others.iter().all(|(queue, _)| !ours.contains(queue)),
        "{others:?}"
    );
    first.shutdown().await;
    second.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_topics_queues_are_told() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let config = ClientConfig::new().name_servers(servers.name_servers());
    let config = config.route_interval(Duration::from_millis(100));
    let mut consumer = builder(&servers).config(config).start().await.unwrap();
    let mut changes = consumer.topic_queues("t").await.unwrap();
    assert_eq!(changes.current(), consumer.queues("t").await.unwrap());
    consumer.assign(changes.current(), "*").await.unwrap();
    servers.create_topic(4).await;
    let queues = tokio::time::timeout(PATIENCE, changes.changed())
        .await
        .unwrap();
    assert_eq!(queues.len(), 4);
    consumer.assign(queues, "*").await.unwrap();
    assert_eq!(consumer.assignment().len(), 4);
    let unchanged = tokio::time::timeout(NOTHING, changes.changed());
    assert!(unchanged.await.is_err());
    consumer.shutdown().await;
    servers.stop().await;
}

/// Notes what it is told.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, what: &str, batch: &ConsumedBatch<'_>) {
        let offsets: Vec<_> = batch.messages.iter().map(|m| m.queue_offset).collect();
        self.0.lock().unwrap().push(format!("{what} {offsets:?}"));
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl ConsumeHook for Notes {
    fn before(&self, batch: &ConsumedBatch<'_>) {
        self.note("before", batch);
    }

    fn after(&self, batch: &ConsumedBatch<'_>, end: ConsumeEnd, _: Duration) {
        self.note(&format!("{end:?}"), batch);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_and_brokers_know_a_lite_pull_consumer() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    let queues = fill(&servers, &producer, 4).await;
    let notes = Notes::default();
    let consumer = builder(&servers).subscribe("t", "*").poll_batch(1);
    let mut consumer = consumer.hook(notes.clone()).start().await.unwrap();
    poll(&mut consumer, 2).await;
    assert_eq!(notes.all(), ["before [0]", "Success [0]", "before [1]"]);
    consumer.seek(&queues[0], 3).unwrap();
    poll(&mut consumer, 1).await;
    assert_eq!(notes.all()[3..], ["Failed [1]", "before [3]"]);

    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let members = admin.group_members("g").await.unwrap().unwrap();
    let shown = format!("{members:?}");
    assert!(shown.contains("Actively"), "{shown}");
    assert!(shown.contains(consumer.client_id()), "{shown}");
    assert!(consumer.client_id().ends_with("@STREAM"));
    admin.close().await;
    consumer.shutdown().await;
    assert_eq!(notes.all()[5..], ["Success [3]"]);
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_in_which_messages_wait_take_turns() {
    let servers = Standalone::start().await;
    servers.create_topic(3).await;
    let producer = servers.producer().await;
    let queues = fill(&servers, &producer, 4).await;
    let mut consumer = builder(&servers).poll_batch(1).start().await.unwrap();
    consumer.assign(queues.clone(), "*").await.unwrap();
    wait_until_held(&servers, &consumer, 12).await;
    let mut turns = Vec::new();
    for _ in 0..12 {
        turns.push(consumer.poll(PATIENCE).await[0].queue_id);
    }
    assert_eq!(turns[..9], turns[3..], "the same turn each time");
    assert_eq!(turns[..3].iter().collect::<BTreeSet<_>>().len(), 3);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_tell_what_was_polled() {
    let servers = Standalone::start_with(&[("traceTopicEnable", "true")]).await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    let sent = producer.send(Message::new("t", "one")).await.unwrap();
    let traced = builder(&servers).subscribe("t", "*").trace(true);
    let mut traced = traced.start().await.unwrap();
    poll(&mut traced, 1).await;
    // Sends what is left.
    traced.shutdown().await;
    let reader = builder(&servers).subscribe("RMQ_SYS_TRACE_TOPIC", "*");
    let mut reader = reader.start().await.unwrap();
    let mut records = String::new();
    while !records.contains("SubAfter") {
        records.extend(poll(&mut reader, 1).await);
    }
    assert!(records.contains("SubBefore") && records.contains(&sent.msg_id));
    reader.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}
