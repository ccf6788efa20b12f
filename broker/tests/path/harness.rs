//! A broker of our own, and the requests that clients would send to it.

use std::path::Path;
use std::time::Duration;

use thrustmq_broker::config::BrokerConfig;
use thrustmq_broker::{BrokerOptions, BrokerServer, StartError};
use thrustmq_proto_compat::body::{
    ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::{Body, Command};
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    PullMessageRequestHeader, PullMessageResponseHeader, SendMessageRequestHeaderV2,
    SendMessageResponseHeader,
};
use thrustmq_proto_compat::message::message_ext::{MessageExt, decode_all};
use thrustmq_proto_compat::message::properties::Properties;
use thrustmq_proto_compat::message::tags_code::string_hash;
use thrustmq_proto_compat::request_code::{HeartBeat, PullMessage, SendMessageV2};
use thrustmq_proto_compat::response_code::ResponseCode;
use thrustmq_proto_compat::table::{CommandSpec, Header};
use thrustmq_remoting::{Client, ClientOptions};
use thrustmq_store::Disk;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
const BODY_BYTES_MAX: usize = 16 << 20;

/// A running broker and a client of it.
pub(crate) struct TestBroker {
    pub(crate) server: BrokerServer,
    pub(crate) client: Client,
    pub(crate) address: String,
    pub(crate) dir: tempfile::TempDir,
}

/// An answer to a pull.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) code: ResponseCode,
    pub(crate) remark: String,
    pub(crate) header: PullMessageResponseHeader,
    pub(crate) messages: Vec<MessageExt>,
}

impl Pulled {
    pub(crate) fn bodies(&self) -> Vec<String> {
        let text = |message: &MessageExt| String::from_utf8_lossy(&message.body).into_owned();
        self.messages.iter().map(text).collect()
    }
}

/// Settings for a small broker in `root`.
pub(crate) fn config(root: &Path) -> BrokerConfig {
    BrokerConfig {
        store_root_dir: root.display().to_string(),
        broker_name: "broker-t".to_owned(),
        bind_address: "127.0.0.1".to_owned(),
        broker_ip1: "127.0.0.1".to_owned(),
        listen_port: 0,
        namesrv_addr: None,
        commit_log_file_bytes: 8 << 20,
        consume_queue_file_bytes: 20 * 10_000,
        index_slots: 1_000,
        index_entries: 4_000,
        disk_warning_ratio: 99,
        disk_clean_forcibly_ratio: 99,
        disk_used_ratio_max: 95,
        // Tests share two processors with each other.
        send_queue_wait_ms_max: 60_000,
        pull_queue_wait_ms_max: 60_000,
        ack_queue_wait_ms_max: 60_000,
        end_transaction_queue_wait_ms_max: 60_000,
        admin_queue_wait_ms_max: 60_000,
        log_busy_ms_max: 60_000,
        ..BrokerConfig::default()
    }
}

