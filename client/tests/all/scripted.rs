//! The client against servers that follow a script: what real brokers do only when they are ill.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use thrustmq_client::{
    ClientConfig, Clock, ConsumeFrom, ConsumeResult, Message, OrderedResult, Producer,
    PushConsumer, SendError, SendStatus,
};
use thrustmq_proto_compat::body::{
    BrokerData, GetConsumerListByGroupResponseBody, HeartbeatData, LockBatchRequestBody,
    LockBatchResponseBody, QueueData, TopicRouteData,
};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    GetMaxOffsetResponseHeader, PullMessageRequestHeader, PullMessageResponseHeader,
    SearchOffsetResponseHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader,
};
use thrustmq_proto_compat::message::record::{self, NewMessage, Placement};
use thrustmq_proto_compat::request_code::{
    ConsumerSendMsgBack, GetConsumerListByGroup, GetMaxOffset, GetRouteInfoByTopic, HeartBeat,
    LockBatchMq, PullMessage, QueryConsumerOffset, SearchOffsetByTimestamp, SendMessageV2,
    UnlockBatchMq, UnregisterClient, UpdateConsumerOffset,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_remoting::{
    Handled, Incoming, Pool, PoolOptions, Refusal, Reply, Responder, Routes, Server, ServerOptions,
};

use crate::standalone::{Received, wait_until};

/// How a scripted broker takes messages.
#[derive(Clone, Copy, PartialEq)]
enum Sends {
    Stores,
    IsBusy,
    Refuses,
    NeverAnswers,
    /// Stores, but its slave is too slow.
    StoresUnsafely,
}

/// What a scripted broker has seen.
struct Script {
    sends: Sends,
    sent: Mutex<Vec<i32>>,
    clients: Mutex<BTreeSet<String>>,
    /// Offset of the first pull by topic.
    pulled: Mutex<BTreeMap<String, i64>>,
    committed: Mutex<BTreeMap<String, i64>>,
    /// Messages that were to be sent back; each is refused.
    sent_back: Mutex<Vec<i64>>,
    /// Records that the first pull of topic `t` gets.
    records: Mutex<Vec<u8>>,
    /// Requests without an answer.
    parked: Mutex<Vec<Responder>>,
    /// Whether queues are locked for who asks, and how often somebody did.
    grants_locks: AtomicBool,
    lock_requests: AtomicUsize,
}

struct Scripted {
    server: Server,
    script: Arc<Script>,
}

fn pool() -> Arc<Pool> {
    Pool::new(PoolOptions {
        name: "scripted",
        threads: 1,
        queue_capacity: 1_000,
        lends: 0,
    })
}

async fn serve(routes: Arc<Routes>) -> Server {
    let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
    options.shutdown_wait_ms = 0;
    Server::bind(options, routes, None, Clock::system())
        .await
        .unwrap()
}

async fn broker(sends: Sends) -> Scripted {
    let script = Arc::new(Script {
        sends,
        sent: Mutex::default(),
        clients: Mutex::default(),
        pulled: Mutex::default(),
        committed: Mutex::default(),
        sent_back: Mutex::default(),
        records: Mutex::default(),
        parked: Mutex::default(),
        grants_locks: AtomicBool::new(true),
        lock_requests: AtomicUsize::new(0),
    });
    Scripted {
        server: serve(routes(script.clone())).await,
        script,
    }
}

fn routes(script: Arc<Script>) -> Arc<Routes> {
    let pool = pool();
    Routes::builder(script)
        .on_parked::<SendMessageV2>(&pool, send)
        .on::<HeartBeat>(&pool, heartbeat)
        .on::<UnregisterClient>(&pool, |_, _| Ok(Reply::success()))
        .on::<GetConsumerListByGroup>(&pool, |script, _| {
            let clients = script.clients.lock().unwrap().iter().cloned().collect();
            let body = GetConsumerListByGroupResponseBody {
                consumer_id_list: clients,
            };
            Ok(Reply::success().with_body(fastjson::to_vec(&body).unwrap()))
        })
        .on::<QueryConsumerOffset>(&pool, |_, _| {
            Err(Refusal::new(ResponseCode::QUERY_NOT_FOUND, "a new group"))
        })
        .on::<GetMaxOffset>(&pool, |_, _| {
            Ok(Reply::ok(GetMaxOffsetResponseHeader { offset: 77 }))
        })
        .on::<SearchOffsetByTimestamp>(&pool, |_, incoming| {
            let offset = incoming.header.timestamp_ms / 1_000;
            Ok(Reply::ok(SearchOffsetResponseHeader { offset }))
        })
        .on::<UpdateConsumerOffset>(&pool, |script, incoming| {
            let (topic, offset) = (incoming.header.topic, incoming.header.commit_offset);
            script.committed.lock().unwrap().insert(topic, offset);
            Ok(Reply::success())
        })
        .on::<ConsumerSendMsgBack>(&pool, |script, incoming| {
            script
                .sent_back
                .lock()
                .unwrap()
                .push(incoming.header.offset);
            Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "no"))
        })
        .on::<LockBatchMq>(&pool, lock)
        .on::<UnlockBatchMq>(&pool, |_, _| Ok(Reply::success()))
        .on_parked::<PullMessage>(&pool, pull)
        .build()
}

