//! A broker of our own, operators that ask it, and consumers that it can ask.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thrustmq_broker::config::{BrokerConfig, Settings};
use thrustmq_broker::{BrokerOptions, BrokerServer};
use thrustmq_proto_compat::body::{
    ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader, NotifyConsumerIdsChangedRequestHeader,
    ResetOffsetRequestHeader, SendMessageRequestHeaderV2, SendMessageResponseHeader,
};
use thrustmq_proto_compat::request_code::{
    ConsumeMessageDirectly, GetConsumerRunningInfo, GetConsumerStatusFromClient, HeartBeat,
    NotifyConsumerIdsChanged, ResetConsumerClientOffset, SendMessageV2,
};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::{Client, ClientOptions, Incoming, Pool, PoolOptions, Reply, Routes};
use tokio::sync::mpsc;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// A running broker, and an operator that asks it.
pub(crate) struct TestBroker {
    server: BrokerServer,
    operator: Client,
    pub(crate) address: String,
    pub(crate) dir: tempfile::TempDir,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), |_| {}).await
    }

    pub(crate) async fn start_with(configure: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configure).await
    }

    /// With `broker.conf` of the directory as its file, if it is there.
    pub(crate) async fn start_in(
        dir: tempfile::TempDir,
        configure: impl FnOnce(&mut BrokerConfig),
    ) -> Self {
        let file = dir.path().join("broker.conf");
        let config_file: Option<PathBuf> = file.exists().then_some(file);
        let mut config = BrokerConfig::load(config_file.as_deref(), &[]).unwrap();
        config.store_root_dir = dir.path().display().to_string();
        config.broker_name = "broker-t".to_owned();
        config.bind_address = "127.0.0.1".to_owned();
        config.broker_ip1 = "127.0.0.1".to_owned();
        config.listen_port = 0;
        config.namesrv_addr = None;
        config.commit_log_file_bytes = 8 << 20;
        config.index_slots = 1_000;
        config.index_entries = 4_000;
        config.disk_warning_ratio = 99;
        // Tests share two processors with each other.
        config.send_queue_wait_ms_max = 30_000;
        config.admin_queue_wait_ms_max = 30_000;
        configure(&mut config);
        let options = BrokerOptions {
            config,
            config_file,
            ..BrokerOptions::default()
        };
        let server = BrokerServer::start(options, Clock::system()).await.unwrap();
        Self {
            address: server.addresses().listen.to_string(),
            server,
            operator: Client::new(ClientOptions::default(), None, None, Clock::system()),
            dir,
        }
    }

    /// Ends the broker; its directory stays.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.operator.shutdown().await;
        self.server.shutdown().await;
        self.dir
    }

    pub(crate) async fn ask<C: CommandSpec>(
        &self,
        header: &C::Request,
        body: impl Into<Body>,
    ) -> Command {
        let request = Command::request::<C>(header).with_body(body);
        self.raw(request).await
    }

    pub(crate) async fn raw(&self, request: Command) -> Command {
        self.operator
            .call(&self.address, request, TIMEOUT)
            .await
            .unwrap()
    }

    /// Asks and expects SUCCESS.
    pub(crate) async fn done<C: CommandSpec>(
        &self,
        header: &C::Request,
        body: impl Into<Body>,
    ) -> Command {
        let answer = self.ask::<C>(header, body).await;
        assert_eq!(
            answer.response_code(),
            ResponseCode::SUCCESS,
            "{:?}",
            answer.remark
        );
        answer
    }

    /// Asks and expects SUCCESS and a body.
    pub(crate) async fn show<C: CommandSpec, T: DeserializeOwned>(&self, header: &C::Request) -> T {
        body_of(&self.done::<C>(header, Vec::new()).await)
    }

    /// Asks and expects a refusal: its code and remark.
    pub(crate) async fn refused<C: CommandSpec>(
        &self,
        header: &C::Request,
        body: impl Into<Body>,
    ) -> (i32, String) {
        let answer = self.ask::<C>(header, body).await;
        assert_ne!(answer.response_code(), ResponseCode::SUCCESS);
        (answer.code, answer.remark.unwrap_or_default())
    }

    /// Sends a message; the topic is created if need be.
    pub(crate) async fn send(
        &self,
        topic: &str,
        queue_id: i32,
        body: &str,
    ) -> SendMessageResponseHeader {
        let header = SendMessageRequestHeaderV2 {
            producer_group: "p".to_owned(),
            topic: topic.to_owned(),
            default_topic: "TBW102".to_owned(),
            default_topic_queue_nums: 4,
            queue_id,
            ..SendMessageRequestHeaderV2::default()
        };
        let answer = self
            .done::<SendMessageV2>(&header, body.as_bytes().to_vec())
            .await;
        answer.header().unwrap()
    }

    /// Waits until a check of what the broker does in the background holds.
    pub(crate) async fn eventually<F: Future<Output = bool>>(
        &self,
        what: &str,
        check: impl Fn() -> F,
    ) {
        for _ in 0..600 {
            if check().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not within 30 s: {what}");
    }
}

pub(crate) fn json(body: &impl Serialize) -> Vec<u8> {
    fastjson::to_vec(body).unwrap()
}

