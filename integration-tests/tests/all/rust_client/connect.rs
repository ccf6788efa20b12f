//! How our client connects: signatures and TLS, the second port, names of its own.

use std::time::Duration;

use anyhow::Context;
use thrustmq_client::{
    Admin, ClientConfig, ConsumeFrom, ConsumeResult, Credentials, Message, NewTopic, Producer,
    PushConsumer, SendError, Tls,
};
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::toolchain;
use tokio::sync::mpsc;

const TOPIC: &str = "RustConnect";
const NAMESPACE: &str = "rustspace";
const NAMESPACED: &str = "RustNamespaced";
const PATIENCE: Duration = Duration::from_secs(60);

/// A Java broker that wants to know who calls.
const AUTHENTICATION: &[&str] = &[
    "mappedFileSizeCommitLog=67108864",
    "mappedFileSizeConsumeQueue=600000",
    "authenticationEnabled=true",
    "authenticationProvider=org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider",
    "authenticationMetadataProvider=org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider",
    r#"initAuthenticationUser={"username":"rust","password":"secret-of-rust"}"#,
    r#"innerClientAuthenticationCredentials={"accessKey":"rust","secretKey":"secret-of-rust"}"#,
];

#[test]
fn our_client_signs_and_encrypts_for_a_java_broker() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let mut cluster = Cluster::with_java_namesrv()?.context("Java was there before")?;
    cluster.set_broker_settings(AUTHENTICATION);
    cluster.add_java_broker("broker-a")?;
    super::runtime()?.block_on(secured(&cluster.namesrv()))?;
    cluster.stop(&[])
}

pub(super) async fn run(namesrv: &str) -> anyhow::Result<()> {
    let admin = Admin::connect(namesrv).await?;
    for topic in [TOPIC, &format!("{NAMESPACE}%{NAMESPACED}")] {
        let topic = NewTopic::named(topic).queues(2);
        admin.create_topic("DefaultCluster", &topic).await?;
    }
    admin.close().await;
    let config = ClientConfig::new().name_servers(namesrv);
    let second_port = config.clone().vip_channel(true).unit_name("unit");
    let named = config.clone().namespace_v2("told").instance_name("named");
    tokio::try_join!(
        round_trip(&second_port, "rust-vip"),
        round_trip(&named, "rust-named"),
        meet_java_in_a_namespace(config.namespace(NAMESPACE), namesrv),
    )?;
    Ok(())
}

/// A Java client receives what we send in a namespace, and we what it sends.
async fn meet_java_in_a_namespace(config: ClientConfig, namesrv: &str) -> anyhow::Result<()> {
    let (received, mut messages) = mpsc::channel(10);
    let producer = Producer::builder("rust-namespaced").config(config.clone());
    let producer = producer.send_timeout(PATIENCE).start().await?;
    let message = Message::new(NAMESPACED, "hello").tag("from-rust");
    producer.send(message).await?;
    let consumer = PushConsumer::builder("rust-namespaced")
        .config(config)
        .subscribe(NAMESPACED, "from-java")
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            let _ = received.try_send(message);
            async { ConsumeResult::Success }
        })
        .await?;
    if run_java(namesrv.to_owned()).await? {
        let message = tokio::time::timeout(PATIENCE, messages.recv()).await?;
        let message = message.context("the consumer runs")?;
        anyhow::ensure!(message.topic == NAMESPACED, "topic {}", message.topic);
        anyhow::ensure!(message.body == format!("{NAMESPACED} hello"), "{message:?}");
    }
    producer.shutdown().await;
    consumer.shutdown().await;
    Ok(())
}

/// False where there is no Java.
async fn run_java(namesrv: String) -> anyhow::Result<bool> {
    let ran = tokio::task::spawn_blocking(move || {
        let directory = tempfile::tempdir()?;
        let options = [
            ("namesrv", namesrv.as_str()),
            ("topic", NAMESPACED),
            ("namespace", NAMESPACE),
        ];
        let path = directory.path();
        let command = peer::java(path, HeaderEncoding::Json, "namespaced", &options);
        command
            .map(|command| peer::run(command, path, 2 * PATIENCE))
            .transpose()
    });
    Ok(ran.await??.is_some())
}

async fn secured(namesrv: &str) -> anyhow::Result<()> {
    let known = Credentials::new("rust", "secret-of-rust");
    // Java's servers make themselves a certificate when they start, and speak TLS to those who begin it.
    let encrypted = ClientConfig::new()
        .name_servers(namesrv)
        .tls(Tls::danger_accept_any_certificate());
    let signed = encrypted.clone().credentials(known.clone());
    let admin = Admin::with_config(signed.clone()).await?;
    let topic = NewTopic::named(TOPIC).queues(2);
    admin.create_topic("DefaultCluster", &topic).await?;
    admin.close().await;
    round_trip(&signed, "rust-signed").await?;
    let plain = ClientConfig::new().name_servers(namesrv);
    round_trip(&plain.clone().credentials(known), "rust-plain").await?;

    let forger = Credentials::new("rust", "a guess");
    refused(plain.clone().credentials(forger), "signature").await?;
    let stranger = Credentials::new("nobody", "secret-of-rust");
    refused(encrypted.credentials(stranger), "nobody").await?;
    refused(plain, "username").await
}

/// Sends messages of all sizes and receives them.
async fn round_trip(config: &ClientConfig, group: &str) -> anyhow::Result<()> {
    let (received, mut bodies) = mpsc::channel(100);
    let producer = Producer::builder(group).config(config.clone());
    let producer = producer.send_timeout(PATIENCE).start().await?;
    let consumer = PushConsumer::builder(group)
        .config(config.clone())
        .subscribe(TOPIC, group)
        .consume_from(ConsumeFrom::FirstOffset)
        .start(move |message| {
            // The test may have failed meanwhile.
            let _ = received.try_send(message.body.len());
            async { ConsumeResult::Success }
        })
        .await?;
    let mut sizes = vec![1, 1_000, 100_000, 3_000_000];
    for size in &sizes {
        let message = Message::new(TOPIC, vec![7; *size]).tag(group);
        producer.send(message).await.context("a signed message")?;
    }
    while !sizes.is_empty() {
        let size = tokio::time::timeout(PATIENCE, bodies.recv()).await;
        let size = size.context("a message did not come")?;
        sizes.retain(|wanted| Some(*wanted) != size);
    }
    producer.shutdown().await;
    consumer.shutdown().await;
    Ok(())
}

/// The broker does not serve this client, and the error says why.
async fn refused(config: ClientConfig, why: &str) -> anyhow::Result<()> {
    let producer = Producer::builder("rust-refused").config(config);
    let producer = producer.send_timeout(PATIENCE).start().await?;
    let failed = producer.send(Message::new(TOPIC, "x")).await;
    producer.shutdown().await;
    match failed {
        Err(SendError::Refused { refusal, .. }) if refusal.remark.contains(why) => Ok(()),
        other => anyhow::bail!("not refused because of {why}: {other:?}"),
    }
}
