//! Lite pull consumers.

use std::collections::BTreeSet;
use std::time::Duration;

use thrustmq_client::{
    ClientConfig, ConsumeFrom, LitePullConsumer, LitePullConsumerBuilder, LitePullError, Message,
    MessageQueue, Producer, PullConsumer, Subscription,
};
use tokio::runtime::Handle;

use crate::standalone::{Standalone, wait_until, wait_until_async};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing comes: this long a test looks.
pub(crate) const NOTHING: Duration = Duration::from_millis(300);

pub(crate) fn builder(servers: &Standalone) -> LitePullConsumerBuilder {
    LitePullConsumer::builder("g")
        .name_servers(servers.name_servers())
        .consume_from(ConsumeFrom::FirstOffset)
}

pub(crate) async fn send(producer: &Producer, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let message = Message::new("t", format!("{n:03}"));
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        producer.send(message.tag(tag)).await.unwrap();
    }
}

/// Polls until there were so many; their bodies in the order of the polls.
pub(crate) async fn poll(consumer: &mut LitePullConsumer, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let messages = consumer.poll(PATIENCE).await;
        assert!(!messages.is_empty(), "{bodies:?}, and no more");
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        bodies.extend(messages.iter().map(|message| text(&message.body)));
    }
    bodies
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n:03}")).collect()
}

pub(crate) fn sorted(mut bodies: Vec<String>) -> Vec<String> {
    bodies.sort();
    bodies
}