pub(crate) fn body_of<T: DeserializeOwned>(answer: &Command) -> T {
    fastjson::from_slice(&answer.body.to_bytes()).unwrap()
}

/// What a broker told or asked a consumer.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    GroupChanged(String),
    Reset { topic: String, body: String },
}

/// A consumer with a connection of its own, which hears and answers what the broker asks.
pub(crate) struct Consumer {
    pub(crate) client: Client,
    pub(crate) client_id: String,
    address: String,
    told: mpsc::Receiver<Told>,
}

impl Consumer {
    pub(crate) fn new(broker: &TestBroker, client_id: &str) -> Self {
        let (tell, told) = mpsc::channel(100);
        let routes = consumer_routes(client_id, tell);
        Self {
            client: Client::new(
                ClientOptions::default(),
                Some(routes),
                None,
                Clock::system(),
            ),
            client_id: client_id.to_owned(),
            address: broker.address.clone(),
            told,
        }
    }

    /// Joins `group`, subscribed to `topics`, and gives the broker's answer.
    pub(crate) async fn join(&self, group: &str, topics: &[&str]) -> Command {
        self.beat(self.heartbeat(group, topics)).await
    }

    pub(crate) fn heartbeat(&self, group: &str, topics: &[&str]) -> HeartbeatData {
        HeartbeatData {
            client_id: self.client_id.clone(),
            producer_data_set: vec![ProducerData {
                group_name: "p".to_owned(),
            }],
            consumer_data_set: vec![ConsumerData {
                group_name: group.to_owned(),
                message_model: MessageModel::Clustering,
                subscription_data_set: topics.iter().map(|topic| subscription(topic)).collect(),
                ..ConsumerData::default()
            }],
            ..HeartbeatData::default()
        }
    }

    pub(crate) async fn beat(&self, heartbeat: HeartbeatData) -> Command {
        let request = Command::request::<HeartBeat>(&()).with_body(json(&heartbeat));
        let answer = self
            .client
            .call(&self.address, request, TIMEOUT)
            .await
            .unwrap();
        assert_eq!(
            answer.response_code(),
            ResponseCode::SUCCESS,
            "{:?}",
            answer.remark
        );
        answer
    }

    pub(crate) async fn call<C: CommandSpec>(&self, header: &C::Request) -> Command {
        let request = Command::request::<C>(header);
        self.client
            .call(&self.address, request, TIMEOUT)
            .await
            .unwrap()
    }

    /// What the broker tells next.
    pub(crate) async fn told(&mut self) -> Told {
        let told = tokio::time::timeout(TIMEOUT, self.told.recv());
        told.await.expect("the broker tells something").unwrap()
    }

    /// Forgets what the broker has told so far.
    pub(crate) fn forget(&mut self) {
        while self.told.try_recv().is_ok() {}
    }
}

fn subscription(topic: &str) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        sub_string: "*".to_owned(),
        sub_version: 7,
        ..SubscriptionData::default()
    }
}

struct ConsumerState {
    client_id: String,
    tell: mpsc::Sender<Told>,
}

fn consumer_routes(client_id: &str, tell: mpsc::Sender<Told>) -> Arc<Routes> {
    let pool = Pool::new(PoolOptions {
        name: "test-consumer",
        threads: 1,
        queue_capacity: 100,
        lends: 0,
    });
    let state = Arc::new(ConsumerState {
        client_id: client_id.to_owned(),
        tell,
    });
    Routes::builder(state)
        .on::<NotifyConsumerIdsChanged>(&pool, |state: &ConsumerState, asked: Incoming<NotifyConsumerIdsChangedRequestHeader>| {
            let group = asked.header.consumer_group;
            state.tell.try_send(Told::GroupChanged(group)).unwrap();
            Ok(Reply::success())
        })
        .on::<ResetConsumerClientOffset>(&pool, |state: &ConsumerState, asked: Incoming<ResetOffsetRequestHeader>| {
            let body = String::from_utf8(asked.command.body.to_bytes().to_vec()).unwrap();
            let topic = asked.header.topic;
            state.tell.try_send(Told::Reset { topic, body }).unwrap();
            Ok(Reply::success())
        })
        .on::<GetConsumerRunningInfo>(&pool, |state: &ConsumerState, _: Incoming<GetConsumerRunningInfoRequestHeader>| {
            Ok(Reply::success().with_body(state.client_id.clone().into_bytes()))
        })
        .on::<ConsumeMessageDirectly>(&pool, |_: &ConsumerState, asked: Incoming<ConsumeMessageDirectlyResultRequestHeader>| {
            let broker = asked.header.broker_name.unwrap_or_default();
            let bytes = asked.command.body.len();
            Ok(Reply::success().with_remark(format!("{broker} {bytes}")))
        })
        .on::<GetConsumerStatusFromClient>(&pool, |_: &ConsumerState, asked: Incoming<GetConsumerStatusRequestHeader>| {
            let topic = asked.header.topic;
            let body = format!("{{\"messageQueueTable\":{{{{\"brokerName\":\"broker-t\",\"queueId\":0,\"topic\":\"{topic}\"}}:42}}}}");
            Ok(Reply::success().with_body(body.into_bytes()))
        })
        .build()
}