fn send(script: &Script, incoming: Incoming<SendMessageRequestHeaderV2>, responder: Responder) {
    script.sent.lock().unwrap().push(incoming.header.queue_id);
    match script.sends {
        Sends::NeverAnswers => script.parked.lock().unwrap().push(responder),
        Sends::IsBusy => responder.refuse(Refusal::new(ResponseCode::SYSTEM_BUSY, "busy")),
        Sends::Refuses => responder.refuse(Refusal::new(ResponseCode::MESSAGE_ILLEGAL, "ugly")),
        Sends::StoresUnsafely => {
            let reply = Reply::ok(SendMessageResponseHeader::default());
            responder.send(Ok(reply.with_code(ResponseCode::FLUSH_SLAVE_TIMEOUT)));
        }
        Sends::Stores => responder.send(Ok(Reply::ok(SendMessageResponseHeader::default()))),
    }
}

fn heartbeat(script: &Script, incoming: Incoming<()>) -> Handled<()> {
    let body = incoming.command.body.to_bytes();
    let heartbeat: HeartbeatData = fastjson::from_slice(&body).unwrap();
    script.clients.lock().unwrap().insert(heartbeat.client_id);
    Ok(Reply::success())
}

fn lock(script: &Script, incoming: Incoming<()>) -> Handled<()> {
    let body = incoming.command.body.to_bytes();
    let asked: LockBatchRequestBody = fastjson::from_slice(&body).unwrap();
    script.lock_requests.fetch_add(1, Ordering::SeqCst);
    let granted = if script.grants_locks.load(Ordering::SeqCst) {
        asked.mq_set
    } else {
        BTreeSet::new()
    };
    let body = LockBatchResponseBody {
        lock_ok_mq_set: granted,
    };
    Ok(Reply::success().with_body(fastjson::to_vec(&body).unwrap()))
}

fn pull(script: &Script, incoming: Incoming<PullMessageRequestHeader>, responder: Responder) {
    let (topic, offset) = (incoming.header.topic, incoming.header.queue_offset);
    let is_wanted = topic == "t";
    script.pulled.lock().unwrap().entry(topic).or_insert(offset);
    let mut records = script.records.lock().unwrap();
    if !is_wanted || records.is_empty() {
        script.parked.lock().unwrap().push(responder);
        return;
    }
    let header = PullMessageResponseHeader {
        next_begin_offset: offset + 1,
        ..PullMessageResponseHeader::default()
    };
    responder.send(Ok(
        Reply::ok(header).with_body(std::mem::take(&mut *records))
    ));
}

fn record() -> Vec<u8> {
    record_at(0)
}

fn record_at(queue_offset: i64) -> Vec<u8> {
    let host = "127.0.0.1:10911".parse().unwrap();
    let message = NewMessage {
        topic: "t",
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"x",
        properties: "",
    };
    let mut bytes = Vec::new();
    record::encode(&message, record::Checksum::Omit, &mut bytes).unwrap();
    let placement = Placement {
        queue_offset,
        physical_offset: 0,
        store_timestamp: 0,
    };
    record::patch(&mut bytes, placement);
    bytes
}

impl Scripted {
    fn sent(&self) -> usize {
        self.script.sent.lock().unwrap().len()
    }

    async fn stop(self) {
        self.script
            .parked
            .lock()
            .unwrap()
            .drain(..)
            .for_each(|responder| {
                responder.refuse(Refusal::new(
                    ResponseCode::SYSTEM_ERROR,
                    "the script is over",
                ));
            });
        self.server.shutdown().await;
    }
}