/// What the broker knows of the group's offset.
pub(crate) async fn committed(servers: &Standalone, queue: &MessageQueue) -> Option<i64> {
    let reader = PullConsumer::builder("g").name_servers(servers.name_servers());
    let reader = reader.start().await.unwrap();
    let committed = reader.committed(queue).await.unwrap();
    reader.shutdown().await;
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_polled_is_committed_and_nothing_else() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..20).await;
    let start = || builder(&servers).subscribe("t", "*").poll_batch(5).start();

    let mut first = start().await.unwrap();
    assert_eq!(poll(&mut first, 10).await, numbers(0..10));
    let queue = first.assignment().remove(0);
    // The second five are still in our hands.
    drop(first);
    wait_until_async("the first five committed", async || {
        committed(&servers, &queue).await == Some(5)
    })
    .await;

    let mut second = start().await.unwrap();
    assert_eq!(poll(&mut second, 5).await, numbers(5..10));
    second.commit().await.unwrap();
    assert_eq!(committed(&servers, &queue).await, Some(10));
    assert_eq!(second.committed(&queue).await.unwrap(), Some(10));
    assert_eq!(poll(&mut second, 5).await, numbers(10..15));
    // What is pulled and not polled is another's.
    second.shutdown().await;
    assert_eq!(committed(&servers, &queue).await, Some(15));

    let mut third = start().await.unwrap();
    assert_eq!(poll(&mut third, 5).await, numbers(15..20));
    assert!(third.poll(NOTHING).await.is_empty());
    let (messages, ()) = tokio::join!(third.poll(PATIENCE), send(&producer, 20..21));
    assert_eq!(messages[0].body, "020");
    third.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_only_the_application_commits() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..10).await;
    let start = || {
        builder(&servers)
            .subscribe("t", "*")
            .commit_by_hand()
            .start()
    };
    let mut consumer = start().await.unwrap();
    assert_eq!(poll(&mut consumer, 10).await, numbers(0..10));
    let queue = consumer.assignment().remove(0);
    consumer.commit_offset(&queue, 4).await.unwrap();
    consumer.shutdown().await;
    assert_eq!(committed(&servers, &queue).await, Some(4));
    let mut consumer = start().await.unwrap();
    assert_eq!(poll(&mut consumer, 6).await, numbers(4..10));
    consumer.commit().await.unwrap();
    assert_eq!(committed(&servers, &queue).await, Some(10));
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_queues_and_hear_of_it() {
    let servers = Standalone::start().await;
    servers.create_topic(4).await;
    let producer = servers.producer().await;
    let start = || builder(&servers).subscribe("t", "*").start();
    let mut first = start().await.unwrap();
    wait_until("all queues", || first.assignment().len() == 4).await;
    let mut changes = first.assignments();
    let mut second = start().await.unwrap();
    let shared = async {
        while changes.changed().await.unwrap().len() != 2 {}
        while second.assignment().len() != 2 {
            second.assignments().changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, shared).await.unwrap();
    let ours: BTreeSet<_> = first.assignment().into_iter().collect();
    assert!(
        second
            .assignment()
            .iter()
            .all(|queue| !ours.contains(queue))
    );
    send(&producer, 0..40).await;
    let (mut all, others) = tokio::join!(poll(&mut first, 20), poll(&mut second, 20));
    all.extend(others);
    assert_eq!(sorted(all), numbers(0..40));
    second.shutdown().await;
    wait_until("all queues again", || first.assignment().len() == 4).await;
    send(&producer, 40..60).await;
    assert_eq!(sorted(poll(&mut first, 20).await), numbers(40..60));
    first.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_assigned_sought_and_paused() {
    let servers = Standalone::start_with(&[("enablePropertyFilter", "true")]).await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    let mut consumer = builder(&servers).start().await.unwrap();
    let queues = consumer.queues("t").await.unwrap();
    for n in 0..20_u8 {
        let message = Message::new("t", n.to_string()).property("n", n.to_string());
        let queue = &queues[usize::from(n % 2)];
        producer.send_to(queue, message).await.unwrap();
    }
    let refused = consumer.seek(&queues[0], 0);
    assert!(matches!(refused, Err(LitePullError::NotAssigned(queue)) if queue == queues[0]));

    consumer.assign([queues[0].clone()], "*").await.unwrap();
    consumer.seek(&queues[0], 7).unwrap();
    assert_eq!(poll(&mut consumer, 3).await, ["14", "16", "18"]);
    consumer.seek_to_begin(&queues[0]).await.unwrap();
    assert_eq!(poll(&mut consumer, 10).await[..2], ["0", "2"]);
    consumer.seek_to_end(&queues[0]).await.unwrap();
    assert!(consumer.poll(NOTHING).await.is_empty());
    consumer.seek_to_time(&queues[0], 0).await.unwrap();
    assert_eq!(poll(&mut consumer, 10).await[0], "0");

    consumer
        .assign(queues.clone(), Subscription::sql("n > 15"))
        .await
        .unwrap();
    for queue in &queues {
        consumer.seek_to_begin(queue).await.unwrap();
    }
    consumer.pause(&queues[..1]);
    assert_eq!(poll(&mut consumer, 2).await, ["17", "19"]);
    assert!(consumer.poll(NOTHING).await.is_empty());
    consumer.resume(&queues);
    assert_eq!(poll(&mut consumer, 2).await, ["16", "18"]);
    consumer.assign([], "*").await.unwrap();
    assert!(consumer.assignment().is_empty());
    consumer.shutdown().await;

    let mut subscribed = builder(&servers).subscribe("t", "*").start().await.unwrap();
    let refused = subscribed.assign(queues, "*").await;
    assert!(matches!(refused, Err(LitePullError::Subscribed)));
    subscribed.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

/// What a program had in its hands while it sought another place is nothing of that place.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_before_a_seek_do_not_count_after_it() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..10).await;
    let mut consumer = builder(&servers)
        .subscribe("t", "*")
        .poll_batch(4)
        .start()
        .await
        .unwrap();
    assert_eq!(poll(&mut consumer, 4).await, numbers(0..4));
    let queue = consumer.assignment().remove(0);
    consumer.seek(&queue, 2).unwrap();
    // They are pulled again meanwhile.
    tokio::time::sleep(NOTHING).await;
    consumer.commit().await.unwrap();
    assert_eq!(committed(&servers, &queue).await, Some(2));
    assert_eq!(poll(&mut consumer, 8).await, numbers(2..10));
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_gets_all_in_broadcasting_and_goes_on_from_its_file() {
    let servers = Standalone::start().await;
    servers.create_topic(2).await;
    let producer = servers.producer().await;
    send(&producer, 0..10).await;
    let directory = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let config = ClientConfig::new().name_servers(servers.name_servers());
        let builder = builder(&servers).config(config.instance_name(name));
        let builder = builder.subscribe("t", "*").broadcasting();
        builder.offset_directory(directory.path()).start()
    };
    let mut consumer = start("one").await.unwrap();
    let mut other = start("other").await.unwrap();
    assert_eq!(sorted(poll(&mut other, 10).await), numbers(0..10));
    assert_eq!(sorted(poll(&mut consumer, 10).await), numbers(0..10));
    other.shutdown().await;
    consumer.shutdown().await;
    let file = std::fs::read_dir(directory.path()).unwrap();
    let is_javas = |name: &str| name.ends_with("@one@STREAM");
    let names: Vec<_> = file.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names.iter().any(|name| name.to_str().is_some_and(is_javas)),
        "{names:?}"
    );
    send(&producer, 10..20).await;
    let mut again = start("one").await.unwrap();
    assert_eq!(sorted(poll(&mut again, 10).await), numbers(10..20));
    again.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulling_goes_on_after_it_has_paused_at_its_limit() {
    let servers = Standalone::start().await;
    servers.create_topic(1).await;
    let producer = servers.producer().await;
    send(&producer, 0..200).await;
    let mut consumer = builder(&servers)
        .subscribe("t", "odd")
        .pull_batch(10)
        .queue_messages_max(20)
        .start()
        .await
        .unwrap();
    assert_eq!(poll(&mut consumer, 1).await[0], "001");
    let queue = consumer.assignment().remove(0);
    // Pulls of ten, of which five are wanted, pause where twenty wait.
    tokio::time::sleep(NOTHING).await;
    let odd: Vec<_> = numbers(0..200).into_iter().skip(1).step_by(2).collect();
    consumer.seek(&queue, 0).unwrap();
    assert_eq!(poll(&mut consumer, 100).await, odd);
    consumer.shutdown().await;
    producer.shutdown().await;
    servers.stop().await;
}

#[test]
fn a_shutdown_leaves_no_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let servers = Standalone::start().await;
        servers.create_topic(4).await;
        for is_orderly in [true, false] {
            let mut consumer = builder(&servers).subscribe("t", "*").start().await.unwrap();
            wait_until("its queues", || consumer.assignment().len() == 4).await;
            consumer.poll(NOTHING).await;
            if is_orderly {
                consumer.shutdown().await;
            } else {
                drop(consumer);
            }
            let tasks = || Handle::current().metrics().num_alive_tasks();
            wait_until("an empty runtime", || tasks() == 0).await;
        }
        servers.stop().await;
    });
}
