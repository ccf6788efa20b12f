//! Administrative calls about messages: dead letters, walks by time, traces.

use std::time::Duration;

use thrustmq_client::{
    Admin, AdminError, ConsumeResult, KeySearch, Message, NewTopic, PullConsumer, Redrive,
    RedriveCause, RouteError, TimeRange, TraceRecord,
};

use crate::standalone::{Received, Standalone, wait_until, wait_until_async};

/// A topic with `topic` queues, found by clients.
async fn create(admin: &Admin, topic: &str, queues: u16) {
    let new = NewTopic::named(topic).queues(queues);
    admin.create_topic("DefaultCluster", &new).await.unwrap();
    wait_until_async("the route", async || admin.route(topic).await.is_ok()).await;
}

/// Has group `g` give up what it gets of topic `t`, until `count` dead letters are there.
async fn give_up(servers: &Standalone, admin: &Admin, count: usize) {
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .reconsume_times_max(0)
        .start(|_| async { ConsumeResult::Later })
        .await
        .unwrap();
    wait_until_async("dead letters", async || {
        dead_letters(admin)
            .await
            .is_ok_and(|dead| dead.len() == count)
    })
    .await;
    consumer.shutdown().await;
}

async fn dead_letters(admin: &Admin) -> Result<Vec<String>, AdminError> {
    let mut walk = admin.dead_letters("g", TimeRange::all()).await?;
    let mut bodies = Vec::new();
    while let Some(found) = walk.next().await? {
        bodies.push(String::from_utf8_lossy(&found.message.body).into_owned());
    }
    Ok(bodies)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_sent_back_once() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    create(&admin, "t", 2).await;
    let nothing = admin.redrive(&Redrive::of("g"), |_| ()).await.unwrap();
    assert_eq!(nothing.messages, 0);
    let producer = servers.producer().await;
    for n in 0..40 {
        let message = Message::new("t", format!("{n:02}"))
            .tag("a")
            .key(format!("key{n}"));
        let message = message.property("shop", "7").flag(3);
        producer.send(message).await.unwrap();
    }
    give_up(&servers, &admin, 40).await;

    let dry = Redrive::of("g").dry_run(true);
    let counted = admin.redrive(&dry, |_| ()).await.unwrap();
    assert_eq!((counted.messages, counted.by_topic["t"]), (40, 40));
    let some = Redrive::of("g").messages_max(3);
    assert_eq!(admin.redrive(&some, |_| ()).await.unwrap().messages, 3);
    let mut steps = Vec::new();
    let rest = Redrive::of("g");
    let done = admin.redrive(&rest, |now| steps.push(now.messages)).await;
    assert_eq!(done.unwrap().messages, 37);
    assert!(steps.len() > 1 && steps.is_sorted(), "{steps:?}");
    assert_eq!(admin.redrive(&rest, |_| ()).await.unwrap().messages, 0);

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
    wait_until("the messages again", || received.len() >= 40).await;
    let mut bodies = received.bodies();
    assert_eq!(bodies.len(), 40);
    bodies.dedup();
    assert_eq!(bodies.len(), 40);
    for message in received.all() {
        let property = |name| message.properties.get(name);
        assert_eq!((message.tags(), message.flag), (Some("a"), 3));
        assert_eq!((property("shop"), message.reconsume_times), (Some("7"), 0));
        assert!(message.keys().next().unwrap().starts_with("key"));
        assert!(property("REDRIVEN_FROM").is_some() && property("RETRY_TOPIC").is_none());
    }
    consumer.shutdown().await;
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_goes_on_where_it_broke_off() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    create(&admin, "t", 1).await;
    let producer = servers.producer().await;
    for n in 0..5 {
        let message = Message::new("t", format!("{n}"));
        producer.send(message).await.unwrap();
    }
    give_up(&servers, &admin, 5).await;
    // A note of more than there is, and a topic that takes nothing.
    let tools = PullConsumer::builder("TOOLS_CONSUMER").name_servers(servers.name_servers());
    let tools = tools.start().await.unwrap();
    let queue = tools.queues("%DLQ%g").await.unwrap().remove(0);
    tools.commit(&queue, 1_000).await.unwrap();
    admin.set_topic_permission("t", 4).await.unwrap();
    let refused = admin.redrive(&Redrive::of("g"), |_| ()).await.unwrap_err();
    assert!(
        matches!(refused.cause, RedriveCause::Send { offset: 0, .. }),
        "{refused}"
    );
    assert_eq!(refused.done.messages, 0);
    admin.set_topic_permission("t", 6).await.unwrap();
    tools.shutdown().await;
    // What is later than a span is not noted as sent.
    let long_ago = Redrive::of("g").between(TimeRange::all().until(1_000));
    assert_eq!(admin.redrive(&long_ago, |_| ()).await.unwrap().messages, 0);
    // Somebody's own message, behind the others: it does not say where it came from.
    let stray = Message::new("%DLQ%g", "stray");
    producer.send(stray).await.unwrap();
    wait_until_async("the stray message", async || {
        dead_letters(&admin).await.unwrap().len() == 6
    })
    .await;
    let only_to_group = Redrive::of("g").only_to_group(true);
    let broken_off = admin.redrive(&only_to_group, |_| ()).await.unwrap_err();
    assert_eq!(broken_off.done.messages, 5);
    assert!(
        matches!(broken_off.cause, RedriveCause::NoOrigin { offset: 5, .. }),
        "{broken_off}"
    );
    let again = admin.redrive(&only_to_group, |_| ()).await.unwrap_err();
    assert_eq!(again.done.messages, 0, "none twice");
    let stats = admin.topic_stats("t").await.unwrap();
    assert_eq!(stats[0].offsets.max, 5, "other groups see nothing");

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
    wait_until("the messages again", || received.len() >= 5).await;
    assert_eq!(received.bodies(), ["0", "1", "2", "3", "4"]);
    assert!(received.all().iter().all(|message| message.topic == "t"));
    consumer.shutdown().await;
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_keeps_to_its_span() {
    let servers = Standalone::start().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    create(&admin, "t", 3).await;
    let producer = servers.producer().await;
    for n in 0..9 {
        let message = Message::new("t", format!("{n}")).tag(["a", "b"][n % 2]);
        producer.send(message).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let all = walk(&admin, TimeRange::all(), "*").await;
    let bodies = |found: &[(i64, String)]| {
        let bodies = found.iter().map(|(_, body)| body.as_str());
        bodies.collect::<Vec<_>>().join("")
    };
    assert_eq!(bodies(&all), "012345678", "in the order of their storing");
    let (begin, end) = (all[2].0, all[6].0);
    let span = TimeRange::since(begin).until(end);
    assert_eq!(bodies(&walk(&admin, span, "*").await), "23456");
    assert_eq!(bodies(&walk(&admin, span, "a").await), "246");
    let later = TimeRange::since(all[8].0 + 60_000);
    assert_eq!(bodies(&walk(&admin, later, "*").await), "");
    let offsets = admin.offsets_at("t", begin).await.unwrap();
    assert_eq!(offsets.values().sum::<i64>(), 2);
    let queue = offsets.keys().next().unwrap();
    let first = admin.message_at(queue, 0).await.unwrap().unwrap();
    assert_eq!(first.queue_offset, 0);
    assert!(admin.message_at(queue, 1_000).await.unwrap().is_none());
    let unknown = admin.dead_letters("nobody", TimeRange::all()).await;
    assert!(matches!(
        unknown,
        Err(AdminError::Route(RouteError::NoSuchTopic(_)))
    ));
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

/// Times and bodies.
async fn walk(admin: &Admin, range: TimeRange, tags: &str) -> Vec<(i64, String)> {
    let mut walk = admin.messages_between("t", range, tags).await.unwrap();
    let mut found = Vec::new();
    while let Some(next) = walk.next().await.unwrap() {
        let body = String::from_utf8_lossy(&next.message.body).into_owned();
        found.push((next.message.store_timestamp, body));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_found_by_id_and_by_key() {
    let servers = Standalone::start_with(&[("traceTopicEnable", "true")]).await;
    let producer = thrustmq_client::Producer::builder("traced")
        .name_servers(servers.name_servers())
        .send_timeout(Duration::from_secs(20))
        .trace(true)
        .start()
        .await
        .unwrap();
    let message = || Message::new("t", "x").tag("a").key("4711");
    let receipt = producer.send(message()).await.unwrap();
    producer.send(message().key("other")).await.unwrap();
    producer.shutdown().await; // Sends what waits.
    let received = Received::default();
    let seen = received.clone();
    let consumer = servers
        .consumer("g")
        .subscribe("t", "*")
        .trace(true)
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("the messages", || received.len() == 2).await;
    consumer.shutdown().await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let traces = async |key: &str| admin.traces(&KeySearch::traces(key)).await.unwrap();
    wait_until_async("the traces", async || traces("4711").await.len() == 6).await;
    assert_eq!(traces("other").await.len(), 3);
    let traces = traces(&receipt.msg_id).await;
    let [sent, before, after] = &traces[..] else {
        panic!("{traces:?}");
    };
    let TraceRecord::Sent(sent) = &sent.record else {
        panic!("{sent:?}");
    };
    assert_eq!(
        (&*sent.group, &*sent.topic, sent.body_bytes),
        ("traced", "t", 1)
    );
    assert_eq!((sent.tag.as_deref(), sent.is_success), (Some("a"), true));
    assert!(matches!(&before.record, TraceRecord::Consuming(trace) if trace.group == "g"));
    assert!(matches!(&after.record, TraceRecord::Consumed(trace) if trace.is_success));
    admin.close().await;
    servers.stop().await;
}
