//! A real name server on a free port, and brokers and clients that speak to it over sockets.

use std::time::Duration;

use tempfile::TempDir;
use thrustmq_namesrv::{NameServer, NamesrvConfig, NamesrvOptions};
use thrustmq_proto_compat::body::{DataVersion, RegisterBrokerBody, TopicConfig, TopicRouteData};
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::fastjson;
use thrustmq_proto_compat::header::{
    GetRouteInfoRequestHeader, RegisterBrokerRequestHeader, RegisterBrokerResponseHeader,
    UnRegisterBrokerRequestHeader,
};
use thrustmq_proto_compat::request_code::{GetRouteInfoByTopic, RegisterBroker, UnregisterBroker};
use thrustmq_proto_compat::table::CommandSpec;
use thrustmq_remoting::{CallError, Client, ClientOptions, Refusal, Reply};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct Harness {
    pub(crate) server: NameServer,
    pub(crate) address: String,
    /// Moved by hand.
    pub(crate) clock: Clock,
    pub(crate) client: Client,
    pub(crate) directory: TempDir,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut NamesrvConfig)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    pub(crate) async fn start_in(
        directory: TempDir,
        change: impl FnOnce(&mut NamesrvConfig),
    ) -> Self {
        let path = |file: &str| directory.path().join(file).display().to_string();
        let mut config = NamesrvConfig {
            bind_address: "127.0.0.1".to_owned(),
            listen_port: 0,
            kv_config_path: path("kvConfig.json"),
            config_store_path: Some(path("namesrv.properties")),
            scan_interval_ms: 20,
            ..NamesrvConfig::default()
        };
        change(&mut config);
        let clock = Clock::by_hand(1_000_000);
        let options = NamesrvOptions {
            config,
            config_file: None,
        };
        let server = NameServer::start(options, clock.clone()).await.unwrap();
        Self {
            address: server.local_addr().to_string(),
            server,
            clock,
            client: new_client(),
            directory,
        }
    }

    pub(crate) async fn call<C: CommandSpec>(
        &self,
        header: &C::Request,
        body: Vec<u8>,
    ) -> Result<Reply<C::Response>, Refusal> {
        refused(
            self.client
                .call_as::<C>(&self.address, header, body, TIMEOUT)
                .await,
        )
    }

    /// The route of a topic, as today's clients ask for it.
    pub(crate) async fn route(&self, topic: &str) -> Result<TopicRouteData, Refusal> {
        let header = GetRouteInfoRequestHeader {
            topic: topic.to_owned(),
            accept_standard_json_only: None,
        };
        let reply = self
            .call::<GetRouteInfoByTopic>(&header, Vec::new())
            .await?;
        Ok(fastjson::from_slice(&reply.body.to_bytes()).unwrap())
    }

    /// The text of a route's answer to a client of this version, with these fields beside the topic.
    pub(crate) async fn route_text(
        &self,
        topic: &str,
        version: i32,
        fields: &[(&str, &str)],
    ) -> String {
        let mut request = Command::new(GetRouteInfoByTopic::CODE);
        request.version = version;
        request.fields.push_text("topic", topic);
        for (key, value) in fields {
            request.fields.push_text(key, value);
        }
        let answer = self
            .client
            .call(&self.address, request, TIMEOUT)
            .await
            .unwrap();
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
        String::from_utf8(answer.body.to_bytes().to_vec()).unwrap()
    }

    /// Waits until the topic has no route.
    pub(crate) async fn until_gone(&self, topic: &str) {
        for _ in 0..6_000 {
            if self.route(topic).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the route of {topic} is still there after a minute");
    }

    /// Stops the server; the directory stays for the next one.
    pub(crate) async fn stop(self) -> TempDir {
        self.server.shutdown().await;
        self.client.shutdown().await;
        self.directory
    }
}

pub(crate) fn new_client() -> Client {
    Client::new(ClientOptions::default(), None, None, Clock::system())
}

fn refused<R>(result: Result<R, CallError>) -> Result<R, Refusal> {
    result.map_err(|error| {
        let CallError::Refused(refusal) = error else {
            panic!("{error}");
        };
        refusal
    })
}

/// A broker process with a connection of its own.
pub(crate) struct Broker {
    pub(crate) client: Client,
    pub(crate) namesrv: String,
    pub(crate) header: RegisterBrokerRequestHeader,
    pub(crate) body: RegisterBrokerBody,
    /// Fields beside the header's.
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) version: i32,
}

impl Broker {
    pub(crate) fn new(harness: &Harness, name: &str, id: i64, topics: &[&str]) -> Self {
        let mut broker = Self {
            client: new_client(),
            namesrv: harness.address.clone(),
            header: RegisterBrokerRequestHeader {
                broker_name: name.to_owned(),
                broker_address: format!("10.0.0.{id}:10911-{name}"),
                cluster_name: "DefaultCluster".to_owned(),
                ha_server_address: format!("10.0.0.{id}:10912-{name}"),
                broker_id: id,
                enable_acting_master: Some(false),
                ..RegisterBrokerRequestHeader::default()
            },
            body: RegisterBrokerBody::default(),
            fields: Vec::new(),
            version: 513,
        };
        broker.set_topics(topics);
        broker
    }

    /// Gives it these topics, and a new data version.
    pub(crate) fn set_topics(&mut self, topics: &[&str]) {
        let wrapper = &mut self.body.topic_config_serialize_wrapper;
        wrapper.data_version.counter += 1;
        wrapper.topic_config_table = topics.iter().map(|t| (t.to_string(), topic(t))).collect();
    }

    pub(crate) fn data_version(&self) -> &DataVersion {
        &self.body.topic_config_serialize_wrapper.data_version
    }

    pub(crate) fn body_json(&self) -> Vec<u8> {
        fastjson::to_vec(&self.body).unwrap()
    }

    pub(crate) async fn register(&self) -> Command {
        self.register_body(self.body_json()).await
    }

    pub(crate) async fn register_body(&self, body: Vec<u8>) -> Command {
        let mut request = Command::request::<RegisterBroker>(&self.header).with_body(body);
        request.version = self.version;
        for (key, value) in &self.fields {
            request.fields.push_text(key, value);
        }
        self.client
            .call(&self.namesrv, request, TIMEOUT)
            .await
            .unwrap()
    }

    /// Registers, which must succeed.
    pub(crate) async fn up(&self) -> RegisterBrokerResponseHeader {
        let answer = self.register().await;
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
        answer.header().unwrap()
    }

    pub(crate) async fn unregister(&self) {
        let header = UnRegisterBrokerRequestHeader {
            broker_name: self.header.broker_name.clone(),
            broker_address: self.header.broker_address.clone(),
            cluster_name: self.header.cluster_name.clone(),
            broker_id: self.header.broker_id,
        };
        let call =
            self.client
                .call_as::<UnregisterBroker>(&self.namesrv, &header, Vec::new(), TIMEOUT);
        call.await.unwrap();
    }
}

pub(crate) fn topic(name: &str) -> TopicConfig {
    TopicConfig {
        read_queue_nums: 4,
        write_queue_nums: 4,
        ..TopicConfig::new(name)
    }
}