/// A name server by which every topic has `queues` queues on each of the brokers.
async fn name_server(brokers: &[&Scripted], queues: i32) -> Server {
    let named: Vec<_> = brokers.iter().copied().zip(["a", "b"]).collect();
    let body = fastjson::to_vec(&route(&named, queues)).unwrap();
    name_server_of(Arc::new(Mutex::new(body))).await
}

fn route(brokers: &[(&Scripted, &str)], queues: i32) -> TopicRouteData {
    let mut route = TopicRouteData::default();
    for (broker, name) in brokers {
        route.queue_datas.push(QueueData {
            broker_name: (*name).into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            ..QueueData::default()
        });
        route.broker_datas.push(BrokerData {
            broker_name: (*name).into(),
            broker_addrs: [(0, broker.server.local_addr().to_string())].into(),
            ..BrokerData::default()
        });
    }
    route
}

/// A name server that answers every question for a route with this.
async fn name_server_of(body: Arc<Mutex<Vec<u8>>>) -> Server {
    let routes = Routes::builder(body)
        .on::<GetRouteInfoByTopic>(&pool(), |body, _| {
            Ok(Reply::success().with_body(body.lock().unwrap().clone()))
        })
        .build();
    serve(routes).await
}

async fn producer(name_server: &Server) -> Producer {
    let builder = Producer::builder("p").name_servers(name_server.local_addr().to_string());
    builder
        .send_timeout(Duration::from_secs(6))
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_broker_is_left_for_the_other() {
    let (busy, well) = (broker(Sends::IsBusy).await, broker(Sends::Stores).await);
    let name_server = name_server(&[&busy, &well], 4).await;
    let producer = producer(&name_server).await;
    for _ in 0..16 {
        let receipt = producer.send(Message::new("t", "x")).await.unwrap();
        assert_eq!(receipt.queue.broker_name, "b");
    }
    assert_eq!(well.sent(), 16);
    assert_eq!(busy.sent(), 1, "it is passed over for 10 s");
    producer.shutdown().await;
    busy.stop().await;
    well.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_does_not_eat_the_time() {
    let (silent, well) = (
        broker(Sends::NeverAnswers).await,
        broker(Sends::Stores).await,
    );
    let name_server = name_server(&[&silent, &well], 1).await;
    let producer = producer(&name_server).await;
    for _ in 0..2 {
        producer.send(Message::new("t", "x")).await.unwrap();
    }
    // Once or twice, depending on where the round began.
    assert!((1..=2).contains(&silent.sent()), "{} tries", silent.sent());
    assert_eq!(well.sent(), 2);
    producer.shutdown().await;
    silent.stop().await;
    well.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_broker_gets_the_whole_time_once() {
    let silent = broker(Sends::NeverAnswers).await;
    let name_server = name_server(&[&silent], 1).await;
    let builder = Producer::builder("p").name_servers(name_server.local_addr().to_string());
    let producer = builder
        .send_timeout(Duration::from_millis(500))
        .start()
        .await
        .unwrap();
    let failed = producer.send(Message::new("t", "x")).await.unwrap_err();
    assert!(
        matches!(failed, SendError::Exhausted { tries: 1, .. }),
        "{failed}"
    );
    assert_eq!(silent.sent(), 1, "a second try would store it twice");
    producer.shutdown().await;
    silent.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_broker_would_take_is_tried_once() {
    let (one, two) = (broker(Sends::Refuses).await, broker(Sends::Refuses).await);
    let name_server = name_server(&[&one, &two], 1).await;
    let producer = producer(&name_server).await;
    let refused = producer.send(Message::new("t", "x")).await.unwrap_err();
    let SendError::Refused { refusal, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!((refusal.code.0, refusal.remark.as_str()), (13, "ugly"));
    assert_eq!(one.sent() + two.sent(), 1);
    producer.shutdown().await;
    one.stop().await;
    two.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_decide_what_is_tried_again() {
    let (ailing, well) = (broker(Sends::Refuses).await, broker(Sends::Stores).await);
    let name_server = name_server(&[&ailing, &well], 2).await;
    let builder = Producer::builder("p").name_servers(name_server.local_addr().to_string());
    let builder = builder.retry_codes([ResponseCode::MESSAGE_ILLEGAL.0]);
    let producer = builder.avoid_ailing_brokers(false).start().await.unwrap();
    for _ in 0..8 {
        producer.send(Message::new("t", "x")).await.unwrap();
    }
    assert!(ailing.sent() >= 3, "{} tries", ailing.sent());
    producer.shutdown().await;
    ailing.stop().await;
    well.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_unsafely_is_sent_again_where_that_is_wanted() {
    let (one, two) = (
        broker(Sends::StoresUnsafely).await,
        broker(Sends::StoresUnsafely).await,
    );
    let name_server = name_server(&[&one, &two], 1).await;
    for (is_on, tries) in [(false, 1), (true, 4)] {
        let builder = Producer::builder("p").name_servers(name_server.local_addr().to_string());
        let builder = builder.retry_when_not_safe(is_on);
        let producer = builder.start().await.unwrap();
        let receipt = producer.send(Message::new("t", "x")).await.unwrap();
        assert_eq!(receipt.status, SendStatus::ReplicaTimedOut);
        assert_eq!(one.sent() + two.sent(), tries, "1, and then 3 more");
        producer.shutdown().await;
    }
    one.stop().await;
    two.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_message_is_not_sent_elsewhere() {
    let (one, two) = (broker(Sends::IsBusy).await, broker(Sends::IsBusy).await);
    let name_server = name_server(&[&one, &two], 1).await;
    let producer = producer(&name_server).await;
    let refused = producer.send_ordered(Message::new("t", "x"), "key").await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, SendError::Refused { .. }), "{refused}");
    assert_eq!(one.sent() + two.sent(), 1);
    producer.shutdown().await;
    one.stop().await;
    two.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_breaks_off_what_does_not_end() {
    let silent = broker(Sends::NeverAnswers).await;
    let name_server = name_server(&[&silent], 1).await;
    let builder = Producer::builder("p").name_servers(name_server.local_addr().to_string());
    let builder = builder.send_timeout(Duration::from_secs(2)).retries(9);
    let builder = builder.try_timeout(Duration::from_millis(500));
    let producer = builder.start().await.unwrap();
    let told = Arc::new(Mutex::new(0));
    for _ in 0..10 {
        let told = told.clone();
        let done = move |sent: Result<_, SendError>| {
            assert!(sent.is_err());
            *told.lock().unwrap() += 1;
        };
        let message = Message::new("t", "x");
        producer.send_with_callback(message, done).await.unwrap();
    }
    producer.shutdown().await;
    assert_eq!(*told.lock().unwrap(), 10);
    silent.stop().await;
    name_server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_begins_where_it_was_told() {
    for (from, topic_offset, retry_offset) in [
        (ConsumeFrom::FirstOffset, 0, 0),
        (ConsumeFrom::LastOffset, 77, 0),
        (ConsumeFrom::TimestampMs(55_000), 55, 77),
    ] {
        let broker = broker(Sends::Stores).await;
        let name_server = name_server(&[&broker], 1).await;
        let builder = PushConsumer::builder("g").name_servers(name_server.local_addr().to_string());
        let builder = builder.subscribe("t", "*").consume_from(from);
        let consumer = builder
            .start(|_| async { ConsumeResult::Success })
            .await
            .unwrap();
        let expected = BTreeMap::from([
            ("t".to_owned(), topic_offset),
            ("%RETRY%g".to_owned(), retry_offset),
        ]);
        wait_until("both first pulls", || {
            broker.script.pulled.lock().unwrap().len() == 2
        })
        .await;
        assert_eq!(*broker.script.pulled.lock().unwrap(), expected, "{from:?}");
        let started = Instant::now();
        consumer.shutdown().await;
        assert!(
            started.elapsed() < Duration::from_secs(12),
            "a parked pull holds nothing up"
        );
        assert_eq!(
            *broker.script.committed.lock().unwrap(),
            expected,
            "committed at the end"
        );
        broker.stop().await;
        name_server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_sent_back_is_consumed_again_here() {
    let broker = broker(Sends::Stores).await;
    *broker.script.records.lock().unwrap() = record();
    let name_server = name_server(&[&broker], 1).await;
    let received = Received::default();
    let seen = received.clone();
    let consumer = PushConsumer::builder("g")
        .name_servers(name_server.local_addr().to_string())
        .subscribe("t", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            let result = match message.reconsume_times {
                0 => ConsumeResult::Later,
                _ => ConsumeResult::Success,
            };
            seen.push(message);
            async move { result }
        })
        .await
        .unwrap();
    let committed = || broker.script.committed.lock().unwrap().get("t").copied();
    wait_until("the second delivery", || {
        let committed = committed();
        let is_there = received.len() == 2;
        assert!(is_there || committed != Some(1), "it still waits");
        is_there
    })
    .await;
    assert_eq!(broker.script.sent_back.lock().unwrap().len(), 1);
    consumer.shutdown().await;
    assert_eq!(committed(), Some(1));
    broker.stop().await;
    name_server.shutdown().await;
}

/// A consumer that was stopped for longer than its locks last does not touch its queues until they
/// are locked again.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_lock_a_queue_is_not_consumed() {
    let broker = broker(Sends::Stores).await;
    let script = broker.script.clone();
    script.grants_locks.store(false, Ordering::SeqCst);
    *script.records.lock().unwrap() = record();
    let name_server = name_server(&[&broker], 1).await;
    let clock = Clock::by_hand(1_000_000);
    let received = Received::default();
    let seen = received.clone();
    let consumer = PushConsumer::builder("g")
        .name_servers(name_server.local_addr().to_string())
        .clock(clock.clone())
        .subscribe("t", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start_orderly(move |message| {
            seen.push(message);
            async { OrderedResult::Success }
        })
        .await
        .unwrap();
    let asked = || script.lock_requests.load(Ordering::SeqCst);
    wait_until("requests for locks", || asked() >= 2).await;
    assert!(
        script.pulled.lock().unwrap().is_empty(),
        "nothing is pulled"
    );
    script.grants_locks.store(true, Ordering::SeqCst);
    wait_until("the first message", || received.len() == 1).await;

    script.grants_locks.store(false, Ordering::SeqCst);
    let before = asked();
    clock.advance_ms(31_000);
    *script.records.lock().unwrap() = record_at(1);
    script.release_pulls();
    wait_until("requests for the lock that ran out", || {
        asked() >= before + 2
    })
    .await;
    assert_eq!(received.len(), 1, "the queue may be another member's");
    *script.records.lock().unwrap() = record_at(1);
    script.grants_locks.store(true, Ordering::SeqCst);
    wait_until("the second message", || received.len() == 2).await;
    assert_eq!(received.all()[1].queue_offset, 1);
    consumer.shutdown().await;
    assert_eq!(script.committed.lock().unwrap().get("t"), Some(&2));
    broker.stop().await;
    name_server.shutdown().await;
}

/// Answers every pull that waits, with nothing.
impl Script {
    fn release_pulls(&self) {
        let parked = std::mem::take(&mut *self.parked.lock().unwrap());
        for responder in parked {
            responder.refuse(Refusal::new(ResponseCode::SYSTEM_BUSY, "again"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_moves_to_another_broker_is_followed() {
    let (old, new) = (broker(Sends::Stores).await, broker(Sends::Stores).await);
    *new.script.records.lock().unwrap() = record();
    let route =
        |broker: &Scripted, name: &str| fastjson::to_vec(&route(&[(broker, name)], 1)).unwrap();
    let body = Arc::new(Mutex::new(route(&old, "old")));
    let name_server = name_server_of(body.clone()).await;
    let config = ClientConfig::new()
        .name_servers(name_server.local_addr().to_string())
        .route_interval(Duration::from_millis(100));
    let received = Received::default();
    let seen = received.clone();
    let consumer = PushConsumer::builder("g")
        .config(config)
        .subscribe("t", "*")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            seen.push(message);
            async { ConsumeResult::Success }
        })
        .await
        .unwrap();
    let pulls_of_old = || old.script.pulled.lock().unwrap().len();
    wait_until("pulls at the old broker", || pulls_of_old() == 2).await;
    *body.lock().unwrap() = route(&new, "new");
    wait_until("the message of the new broker", || received.len() == 1).await;
    // The route stays as it is while nobody answers for it.
    name_server.shutdown().await;
    new.script.release_pulls();
    *new.script.records.lock().unwrap() = record_at(1);
    wait_until("what came without a name server", || received.len() == 2).await;
    consumer.shutdown().await;
    old.stop().await;
    new.stop().await;
}
