//! What a configuration says about how clients connect.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thrustmq_client::rebalance::{Configured, GroupView, RebalanceStrategy};
use thrustmq_client::{
    Admin, ClientConfig, ConsumeEnd, ConsumeFrom, ConsumeHook, ConsumeResult, ConsumedBatch,
    LitePullConsumer, Message, MessageQueue, NewTopic, Producer, PullConsumer, PushConsumer,
    Resolution, StartError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::standalone::{Received, Standalone, wait_until, wait_until_async};

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_namespace_meet_in_it_and_nobody_else() {
    let levels = "1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s";
    let servers = Standalone::start_with(&[("messageDelayLevel", levels)]).await;
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    for topic in ["orders", "east%orders"] {
        let topic = NewTopic::named(topic).queues(1);
        admin.create_topic("DefaultCluster", &topic).await.unwrap();
    }
    let plain = ClientConfig::new().name_servers(servers.name_servers());
    let east = plain.clone().namespace("east");
    let (in_east, outside) = (Received::default(), Received::default());
    let mut clients = Vec::new();
    for (config, received) in [(&east, &in_east), (&plain, &outside)] {
        let sink = received.clone();
        let consumer = PushConsumer::builder("group")
            .config(config.clone())
            .subscribe("orders", "*")
            .consume_from(ConsumeFrom::FirstOffset)
            .start(move |message| {
                let is_first = message.reconsume_times == 0;
                sink.push(message);
                // Once around the retry topic, which is in the namespace as well.
                async move {
                    if is_first {
                        ConsumeResult::Later
                    } else {
                        ConsumeResult::Success
                    }
                }
            });
        clients.push(consumer.await.unwrap());
    }
    let producer = Producer::builder("producers")
        .config(east)
        .start()
        .await
        .unwrap();
    let receipt = producer.send(Message::new("orders", "one")).await.unwrap();
    assert_eq!(receipt.queue.topic, "orders");
    let batch = vec![Message::new("orders", "two")];
    producer.send_batch(batch).await.unwrap();
    wait_until("both messages twice", || in_east.len() >= 4).await;
    let all = in_east.all();
    assert!(all.iter().all(|message| message.topic == "orders"));
    assert_eq!(outside.len(), 0, "it has another group and another topic");
    for client in clients {
        client.shutdown().await;
    }
    producer.shutdown().await;
    admin.close().await;
    servers.stop().await;
}

/// Notes the names that hooks and strategies see, and divides as configured.
#[derive(Debug, Clone)]
struct Names {
    seen: Arc<Mutex<Vec<String>>>,
    configured: Configured,
}

impl Names {
    fn note(&self, group: &str, queue: &MessageQueue) {
        let names = format!("{group} {}", queue.topic);
        self.seen.lock().unwrap().push(names);
    }
}

impl ConsumeHook for Names {
    fn before(&self, batch: &ConsumedBatch<'_>) {
        self.note(batch.group, batch.queue);
    }

    fn after(&self, batch: &ConsumedBatch<'_>, _: ConsumeEnd, _: Duration) {
        self.note(batch.group, batch.queue);
    }
}

impl RebalanceStrategy for Names {
    fn divide(&self, view: &GroupView<'_>) -> Vec<MessageQueue> {
        self.note(view.group, &view.queues[0]);
        self.configured.divide(view)
    }
}

/// Creates topic `orders` of namespace `east`, with two queues and a message in each: its number.
/// Returns how clients of the namespace connect, and the queues.
async fn orders_in_east(servers: &Standalone) -> (ClientConfig, Vec<MessageQueue>) {
    let admin = Admin::connect(servers.name_servers()).await.unwrap();
    let topic = NewTopic::named("east%orders").queues(2);
    admin.create_topic("DefaultCluster", &topic).await.unwrap();
    wait_until_async("the topic's route", async || {
        admin.route("east%orders").await.is_ok()
    })
    .await;
    admin.close().await;
    let config = ClientConfig::new().name_servers(servers.name_servers());
    let config = config.namespace("east");
    let producer = Producer::builder("producers").config(config.clone());
    let producer = producer.start().await.unwrap();
    let queues = producer.publish_queues("orders").await.unwrap();
    for queue in &queues {
        let message = Message::new("orders", queue.queue_id.to_string());
        let receipt = producer.send_to(queue, message).await.unwrap();
        assert_eq!(receipt.queue, *queue);
    }
    producer.shutdown().await;
    (config, queues)
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_and_strategies_see_plain_names_in_a_namespace() {
    let servers = Standalone::start().await;
    let (config, queues) = orders_in_east(&servers).await;
    let names = Names {
        seen: Arc::default(),
        configured: Configured::new([queues[1].clone()]),
    };
    let received = Received::default();
    let sink = received.clone();
    let consumer = PushConsumer::builder("group")
        .config(config)
        .subscribe("orders", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .rebalance(names.clone())
        .hook(names.clone())
        .start(move |message| {
            sink.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    wait_until("the message", || received.len() == 1).await;
    consumer.shutdown().await;
    assert_eq!(received.bodies(), ["1"]);
    let seen = names.seen.lock().unwrap().clone();
    assert!(
        seen.len() >= 3,
        "the strategy and both functions of the hook"
    );
    let is_plain = |names: &String| names == "group orders" || names == "group %RETRY%group";
    assert!(seen.iter().all(is_plain), "{seen:?}");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_a_namespace_are_read_by_their_plain_names() {
    let servers = Standalone::start().await;
    let (config, queues) = orders_in_east(&servers).await;
    let reader = PullConsumer::builder("readers").config(config);
    let reader = reader.start().await.unwrap();
    assert_eq!(reader.queues("orders").await.unwrap(), queues);
    let wrapped = MessageQueue {
        topic: "east%orders".to_owned(),
        ..queues[0].clone()
    };
    for queue in [&queues[0], &wrapped] {
        wait_until_async("the message in its queue", async || {
            reader.max_offset(queue).await.unwrap() == 1
        })
        .await;
        let pull = reader.pull(queue, 0).await.unwrap();
        assert_eq!(pull.messages[0].body, "0");
        assert_eq!(pull.messages[0].topic, "orders");
        reader.commit(queue, 1).await.unwrap();
        assert_eq!(reader.committed(queue).await.unwrap(), Some(1));
        assert_eq!(reader.min_offset(queue).await.unwrap(), 0);
        assert_eq!(reader.offset_at(queue, 0).await.unwrap(), 0);
    }
    reader.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lite_pull_consumer_in_a_namespace_knows_plain_names() {
    let servers = Standalone::start().await;
    let (config, queues) = orders_in_east(&servers).await;
    let builder = LitePullConsumer::builder("group").config(config);
    let builder = builder.consume_from(ConsumeFrom::FirstOffset);
    let mut chooser = builder.clone().commit_by_hand().start().await.unwrap();
    assert_eq!(chooser.queues("orders").await.unwrap(), queues);
    let topic_queues = chooser.topic_queues("orders").await.unwrap();
    assert_eq!(topic_queues.current(), queues);
    let wrapped = MessageQueue {
        topic: "east%orders".to_owned(),
        ..queues[0].clone()
    };
    chooser.assign([wrapped.clone()], "*").await.unwrap();
    assert_eq!(chooser.assignment(), queues[..1]);
    for queue in [&queues[0], &wrapped] {
        chooser.seek(queue, 0).unwrap();
        let messages = chooser.poll(Duration::from_secs(60)).await;
        assert_eq!(messages[0].topic, "orders");
        chooser.commit_queues([queue]).await.unwrap();
        assert_eq!(chooser.committed(queue).await.unwrap(), Some(1));
        chooser.commit_offset(queue, 0).await.unwrap();
        assert_eq!(chooser.committed(queue).await.unwrap(), Some(0));
    }
    chooser.shutdown().await;

    let mut member = builder.subscribe("orders", "*").start().await.unwrap();
    let mut assignments = member.assignments();
    wait_until("both queues", || member.assignment().len() == 2).await;
    assert_eq!(assignments.changed().await.unwrap(), member.assignment());
    assert!(
        member
            .assignment()
            .iter()
            .all(|queue| queues.contains(queue))
    );
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let messages = member.poll(Duration::from_secs(60)).await;
        assert!(!messages.is_empty(), "{bodies:?}, and no more");
        bodies.extend(messages.into_iter().map(|message| message.body));
    }
    bodies.sort();
    assert_eq!(bodies, ["0", "1"]);
    member.shutdown().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_known_by_its_instance_and_unit() {
    let servers = Standalone::start().await;
    let config = ClientConfig::new()
        .name_servers(servers.name_servers())
        .instance_name("till-7")
        .unit_name("north");
    let start = async |config: &ClientConfig| {
        let builder = PushConsumer::builder("tills").config(config.clone());
        let builder = builder.subscribe("t", "*");
        builder.start(|_| async { ConsumeResult::Success }).await
    };
    let consumer = start(&config).await.unwrap();
    assert_eq!(consumer.client_id(), "127.0.0.1@till-7@north");
    // Both would take all queues.
    let second = start(&config).await.unwrap_err();
    assert!(
        matches!(second, StartError::ClientIdTaken { .. }),
        "{second}"
    );
    consumer.shutdown().await;
    start(&config).await.unwrap().shutdown().await;
    servers.stop().await;
}

/// Answers every GET with this text; its address.
async fn address_server(text: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 1_000];
            let read = stream.read(&mut request).await.unwrap();
            let is_ours = request[..read].starts_with(b"GET /rocketmq/nsaddr HTTP/1.1");
            let status = if is_ours { "200 OK" } else { "404 Not Found" };
            let length = text.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
            let answer = [head.as_bytes(), text.as_bytes()].concat();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_server_tells_the_name_servers() {
    let servers = Standalone::start().await;
    let text = format!("{}\nwhat follows is not read", servers.name_servers());
    let domain = address_server(text).await;
    let config = ClientConfig::new().name_server_domain(&domain);
    let admin = Admin::with_config(config).await.unwrap();
    assert_eq!(admin.clusters().await.unwrap().broker_addr_table.len(), 1);
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_server_without_an_answer_is_named_in_the_error() {
    let domain = address_server(String::new()).await;
    let elsewhere = format!("http://{domain}/elsewhere");
    for (domain, cause) in [(domain, "no name server"), (elsewhere, "404")] {
        let config = ClientConfig::new().name_server_domain(&domain);
        let admin = Admin::with_config(config).await.unwrap();
        let failed = admin.clusters().await.unwrap_err().to_string();
        assert!(
            failed.contains(&domain) && failed.contains(cause),
            "{failed}"
        );
        admin.close().await;
    }
}

/// Passes connections on to `target`. Those that are open when it is told to freeze stay open, but
/// nothing goes through them any more, as if a router on the way had forgotten them.
struct Passage {
    address: String,
    freeze: watch::Sender<()>,
}

impl Passage {
    async fn freeze(&self) {
        self.freeze.send(()).unwrap();
        // Each connection lets its receiver go when it has stopped.
        self.freeze.closed().await;
    }
}

async fn passage(target: String) -> Passage {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let freeze = watch::Sender::new(());
    let signals = freeze.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (target, mut frozen) = (target.clone(), signals.subscribe());
            tokio::spawn(async move {
                let mut to = TcpStream::connect(target).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut stream, &mut to) => {}
                    _ = frozen.changed() => {}
                }
                drop(frozen);
                std::future::pending::<()>().await;
            });
        }
    });
    Passage { address, freeze }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_leads_nowhere_any_more_is_left() {
    let servers = Standalone::start().await;
    let passage = passage(servers.name_servers()).await;
    let config = ClientConfig::new()
        .name_servers(&passage.address)
        .call_timeout(Duration::from_secs(3));
    let admin = Admin::with_config(config).await.unwrap();
    admin.clusters().await.unwrap();
    passage.freeze().await;
    let failed = admin.clusters().await.unwrap_err().to_string();
    assert!(failed.contains("within 3000 ms"), "{failed}");
    admin.clusters().await.unwrap();
    admin.close().await;
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_name_server_is_gone_known_routes_are_used() {
    let mut servers = Standalone::start().await;
    let producer = servers.producer().await;
    producer.send(Message::new("t", "before")).await.unwrap();
    servers.stop_name_server().await;
    producer.send(Message::new("t", "meanwhile")).await.unwrap();
    let stranger = producer.send(Message::new("other", "x")).await;
    let told = stranger.unwrap_err().to_string();
    assert!(told.contains(&servers.name_servers()), "{told}");
    servers.start_name_server().await;
    // The broker has to register first.
    wait_until_async("a new topic's route", async || {
        producer.send(Message::new("other", "x")).await.is_ok()
    })
    .await;
    producer.shutdown().await;
    servers.stop().await;
}

#[tokio::test]
async fn no_task_outlives_its_client() {
    let servers = Standalone::start().await;
    let alive = || Handle::current().metrics().num_alive_tasks();
    for is_shut_down in [true, false] {
        let config = ClientConfig::new().name_servers(servers.name_servers());
        let received = Received::default();
        let sink = received.clone();
        let consumer = servers.consumer(if is_shut_down { "g1" } else { "g2" });
        let consumer = consumer.subscribe("t", "*").start(move |message| {
            sink.push(message);
            async { ConsumeResult::Success }
        });
        let consumer = consumer.await.unwrap();
        let producer = servers.producer().await;
        let builder = Producer::builder("requesters").config(config.clone());
        let requester = builder.start_requester().await.unwrap();
        let builder = Producer::builder("payers").config(config.clone());
        let transactions = builder.start_transactions(|_| async { Resolution::Commit });
        let transactions = transactions.await.unwrap();
        let admin = Admin::with_config(config).await.unwrap();
        admin.clusters().await.unwrap();
        producer.send(Message::new("t", "x")).await.unwrap();
        wait_until("the message", || received.len() >= 1).await;
        assert!(alive() > 0);
        if is_shut_down {
            consumer.shutdown().await;
            producer.shutdown().await;
            requester.shutdown().await;
            transactions.shutdown().await;
            admin.close().await;
        }
        drop((consumer, producer, requester, transactions, admin));
        wait_until("all tasks to end", || alive() == 0).await;
    }
    servers.stop().await;
}