/// Between the moment at which a broker finds free ports and the one at which it takes them, a connection of another
/// test may have one of them.
async fn start_server(config: &BrokerConfig, disk: &Disk) -> BrokerServer {
    let mut attempts = 5;
    loop {
        let options = BrokerOptions {
            config: config.clone(),
            disk: disk.clone(),
            ..BrokerOptions::default()
        };
        attempts -= 1;
        match BrokerServer::start(options, Clock::system()).await {
            Err(StartError::Listen { .. }) if attempts > 0 => {}
            started => return started.unwrap(),
        }
    }
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(configure: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configure).await
    }

    pub(crate) async fn start_in(
        dir: tempfile::TempDir,
        configure: impl FnOnce(&mut BrokerConfig),
    ) -> Self {
        Self::start_on(Disk::default(), dir, configure).await
    }

    /// On a file system that the test watches.
    pub(crate) async fn start_on(
        disk: Disk,
        dir: tempfile::TempDir,
        configure: impl FnOnce(&mut BrokerConfig),
    ) -> Self {
        let mut config = config(dir.path());
        configure(&mut config);
        let server = start_server(&config, &disk).await;
        let client = Client::new(ClientOptions::default(), None, None, Clock::system());
        Self {
            address: server.addresses().listen.to_string(),
            server,
            client,
            dir,
        }
    }

    /// Ends the broker; its directory stays.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.client.shutdown().await;
        self.server.shutdown().await;
        self.dir
    }

    pub(crate) async fn call<C: CommandSpec>(
        &self,
        header: &C::Request,
        body: impl Into<Body>,
    ) -> Command {
        let request = Command::request::<C>(header).with_body(body);
        self.client
            .call(&self.address, request, TIMEOUT)
            .await
            .unwrap()
    }

    pub(crate) async fn send_as<C>(
        &self,
        header: &C::Request,
        body: impl Into<Body>,
    ) -> SendMessageResponseHeader
    where
        C: CommandSpec<Response = SendMessageResponseHeader>,
    {
        let answer = self.call::<C>(header, body).await;
        assert_eq!(
            answer.response_code(),
            ResponseCode::SUCCESS,
            "{:?}",
            answer.remark
        );
        answer.header().unwrap()
    }

    /// Sends one message and expects it to be stored.
    pub(crate) async fn send(
        &self,
        topic: &str,
        queue_id: i32,
        body: &str,
        properties: &[(&str, &str)],
    ) -> SendMessageResponseHeader {
        let header = send_header(topic, queue_id, properties);
        self.send_as::<SendMessageV2>(&header, body.as_bytes().to_vec())
            .await
    }

    /// Sends one message and expects it to be refused.
    pub(crate) async fn send_refused(&self, header: &SendMessageRequestHeaderV2) -> (i32, String) {
        let answer = self.call::<SendMessageV2>(header, b"x".to_vec()).await;
        assert_ne!(answer.response_code(), ResponseCode::SUCCESS);
        (answer.code, answer.remark.unwrap_or_default())
    }

    pub(crate) async fn pull(&self, header: &PullMessageRequestHeader) -> Pulled {
        pulled(self.call::<PullMessage>(header, Vec::new()).await)
    }

    /// Pulls until there are messages, from offset 0 of a queue.
    pub(crate) async fn pull_some(&self, topic: &str, queue_id: i32) -> Pulled {
        let mut header = pull_header("g", topic, queue_id, 0);
        header.sys_flag |= SUSPEND;
        header.suspend_timeout_ms = 20_000;
        self.pull(&header).await
    }

    /// Pulls until so many messages are in a queue, from its offset 0: those that were sent are on
    /// their way from the log to their queue for a while.
    pub(crate) async fn pull_all(&self, topic: &str, queue_id: i32, count: i64) -> Pulled {
        let mut last = pull_header("g", topic, queue_id, count - 1);
        last.sys_flag |= SUSPEND;
        last.suspend_timeout_ms = 20_000;
        while self.pull(&last).await.messages.is_empty() {}
        self.pull(&pull_header("g", topic, queue_id, 0)).await
    }

    /// Announces a consumer of `group` that subscribes to `topic`.
    pub(crate) async fn heartbeat(&self, group: &str, topic: &str, tags: &[&str]) {
        let heartbeat = HeartbeatData {
            client_id: "127.0.0.1@test".to_owned(),
            producer_data_set: vec![ProducerData {
                group_name: "p".to_owned(),
            }],
            consumer_data_set: vec![ConsumerData {
                group_name: group.to_owned(),
                consume_type: ConsumeType::Passively,
                message_model: MessageModel::Clustering,
                subscription_data_set: vec![subscription(topic, tags)],
                ..ConsumerData::default()
            }],
            ..HeartbeatData::default()
        };
        let body = fastjson::to_vec(&heartbeat).unwrap();
        let answer = self.call::<HeartBeat>(&(), body).await;
        assert_eq!(
            answer.response_code(),
            ResponseCode::SUCCESS,
            "{:?}",
            answer.remark
        );
    }
}

pub(crate) const COMMIT: i32 = 1;
pub(crate) const SUSPEND: i32 = 2;
pub(crate) const SUBSCRIPTION: i32 = 4;

fn subscription(topic: &str, tags: &[&str]) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        sub_string: if tags.is_empty() {
            "*".to_owned()
        } else {
            tags.join("||")
        },
        tags_set: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        code_set: tags.iter().map(|tag| string_hash(tag)).collect(),
        sub_version: 7,
        ..SubscriptionData::default()
    }
}

pub(crate) fn send_header(
    topic: &str,
    queue_id: i32,
    properties: &[(&str, &str)],
) -> SendMessageRequestHeaderV2 {
    let properties: Properties = properties.iter().copied().collect();
    SendMessageRequestHeaderV2 {
        producer_group: "p".to_owned(),
        topic: topic.to_owned(),
        default_topic: "TBW102".to_owned(),
        default_topic_queue_nums: 4,
        queue_id,
        born_timestamp_ms: 1_700_000_000_000,
        properties: Some(properties.to_text()),
        ..SendMessageRequestHeaderV2::default()
    }
}

/// A pull of everything that does not wait.
pub(crate) fn pull_header(
    group: &str,
    topic: &str,
    queue_id: i32,
    offset: i64,
) -> PullMessageRequestHeader {
    PullMessageRequestHeader {
        consumer_group: group.to_owned(),
        topic: topic.to_owned(),
        queue_id,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: SUBSCRIPTION,
        subscription: Some("*".to_owned()),
        ..PullMessageRequestHeader::default()
    }
}

pub(crate) fn pulled(answer: Command) -> Pulled {
    let decoded = decode_all(&answer.body.to_bytes(), BODY_BYTES_MAX);
    assert!(decoded.error.is_none(), "{:?}", decoded.error);
    Pulled {
        code: answer.response_code(),
        header: PullMessageResponseHeader::decode(&answer.fields).unwrap_or_default(),
        messages: decoded.messages,
        remark: answer.remark.unwrap_or_default(),
    }
}
